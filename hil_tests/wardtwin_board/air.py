"""The air of a ward: bumble's virtual controllers on a link of our own, with an RSSI and a loss per pair and packet.

bumble's stock link sends only ADV_IND, reports each advert twice, at a fixed RSSI, and misreads the interval's unit. So
the advertiser and the delivery of adverts are replaced; commands and everything else stay bumble's.
"""

import asyncio
import contextlib
import math
import random
from dataclasses import dataclass
from typing import Any

from bumble import hci
from bumble.controller import Controller, LegacyAdvertiser
from bumble.link import LocalLink

from wardtwin_board.clock import Clock
from wardtwin_board.lines import Line
from wardtwin_board.signals import jitter

_INTERVAL_UNIT_S = 0.000625
_ADVERT_DELAY_S = 0.010  # advDelay: 0 to 10 ms, Core Specification Vol 6 Part B 4.4.2.2
_LEAST_INTERVAL_S = 0.004  # real
_REPORT_TYPE = {0: 0, 2: 2, 3: 3}  # ADV_IND, ADV_SCAN_IND, ADV_NONCONN_IND


@dataclass(frozen=True)
class Position:
    """x_m, y_m on the floor's plan; room: what walls are counted by."""

    x_m: float = 0.0
    y_m: float = 0.0
    floor: int = 0
    room: str = ""


@dataclass(frozen=True)
class Propagation:
    """Log-distance path loss with walls and floors. Defaults: an ESP32 in a hospital ward."""

    at_1m_dbm: float = -57.0
    exponent: float = 2.3
    wall_db: float = 6.0
    wall_every_m: float = 5.0
    floor_db: float = 16.0
    shadow_db: float = 3.0
    fading_db: float = 2.5
    sensitivity_dbm: float = -97.0
    loss: float = 0.02
    """Share of packets lost to collisions, however near."""

    def mean_dbm(self, a: Position, b: Position) -> float:
        distance_m = max(0.3, math.hypot(a.x_m - b.x_m, a.y_m - b.y_m, 3.2 * (a.floor - b.floor)))
        walls = 0.0
        if a.room != b.room:
            walls = 1 + distance_m // self.wall_every_m
        return (
            self.at_1m_dbm
            - 10 * self.exponent * math.log10(distance_m)
            - self.wall_db * min(walls, 5)
            - self.floor_db * abs(a.floor - b.floor)
        )


class Air(LocalLink):  # type: ignore[misc]  # bumble is not typed for us
    """`port`: where a gateway's scanner reaches its controller (HCI H4 over TCP). Faults: `stalled`, `down` and `up`."""

    def __init__(self, clock: Clock, propagation: Propagation | None = None, seed: int = 0) -> None:
        super().__init__()
        self.propagation = propagation or Propagation()
        self.stalled = False
        """The gateway's controller still takes commands but reports nothing any more."""
        self.sent = 0
        self.port = 0
        self.gateway_position = Position()
        self._clock = clock
        self._seed = seed
        self._chance = random.Random(seed)
        self._positions: dict[Controller, Position] = {}
        self._gateways: set[Controller] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._shadows: dict[tuple[str, str], float] = {}

    @property
    def clock(self) -> Clock:
        return self._clock

    def radio(self, address: str, position: Position, name: str) -> "Radio":
        return Radio(self, address, position, name)

    async def up(self) -> None:
        """Serve the gateway's adapter; on the same port again after `down`."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def down(self) -> None:
        """The gateway's adapter is gone: connections break, new ones are refused."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            if self._connections:
                await asyncio.wait(self._connections)
            await self._server.wait_closed()
            self._server = None

    def join(self, controller: Controller, position: Position) -> None:
        self._positions[controller] = position
        if controller not in self.controllers:
            self.add_controller(controller)

    def leave(self, controller: Controller) -> None:
        self._positions.pop(controller, None)
        if controller in self.controllers:
            self.remove_controller(controller)

    def send(self, sender: Controller, advert_type: int, address: hci.Address, data: bytes, tries: float) -> None:
        """One advertisement. tries: how many of these the emulated time holds, where real time has room for one only."""
        self.sent += 1
        source = self._positions.get(sender)
        if source is None:
            return
        for receiver in self.controllers:
            if receiver is sender or not receiver.le_scan_enable or (self.stalled and receiver in self._gateways):
                continue
            rssi_dbm = self._rssi(sender, receiver, source, self._positions[receiver])
            duty = min(1.0, receiver.le_scan_window / receiver.le_scan_interval) if receiver.le_scan_interval else 1.0
            lost = (1 - (1 - self.propagation.loss) * duty) ** tries
            if rssi_dbm < self.propagation.sensitivity_dbm or self._chance.random() < lost:
                continue
            report = bytes((2, 1, advert_type, address.address_type)) + bytes(address) + bytes((len(data),)) + data
            report += bytes((int(rssi_dbm) & 0xFF,))
            if receiver.host is not None:
                receiver.host.on_packet(bytes((0x04, 0x3E, len(report))) + report)

    def _rssi(self, a: Controller, b: Controller, at: Position, to: Position) -> float:
        pair = (a.name, b.name) if a.name < b.name else (b.name, a.name)
        shadow = self._shadows.get(pair)
        if shadow is None:
            shadow = self._shadows[pair] = jitter(self._seed, hash_of(pair)) * self.propagation.shadow_db
        mean = self.propagation.mean_dbm(at, to) + shadow
        return max(-127.0, min(20.0, mean + self._chance.gauss(0.0, self.propagation.fading_db)))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.get_running_loop().create_task(self._gateway(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sink = _WriterSink(writer)
        controller = _controller(self, "gateway", "F0:F0:F0:F0:F0:F0", sink)
        self.join(controller, self.gateway_position)
        self._gateways.add(controller)
        packets = _Packets(controller)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while data := await reader.read(65536):
                    packets.feed(data)
        finally:
            self._gateways.discard(controller)
            self.leave(controller)
            writer.transport.abort()


class Radio:
    """A board's Bluetooth controller: made at power-on, gone at power-off."""

    def __init__(self, air: Air, address: str, position: Position, name: str) -> None:
        self._air = air
        self._address = address
        self._name = name
        self.position = position
        self._controller: Controller | None = None

    def power_on(self) -> Line:
        self.power_off()
        line = _RadioLine()
        self._controller = _controller(self._air, self._name, self._address, line)
        line.packets = _Packets(self._controller)
        self._air.join(self._controller, self.position)
        return line

    def power_off(self) -> None:
        if self._controller is not None:
            self._controller.le_legacy_advertiser.stop()
            self._air.leave(self._controller)
            self._controller = None

    def move(self, position: Position) -> None:
        self.position = position
        if self._controller is not None:
            self._air.join(self._controller, position)

    close = power_off


class _Advertiser(LegacyAdvertiser):  # type: ignore[misc]
    """bumble's advertiser with the right kinds and intervals, on scaled time."""

    def send_advertising_data(self) -> None:
        if not self.enabled:
            return
        kind = _REPORT_TYPE.get(int(self.advertising_type))
        if kind is not None:
            air: Air = self.controller.link
            wanted_s = air.clock.real_s(self.advertising_interval_min * _INTERVAL_UNIT_S)
            tries = max(1.0, _LEAST_INTERVAL_S / wanted_s) if wanted_s else 1.0
            air.send(self.controller, kind, self.address, self.advertising_data, tries)

    def _on_timer_fired(self) -> None:
        self.send_advertising_data()
        air: Air = self.controller.link
        wanted_s = air.clock.real_s(self.advertising_interval_min * _INTERVAL_UNIT_S + random.random() * _ADVERT_DELAY_S)
        self.timer_handle = asyncio.get_running_loop().call_later(max(wanted_s, _LEAST_INTERVAL_S), self._on_timer_fired)


class _Packets:
    """Cuts H4 commands out of a byte stream and hands them to a controller."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + self._buffer[3]
            if len(self._buffer) < end:
                return
            packet, self._buffer = self._buffer[:end], self._buffer[end:]
            self._controller.on_packet(packet)


class _RadioLine(Line):
    packets: _Packets | None = None

    def received(self, data: bytes) -> None:
        if self.packets is not None:
            self.packets.feed(data)

    def on_packet(self, packet: bytes) -> None:
        if self.near.fileno() >= 0:
            self.send(packet)


class _WriterSink:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def on_packet(self, packet: bytes) -> None:
        # a gateway that does not read loses packets, it does not fill our memory
        if not self._writer.is_closing() and self._writer.transport.get_write_buffer_size() < 1 << 20:
            self._writer.write(packet)


def _controller(air: Air, name: str, address: str, sink: Any) -> Controller:
    controller = Controller(name, host_sink=sink, public_address=hci.Address(address, hci.Address.PUBLIC_DEVICE_ADDRESS))
    controller.link = air
    controller.le_legacy_advertiser = _Advertiser(controller)
    return controller


def hash_of(pair: tuple[str, str]) -> int:
    """The same in every run, unlike hash()."""
    number = 0
    for character in "|".join(pair):
        number = (number * 131 + ord(character)) & 0xFFFFFFFFFFFF
    return number
