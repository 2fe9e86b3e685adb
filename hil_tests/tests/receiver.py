"""A small gateway for the suites: opens frames, acks what it was told to ack, keeps what it got. None of the real gateway's code."""

import asyncio
import os
import secrets
import tty
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt

from wardtwin_board.ciphers import aead
from wardtwin_wire import bthome, frame, keys, serial, topics
from wardtwin_wire.errors import WireError

ACK_EVERY_S = 0.05


@dataclass
class Received:
    """What one tag delivered. reports: (boot, sequence) -> (kind, uptime in ms, values)."""

    reports: dict[tuple[int, int], tuple[int, int, Any]] = field(default_factory=dict)
    repeats: int = 0
    refused: int = 0

    def of_kind(self, kind: int) -> list[tuple[int, Any]]:
        """(uptime in ms, values), in the order of boot and sequence."""
        return [(uptime_ms, values) for _, (k, uptime_ms, values) in sorted(self.reports.items()) if k == kind]

    def sequences(self, boot: int) -> list[int]:
        return sorted(sequence for b, sequence in self.reports if b == boot)

    @property
    def boots(self) -> list[int]:
        return sorted({boot for boot, _ in self.reports})


class Receiver:
    """key: the tag's. tag_id None: learnt from its first frame. acking: whether what came is acked, as a gateway does after its commit."""

    def __init__(self, tag_id: str | None, key: bytes) -> None:
        self.tag_id = tag_id
        self.got = Received()
        self.acking = True
        self._report = aead(key, keys.REPORT, frame.TAG_BYTES)
        self._ack = aead(key, keys.ACK, frame.TAG_BYTES)
        self._session = secrets.randbelow(1 << 32)
        self._acks = 0
        self._to_ack: set[tuple[int, int]] = set()

    def take(self, data: bytes) -> None:
        try:
            kind, tag_id, boot, sequence, payload = frame.open_frame(self._report, data)
        except WireError:
            self.got.refused += 1
            return
        self.tag_id = self.tag_id or tag_id.hex()
        if (boot, sequence) in self.got.reports:
            self.got.repeats += 1
        elif kind == frame.SIGHTINGS:
            self.got.reports[boot, sequence] = (kind, *frame.unpack_sightings(payload))
        else:
            self.got.reports[boot, sequence] = (kind, *frame.unpack_values(kind, payload))
        self._to_ack.add((boot, sequence))

    def next_ack(self) -> bytes | None:
        """The sealed ACK of what came since the last one."""
        if not self.acking or not self._to_ack or self.tag_id is None:
            return None
        runs: list[tuple[int, int, int]] = []
        for boot, sequence in sorted(self._to_ack):
            if runs and runs[-1][0] == boot and runs[-1][2] == sequence - 1:
                runs[-1] = (boot, runs[-1][1], sequence)
            elif len(runs) == frame.MAX_ACK_RUNS:
                break
            else:
                runs.append((boot, sequence, sequence))
        for boot, first, last in runs:
            self._to_ack -= {(boot, n) for n in range(first, last + 1)}
        self._acks += 1
        return frame.seal(self._ack, frame.ACK, bytes.fromhex(self.tag_id), self._session, self._acks, frame.pack_ack(0, runs))


class SerialReceiver(Receiver):
    """Opens a port as pyserial does, by name."""

    def __init__(self, tag_id: str | None, key: bytes, path: str) -> None:
        super().__init__(tag_id, key)
        self.decoder = serial.Decoder()
        self.hellos = 0
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)
        self._acker = asyncio.create_task(self._send_acks())

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            self._loop.remove_reader(self._fd)
            return
        for message, body in self.decoder.feed(data):
            if message == serial.REPORT:
                self.take(body)
            elif message == serial.HELLO:
                self.hellos += 1

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    async def _send_acks(self) -> None:
        while True:
            await asyncio.sleep(ACK_EVERY_S)
            ack = self.next_ack()
            if ack is not None:
                self.write(serial.encode(serial.ACK, ack))

    async def close(self) -> None:
        self._acker.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class MqttReceiver(Receiver):
    """A persistent session as the gateway has it; survives the broker's death by connecting again."""

    def __init__(self, tag_id: str, key: bytes, broker: Any, user: str, password: str) -> None:
        super().__init__(tag_id, key)
        self._loop = asyncio.get_running_loop()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="receiver", clean_session=False)
        self._client.tls_set(ca_certs=str(broker.ca_pem))
        self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topics.UP_FILTER, 1)
        self._client.on_message = lambda _client, _userdata, message: self._loop.call_soon_threadsafe(
            self._message, message.topic, message.payload
        )
        self._client.connect_async(broker.host, broker.port, keepalive=5)
        self._client.loop_start()
        self._acker = asyncio.create_task(self._send_acks())

    def _message(self, topic: str, payload: bytes) -> None:
        if topics.tag_of(topic) == self.tag_id:
            self.take(payload)

    async def _send_acks(self) -> None:
        while True:
            await asyncio.sleep(ACK_EVERY_S)
            ack = self.next_ack() if self._client.is_connected() else None
            if ack is not None:
                self._client.publish(topics.down(str(self.tag_id)), ack)

    async def close(self) -> None:
        self._acker.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


@dataclass
class HeardAdvert:
    counter: int
    values: dict[str, Any]
    rssi: int
    tx_power: int | None


class AirReceiver:
    """Adverts through bleak's scanner API. Call `detected` from a BleakScanner."""

    def __init__(self, address: str, key: bytes) -> None:
        self.address = address
        self.adverts: list[HeardAdvert] = []
        self.refused = 0
        self._aead = aead(key, keys.BTHOME, bthome.TAG_BYTES)

    def detected(self, device: Any, advertisement: Any) -> None:
        if device.address.upper() != self.address:
            return
        data = advertisement.service_data.get(bthome.SERVICE_UUID)
        try:
            counter, objects = bthome.open_service_data(self._aead, bytes.fromhex(self.address.replace(":", "")), data or b"")
            values = bthome.decode(objects)
        except WireError:
            self.refused += 1
            return
        self.adverts.append(HeardAdvert(counter, values, advertisement.rssi, advertisement.tx_power))

    def latest(self, name: str) -> Any:
        """The newest value of a field, or None."""
        return next((advert.values[name] for advert in reversed(self.adverts) if name in advert.values), None)


async def eventually(condition: Any, timeout_s: float, what: Any = "") -> None:
    """Wait for condition(); after `timeout_s` fail with what() or what."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what() if callable(what) else what}")
        await asyncio.sleep(0.02)
