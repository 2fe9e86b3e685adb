"""The shipped firmware on CPython, as it runs where no MicroPython is to be had: all three transports."""

from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner

from wardtwin_board.bench import HCI_ENVIRONMENT_NAME, Bench
from wardtwin_board.bleak_backend import BumbleScanner
from wardtwin_board.rooms import Climate, steady
from wardtwin_board.signals import constant
from wardtwin_wire import frame

from .asynchronous import asynchronous
from .receiver import AirReceiver, eventually
from .ward import ENERGY_TAG, KEY, KEY_HEX, ROOM_TAG, listening, mqtt_ward, serial_settings


@asynchronous
async def test_a_tag_on_cpython_over_serial(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=10, interpreter="cpython") as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(75.0))
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 10, 20, board.console)
            assert receiver.got.of_kind(frame.ENERGY)[-1][1]["active_power_w"] == pytest.approx(75.0, abs=0.1)


@asynchronous
async def test_a_tag_on_cpython_over_mqtt(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=10, interpreter="cpython") as ward:
        board = ward.trust(ward.bench.add_environment_board(ROOM_TAG, ward.settings(ROOM_TAG), steady(Climate(co2_ppm=777))))
        receiver = ward.receiver(ROOM_TAG)
        try:
            await board.power_on()
            await eventually(lambda: any(v.get("co2_ppm") == 777 for _, v in receiver.got.of_kind(frame.ENVIRONMENT)), 20, board.console)
        finally:
            await receiver.close()


@asynchronous
async def test_a_tag_on_cpython_over_ble(tmp_path: Path, monkeypatch: Any) -> None:
    async with Bench(tmp_path, speed=10, interpreter="cpython") as bench:
        monkeypatch.setenv(HCI_ENVIRONMENT_NAME, bench.gateway_env[HCI_ENVIRONMENT_NAME])
        pump = bench.add_energy_board(ENERGY_TAG, {"key": KEY_HEX, "transport": "ble"}, constant(75.0), position=(1.0, 1.0, 0))
        room = bench.add_environment_board(ROOM_TAG, {"key": KEY_HEX, "transport": "ble"}, position=(2.0, 1.0, 0))
        heard = AirReceiver(pump.ble_address, KEY)
        async with BleakScanner(heard.detected, backend=BumbleScanner):
            await pump.power_on()
            await room.power_on()
            await eventually(lambda: heard.latest("active_power_w") and heard.latest("sightings"), 20, pump.console)
