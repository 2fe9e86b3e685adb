"""What a foe sends: bytes of no tag, bent frames of a real one, authentic frames of a tag gone mad; and its MQTT client."""

import contextlib
import socket
import ssl
import struct
import time

import paho.mqtt.client as mqtt
from hypothesis import strategies as st

from wardtwin_board.load import LoadTag
from wardtwin_wire import frame, topics

from .rough_ward import LOAD_USER, Ward, take_ack, until

GOOD = LoadTag("0bad00000001", bytes(16)).make(1000)
"""A frame in shape, of a known tag, but not under its key."""

headers = st.builds(
    lambda version, kind, tag, boot, sequence, rest: struct.pack("<BB6sII", version, kind, bytes.fromhex(tag), boot, sequence) + rest,
    st.sampled_from((0, 1, 2, 255)), st.integers(0, 255), st.sampled_from(("0bad00000001", "0bad0000000a", "ffffffffffff")),
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=220),
)  # fmt: skip
junk = st.one_of(st.binary(max_size=400), headers)
mutations = st.tuples(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from(("flip", "cut", "longer")))


def mutated(data: bytes, change: tuple[int, int, str]) -> bytes:
    at, value, how = change
    at %= len(data)
    if how == "flip":
        return data[:at] + bytes((data[at] ^ value,)) + data[at + 1 :]
    return data[:at] if how == "cut" else data + bytes((value,))


# authentic frames of a tag gone mad: whatever a payload may say
uptimes_ms = st.sampled_from((0, 1, 1000, 2**32, 2**48 - 1)) | st.integers(0, 2**48 - 1)
watts = st.sampled_from((0.0, 5000.0, -1e9, 1e12))
contents = st.one_of(
    st.binary(max_size=160),
    st.binary(min_size=26, max_size=40).map(lambda body: body[:6] + bytes((body[6] & 0x7F, 0)) + body[8:]),
    st.builds(lambda at, power: frame.pack_values(frame.ENERGY, at, {"active_power_w": power, "voltage_v": 1e9}), uptimes_ms, watts),
)
AGES = frame.pack_values(frame.ENERGY, 2**48 - 1, {"active_power_w": 0.0})
"""Measured 8,900 years after the tag's start."""
mad_kinds = st.sampled_from((frame.ENERGY, frame.ENERGY, frame.ENVIRONMENT, frame.SIGHTINGS, frame.STATUS, frame.ACK, 0, 77))
numbers = st.sampled_from((0, 1, 2, 2**31, 2**32 - 1)) | st.integers(0, 2**32 - 1)


class Foe:
    """A client of the broker with the right to write any tag's topic: good reports of `tags`, and everything else."""

    def __init__(self, there: Ward) -> None:
        self.access = there.access
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="foe")
        self.client.tls_set(ca_certs=str(self.access.ca_file))
        self.client.username_pw_set(*LOAD_USER)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect(self.access.host, self.access.port)
        self.tags: list[LoadTag] = []
        self.client.on_connect = lambda client, *_: client.subscribe("wardtwin/1/+/down")
        self.client.on_message = lambda _client, _userdata, message: [take_ack(tag, message.payload) for tag in self.tags]  # type: ignore[assignment]
        self.client.loop_start()
        until(self.client.is_connected, 5)

    def send(self) -> None:
        """One good report of the next of `tags`."""
        tag = min(self.tags, key=lambda tag: tag.sequence)
        data = tag.make(int(time.monotonic() * 1000))
        tag.held[tag.sequence] = (data, 0.0)
        self.client.publish(topics.up(tag.tag_id), data, 1)

    def send_again(self) -> None:
        """As a tag does with what is not acked: an ack is sent once, and this client may have been away."""
        for tag in self.tags:
            for data, _ in list(tag.held.values()):
                self.publish(topics.up(tag.tag_id), data)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(20)

    def raw(self, packets: bytes) -> None:
        """Bytes of our own after a proper CONNECT: what no client library would send."""
        context = ssl.create_default_context(cafile=self.access.ca_file)
        with (
            socket.create_connection((self.access.host, self.access.port)) as plain,
            context.wrap_socket(plain, server_hostname=self.access.host) as line,
        ):
            words = [b"MQTT", b"raw", *(word.encode() for word in LOAD_USER)]
            name, client_id, user, password = (len(word).to_bytes(2, "big") + word for word in words)
            body = name + b"\x04\xc2\x00\x3c" + client_id + user + password
            line.sendall(b"\x10" + bytes((len(body),)) + body)
            assert line.recv(4)[3] == 0
            with contextlib.suppress(OSError):
                line.sendall(packets)
                line.settimeout(0.3)
                line.recv(100)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
