"""What the store keeps to look back on, and for how long; and what moves when the time becomes known.

The disk is bounded by class: readings that were sent go first, then readings that were not, then summaries, states and
placements; alarms are never dropped. Every row dropped before it was sent is counted, and the count travels with each batch.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from wardtwin_edge import outbox
from wardtwin_edge.database import Transaction, count
from wardtwin_sync.batch import CLASS_OF, BatchKind, StorageClass

CHUNK_ROWS = 5_000
_STAMPS = {"since", "raised_at", "cleared_at", "at"}
_BY_CLASS = {c: tuple(kind.value for kind in BatchKind if CLASS_OF[kind] is c) for c in StorageClass}

# -- looking back


def readings_between(db: sqlite3.Connection, start: float, end: float) -> list[tuple[str, float, str]]:
    """(tag_id, measured_at, measures as JSON) of UTC readings with values, by time."""
    sql = (
        "SELECT tag_id, measured_at, measures FROM readings WHERE measured_at >= ? AND measured_at < ? AND clock_line = 0"
        " AND kind IN ('energy', 'environment') ORDER BY measured_at"
    )
    return db.execute(sql, (start, end)).fetchall()


def states_between(db: sqlite3.Connection, device_id: str, start: float, end: float) -> list[tuple[str, float]]:
    """(state, since) of the device: the one that stands at `start`, and those that begin before `end`."""
    sql = "SELECT state, since FROM states WHERE device_id = ? AND clock_line = 0 AND since <= ? ORDER BY since DESC, id DESC LIMIT 1"
    standing = db.execute(sql, (device_id, start)).fetchall()
    sql = "SELECT state, since FROM states WHERE device_id = ? AND clock_line = 0 AND since > ? AND since < ? ORDER BY since, id"
    return standing + db.execute(sql, (device_id, start, end)).fetchall()


def minutes_due(db: sqlite3.Connection, before: float, limit: int) -> list[tuple[str, int]]:
    """(tag_id, minute_start) whose summary is to be made and that ended by `before`."""
    sql = "SELECT tag_id, minute_start FROM minutes WHERE minute_start <= ? ORDER BY minute_start LIMIT ?"
    return db.execute(sql, (before - 60, limit)).fetchall()


def keep_summaries(db: sqlite3.Connection, done: Iterable[tuple[str, int]], rows: list[dict[str, Any]]) -> None:
    with Transaction(db):
        db.executemany("DELETE FROM minutes WHERE tag_id = ? AND minute_start = ?", done)
        encoded = [(BatchKind.SUMMARIES.value, msgspec.json.encode(row).decode()) for row in rows]
        db.executemany("INSERT INTO outbox(kind, row, clock_line) VALUES(?,?,0)", encoded)


def keep_row(db: sqlite3.Connection, kind: BatchKind, row: dict[str, Any]) -> None:
    with Transaction(db):
        db.execute("INSERT INTO outbox(kind, row, clock_line) VALUES(?,?,0)", (kind.value, msgspec.json.encode(row).decode()))


# -- the bound


def used_bytes(db: sqlite3.Connection) -> int:
    """What the rows take: pages in use, without those that are free for new rows."""
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * size)


def prune(db: sqlite3.Connection, keep_since: float, bound_bytes: int) -> int:
    """One step: let go of readings sent and older than `keep_since`; above the bound of more, by class. Return rows deleted."""
    cursor = outbox.raw_cursor(db)
    is_above = used_bytes(db) > bound_bytes
    row = db.execute("SELECT id, measured_at FROM readings ORDER BY id LIMIT 1").fetchone()
    if row is not None and row[0] <= cursor and (is_above or row[1] < keep_since):
        limit = "" if is_above else "AND measured_at < :since AND clock_line = 0"
        return _let_go(db, f"SELECT id FROM readings WHERE id <= :cursor {limit} ORDER BY id LIMIT :n", cursor, keep_since)
    if not is_above:
        return 0
    for storage_class in (StorageClass.RAW, StorageClass.SUMMARY):
        dropped = _drop(db, storage_class)
        if dropped:
            return dropped
    return 0


def _drop(db: sqlite3.Connection, storage_class: StorageClass) -> int:
    """Drop the oldest unsent rows of a class: batches before rows, since they are older."""
    with Transaction(db):
        found = db.execute(
            "SELECT sequence, rows FROM batches WHERE class = ? ORDER BY sequence LIMIT 1", (storage_class.value,)
        ).fetchone()
        if found is not None:
            db.execute("DELETE FROM batches WHERE sequence = ?", (found[0],))
            dropped = int(found[1])
        else:
            kinds = _BY_CLASS[storage_class]
            marks = ",".join("?" * len(kinds))
            sql = f"DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE kind IN ({marks}) ORDER BY id LIMIT {CHUNK_ROWS})"
            dropped = db.execute(sql, kinds).rowcount
        if dropped:
            count(db, {f"dropped_{storage_class.value}": dropped})
    if not dropped and storage_class is StorageClass.RAW:
        dropped = _let_go(db, "SELECT id FROM readings ORDER BY id LIMIT :n", 0, 0.0, counted=True)
    return dropped


def _let_go(db: sqlite3.Connection, select: str, cursor: int, since: float, *, counted: bool = False) -> int:
    """Delete readings, keeping their numbers as runs: a frame sent again must still be known as a duplicate."""
    with Transaction(db):
        newest = db.execute("SELECT max(id) FROM readings").fetchone()[0]
        # the newest row stays: the cursor of the outbox counts on ids never being used twice
        ids = [row[0] for row in db.execute(select, {"cursor": cursor, "since": since, "n": CHUNK_ROWS}) if row[0] != newest]
        if not ids:
            return 0
        first, last = ids[0], ids[-1]
        keys = db.execute(
            "SELECT tag_id, boot_id, sequence FROM readings WHERE id BETWEEN ? AND ? ORDER BY tag_id, boot_id, sequence", (first, last)
        ).fetchall()
        _remember_runs(db, keys)
        deleted = db.execute("DELETE FROM readings WHERE id BETWEEN ? AND ?", (first, last)).rowcount
        if counted:
            count(db, {"dropped_raw": deleted})
    return deleted


def _remember_runs(db: sqlite3.Connection, keys: list[tuple[str, int, int]]) -> None:
    """Add sorted keys to `pruned`, each run merged with the one it continues."""
    start = 0
    for i in range(1, len(keys) + 1):
        if i < len(keys) and keys[i][:2] == keys[i - 1][:2] and keys[i][2] == keys[i - 1][2] + 1:
            continue
        tag_id, boot_id, first = keys[start]
        last = keys[i - 1][2]
        before = db.execute("SELECT first FROM pruned WHERE tag_id=? AND boot_id=? AND last=?", (tag_id, boot_id, first - 1)).fetchone()
        after = db.execute("SELECT last FROM pruned WHERE tag_id=? AND boot_id=? AND first=?", (tag_id, boot_id, last + 1)).fetchone()
        if after:
            db.execute("DELETE FROM pruned WHERE tag_id=? AND boot_id=? AND first=?", (tag_id, boot_id, last + 1))
            last = after[0]
        db.execute("INSERT OR REPLACE INTO pruned VALUES(?,?,?,?)", (tag_id, boot_id, before[0] if before else first, last))
        start = i


# -- time known at last


def lines(db: sqlite3.Connection) -> list[tuple[int, float]]:
    """Provisional lines that have rows, each with its latest stamp."""
    return db.execute("SELECT clock_line, max(measured_at) FROM readings WHERE clock_line <> 0 GROUP BY clock_line").fetchall()


def move_line(db: sqlite3.Connection, line: int, step_s: float) -> None:
    """Move every stamp of provisional `line` by `step_s`, to UTC, and have the minutes summed up anew."""
    with Transaction(db):
        db.execute("DELETE FROM minutes WHERE minute_start < ?", (10 * 366 * 86_400,))  # of provisional lines: seconds since a start
        db.execute(
            "INSERT OR IGNORE INTO minutes SELECT DISTINCT tag_id, CAST((measured_at + ?1) / 60 AS INTEGER) * 60 FROM readings"
            " WHERE clock_line = ?2",
            (step_s, line),
        )
        db.execute("UPDATE readings SET measured_at = measured_at + ?, clock_line = 0 WHERE clock_line = ?", (step_s, line))
        db.execute("UPDATE states SET since = since + ?, clock_line = 0 WHERE clock_line = ?", (step_s, line))
        moved = []
        for row_id, text in db.execute("SELECT id, row FROM outbox WHERE clock_line = ?", (line,)).fetchall():
            row = msgspec.json.decode(text)
            for name in _STAMPS & row.keys():
                if row[name] is not None:
                    row[name] += step_s
            moved.append((msgspec.json.encode(row).decode(), row_id))
        db.executemany("UPDATE outbox SET row = ?, clock_line = 0 WHERE id = ?", moved)
