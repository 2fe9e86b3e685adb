"""The running gateway through what a ward's cupboard does to it: no broker, no cloud, no time, no disk, no power, a radio that hangs."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wardtwin_sync.states import Transport
from wardtwin_tools.errors import ServiceError
from wardtwin_tools.service import Service

from .rough_ward import AirTag, Sky, Ward, Wire, assert_exactly_once, registry, rejected, until, ward


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[Ward]:
    with ward(tmp_path, registry(4), broker=True) as there:
        yield there


@pytest.fixture
def sky() -> Iterator[Sky]:
    made = Sky()
    yield made
    made.close()


def ended_by(there: Ward, number: signal.Signals, within_s: float) -> int:
    """Send the gateway a signal and return the exit code it ended with."""
    os.kill(there.stack.gateway.pid, number)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            there.stack.gateway.check()
        except ServiceError as ended:
            return int(str(ended).split("exit code ")[1].split(".")[0])
        time.sleep(0.02)
    raise AssertionError(f"the gateway did not end within {within_s} s of {number.name}")


def test_it_starts_alone_and_broker_and_cloud_may_come_when_they_like(mqtt: Ward) -> None:
    mqtt.start_gateway()
    status = mqtt.status()
    assert "cannot connect" in status["transports"]["mqtt"]["state"]
    mqtt.start_broker()
    tags = mqtt.tags()
    load = mqtt.load(tags, rate=200)
    until(lambda: mqtt.status()["transports"]["mqtt"]["ok"], 15, lambda: mqtt.status()["transports"]["mqtt"])
    until(lambda: load.sent > 600, 15)
    load.stop_generating()
    until(lambda: load.held == 0, 15, lambda: f"{load.held} not acked")  # acked by the gateway alone: the cloud is not needed for that
    status = mqtt.status()
    assert not status["cloud"]["is_reached"]
    assert status["outbox"]["readings"] + status["outbox"]["batched_rows"] >= load.sent
    mqtt.start_cloud()
    # the gateway's back-off may be as long as it has been alone
    until(lambda: not any(mqtt.status()["outbox"].values()), 60, lambda: mqtt.status()["outbox"])
    assert_exactly_once(tags, mqtt.settled())


def test_sigterm_in_full_traffic_ends_it_soon_with_0_and_loses_nothing(mqtt: Ward) -> None:
    mqtt.start()
    tags = mqtt.tags()
    load = mqtt.load(tags, rate=400)
    for _ in range(2):
        sent = load.sent
        until(lambda sent=sent: load.sent > sent + 300, 10)
        assert ended_by(mqtt, signal.SIGTERM, within_s=6) == 0
        mqtt.stack.gateway.stop()
        mqtt.start_gateway()
    load.stop_generating()
    until(lambda: load.held == 0, 20, lambda: f"{load.held} not acked")
    assert_exactly_once(tags, mqtt.settled())
    assert "Traceback" not in (mqtt.workdir / "gateway.log").read_text()


def test_a_full_disk_costs_raw_readings_first_which_is_counted_and_told_and_never_an_alarm(tmp_path: Path) -> None:
    line = tmp_path / "serial" / "tty0"
    with ward(tmp_path, registry(4), serial_ports=[str(line)]) as there:
        there.configure("storage", "disk_bound_mb = 0.4")
        cloudless = there.stack.config_path.read_text().replace(there.stack.cloud_url, "")
        with_cloud = there.stack.config_path.read_text()
        there.stack.config_path.write_text(cloudless)
        wire = Wire(line, there.tags())
        try:
            there.start_gateway()
            until(lambda: there.status()["transports"]["serial"]["ok"], 10)
            for _ in range(8):  # over-voltage for three seconds and more is an alarm
                for tag in wire.tags:
                    wire.send(tag, voltage_v=260.0)
                time.sleep(0.5)
            until(lambda: len(there.status()["alarms"]) >= 4, 10, lambda: there.status()["alarms"])
            raised = {row["alarm_id"] for row in there.status()["alarms"]}

            def fill() -> bool:
                for _ in range(100):
                    for tag in wire.tags:
                        wire.send(tag, voltage_v=260.0)
                return bool(there.status()["dropped"].get("raw"))

            until(fill, 40, lambda: there.status()["disk"])
            until(lambda: wire.held == 0, 20, lambda: f"{wire.held} not acked")
            sent = sum(tag.sequence for tag in wire.tags)
            time.sleep(2.5)  # the bound is looked after every two seconds
            status = there.status()
            assert status["disk"]["used_bytes"] <= status["disk"]["bound_bytes"]
            dropped = status["dropped"]["raw"]
            assert set(status["dropped"]) == {"raw"}
            assert status["outbox"].get("alarms", 0) + status["outbox"]["batched_rows"] >= len(raised)
            there.stack.config_path.write_text(with_cloud)
            there.stack.gateway.stop()
            there.start_cloud()
            there.start_gateway()
            until(lambda: there.status()["cloud"]["is_reached"], 30, lambda: there.status()["cloud"])
            stored = there.settled().values()
            delivered = sum(row["distinct"] for row in stored)
            assert delivered == sum(row["count"] for row in stored)
            # of the same class are the gateway's own heartbeats, of which it has made one or two: they may be among the dropped
            assert sent <= delivered + dropped <= sent + 2
            twin = there.cloud("/api/v1/twin")
            (gateway,) = twin["gateways"]
            assert gateway["dropped"]["raw"] == dropped
            assert raised <= {row["alarm_id"] for row in twin["alarms"]}
        finally:
            wire.close()


def air_ward(tmp_path: Path, sky: Sky, count: int = 1) -> Any:
    return ward(tmp_path, registry(count, Transport.BLE), ble=True, env=sky.gateway_env)


def heard(there: Ward) -> int:
    return int(there.status()["tags"][0]["reports"])


def listens(there: Ward) -> None:
    until(lambda: there.status()["transports"]["ble"]["ok"], 10, lambda: there.status()["transports"]["ble"])


def test_a_recorded_advert_is_refused_after_a_restart_too_and_counted(tmp_path: Path, sky: Sky) -> None:
    with air_ward(tmp_path, sky) as there:
        tag = AirTag(there.cards[0])
        there.start()
        listens(there)
        recorded = []
        for number in range(1, 4):
            recorded.append(tag.next())
            sky.send(tag.address, recorded[-1])
            until(lambda number=number: heard(there) == number, 5)
        there.stack.gateway.kill()
        there.start_gateway()
        listens(there)
        for advert in recorded:
            sky.send(tag.address, advert)
        until(lambda: rejected(there.status(), "ble") == {"replay": 2}, 5, lambda: rejected(there.status(), "ble"))
        assert heard(there) == 0  # the newest is what a tag repeats for a second: no replay, and no new report either
        sky.send(tag.address, tag.next())
        until(lambda: heard(there) == 1, 5)
        (row,) = there.settled().values()
        assert (row["count"], row["distinct"], row["last"]) == (4, 4, 4)


def test_a_re_imaged_gateway_starts_an_epoch_of_its_own_and_the_cloud_takes_it(mqtt: Ward) -> None:
    mqtt.start()
    tags = mqtt.tags()
    load = mqtt.load(tags, rate=200)
    until(lambda: load.sent > 200 and mqtt.status()["cloud"]["acked_batches"] > 1, 15)
    load.stop_generating()
    until(lambda: load.held == 0, 15, lambda: f"{load.held} not acked")
    mqtt.settled()
    epoch = mqtt.status()["gateway"]["epoch"]
    mqtt.stack.gateway.kill()
    for path in mqtt.gateway_data.iterdir():
        if path.is_file() and path.name != "registry.json":
            path.unlink()
    mqtt.start_gateway()
    already = load.sent
    more = mqtt.load(tags, rate=200)
    until(lambda: more.sent > already + 300, 20)
    more.stop_generating()
    until(lambda: more.held == 0, 15, lambda: f"{more.held} not acked")
    assert mqtt.status()["gateway"]["epoch"] != epoch
    assert_exactly_once(tags, mqtt.settled())
    assert mqtt.cloud("/api/v1/quarantine")["quarantine"] == []


OFFSET_CLOCK = """
import pathlib, time
real, offset = time.time, pathlib.Path({offset!r})
time.time = lambda: real() + float(offset.read_text())
from wardtwin_edge.cli import main
main()
"""


def test_a_start_in_1970_buffers_and_dates_everything_right_once_the_time_is_known(mqtt: Ward) -> None:
    offset = mqtt.workdir / "offset"
    offset.write_text(str(-time.time() + 1000))
    program = [sys.executable, "-c", OFFSET_CLOCK.format(offset=str(offset)), "run", "--config", str(mqtt.stack.config_path)]
    mqtt.stack.gateway = Service("gateway", program, mqtt.workdir / "gateway.log", mqtt.stack.gateway.ready_url)
    began = time.time()
    mqtt.start()
    assert mqtt.status()["clock"]["state"] == "unsynchronised"
    tags = mqtt.tags()
    load = mqtt.load(tags, rate=50)
    until(lambda: load.sent > 150, 10)
    load.stop_generating()
    until(lambda: load.held == 0, 15, lambda: f"{load.held} not acked")
    ended = time.time()
    status = mqtt.status()
    assert status["outbox"]["readings"] == load.sent  # kept, for a report of 1970 is of no use to anybody
    assert mqtt.cloud("/api/v1/sequences")["sequences"] == []
    offset.write_text("0")
    until(lambda: mqtt.status()["clock"]["state"] == "synchronised", 10, lambda: mqtt.status()["clock"])
    stored = mqtt.settled()
    assert_exactly_once(tags, stored)
    readings = mqtt.cloud(f"/api/v1/devices/device-1/readings?from={began - 1e5}&to={ended + 1e5}")["readings"]
    stamps = [row["measured_at"] for row in readings]
    assert len(stamps) == tags[0].sequence
    assert min(stamps) > began - 1
    assert max(stamps) < ended + 1
    assert mqtt.status()["refused_batches"] == []


def test_a_radio_that_hangs_is_restarted_then_made_anew_which_is_said_and_then_heard_again(tmp_path: Path, sky: Sky) -> None:
    with air_ward(tmp_path, sky) as there:
        there.configure("ble", 'stall_s = 1.0\npower_cycle = ["true"]')
        tag = AirTag(there.cards[0])
        there.start_gateway()
        listens(there)
        sky.send(tag.address, tag.next())
        until(lambda: heard(there) == 1, 5)
        sky.air.stalled = True
        states: list[str] = []

        def ladder() -> bool:
            sky.send(tag.address, tag.next())
            ble = there.status()["transports"]["ble"]
            if ble["state"] not in states:
                states.append(ble["state"])
            return bool(ble["state"] == "adapter started anew, nothing heard yet")

        until(ladder, 15, lambda: states)
        assert any("scan restarted" in state for state in states)
        status = there.status()
        assert status["transports"]["ble"]["restarts"] >= 1
        assert status["transports"]["ble"]["ok"] is False
        assert any(line["text"].startswith("Bluetooth: ") for line in status["advice"]), status["advice"]
        sky.air.stalled = False

        def traffic() -> bool:
            sky.send(tag.address, tag.next())
            return heard(there) > 3

        until(traffic, 20, lambda: there.status()["transports"]["ble"])
        until(lambda: there.status()["transports"]["ble"]["state"] == "scanning", 5)
