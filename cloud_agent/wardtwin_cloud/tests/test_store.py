"""The SQLite store by itself: what is committed is there, in the form the twin and the pages read."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from wardtwin_cloud.errors import SchemaVersionError, StoreError
from wardtwin_cloud.store import Outcome, Span, SqliteStore, open_store
from wardtwin_cloud.store.migrate import migrations
from wardtwin_cloud.tests.serving import readings, small_registry
from wardtwin_cloud.tests.test_twin import LIMITS, NOW, batch, state
from wardtwin_cloud.twin import Twin
from wardtwin_cloud.twin.rebuild import rebuild
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import encode


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "store.sqlite")
    opened.add_gateway("gw", "f", NOW)
    opened.import_registry(encode(small_registry()), NOW)
    yield opened
    opened.close()


def test_durability_is_set_as_decided(store: SqliteStore, tmp_path: Path) -> None:
    with store._reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_group_is_committed_in_order_with_an_outcome_each(store: SqliteStore) -> None:
    one, other = batch(BatchKind.STATES, [state("off", NOW)]), batch(BatchKind.STATES, [state("in_use", NOW)])
    changed = batch(BatchKind.STATES, [state("fault", NOW)])
    object.__setattr__(changed, "digest", "other")
    object.__setattr__(other, "sequence", 2)
    assert store.commit([one, other, one, changed]) == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE, Outcome.QUARANTINED]
    assert [row["state"] for row in store.states("device-0", 0, 2e9, 10)] == ["off", "in_use"]


def test_states_of_a_span_are_led_by_the_one_in_force_at_its_start(store: SqliteStore) -> None:
    store.commit([batch(BatchKind.STATES, [state("off", NOW - 500), state("standby", NOW - 100), state("in_use", NOW - 10)])])
    assert [row["state"] for row in store.states("device-0", NOW - 50, NOW, 10)] == ["standby", "in_use"]


def test_buckets_cover_the_span_and_keep_extremes(store: SqliteStore) -> None:
    rows = readings(1, 100, at=NOW - 1)
    store.commit([batch(BatchKind.READINGS, rows)])
    buckets = store.reading_buckets([Span("0" * 12, NOW - 100, NOW)], NOW - 100, 10.0)
    assert sum(row["samples"] for row in buckets) == 100
    assert len(buckets) == 10
    assert min(row["active_power_w_min"] for row in buckets) == min(row["active_power_w"] for row in rows)
    assert max(row["active_power_w_max"] for row in buckets) == max(row["active_power_w"] for row in rows)
    assert all(row["active_power_w_min"] <= row["active_power_w"] <= row["active_power_w_max"] for row in buckets)


def test_gaps_are_listed_as_runs_and_bounded(store: SqliteStore) -> None:
    rows = [row for row in readings(1, 100, at=NOW) if row["sequence"] % 3]
    store.commit([batch(BatchKind.READINGS, rows)])
    (row,) = store.sequences()
    assert row["missing"][:2] == [[3, 3], [6, 6]]
    assert len(row["missing"]) == 20


def test_a_rebuilt_twin_equals_the_one_that_saw_the_batches(store: SqliteStore) -> None:
    live = Twin(small_registry(), LIMITS)
    room = {"tag_id": f"{0xE001:012x}", "boot_id": 0, "sequence": 4, "kind": "environment", "transport": "ble", "measured_at": NOW - 3}
    alarm = {"alarm_id": "a", "rule": "r", "subject": "room:room-1", "severity": "critical", "raised_at": NOW - 5, "cleared_at": None}
    health = {"at": NOW, "clock_state": "ok", "queue_depth": 1, "disk_bytes": 2, "tags_heard": 3, "rejected": 4, "detail": None}
    batches = [
        batch(
            BatchKind.READINGS,
            readings(1, 30, at=NOW) + readings(1, 5, tag=1, at=NOW - 400) + [{**room, "temperature_c": 20.0}],
            sequence=1,
        ),
        batch(BatchKind.STATES, [state("in_use", NOW - 50), state("off", NOW - 900), state("standby", NOW + 4000)], sequence=2),
        batch(
            BatchKind.PLACEMENTS,
            [{"device_id": "device-0", "tag_id": None, "room_id": "room-1", "since": NOW, "rssi_dbm": -70.0}],
            sequence=3,
        ),
        batch(BatchKind.ALARMS, [{**alarm, "value": None, "limit": None, "unit": None}], sequence=4),
        batch(BatchKind.HEALTH, [health], sequence=5),
        batch(BatchKind.READINGS, readings(1, 1, tag=77, at=NOW), sequence=6),
    ]
    outcomes = store.commit(batches)
    for one, outcome in zip(batches, outcomes, strict=True):
        live.take(one, outcome)
    again = rebuild(store, LIMITS).snapshot(NOW)
    seen = live.snapshot(NOW)
    for part in ("devices", "rooms", "gateways", "unknown"):
        assert again[part] == seen[part], part
    assert [row["alarm_id"] for row in again["alarms"]] == ["a"]


def test_a_failed_commit_keeps_nothing_of_the_group(store: SqliteStore) -> None:
    good = batch(BatchKind.STATES, [state("off", NOW)])
    bad = batch(BatchKind.STATES, [state("in_use", NOW)], sequence=2)
    object.__setattr__(bad, "rows", (("only one cell",),))
    with pytest.raises(StoreError):
        store.commit([good, bad])
    assert store.states("device-0", 0, 2e9, 10) == []
    assert store.commit([good]) == [Outcome.STORED]


def test_quarantine_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardtwin_cloud.store.sqlite.MAX_QUARANTINE", 5)
    monkeypatch.setattr("wardtwin_cloud.store.sqlite.MAX_QUARANTINE_BODIES", 2)
    store.commit([batch(BatchKind.STATES, [state("off", NOW)])])
    for n in range(8):
        other = batch(BatchKind.STATES, [state("off", NOW - n)])
        object.__setattr__(other, "digest", f"other-{n}")
        assert store.commit([other]) == [Outcome.QUARANTINED]
    kept = store.quarantine(100)
    assert len(kept) == store.quarantine_count() == 5
    assert sum(row["body_kept"] for row in kept) == 2


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_store_of_a_newer_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(SchemaVersionError, match="install the newer"):
        open_store(path)


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        open_store(tmp_path / "file" / "store.sqlite")
