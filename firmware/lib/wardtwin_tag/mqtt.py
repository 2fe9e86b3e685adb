"""MQTT 3.1.1 client of a tag (OASIS standard, sections 3.1 to 3.14): what a tag needs, over a stream that never blocks.

A packet is one write to the stream: several small writes meet Nagle's algorithm and delayed acks, and cost 40 ms each.
"""

import struct

from wardtwin_tag.errors import MqttError

MAX_PACKET_BYTES = 512
MAX_OUT_PACKETS = 8

_CONNECT = 0x10
_CONNACK = 0x20
_PUBLISH = 0x30
_PUBACK = 0x40
_SUBSCRIBE = 0x82
_SUBACK = 0x90
_PINGREQ = b"\xc0\x00"
_PINGRESP = 0xD0
_DISCONNECT = b"\xe0\x00"
_REFUSALS = ("", "protocol version", "client id", "server unavailable", "user or password", "not authorised")


class MqttClient:
    """One session. poll() often; publish() and subscribe() once `connected`. After a MqttError or OSError throw it away.

    stream: read(n) -> bytes, None when there is nothing yet, b"" when closed; write(bytes) -> number taken or None.
    now_ms: any clock that only grows.
    """

    def __init__(self, stream, client_id, user, password, keepalive_s, now_ms):
        self._stream = stream
        self._keepalive_ms = keepalive_s * 1000
        self._in = bytearray()
        self._out = []
        self._packet_id = 0
        self._heard_at_ms = self._sent_at_ms = now_ms
        self.connected = False
        body = _text("MQTT") + bytes((4, 0xC2)) + struct.pack(">H", keepalive_s) + _text(client_id) + _text(user) + _text(password)
        self._send(_CONNECT, body)

    @property
    def idle(self):
        """Whether nothing is waiting for the stream to take it."""
        return not self._out

    def publish(self, topic, payload, now_ms):
        """Send with QoS 1; return the packet id its PUBACK will carry. Raise MqttError "too_long"."""
        packet_id = self._next_id()
        self._send(_PUBLISH | 2, _text(topic) + struct.pack(">H", packet_id) + payload)
        self._sent_at_ms = now_ms
        return packet_id

    def subscribe(self, topic, now_ms):
        """Subscribe with QoS 0."""
        self._send(_SUBSCRIBE, struct.pack(">H", self._next_id()) + _text(topic) + b"\x00")
        self._sent_at_ms = now_ms

    def disconnect(self):
        """Say goodbye, as far as the stream takes it now."""
        self._out.append(_DISCONNECT)
        self._flush()

    def poll(self, now_ms):
        """Read, write and keep alive; return [(topic, payload)] received. Raise MqttError: closed, refused, silent, malformed, too_long."""
        self._flush()
        messages = []
        while True:
            data = self._stream.read(256)
            if data is None:
                break
            if not data:
                raise MqttError("closed")
            self._heard_at_ms = now_ms
            self._in.extend(data)
            while True:
                packet = self._take_packet()
                if packet is None:
                    break
                self._receive(packet[0], packet[1], messages)
            if len(data) < 256:
                break
        self._keep_alive(now_ms)
        return messages

    def _keep_alive(self, now_ms):
        if now_ms - self._heard_at_ms > 2 * self._keepalive_ms:
            raise MqttError("silent", "%d ms" % (now_ms - self._heard_at_ms))
        if self.connected and self.idle and now_ms - max(self._sent_at_ms, self._heard_at_ms) > self._keepalive_ms // 2:
            self._sent_at_ms = now_ms
            self._out.append(_PINGREQ)
            self._flush()

    def _receive(self, first, body, messages):
        kind = first & 0xF0
        if not self.connected and kind != _CONNACK:
            raise MqttError("malformed", "packet %02x before CONNACK" % first)
        if kind == _CONNACK:
            if len(body) != 2:
                raise MqttError("malformed", "CONNACK")
            if body[1]:
                raise MqttError("refused", _REFUSALS[body[1]] if body[1] < len(_REFUSALS) else str(body[1]))
            self.connected = True
        elif kind == _PUBLISH:
            messages.append(self._message(first, body))
        elif kind == _SUBACK:
            if len(body) != 3 or body[2] & 0x80:
                raise MqttError("refused", "subscription")
        elif kind not in (_PUBACK, _PINGRESP):
            raise MqttError("malformed", "packet %02x" % first)

    def _message(self, first, body):
        if len(body) < 2:
            raise MqttError("malformed", "PUBLISH")
        start = 2 + (body[0] << 8 | body[1])
        qos = first >> 1 & 3
        payload = start + (2 if qos else 0)
        if qos > 1 or len(body) < payload:
            raise MqttError("malformed", "PUBLISH")
        try:
            topic = str(body[2:start], "utf-8")
        except UnicodeError:
            raise MqttError("malformed", "topic")
        if qos:
            self._send(_PUBACK, body[start:payload])
        return topic, body[payload:]

    def _take_packet(self):
        """Return (first byte, body) of a whole packet, or None."""
        data = self._in
        length = 0
        for i in range(1, 5):
            if i >= len(data):
                return None
            length |= (data[i] & 0x7F) << 7 * (i - 1)
            if length > MAX_PACKET_BYTES:
                raise MqttError("too_long", str(length))
            if not data[i] & 0x80:
                break
        else:
            raise MqttError("malformed", "remaining length")
        end = i + 1 + length
        if len(data) < end:
            return None
        packet = data[0], bytes(data[i + 1 : end])
        self._in = data[end:]
        return packet

    def _send(self, first, body):
        length = len(body)
        if length > MAX_PACKET_BYTES or len(self._out) >= MAX_OUT_PACKETS:
            raise MqttError("too_long", "%d bytes, %d packets" % (length, len(self._out)))
        head = bytes((first, length)) if length < 128 else bytes((first, length & 0x7F | 0x80, length >> 7))
        self._out.append(head + body)
        self._flush()

    def _flush(self):
        # TLS must be offered the very same bytes again after it could not take them: packets are never joined
        while self._out:
            packet = self._out[0]
            taken = self._stream.write(packet)
            if not taken:
                return
            if taken < len(packet):
                self._out[0] = packet[taken:]
                return
            self._out.pop(0)

    def _next_id(self):
        self._packet_id = self._packet_id % 0xFFFF + 1
        return self._packet_id


def _text(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data
