"""The shipped environment tag on its emulated board: every sensor through every transport, and failing sensors left aside."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wardtwin_board.bench import Bench
from wardtwin_board.board import Board
from wardtwin_board.chips.faults import Fault
from wardtwin_board.rooms import Climate, steady
from wardtwin_wire import fields, frame

from .asynchronous import asynchronous
from .receiver import eventually
from .ward import ROOM_TAG, listening, mqtt_ward, serial_settings

CLIMATE = Climate(23.4, 51.0, 991.0, 29_500, 850, 3, 8, 14)
PER_CHIP = {
    "bme280": {"temperature_c", "relative_humidity_pct", "pressure_hpa"},
    "sgp40": {"voc_index"},
    "gas": {"co2_ppm"},
    "pms5003": {"pm1_ug_m3", "pm2_5_ug_m3", "pm10_ug_m3"},
}


def last(receiver: Any, kind: int = frame.ENVIRONMENT) -> Any:
    values = receiver.got.of_kind(kind)
    return values[-1][1] if values else {}


def chip_of(board: Board, name: str) -> Any:
    return board.wiring.uarts[2] if name == "pms5003" else board.wiring.i2c[0][{"bme280": 0x76, "sgp40": 0x59, "gas": 0x62}[name]]


@asynchronous
async def test_all_sensors_over_mqtt(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=20) as ward:
        board = ward.trust(ward.bench.add_environment_board(ROOM_TAG, ward.settings(ROOM_TAG), steady(CLIMATE)))
        receiver = ward.receiver(ROOM_TAG)
        everything = set().union(*PER_CHIP.values()) - {"voc_index"}
        try:
            await board.power_on()
            seen: dict[str, float] = {}

            def complete() -> bool:
                for _, values in receiver.got.of_kind(frame.ENVIRONMENT):
                    seen.update(values)
                return everything <= seen.keys()

            await eventually(complete, 25, lambda: (seen, board.console()))
            assert seen["temperature_c"] == pytest.approx(23.4, abs=0.05)
            assert seen["relative_humidity_pct"] == pytest.approx(51.0, abs=0.2)
            assert seen["pressure_hpa"] == pytest.approx(991.0, abs=0.2)
            assert seen["co2_ppm"] == 850
            assert (seen["pm1_ug_m3"], seen["pm2_5_ug_m3"], seen["pm10_ug_m3"]) == (3, 8, 14)
        finally:
            await receiver.close()


@asynchronous
async def test_the_voc_index_settles_near_100_in_steady_air(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=60) as bench:
        board = bench.add_environment_board(ROOM_TAG, serial_settings(), steady(CLIMATE), sensors=("bme280", "sgp40"))
        async with listening(board) as receiver:
            await eventually(lambda: 60 <= last(receiver).get("voc_index", 0) <= 140, 30, lambda: (last(receiver), board.console()))


@pytest.mark.parametrize("name", list(PER_CHIP))
@asynchronous
async def test_a_sensor_that_falls_silent_is_reported_and_the_rest_goes_on(tmp_path: Path, name: str) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_environment_board(ROOM_TAG, serial_settings(), steady(CLIMATE))
        bit = 1 << fields.PARTS.index(name)
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENVIRONMENT)) >= 8, 15, board.console)
            chip_of(board, name).fault = Fault.SILENCE
            await eventually(lambda: last(receiver, frame.STATUS).get("failed_parts", 0) & bit, 20, board.console)
            assert last(receiver, frame.STATUS)["failed_parts"] == bit
            had = len(receiver.got.of_kind(frame.ENVIRONMENT))
            await eventually(lambda: len(receiver.got.of_kind(frame.ENVIRONMENT)) >= had + 12, 20, board.console)
            fresh = [values for _, values in receiver.got.of_kind(frame.ENVIRONMENT)[had + 1 :]]
            assert not any(PER_CHIP[name] & values.keys() for values in fresh)
            others = "bme280" if name != "bme280" else "pms5003"
            assert any(PER_CHIP[others] <= values.keys() for values in fresh)
            chip_of(board, name).fault = Fault.NONE
            await eventually(lambda: not last(receiver, frame.STATUS)["failed_parts"], 30, board.console)


@asynchronous
async def test_a_configured_sensor_that_is_not_there_is_reported_from_the_start(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        settings = serial_settings(sensors={"gas": {"chip": "scd41", "i2c": {"id": 0, "scl": 22, "sda": 21}}})
        board = bench.add_environment_board(ROOM_TAG, settings, steady(CLIMATE), sensors=("bme280",))
        async with listening(board) as receiver:
            await eventually(lambda: last(receiver, frame.STATUS).get("failed_parts"), 20, board.console)
            assert last(receiver, frame.STATUS)["failed_parts"] == 1 << fields.PARTS.index("gas")
            await eventually(lambda: "temperature_c" in last(receiver), 10, board.console)


@pytest.mark.parametrize("name", ["sgp40", "gas"])
@asynchronous
async def test_wrong_crcs_are_never_reported_as_values(tmp_path: Path, name: str) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_environment_board(ROOM_TAG, serial_settings(), steady(CLIMATE))
        chip_of(board, name).fault = Fault.CHECKSUM
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENVIRONMENT)) >= 20, 20, board.console)
            await asyncio.sleep(0.2)
            assert not any(PER_CHIP[name] & values.keys() for _, values in receiver.got.of_kind(frame.ENVIRONMENT))
