"""A bench of emulated boards, the air between them, and their clock: what demo, replay and the suites stand on.

async with Bench(workdir, speed=10) as bench:
    board = bench.add_energy_board(tag_id="c0ffee000001", settings=settings, signal=device_signal("ventilator"))
    await board.power_on()
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from wardtwin_board.air import Air, Position, Propagation
from wardtwin_board.board import WIFI, Board, Wiring
from wardtwin_board.chips.bl0942 import Bl0942, Front
from wardtwin_board.chips.bme280 import Bme280
from wardtwin_board.chips.cse7766 import Cse7766
from wardtwin_board.chips.pms5003 import Pms5003
from wardtwin_board.chips.scd41 import Scd41
from wardtwin_board.chips.sgp40 import Sgp40
from wardtwin_board.chips.uart import UartChip
from wardtwin_board.clock import Clock
from wardtwin_board.interpreter import find_firmware, find_interpreter
from wardtwin_board.rooms import Climate, RoomSignal, steady
from wardtwin_board.signals import MainsSignal, constant

HCI_ENVIRONMENT_NAME = "WARDTWIN_BOARD_HCI"
ALL_SENSORS = ("bme280", "sgp40", "pms5003", "gas")


class Bench:
    """firmware: another `firmware` folder than the checkout's. interpreter: "micropython", "cpython" or None for what there is."""

    def __init__(
        self,
        workdir: Path,
        speed: float = 1.0,
        firmware: Path | None = None,
        interpreter: str | None = None,
        propagation: Propagation | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.workdir = workdir
        self.clock = clock or Clock(speed)
        self.air = Air(self.clock, propagation)
        self.boards: dict[str, Board] = {}
        self.interpreter = find_interpreter(interpreter)
        self._firmware = find_firmware(workdir / "firmware", firmware)

    async def start(self) -> None:
        await self.air.up()

    async def stop(self) -> None:
        for board in self.boards.values():
            board.close()
        await self.air.down()

    async def __aenter__(self) -> "Bench":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def clock_env(self) -> dict[str, str]:
        return self.clock.environment

    @property
    def gateway_env(self) -> dict[str, str]:
        """For the gateway's process: the clock, and the way to its radio."""
        return {**self.clock.environment, HCI_ENVIRONMENT_NAME: f"tcp-client:127.0.0.1:{self.air.port}"}

    @property
    def serial_glob(self) -> str:
        """For the gateway's [serial] ports."""
        return str(self.workdir / "serial" / "tty*")

    def add_energy_board(
        self,
        tag_id: str,
        settings: Mapping[str, Any],
        signal: MainsSignal | None = None,
        chip: str = "bl0942",
        position: Position | tuple[float, float, int] = (0.0, 0.0, 0),
    ) -> Board:
        """settings: what goes over the defaults of a provisioned tag (see `energy_settings`); `key` is the least."""
        wiring = Wiring()
        front = Front()
        source = signal or constant(0.0)
        meter: UartChip = Bl0942(source, front, seed=int(tag_id, 16)) if chip == "bl0942" else Cse7766(source, seed=int(tag_id, 16))
        full = merged(energy_settings(chip, front), settings)
        wiring.uarts[full["meter"]["uart"]["id"]] = meter
        return self._add(tag_id, "energy", full, wiring, position)

    def add_environment_board(
        self,
        tag_id: str,
        settings: Mapping[str, Any],
        room: RoomSignal | None = None,
        sensors: tuple[str, ...] = ALL_SENSORS,
        position: Position | tuple[float, float, int] = (0.0, 0.0, 0),
    ) -> Board:
        """sensors: which of ALL_SENSORS the board carries; its settings name the same unless `settings` says otherwise."""
        wiring = Wiring()
        full = merged(environment_settings(sensors), settings)
        source = room or steady(Climate())
        chips = {"bme280": Bme280, "sgp40": Sgp40, "gas": Scd41}
        for name in sensors:
            if name == "pms5003":
                wiring.uarts[environment_settings()["sensors"][name]["uart"]["id"]] = Pms5003(source, seed=int(tag_id, 16))
            else:
                chip = chips[name](source)
                wiring.i2c.setdefault(0, {})[chip.address] = chip
        return self._add(tag_id, "environment", full, wiring, position)

    def _add(
        self, tag_id: str, kind: str, settings: Mapping[str, Any], wiring: Wiring, position: Position | tuple[float, float, int]
    ) -> Board:
        if tag_id in self.boards:
            raise ValueError(f"two boards with the id {tag_id}")
        board = Board(
            tag_id,
            kind,
            self.workdir / "boards" / tag_id,
            settings,
            wiring,
            self.clock,
            self.air,
            position if isinstance(position, Position) else Position(*position),
            self.interpreter,
            self._firmware,
            self.workdir / "serial" / f"tty{tag_id}",
        )
        self.boards[tag_id] = board
        return board


def energy_settings(chip: str = "bl0942", front: Front | None = None) -> dict[str, Any]:
    """settings.json of an energy tag wired as in docs/wiring; everything but the key."""
    constants = (front or Front()).settings if chip == "bl0942" else {"current_gain": 1.0, "voltage_gain": 1.0, "power_gain": 1.0}
    return {**_common("energy"), "meter": {"chip": chip, "uart": {"id": 1, "tx": 17, "rx": 16}, **constants}}


def environment_settings(sensors: tuple[str, ...] = ALL_SENSORS) -> dict[str, Any]:
    """settings.json of an environment tag wired as in docs/wiring; everything but the key."""
    bus = {"id": 0, "scl": 22, "sda": 21}
    known = {
        "bme280": {"i2c": bus, "address": 118},
        "sgp40": {"i2c": bus},
        "pms5003": {"uart": {"id": 2, "tx": 17, "rx": 16}},
        "gas": {"chip": "scd41", "i2c": bus},
    }
    return {**_common("environment"), "sensors": {name: known[name] for name in sensors}}


def _common(kind: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": kind,
        "ward": "ward-3",
        "transport": "ble",
        "report_period_s": 1,
        "wifi": {"ssid": WIFI[0], "password": WIFI[1]},
        "ble": {"advert_interval_ms": 250, "beacon_tx_power_dbm": -4, "scan_period_s": 15, "scan_window_ms": 1500},
    }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, section by section."""
    out = dict(base)
    for name, value in over.items():
        out[name] = merged(out[name], value) if isinstance(value, Mapping) and isinstance(out.get(name), Mapping) else value
    return out


def broker_settings(host: str, port: int, tag_id: str, password: str) -> dict[str, Any]:
    """The settings' broker section; the CA goes to the board as `ca.der`."""
    return {"host": host, "port": port, "tls": True, "ca_der": "ca.der", "user": tag_id, "password": password}
