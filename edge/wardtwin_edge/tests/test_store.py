import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wardtwin_edge import history, outbox, schema
from wardtwin_edge.database import connect, counters
from wardtwin_edge.errors import StoreError, StoreFullError
from wardtwin_edge.store import Changes, Store, open_or_replace, suspect
from wardtwin_edge.tests.wards import NOW
from wardtwin_sync.batch import BatchKind


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path / "g.db")
    yield made
    made.close()


def reading(sequence: int, tag: str = "t", boot: int = 1, at: float | None = None, line: int = 0) -> tuple:
    return (tag, boot, sequence, "energy", "mqtt", NOW + sequence if at is None else at, line, '{"active_power_w":5}')


def put(store: Store, *sequences: int, **options) -> None:
    store.commit(Changes(readings=[reading(sequence, **options) for sequence in sequences]))


def test_the_promises_of_the_connection_hold(store: Store) -> None:
    assert store.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store.db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store.path.stat().st_mode & 0o077 == 0


def test_a_reading_committed_is_not_new_again_whatever_the_order(store: Store) -> None:
    put(store, 1, 2, 5)
    assert [store.is_new("t", 1, n) for n in (1, 2, 3, 4, 5, 6)] == [False, False, True, True, False, True]
    assert store.is_new("t", 2, 1)
    assert store.is_new("other", 1, 1)


def test_many_rows_go_in_whatever_their_number(store: Store) -> None:
    put(store, *range(1, 152))
    assert store.db.execute("SELECT count(*), min(sequence), max(sequence) FROM readings").fetchone() == (151, 1, 151)


def test_a_commit_is_all_or_nothing(store: Store) -> None:
    put(store, 1)
    changes = Changes(readings=[reading(2), reading(1)], states=[("d", "t", "off", NOW, "rule", 0)])
    with pytest.raises(StoreError):
        store.commit(changes)
    assert store.is_new("t", 1, 2)
    assert store.db.execute("SELECT count(*) FROM states").fetchone()[0] == 0
    assert not store.db.in_transaction


def test_a_full_disk_is_an_error_that_can_be_tried_again(store: Store) -> None:
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFullError) as caught:
        put(store, *range(1, 1000))
    assert caught.value.retry
    assert store.is_new("t", 1, 1)
    store.db.execute("PRAGMA max_page_count = 100000")
    put(store, *range(1, 1000))
    assert not store.is_new("t", 1, 999)


def test_a_damaged_database_is_kept_aside_and_a_new_epoch_begins(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    first = Store(path)
    for start in range(1, 2000, 100):
        put(first, *range(start, start + 100))
    first.close()
    raw = bytearray(path.read_bytes())
    raw[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    path.write_bytes(raw)
    second, notice = open_or_replace(path)
    try:
        assert notice is not None
        assert "damaged" in notice
        assert second.epoch != first.epoch
        assert len(list(tmp_path.glob("g.db.damaged-*"))) == 1
    finally:
        second.close()


def test_a_file_that_is_no_database_is_kept_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    path.write_bytes(b"no database at all" * 1000)
    store, notice = open_or_replace(path)
    store.close()
    assert notice is not None


def test_a_sound_database_keeps_its_epoch_even_under_suspicion(tmp_path: Path) -> None:
    first = Store(tmp_path / "g.db")
    first.close()
    suspect(tmp_path / "g.db")
    second, notice = open_or_replace(tmp_path / "g.db")
    second.close()
    assert (notice, second.epoch) == (None, first.epoch)
    assert not list(tmp_path.glob("*.suspect"))


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "g.db")
    db.execute("PRAGMA user_version = 999")
    with pytest.raises(sqlite3.DatabaseError, match="999"):
        schema.migrate(db)
    db.close()


def test_migrations_are_run_once_each(tmp_path: Path) -> None:
    db = connect(tmp_path / "g.db", writer=True)
    assert schema.migrate(db) == schema.migrate(db) == len(schema.MIGRATIONS)
    db.close()


WRITER = """
import sys
from pathlib import Path
from wardtwin_edge.store import Changes, Store
store = Store(Path(sys.argv[1]))
n = 0
while True:
    rows = [("t", 1, n + i, "energy", "mqtt", 1.8e9, 0, "{}") for i in range(1, 21)]
    store.commit(Changes(readings=rows, states=[("d", "t", "off", float(n), "rule", 0)], ble_counters={"b": n}))
    n += 20
    print(n, flush=True)
"""


def test_what_was_committed_survives_sigkill_and_nothing_is_half(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = 0
            until = time.monotonic() + 20
            while told < 400 and time.monotonic() < until:
                told = int(process.stdout.readline() or 0)
            process.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout.read().split("\n") if line.strip())])
        store = Store(path)
        rows, newest, states, counter = store.db.execute(
            "SELECT (SELECT count(*) FROM readings), (SELECT max(sequence) FROM readings), (SELECT count(*) FROM states),"
            " (SELECT counter FROM ble_counters)"
        ).fetchone()
        store.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        assert rows == newest == states * 20 == counter + 20
        assert rows >= told >= 400


def test_readings_wait_until_they_are_in_a_batch(store: Store) -> None:
    put(store, 1, 2, 3)
    rows = outbox.readings_to_send(store.db, 2)
    assert [row[3] for row in rows] == [1, 2]
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, [row[0] for row in rows], "hash", NOW, b"blob")
    assert [row[3] for row in outbox.readings_to_send(store.db, 10)] == [3]
    assert outbox.batches_to_send(store.db, 5) == [(1, "hash", b"blob", 2)]
    assert outbox.next_sequence(store.db) == 2
    outbox.forget_batch(store.db, 1)
    assert outbox.batches_to_send(store.db, 5) == []


def test_the_same_readings_are_not_batched_twice(store: Store) -> None:
    put(store, 1, 2)
    ids = [row[0] for row in outbox.readings_to_send(store.db, 10)]
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, ids, "h", NOW, b"b")
    with pytest.raises(StoreError):
        outbox.keep_batch(store.db, 2, BatchKind.READINGS, ids, "h", NOW, b"b")
    assert outbox.next_sequence(store.db) == 2


def test_alarms_are_sent_before_states_before_readings(store: Store) -> None:
    put(store, 1)
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, [1], "raw", NOW, b"")
    store.commit(Changes(outbox=[(BatchKind.STATES, {"since": 1.0}, 0), (BatchKind.ALARMS, {"raised_at": 1.0}, 0)]))
    for sequence, kind in ((2, BatchKind.STATES), (3, BatchKind.ALARMS)):
        (row,) = outbox.rows_to_send(store.db, kind, 10)
        outbox.keep_batch(store.db, sequence, kind, [row[0]], kind.value, NOW, b"")
    assert [row[1] for row in outbox.batches_to_send(store.db, 5)] == ["alarms", "states", "raw"]


def test_a_refused_batch_stands_aside_and_the_next_goes_on(store: Store) -> None:
    put(store, 1)
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, [1], "h", NOW, b"")
    outbox.refuse_batch(store.db, 1, "400 ragged")
    assert outbox.batches_to_send(store.db, 5) == []
    assert outbox.refused(store.db)[0]["reason"] == "400 ragged"
    assert outbox.depths(store.db)["refused_batches"] == 1


def fill(store: Store) -> None:
    for start in range(1, 3000, 100):
        put(store, *range(start, start + 100))
    store.commit(Changes(outbox=[(BatchKind.SUMMARIES, {"n": n, "pad": "x" * 500}, 0) for n in range(200)]))
    store.commit(Changes(outbox=[(BatchKind.ALARMS, {"n": n, "pad": "x" * 500}, 0) for n in range(200)]))


def test_a_disk_at_its_bound_gives_up_raw_first_then_summaries_and_never_alarms(store: Store) -> None:
    fill(store)
    while history.prune(store.db, 0.0, 1):
        pass
    assert counters(store.db) == {"dropped_raw": 2999, "dropped_summary": 200}
    assert store.db.execute("SELECT kind, count(*) FROM outbox GROUP BY kind").fetchall() == [("alarms", 200)]


def test_above_the_bound_no_more_is_dropped_than_needed(store: Store) -> None:
    fill(store)
    bound = history.used_bytes(store.db) - 20_000
    while history.prune(store.db, 0.0, bound):
        pass
    assert counters(store.db).get("dropped_summary", 0) == 0
    assert history.used_bytes(store.db) <= bound


def test_what_was_sent_and_is_old_goes_without_being_counted_as_lost(store: Store) -> None:
    put(store, *range(1, 101))
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, list(range(1, 61)), "h", NOW, b"")
    while history.prune(store.db, NOW + 51, 2**40):
        pass
    assert [row[0] for row in store.db.execute("SELECT min(sequence) FROM readings")] == [51]
    assert counters(store.db) == {}


def test_what_is_pruned_is_still_known_as_a_duplicate(store: Store) -> None:
    put(store, 1, 2, 3, 7, 8)
    put(store, 4)
    outbox.keep_batch(store.db, 1, BatchKind.READINGS, [1, 2, 3, 4, 5, 6], "h", NOW, b"")
    put(store, 20)
    while history.prune(store.db, NOW + 10, 2**40):
        pass
    store.forget_newest()
    assert store.db.execute("SELECT count(*) FROM readings").fetchone()[0] == 1
    assert [store.is_new("t", 1, n) for n in (1, 4, 5, 6, 7, 8, 9, 20, 21)] == [False, False, True, True, False, False, True, False, True]
    assert store.db.execute("SELECT first, last FROM pruned ORDER BY first").fetchall() == [(1, 4), (7, 8)]


def test_row_ids_go_on_after_everything_was_pruned(store: Store) -> None:
    put(store, 1, 2, 3)
    while history.prune(store.db, 0.0, 1):
        pass
    put(store, 4)
    assert [row[3] for row in outbox.readings_to_send(store.db, 10)][-1] == 4


def test_rows_on_a_provisional_line_wait_and_move_when_the_time_is_known(store: Store) -> None:
    put(store, 1, 2, line=77, at=30.0)
    put(store, 3)
    store.commit(
        Changes(
            states=[("d", "t", "off", 30.0, "rule", 77)],
            outbox=[(BatchKind.STATES, {"since": 30.0}, 77), (BatchKind.ALARMS, {"raised_at": 31.0, "cleared_at": None}, 77)],
            minutes={("t", 0)},
        )
    )
    assert outbox.readings_to_send(store.db, 10) == []
    assert outbox.rows_to_send(store.db, BatchKind.STATES, 10) == []
    assert history.lines(store.db) == [(77, 30.0)]
    history.move_line(store.db, 77, NOW)
    assert [row[6] for row in outbox.readings_to_send(store.db, 10)] == [NOW + 30, NOW + 30, NOW + 3]
    assert outbox.rows_to_send(store.db, BatchKind.STATES, 10)[0][1] == {"since": NOW + 30}
    assert outbox.rows_to_send(store.db, BatchKind.ALARMS, 10)[0][1] == {"raised_at": NOW + 31, "cleared_at": None}
    assert history.states_between(store.db, "d", NOW, NOW + 60) == [("off", NOW + 30)]
    assert store.minutes() == {("t", int(NOW + 30) // 60 * 60)}
