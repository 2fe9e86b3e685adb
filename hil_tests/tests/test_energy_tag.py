"""The shipped energy tag on its emulated board: every transport end to end, faults, resets, and what survives them."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from wardtwin_board.access_point import AccessPoint
from wardtwin_board.bench import Bench
from wardtwin_board.board import ResetCause
from wardtwin_board.chips.bl0942 import Bl0942
from wardtwin_board.chips.faults import Fault
from wardtwin_board.queue_image import read_queue
from wardtwin_board.signals import constant, steps
from wardtwin_wire import fields, frame

from .asynchronous import asynchronous
from .receiver import eventually
from .ward import ENERGY_TAG, listening, mqtt_ward, serial_settings

METER = 1 << fields.PARTS.index("meter")


def last(receiver: Any, kind: int = frame.ENERGY) -> Any:
    values = receiver.got.of_kind(kind)
    return values[-1][1] if values else {}


@pytest.mark.parametrize("chip", ["bl0942", "cse7766"])
@asynchronous
async def test_serial_reports_what_the_mains_have(tmp_path: Path, chip: str) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(150.0, 231.0, 0.75), chip)
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 10, 15, board.console)
            values = last(receiver)
            assert values["active_power_w"] == pytest.approx(150.0, rel=0.002)
            assert values["voltage_v"] == pytest.approx(231.0, rel=0.002)
            assert values["current_a"] == pytest.approx(150 / (231 * 0.75), rel=0.003)
            assert values["power_factor"] == pytest.approx(0.75, abs=0.005)
            assert ("frequency_hz" in values) == (chip == "bl0942")
            assert receiver.decoder.junk_bytes == 0


@asynchronous
async def test_mqtt_over_tls_delivers_every_frame_once_acked(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=20) as ward:
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, ward.settings(ENERGY_TAG), constant(61.0)))
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 40, 20, board.console)
            assert last(receiver)["active_power_w"] == pytest.approx(61.0, abs=0.1)
            board.power_off()
            await asyncio.sleep(0.3)
            queue = read_queue(board.queue_image())
            delivered = {(boot, sequence) for boot, sequence in receiver.got.reports}
            assert queue.dropped == 0
            assert len(delivered | set(queue.held)) == queue.sent
        finally:
            await receiver.close()


@asynchronous
async def test_wrong_password_and_wrong_ca_keep_a_tag_out(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=10) as ward:
        settings = ward.settings(ENERGY_TAG)
        settings["broker"]["password"] = "guessed"
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, settings))
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await eventually(lambda: "broker:" in board.console(), 15)
            board.power_off()
            board.write_settings({**_complete(board), "broker": ward.settings(ENERGY_TAG)["broker"]})
            board.write_file("ca.der", _other_ca(tmp_path / "other"))
            said = board.console()
            await board.power_on()
            await eventually(lambda: "broker:" in board.console()[len(said) :], 15)
            assert not receiver.got.reports
        finally:
            await receiver.close()


def _complete(board: Any) -> dict[str, Any]:
    import json

    loaded: dict[str, Any] = json.loads((board.directory / "settings.json").read_text())
    return loaded


def _other_ca(directory: Path) -> bytes:
    from wardtwin_board.certificates import make_certificates

    return make_certificates(directory).ca_der.read_bytes()


@asynchronous
async def test_broker_down_and_up_again_loses_nothing(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=20) as ward:
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, ward.settings(ENERGY_TAG), constant(61.0)))
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await eventually(lambda: len(receiver.got.reports) >= 20, 20, board.console)
            ward.broker.kill()
            await asyncio.sleep(2.0)
            before = len(receiver.got.reports)
            await ward.broker.start()
            await eventually(lambda: len(receiver.got.reports) >= before + 60, 40, board.console)
            sequences = receiver.got.sequences(1)
            assert sequences == list(range(1, sequences[-1] + 1))
        finally:
            await receiver.close()


@asynchronous
async def test_frames_wait_on_flash_for_an_ack_over_a_pulled_plug(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=10) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(40.0))
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.reports) >= 6, 20, board.console)
            receiver.acking = False
            await eventually(lambda: len(read_queue(board.queue_image()).held) >= 8, 20, board.console)
            board.power_off()
            await asyncio.sleep(0.1)
            given = read_queue(board.queue_image())
            assert len(given.held) >= 8
            receiver.acking = True
            await board.power_on()
            await eventually(lambda: set(given.held) <= set(receiver.got.reports) and 2 in receiver.got.boots, 30, board.console)
            await eventually(lambda: not set(given.held) & set(read_queue(board.queue_image()).held), 10)


@pytest.mark.parametrize("after_bytes", [1, 8, 40, 71, 150])
@asynchronous
async def test_a_brown_out_during_a_flash_write_loses_no_accepted_frame(tmp_path: Path, after_bytes: int) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(40.0))
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.reports) >= 5, 20, board.console)
            receiver.acking = False
            await asyncio.sleep(0.5)
            board.brown_out_after_flash_bytes(after_bytes)
            await eventually(lambda: len(board.boots) == 2, 10, board.console)
            sent = set(receiver.got.reports)
            receiver.acking = True
            await eventually(lambda: len(receiver.got.sequences(2)) >= 5, 20, board.console)
            board.power_off()
            await asyncio.sleep(0.1)
            queue = read_queue(board.queue_image())
            everything = set(receiver.got.reports) | set(queue.held)
            assert sent <= everything
            assert queue.dropped == 0
            for boot in (1, 2):
                sequences = sorted(sequence for b, sequence in everything if b == boot)
                # a frame cut short was never sent: its number may be missing at the very end of its boot only
                assert sequences == list(range(1, sequences[-1] + 1))


@asynchronous
async def test_boot_id_and_energy_survive_reboots(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=60) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(2000.0))
        async with listening(board) as receiver:
            # energy goes to NVS once a minute
            await eventually(lambda: last(receiver).get("energy_wh", 0) > 60, 20, board.console)
            board.power_off()
            before = last(receiver)["energy_wh"]
            await board.power_on()
            await eventually(lambda: receiver.got.boots == [1, 2] and len(receiver.got.sequences(2)) > 3, 20, board.console)
            after = [
                values["energy_wh"] for (boot, _), (kind, _, values) in receiver.got.reports.items() if boot == 2 and kind == frame.ENERGY
            ]
            # at most a minute of 2 kW was not yet written
            assert min(after) >= before - 2000 / 60 - 1
            assert after == sorted(after)


@asynchronous
async def test_a_meter_that_falls_silent_is_reported_and_comes_back(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(80.0))
        meter = board.wiring.uarts[1]
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 3, 15, board.console)
            meter.fault = Fault.SILENCE
            await eventually(lambda: last(receiver, frame.STATUS).get("failed_parts", 0) & METER, 20, board.console)
            had = len(receiver.got.of_kind(frame.ENERGY))
            meter.fault = Fault.NONE
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= had + 3, 20, board.console)
            await eventually(lambda: not last(receiver, frame.STATUS)["failed_parts"] & METER, 20, board.console)


@pytest.mark.parametrize("fault", [Fault.CHECKSUM, Fault.NOISE])
@asynchronous
async def test_bad_packets_from_the_meter_give_no_wrong_watts(tmp_path: Path, fault: Fault) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(80.0))
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 3, 15, board.console)
            board.wiring.uarts[1].fault = fault
            await asyncio.sleep(1.5)
            board.wiring.uarts[1].fault = Fault.NONE
            had = len(receiver.got.of_kind(frame.ENERGY))
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= had + 3, 15, board.console)
            assert all(abs(values["active_power_w"] - 80.0) < 0.2 for _, values in receiver.got.of_kind(frame.ENERGY))


@asynchronous
async def test_the_chips_counter_may_restart_without_energy_going_back(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(1500.0))
        meter = board.wiring.uarts[1]
        assert isinstance(meter, Bl0942)
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 20, 15, board.console)
            meter.power_up(board.now_s())
            had = len(receiver.got.of_kind(frame.ENERGY))
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= had + 20, 15, board.console)
            energy = [values["energy_wh"] for _, values in receiver.got.of_kind(frame.ENERGY)]
            assert energy == sorted(energy)
            assert energy[-1] - energy[had - 1] == pytest.approx(1500 * 20 / 3600, rel=0.3)


@asynchronous
async def test_a_hanging_tag_is_bitten_by_its_watchdog_and_says_so(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=30) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings())
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.reports) >= 3, 15, board.console)
            assert board.pid is not None
            os.kill(board.pid, signal.SIGSTOP)
            await eventually(lambda: board.boots == [ResetCause.POWER_ON, ResetCause.WATCHDOG], 15)
            await eventually(lambda: last(receiver, frame.STATUS).get("boot_count") == 2, 15, board.console)
            assert fields.RESET_CAUSES[last(receiver, frame.STATUS)["reset_cause"]] == "watchdog"


@asynchronous
async def test_noise_on_the_serial_line_costs_time_but_no_frame(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(80.0))
        async with listening(board) as receiver:
            board.serial.noise = 0.002
            await eventually(lambda: len(receiver.got.reports) >= 40, 30, board.console)
            board.serial.noise = 0.0
            top = max(receiver.got.sequences(1))
            await eventually(lambda: set(range(1, top + 1)) <= set(receiver.got.sequences(1)), 20, lambda: receiver.got.sequences(1))
            assert receiver.decoder.junk_bytes > 0
            assert receiver.got.refused == 0


@asynchronous
async def test_at_200_times_the_speed_one_tag_over_mqtt_loses_nothing(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=200) as ward:
        load = steps([(0, 5.0), (600, 120.0), (1200, 5.0)])
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, ward.settings(ENERGY_TAG), load))
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await asyncio.sleep(10)
            board.power_off()
            await asyncio.sleep(0.5)
            queue = read_queue(board.queue_image())
            assert queue.dropped == 0
            delivered = set(receiver.got.reports) | set(queue.held)
            assert len(delivered) == queue.sent
            reports = receiver.got.of_kind(frame.ENERGY)
            # one a second but for a busy machine's hiccups
            assert len(reports) >= 1200
            rise_ms = next(uptime_ms for uptime_ms, values in reports if values["active_power_w"] > 60)
            fall_ms = max(uptime_ms for uptime_ms, values in reports if values["active_power_w"] > 60)
            # uptime begins with the program, which takes some real time to start
            assert 450 < rise_ms / 1000 < 620
            assert (fall_ms - rise_ms) / 1000 == pytest.approx(600, abs=20)
        finally:
            await receiver.close()


@asynchronous
async def test_a_tag_over_mqtt_stays_within_its_320_kilobytes(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=100) as ward:
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, ward.settings(ENERGY_TAG), constant(61.0)))
        assert board.heap == "320K"
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await eventually(lambda: len(receiver.got.of_kind(frame.STATUS)) >= 8, 20, board.console)
            assert board.boots == [ResetCause.POWER_ON]
            assert "MemoryError" not in board.console()
        finally:
            await receiver.close()


@asynchronous
async def test_a_lost_wifi_link_costs_time_but_no_frame(tmp_path: Path) -> None:
    async with mqtt_ward(tmp_path, speed=20) as ward:
        wifi = AccessPoint(ward.broker.host, ward.broker.port)
        await wifi.start()
        board = ward.trust(ward.bench.add_energy_board(ENERGY_TAG, ward.settings(ENERGY_TAG, wifi.port), constant(61.0)))
        wifi.serve(board)
        receiver = ward.receiver(ENERGY_TAG)
        try:
            await board.power_on()
            await eventually(lambda: len(receiver.got.reports) >= 15, 20, board.console)
            wifi.down()
            await asyncio.sleep(0.2)
            had = len(receiver.got.reports)
            await asyncio.sleep(1.5)
            assert len(receiver.got.reports) == had
            wifi.up()
            await eventually(lambda: len(receiver.got.reports) >= had + 40, 40, board.console)
            sequences = receiver.got.sequences(1)
            assert sequences == list(range(1, sequences[-1] + 1))
        finally:
            await receiver.close()
            await wifi.stop()


@asynchronous
async def test_a_pulled_serial_cable_costs_time_but_no_frame(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(61.0))
        async with listening(board) as receiver:
            await eventually(lambda: len(receiver.got.reports) >= 10, 20, board.console)
            first = receiver.got
            board.serial.unplug()
            assert not board.serial_path.is_symlink()
            await asyncio.sleep(1.0)
            board.serial.plug()
        async with listening(board) as again:
            await eventually(lambda: len(again.got.reports) >= 40, 30, board.console)
            both = sorted(set(first.reports) | set(again.got.reports))
            assert [sequence for _, sequence in both] == list(range(1, both[-1][1] + 1))
