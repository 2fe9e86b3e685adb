"""An emulated ward whole: boards on a bench, a broker, gateway and cloud. `wardtwin demo` and `wardtwin replay` run it."""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from wardtwin_board.air import Position, Propagation
from wardtwin_board.bench import Bench, broker_settings
from wardtwin_board.board import Board
from wardtwin_board.broker import AmqttBroker, Broker, Mosquitto
from wardtwin_board.queue_image import QueueContents, read_queue
from wardtwin_board.rooms import RoomSignal
from wardtwin_board.signals import MainsSignal
from wardtwin_sync.registry import Device, Registry, Room, TagBinding
from wardtwin_sync.states import Transport
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.errors import ToolError
from wardtwin_tools.stack import BrokerSettings, Stack, card_of

_MARK = ".wardtwin-workdir"
PLASTERBOARD_DB = 3.5


class EmulatedWard:
    """Everything a registry names, with a signal for each device and each room.

    signal_of(device) -> watts, volts, …; climate_of(room) -> temperature, …: both functions of scaled seconds since power-on.
    """

    def __init__(
        self,
        workdir: Path,
        registry: Registry,
        signal_of: Callable[[Device], MainsSignal],
        climate_of: Callable[[Room], RoomSignal],
        *,
        speed: float = 1.0,
        mosquitto: bool = False,
        cloud_port: int | None = None,
        gateway_room_id: str | None = None,
        report_period_s: Callable[[TagBinding], float] | None = None,
    ) -> None:
        workdir = workdir.resolve()
        empty(workdir)
        self._registry = registry
        self._rooms = registry.rooms()
        self._floors = {room.room_id: floor.level for b in registry.hospital.buildings for floor in b.floors for room in floor.rooms}
        self._cards = [card_of(registry, tag.tag_id) for tag in registry.tags]
        self._passwords = {tag.tag_id: secrets.token_urlsafe(16) for tag in registry.tags if tag.transport is Transport.MQTT}
        gateway_password = secrets.token_urlsafe(16)
        kind = Mosquitto if mosquitto else AmqttBroker
        self.broker: Broker = kind(workdir / "broker", {GATEWAY_ID: gateway_password}, self._passwords)
        self.bench = Bench(workdir / "bench", speed, propagation=Propagation(wall_db=PLASTERBOARD_DB))
        transports = {tag.transport for tag in registry.tags}
        self.stack = Stack(
            workdir,
            registry,
            self._cards,
            BrokerSettings(self.broker.host, self.broker.port, GATEWAY_ID, gateway_password, self.broker.ca_pem),
            serial_ports=[self.bench.serial_glob] if Transport.SERIAL in transports else [],
            ble=True,
            env=self.bench.clock_env,
            cloud_port=cloud_port,
            gateway_room_id=gateway_room_id,
        )
        self.bench.air.gateway_position = self._position(gateway_room_id, "")
        self._signal_of = signal_of
        self._climate_of = climate_of
        self._report_period_s = report_period_s

    async def __aenter__(self) -> "EmulatedWard":
        try:
            await self.broker.start()
            await self.bench.start()
            self.stack.add_gateway_env(self.bench.gateway_env)
            self.stack.prepare()
            await self.stack.start()
            for card in self._cards:
                self._add_board(card.binding, card.key_hex)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._end()

    async def power_on(self) -> None:
        for board in self.bench.boards.values():
            await board.power_on()

    def pull_all_plugs(self) -> None:
        for board in self.bench.boards.values():
            board.power_off()

    def queues(self) -> dict[str, QueueContents]:
        """By tag id, for the tags that keep a queue (MQTT and serial)."""
        return {
            tag.tag_id: read_queue(self.bench.boards[tag.tag_id].queue_image())
            for tag in self._registry.tags
            if tag.transport is not Transport.BLE
        }

    async def _end(self) -> None:
        await self.bench.stop()
        await self.stack.stop()
        self.broker.stop()

    def _add_board(self, tag: TagBinding, key_hex: str) -> Board:
        settings: dict[str, Any] = {"key": key_hex, "ward": tag.ward, "transport": tag.transport.value}
        if self._report_period_s is not None:
            settings["report_period_s"] = self._report_period_s(tag)
        if tag.transport is Transport.MQTT:
            settings["broker"] = broker_settings(self.broker.host, self.broker.port, tag.tag_id, self._passwords[tag.tag_id])
        if tag.kind == "energy":
            device = next(device for device in self._registry.devices if device.device_id == tag.device_id)
            position = self._position(device.home_room_id, tag.tag_id)
            board = self.bench.add_energy_board(tag.tag_id, settings, self._signal_of(device), position=position)
        else:
            room = self._rooms[tag.room_id or ""]
            board = self.bench.add_environment_board(tag.tag_id, settings, self._climate_of(room), position=self._position(tag.room_id, ""))
        board.write_file("ca.der", self.broker.ca_der)
        return board

    def _position(self, room_id: str | None, tag_id: str) -> Position:
        """The middle of the room, devices a little apart."""
        if room_id is None or not self._rooms[room_id].polygon_m:
            return Position()
        corners = self._rooms[room_id].polygon_m
        x_m = sum(x for x, _ in corners) / len(corners)
        y_m = sum(y for _, y in corners) / len(corners)
        apart = int(tag_id[-2:], 16) % 5 - 2 if tag_id else 0
        return Position(x_m + 0.7 * apart, y_m + 0.5 * (apart % 3 - 1), self._floors[room_id], room_id)


def empty(workdir: Path) -> None:
    """Make `workdir` new and empty. Raise ToolError when it holds what no earlier run of ours has put there."""
    if workdir.exists():
        if any(workdir.iterdir()) and not (workdir / _MARK).exists():
            raise ToolError(f"{workdir} holds other files. Name an empty or a new folder with --workdir.")
        shutil.rmtree(workdir)
    workdir.mkdir(parents=True)
    (workdir / _MARK).touch()
