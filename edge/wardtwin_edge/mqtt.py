"""The only door to paho: sealed frames in from the broker, PUBACK after commit, sealed acks out.

One thread owns the client and its socket (paho's external loop), so a group of messages costs one hand-over and the PUBACKs
of a commit go out in one write. With the window full it stops reading: the broker keeps what is not acked.
"""

import contextlib
import logging
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Mqtt
from wardtwin_edge.pipeline import Arrival
from wardtwin_sync.states import Transport
from wardtwin_wire import frame, topics

_log = logging.getLogger(__name__)
_KEEPALIVE_S = 30
_GROUP = 150
_BACK_OFF_S = (0.5, 30.0)
_LAST_ACKS_S = 5.0
_READ_BYTES = 16_384
_PUBACK = struct.Struct("!BBH")


class Session:
    """One connection, as the source of its messages: packet ids of an earlier one may mean other messages now."""

    transport = Transport.MQTT

    def __init__(self, wake: socket.socket) -> None:
        self._wake = wake
        self._awake = False
        self._released: deque[list[int]] = deque()
        self._outgoing: deque[bytes] = deque()
        self.unacked = 0

    # called in the committer's thread

    def committed(self, tokens: list[Any]) -> None:
        self._released.append(tokens)
        self.wake()

    def send_ack(self, tag_id: str, sealed: bytes) -> None:
        self._outgoing.append(publish_packet(topics.down(tag_id), sealed))
        self.wake()

    def wake(self) -> None:
        if self._awake:
            return
        self._awake = True
        with contextlib.suppress(OSError):  # full: awake anyway; closed: nobody to wake
            self._wake.send(b"\x00")

    # called in the link's thread

    def take(self) -> bytes:
        """The packets to send now: PUBACKs of what was committed, and acks to tags."""
        self._awake = False
        packets = []
        while self._released:
            tokens = self._released.popleft()
            self.unacked -= len(tokens)
            packets += [_PUBACK.pack(0x40, 2, mid) for mid in tokens if mid]
        while self._outgoing:
            packets.append(self._outgoing.popleft())
        return b"".join(packets)


def publish_packet(topic: str, payload: bytes) -> bytes:
    """An MQTT 3.1.1 PUBLISH at QoS 0 (section 3.3); less than 16384 bytes, so at most two bytes of length."""
    name = topic.encode()
    length = 2 + len(name) + len(payload)
    size = bytes((length,)) if length < 128 else bytes((length & 127 | 128, length >> 7))
    return b"\x30" + size + len(name).to_bytes(2, "big") + name + payload


class _Client(paho.Client):
    """paho reads a packet by three or four calls on the socket; here they are answered from one read of what is there."""

    _ahead = b""
    _at = 0

    @property
    def has_read_ahead(self) -> bool:
        return self._at < len(self._ahead)

    def forget_read_ahead(self) -> None:
        self._ahead, self._at = b"", 0

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._at >= len(self._ahead):
            self._ahead, self._at = b"", 0
            self._ahead = super()._sock_recv(_READ_BYTES)
        piece = self._ahead[self._at : self._at + bufsize]
        self._at += len(piece)
        return piece


class MqttLink(threading.Thread):
    def __init__(self, config: Mqtt, gateway_id: str, committer: Committer) -> None:
        super().__init__(name="mqtt", daemon=True)
        self._config = config
        self._committer = committer
        self._stopping = threading.Event()
        self._session: Session | None = None
        self._batch: list[Arrival] = []
        self._unsent = b""
        self._client = self._new_client(config.client_id or f"wardtwin-{gateway_id}")
        self.state = "not yet connected"
        self.is_connected = False
        self.connects = 0
        self.received = 0

    def _new_client(self, client_id: str) -> _Client:
        client = _Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        client.connect_timeout = 5.0
        config = self._config
        if config.username:
            client.username_pw_set(config.username, config.password)
        if config.ca_file:
            client.tls_set(ca_certs=config.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def stop_reading(self) -> None:
        """Read no more, send the acks that are still to come, and end. Called from any thread."""
        self._stopping.set()
        if self._session is not None:
            self._session.wake()

    def run(self) -> None:
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        back_off = _BACK_OFF_S[0]
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    session = self._session = Session(self._wake_w)
                    self._unsent = b""
                    self._client.forget_read_ahead()
                    self._client.connect(self._config.host, self._config.port, _KEEPALIVE_S)
                    self._serve(session)
                except (OSError, ValueError) as error:
                    self.state = f"cannot connect: {error}"
                except Exception as error:  # whatever a broker answers, the gateway goes on
                    _log.exception("mqtt")
                    self.state = f"fault: {error}"
                self.is_connected = False
                if self._stopping.is_set():
                    break
                back_off = _BACK_OFF_S[0] if time.monotonic() - began > 10 else min(back_off * 2, _BACK_OFF_S[1])
                self._stopping.wait(back_off * random.uniform(0.5, 1.0))
        finally:
            with contextlib.suppress(Exception):
                self._client.disconnect()
            self._wake_r.close()
            self._wake_w.close()

    def _serve(self, session: Session) -> None:
        client = self._client
        stop_at = float("inf")
        while (sock := client.socket()) is not None:
            stopping = self._stopping.is_set()
            if stopping:
                stop_at = min(stop_at, time.monotonic() + _LAST_ACKS_S)
                if session.unacked <= 0 or time.monotonic() > stop_at:
                    self._send(session, sock)
                    return
            reading = session.unacked < self._config.window and not stopping
            pending = reading and (client.has_read_ahead or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0))
            wanted: list[Any] = [sock, self._wake_r] if reading else [self._wake_r]
            writing = [sock] if self._unsent or client.want_write() else []
            readable, writable, _ = select.select(wanted, writing, [], 0.0 if pending else 0.2)
            if self._wake_r in readable:
                with contextlib.suppress(BlockingIOError):
                    self._wake_r.recv(4096)
            ok = not (pending or sock in readable) or self._read(session)
            if ok and writable and not self._unsent:
                ok = client.loop_write() is MQTTErrorCode.MQTT_ERR_SUCCESS
            if not ok or not self._send(session, sock):
                self.state = self.state if self.state.startswith("refused") else "connection lost"
                return

    def _read(self, session: Session) -> bool:
        """Read until nothing more is there or the group is full, and hand it over; False when the connection is gone."""
        batch = self._batch
        ok = True
        while len(batch) < _GROUP:
            before = len(batch)
            if self._client.loop_read() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                ok = False
                break
            if len(batch) == before:
                break
        if batch:
            self._batch = []
            session.unacked += len(batch)
            self.received += len(batch)
            self._committer.put(batch)
        return ok

    def _send(self, session: Session, sock: Any) -> bool:
        """Write what is to go out as one piece, and nothing of paho's between a piece and its rest."""
        self._unsent += session.take()
        if self._unsent and not self._client.want_write():
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._unsent = self._unsent[sock.send(self._unsent) :]
        return bool(self._unsent) or self._client.loop_misc() is MQTTErrorCode.MQTT_ERR_SUCCESS

    def _on_connect(self, client: paho.Client, userdata: object, flags: object, reason: Any, properties: object) -> None:
        if reason.is_failure:
            self.state = f"refused: {reason}"
            return
        self.is_connected = True
        self.connects += 1
        self.state = "connected"
        client.subscribe(topics.UP_FILTER, qos=1)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        assert self._session is not None
        token = message.mid if message.qos else 0
        # no more than shows that it is too long: thousands may wait for a disk that is full
        payload = bytes(message.payload[: frame.MAX_FRAME_BYTES + 1])
        self._batch.append(Arrival(self._session, payload, time.monotonic(), token))
