"""The SQLite store by itself: what is committed is there, in the form the twin and the pages read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from wardtwin_cloud.errors import SchemaVersionError, StoreError
from wardtwin_cloud.register import bind_tag
from wardtwin_cloud.store import Outcome, Span, SqliteStore, open_store
from wardtwin_cloud.store.migrate import migrations
from wardtwin_cloud.tests.serving import readings, small_registry
from wardtwin_cloud.tests.test_twin import LIMITS, NOW, batch, state
from wardtwin_cloud.twin import Twin
from wardtwin_cloud.twin.rebuild import rebuild
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import Registry, TagBinding, encode
from wardtwin_sync.states import Transport


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


def test_states_stand_in_the_order_of_their_times_whatever_the_order_they_came_in(store: SqliteStore) -> None:
    for sequence, (word, since) in enumerate([("in_use", NOW - 10), ("off", NOW - 500), ("standby", NOW - 100)], 1):
        store.commit([batch(BatchKind.STATES, [state(word, since)], sequence=sequence)])
    assert [row["state"] for row in store.states("device-0", 0, 2e9, 10)] == ["off", "standby", "in_use"]
    assert [row["state"] for row in store.states("device-0", NOW - 50, 2e9, 10)] == ["standby", "in_use"]
    assert [row["state"] for row in store.latest_states()] == ["in_use"]


def minute(power: float, **cells: Any) -> dict[str, Any]:
    return {"subject": "device:device-0", "minute_start": NOW - 60, "samples": 60, "active_power_w": power, **cells}


def told(store: SqliteStore, gateway_id: str = "gw") -> list[tuple[int, float | None, str | None]]:
    rows = [row for row in store.summaries("device:device-0", 0, 2e9, 10) if row["gateway_id"] == gateway_id]
    return [(row["samples"], row["active_power_w"], row["seconds_by_state"]) for row in rows]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_a_minute_sent_again_is_one_row_and_the_latest_batch_wins_in_any_order_of_arrival(
    store: SqliteStore, order: tuple[int, ...]
) -> None:
    revisions = {
        1: minute(10.0, samples=40, seconds_by_state={"standby": 40.0}),
        2: minute(20.0, samples=50, seconds_by_state={"standby": 50.0}),
        3: minute(30.0, samples=60),  # what the last does not say is not kept from an earlier one
    }
    for sequence in order:
        assert store.commit([batch(BatchKind.SUMMARIES, [revisions[sequence]], sequence=sequence)]) == [Outcome.STORED]
    assert told(store) == [(60, 30.0, None)]
    (bucket,) = store.summary_buckets("device:device-0", NOW - 3600, NOW, 3600.0)
    assert (bucket["samples"], bucket["active_power_w"]) == (60, 30.0)


def test_a_gateways_later_epoch_wins_whatever_its_name_and_its_sequence(store: SqliteStore) -> None:
    for epoch, sequence, power in (("zz", 900, 1.0), ("aa", 1, 2.0), ("zz", 901, 3.0), ("aa", 2, 4.0)):
        one = batch(BatchKind.SUMMARIES, [minute(power)], sequence=sequence)
        object.__setattr__(one, "epoch", epoch)
        store.commit([one])
    assert [power for _, power, _ in told(store)] == [4.0]


def test_another_gateways_minute_of_the_same_device_stays_its_own(store: SqliteStore) -> None:
    store.add_gateway("gw-2", "g", NOW)
    other = batch(BatchKind.SUMMARIES, [minute(5.0)], sequence=1)
    object.__setattr__(other, "gateway_id", "gw-2")
    store.commit([batch(BatchKind.SUMMARIES, [minute(9.0)], sequence=7), other])
    assert (told(store), told(store, "gw-2")) == ([(60, 9.0, None)], [(60, 5.0, None)])


def test_one_batch_may_hold_a_minute_twice_and_its_last_row_counts(store: SqliteStore) -> None:
    store.commit([batch(BatchKind.SUMMARIES, [minute(5.0), minute(6.0)])])
    assert told(store) == [(60, 6.0, None)]


def test_a_store_of_the_first_schema_keeps_its_rows_and_learns_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(migrations()[0][1] + "; PRAGMA user_version = 1;")
    connection.execute("INSERT INTO registry (imported_at, body) VALUES (1, ?)", (encode(small_registry()).decode(),))
    connection.execute("INSERT INTO gateways (gateway_id, fingerprint, added_at) VALUES ('gw', 'f', 1)")
    connection.execute("INSERT INTO batches VALUES ('gw', 'e', 1, 'd', 'summaries', 2, 1, 1)")
    for power in (1.0, 2.0):
        connection.execute(
            "INSERT INTO summaries (gateway_id, ahead, subject, minute_start, samples, active_power_w)"
            " VALUES ('gw', 0, 'device:device-0', ?, 60, ?)",
            (NOW - 60, power),
        )
    connection.close()
    with closing(open_store(path)) as store:
        assert told(store) == [(60, 2.0, None)]
        store.commit([batch(BatchKind.SUMMARIES, [minute(3.0)], sequence=2)])
        assert told(store) == [(60, 3.0, None)]
        assert store.spans("device:device-1", 0.0, NOW) == [Span(f"{1:012x}", 0.0, NOW)]
        assert store.spans("room:room-0", 0.0, NOW) == [Span(f"{0xE000:012x}", 0.0, NOW)]


def test_a_tag_that_moves_and_comes_back_has_the_spans_it_sat_there(store: SqliteStore) -> None:
    tag = "0" * 12
    for at, device in ((100.0, "device-1"), (200.0, "device-0"), (200.0, "device-2"), (150.0, "device-0")):
        binding = TagBinding(tag, "energy", Transport.MQTT, device_id=device)
        store.change_registry(lambda known, binding=binding: bind_tag(known, binding, None), at)
    assert store.spans("device:device-0", 0.0, 900.0) == [Span(tag, 0.0, 100.0), Span(tag, 200.0, 900.0)]
    assert store.spans("device:device-1", 0.0, 900.0)[1:] == [Span(tag, 100.0, 200.0)]
    assert store.spans("device:device-0", 120.0, 180.0) == []
    assert store.bound_since()[tag] == 200.0, "a clock set back never binds a tag before it was bound elsewhere"


def test_what_a_change_of_the_registry_raises_leaves_it_as_it_was(store: SqliteStore) -> None:
    def fail(known: Registry | None) -> Registry:
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.change_registry(fail, NOW)
    assert store.registry() == (1, encode(small_registry()))
    store.commit([batch(BatchKind.STATES, [state("off", NOW)])])


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
