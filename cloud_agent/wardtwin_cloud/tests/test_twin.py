"""The twin: newest wins whatever the order, and old is never shown as live."""

import random
from typing import Any

import pytest

from wardtwin_cloud.rows import Screened, screen
from wardtwin_cloud.store import Outcome
from wardtwin_cloud.tests.serving import readings, small_registry
from wardtwin_cloud.twin import Limits, Twin
from wardtwin_sync.batch import SCHEMA, Batch, BatchKind, columns_of
from wardtwin_sync.states import DeviceState

NOW = 1_800_000_000.0
LIMITS = Limits(stale_after_s=120, gateway_silent_after_s=120)


def batch(kind: BatchKind, rows: list[dict[str, Any]], received_at: float = NOW, sequence: int = 1) -> Screened:
    return screen(Batch(SCHEMA, "gw", "e", sequence, kind, received_at, columns_of(rows, kind)), b"", "d", received_at, 300)


def state(word: str, since: float, device: str = "device-0", reason: str = "rule") -> dict[str, Any]:
    return {"device_id": device, "tag_id": None, "state": word, "since": since, "reason": reason}


def view(twin: Twin, now: float, device: str = "device-0") -> dict[str, Any]:
    return next(row for row in twin.snapshot(now)["devices"] if row["device_id"] == device)


@pytest.fixture
def twin() -> Twin:
    return Twin(small_registry(), LIMITS)


def take(twin: Twin, kind: BatchKind, rows: list[dict[str, Any]], received_at: float = NOW) -> None:
    twin.take(batch(kind, rows, received_at), Outcome.STORED)


def test_a_device_never_heard_is_unknown_and_stale(twin: Twin) -> None:
    shown = view(twin, NOW)
    assert (shown["state"], shown["stale"], shown["heard_at"]) == (DeviceState.UNKNOWN, True, None)


def test_a_reading_and_a_state_show_at_once(twin: Twin) -> None:
    take(twin, BatchKind.READINGS, readings(1, 3, at=NOW, active_power_w=41.5))
    take(twin, BatchKind.STATES, [state("in_use", NOW - 60)])
    shown = view(twin, NOW)
    assert (shown["state"], shown["stale"], shown["active_power_w"], shown["measured_at"]) == ("in_use", False, 41.5, NOW)
    assert shown["room_id"] == "room-0", "not located: its home room"


def test_a_device_not_heard_for_the_limit_becomes_unknown_and_keeps_its_last_word(twin: Twin) -> None:
    take(twin, BatchKind.STATES, [state("in_use", NOW)])
    twin.gateways["gw"].received_at = NOW + 200
    assert view(twin, NOW + 120)["state"] == "in_use"
    later = view(twin, NOW + 121)
    assert (later["state"], later["reported_state"], later["stale"], later["heard_at"]) == ("unknown", "in_use", True, NOW)


def test_everything_behind_a_silent_gateway_is_unknown(twin: Twin) -> None:
    take(twin, BatchKind.READINGS, readings(1, 1, at=NOW + 100), received_at=NOW)
    take(twin, BatchKind.STATES, [state("in_use", NOW)])
    assert view(twin, NOW + 119)["state"] == "in_use"
    assert view(twin, NOW + 121)["state"] == "unknown"
    assert twin.snapshot(NOW + 121)["gateways"][0]["silent"]


def test_a_gateways_word_about_silence_is_not_the_devices_word(twin: Twin) -> None:
    take(twin, BatchKind.READINGS, readings(1, 1, at=NOW - 300))
    take(twin, BatchKind.STATES, [state("unknown", NOW, reason="silent")])
    shown = view(twin, NOW)
    assert (shown["state"], shown["heard_at"]) == ("unknown", NOW - 300)


def test_a_late_state_does_not_move_the_device_backwards(twin: Twin) -> None:
    take(twin, BatchKind.STATES, [state("in_use", NOW - 10)])
    take(twin, BatchKind.STATES, [state("off", NOW - 500)])
    assert view(twin, NOW)["state"] == "in_use"


def test_any_order_of_the_same_batches_gives_the_same_twin() -> None:
    rows: list[tuple[BatchKind, dict[str, Any]]] = [(BatchKind.READINGS, row) for row in readings(1, 20, at=NOW)]
    rows += [(BatchKind.STATES, state(word, NOW - 30 + n)) for n, word in enumerate(("off", "standby", "in_use", "standby"))]
    rows += [
        (BatchKind.PLACEMENTS, {"device_id": "device-0", "tag_id": None, "room_id": room, "since": NOW - 20 + n, "rssi_dbm": -60.0})
        for n, room in enumerate(("room-0", "room-1", None, "room-1"))
    ]
    alarm = {"alarm_id": "a", "rule": "r", "subject": "device:device-0", "severity": "caution", "value": None, "limit": None, "unit": None}
    rows += [(BatchKind.ALARMS, {**alarm, "raised_at": NOW - 5, "cleared_at": cleared}) for cleared in (None, NOW - 1)]
    views = []
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        twin = Twin(small_registry(), LIMITS)
        for kind, row in rows:
            take(twin, kind, [row])
        shown = twin.snapshot(NOW)
        views.append((shown["devices"], shown["alarms"]))
    assert all(one == views[0] for one in views)
    assert views[0][0][0]["state"] == "standby"
    assert views[0][1] == []


def test_a_row_from_the_future_does_not_pin_the_device(twin: Twin) -> None:
    take(twin, BatchKind.STATES, [state("in_use", NOW + 301)])
    take(twin, BatchKind.STATES, [state("off", NOW)])
    assert view(twin, NOW)["state"] == "off"


def test_frames_that_rotate_their_measures_are_merged(twin: Twin) -> None:
    base = {"tag_id": "0" * 12, "boot_id": 0, "kind": "energy", "transport": "ble"}
    take(twin, BatchKind.READINGS, [{**base, "sequence": 1, "measured_at": NOW - 2, "active_power_w": 5.0, "voltage_v": 231.0}])
    take(twin, BatchKind.READINGS, [{**base, "sequence": 2, "measured_at": NOW - 1, "energy_wh": 812.0}])
    shown = view(twin, NOW)
    assert shown["values"] == {"active_power_w": 5.0, "voltage_v": 231.0, "energy_wh": 812.0}
    assert (shown["measured_at"], shown["heard_at"]) == (NOW - 2, NOW - 1)


def test_a_room_shows_its_climate_and_grows_stale(twin: Twin) -> None:
    row = {"tag_id": f"{0xE000:012x}", "boot_id": 0, "sequence": 1, "kind": "environment", "transport": "ble", "measured_at": NOW}
    take(twin, BatchKind.READINGS, [{**row, "temperature_c": 21.5, "co2_ppm": 600.0}])
    (room, _) = twin.snapshot(NOW)["rooms"]
    assert (room["climate"], room["stale"]) == ({"temperature_c": 21.5, "co2_ppm": 600.0}, False)
    assert twin.snapshot(NOW + 121)["rooms"][0]["stale"]


def test_a_summary_stands_in_for_readings_that_did_not_come(twin: Twin) -> None:
    take(twin, BatchKind.SUMMARIES, [{"subject": "device:device-0", "minute_start": NOW - 60, "samples": 50, "active_power_w": 12.0}])
    shown = view(twin, NOW)
    assert (shown["active_power_w"], shown["heard_at"], shown["stale"]) == (12.0, NOW, False)


def test_a_delta_holds_what_changed_once(twin: Twin) -> None:
    take(twin, BatchKind.STATES, [state("in_use", NOW)])
    first = twin.delta(NOW)
    assert [row["device_id"] for row in first["devices"]] == ["device-0"]
    assert not twin.changed
    assert set(twin.delta(NOW)) == {"now"}


def test_time_alone_makes_a_delta_when_something_goes_stale(twin: Twin) -> None:
    take(twin, BatchKind.STATES, [state("in_use", NOW)])
    twin.delta(NOW)
    twin.tick(NOW + 60)
    assert not twin.changed
    twin.tick(NOW + 121)
    delta = twin.delta(NOW + 121)
    assert delta["devices"][0]["state"] == "unknown"
    assert delta["gateways"][0]["silent"]
    twin.tick(NOW + 122)
    assert not twin.changed


def test_strangers_are_bounded(twin: Twin) -> None:
    for first in range(0, 1000, 100):
        take(twin, BatchKind.STATES, [state("off", NOW, device=f"ghost-{n}") for n in range(first, first + 100)])
    assert len(twin.snapshot(NOW)["unknown"]) == 200
    assert twin.strangers.rows == 1000
