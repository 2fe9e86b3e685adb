"""The emulated air: what is heard where, through bleak's own scanner API, and what becomes of a scanner whose adapter goes away."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError

from wardtwin_board.air import Position, Propagation
from wardtwin_board.bench import HCI_ENVIRONMENT_NAME, Bench
from wardtwin_board.bleak_backend import BumbleScanner
from wardtwin_board.signals import constant
from wardtwin_wire import frame

from .asynchronous import asynchronous
from .receiver import AirReceiver, eventually
from .ward import ENERGY_TAG, KEY, KEY_HEX, ROOM_TAG, listening, serial_settings

BLE = {"key": KEY_HEX, "transport": "ble"}


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """scanning(bench, *receivers): a running BleakScanner that feeds them."""

    @asynccontextmanager
    async def scanning(bench: Bench, *receivers: AirReceiver) -> AsyncIterator[BleakScanner]:
        monkeypatch.setenv(HCI_ENVIRONMENT_NAME, bench.gateway_env[HCI_ENVIRONMENT_NAME])

        def detected(device: Any, advertisement: Any) -> None:
            for receiver in receivers:
                receiver.detected(device, advertisement)

        scanner = BleakScanner(detected, backend=BumbleScanner)
        await scanner.start()
        try:
            yield scanner
        finally:
            await scanner.stop()

    return scanning


@asynchronous
async def test_an_energy_tags_adverts_carry_its_values_and_the_beacons_it_hears(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        pump = bench.add_energy_board(ENERGY_TAG, BLE, constant(61.5, 229.0), position=(2.0, 1.0, 0))
        room = bench.add_environment_board(ROOM_TAG, BLE, position=(4.0, 1.0, 0))
        heard, beacon = AirReceiver(pump.ble_address, KEY), AirReceiver(room.ble_address, KEY)
        async with scanner(bench, heard, beacon):
            await pump.power_on()
            await room.power_on()
            wanted = ("active_power_w", "voltage_v", "energy_wh", "status", "sightings")
            await eventually(lambda: all(heard.latest(name) is not None for name in wanted), 20, pump.console)
            await eventually(lambda: beacon.latest("co2_ppm") is not None and beacon.latest("temperature_c") is not None, 20, room.console)
            assert heard.latest("active_power_w") == pytest.approx(61.5, abs=0.1)
            assert heard.latest("voltage_v") == pytest.approx(229.0, abs=0.1)
            ((address, rssi_dbm),) = heard.latest("sightings")
            assert address == bytes.fromhex(room.ble_address.replace(":", ""))[-4:]
            assert -90 < rssi_dbm < -50
            assert beacon.adverts[-1].tx_power == -4
            assert heard.adverts[-1].tx_power is None
            counters = [advert.counter for advert in heard.adverts]
            assert counters == sorted(counters)
            assert heard.refused == beacon.refused == 0


@asynchronous
async def test_an_energy_tag_on_serial_reports_the_beacons_it_hears(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        pump = bench.add_energy_board(ENERGY_TAG, serial_settings(), position=(2.0, 1.0, 0))
        room = bench.add_environment_board(ROOM_TAG, serial_settings(), position=(4.0, 1.0, 0))
        await room.power_on()
        async with listening(pump) as receiver:
            # the first scan may come before the first advert
            await eventually(lambda: receiver.got.of_kind(frame.SIGHTINGS), 20, pump.console)
            ((address, _),) = receiver.got.of_kind(frame.SIGHTINGS)[-1][1]
            assert address.hex(":").upper() == room.ble_address


@asynchronous
async def test_signal_falls_with_distance_walls_and_floors(tmp_path: Path, scanner: Any) -> None:
    places = {
        "c0ffee000011": Position(1.0, 0.0, 0, "a"),
        "c0ffee000012": Position(6.0, 0.0, 0, "b"),
        "c0ffee000013": Position(6.0, 0.0, 1, "c"),
    }
    async with Bench(tmp_path, speed=20, propagation=Propagation(shadow_db=0.0, sensitivity_dbm=-127)) as bench:
        bench.air.gateway_position = Position(0.0, 0.0, 0, "a")
        heard = {}
        for tag_id, place in places.items():
            board = bench.add_environment_board(tag_id, BLE, sensors=(), position=place)
            heard[tag_id] = AirReceiver(board.ble_address, KEY)
            await board.power_on()
        async with scanner(bench, *heard.values()):
            await eventually(lambda: all(len(receiver.adverts) >= 20 for receiver in heard.values()), 20)
        near, behind_a_wall, upstairs = (statistics.mean(advert.rssi for advert in receiver.adverts) for receiver in heard.values())
        assert near > behind_a_wall + 10
        assert behind_a_wall > upstairs + 10


@asynchronous
async def test_packets_are_lost_at_the_rate_asked_for(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=10, propagation=Propagation(loss=0.5)) as bench:
        board = bench.add_environment_board(ROOM_TAG, BLE, sensors=(), position=(1.0, 0.0, 0))
        heard = AirReceiver(board.ble_address, KEY)
        async with scanner(bench, heard):
            await board.power_on()
            await eventually(lambda: bench.air.sent >= 150, 20, board.console)
            assert 0.35 < len(heard.adverts) / bench.air.sent < 0.65


@asynchronous
async def test_adverts_come_at_the_interval_the_tag_asked_for(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=2, propagation=Propagation(loss=0.0)) as bench:
        board = bench.add_environment_board(ROOM_TAG, {**BLE, "ble": {"advert_interval_ms": 250}}, sensors=(), position=(1.0, 0.0, 0))
        heard = AirReceiver(board.ble_address, KEY)
        async with scanner(bench, heard):
            await board.power_on()
            await eventually(lambda: heard.adverts, 10, board.console)
            had = len(heard.adverts)
            await asyncio.sleep(3.0)
            # 4 a second of scaled time, one more at each new payload
            assert 20 <= len(heard.adverts) - had <= 32


@asynchronous
async def test_a_scanner_works_again_after_its_adapter_was_away(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        board = bench.add_environment_board(ROOM_TAG, BLE, sensors=(), position=(1.0, 0.0, 0))
        heard = AirReceiver(board.ble_address, KEY)
        await board.power_on()
        async with scanner(bench, heard) as running:
            await eventually(lambda: heard.adverts, 10, board.console)
            await bench.air.down()
            had = len(heard.adverts)
            await asyncio.sleep(0.3)
            assert len(heard.adverts) == had
            await running.stop()
            with pytest.raises(BleakError, match="no Bluetooth adapter"):
                await running.start()
            await bench.air.up()
            await running.start()
            await eventually(lambda: len(heard.adverts) > had, 10)


@asynchronous
async def test_a_stalled_adapter_hears_nothing_until_the_stall_ends(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        board = bench.add_environment_board(ROOM_TAG, BLE, sensors=(), position=(1.0, 0.0, 0))
        heard = AirReceiver(board.ble_address, KEY)
        await board.power_on()
        async with scanner(bench, heard):
            await eventually(lambda: heard.adverts, 10, board.console)
            bench.air.stalled = True
            await asyncio.sleep(0.1)
            had = len(heard.adverts)
            await asyncio.sleep(0.3)
            assert len(heard.adverts) == had
            bench.air.stalled = False
            await eventually(lambda: len(heard.adverts) > had, 10)


@asynchronous
async def test_a_tag_without_power_is_not_heard_and_its_counter_goes_on(tmp_path: Path, scanner: Any) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        board = bench.add_environment_board(ROOM_TAG, BLE, sensors=(), position=(1.0, 0.0, 0))
        heard = AirReceiver(board.ble_address, KEY)
        async with scanner(bench, heard):
            await board.power_on()
            await eventually(lambda: len(heard.adverts) > 5, 10, board.console)
            board.power_off()
            await asyncio.sleep(0.1)
            before = heard.adverts[-1].counter
            had = len(heard.adverts)
            await asyncio.sleep(0.3)
            assert len(heard.adverts) == had
            await board.power_on()
            await eventually(lambda: len(heard.adverts) > had, 10, board.console)
            assert heard.adverts[-1].counter > before
