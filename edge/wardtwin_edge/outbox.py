"""What is still to be sent: rows, and the batches made of them.

Readings are their own outbox: a cursor says up to where they are in batches. Everything else waits in a table of its own.
A batch is kept, bytes and hash, before it is first sent, and forgotten when the cloud has acked it. Reading methods take
any connection; writing ones belong to the committer's thread.
"""

import sqlite3
from typing import Any

import msgspec

from wardtwin_edge.database import Transaction, count, remember, remembered
from wardtwin_edge.errors import StoreError
from wardtwin_sync.batch import CLASS_OF, BatchKind

REFUSED_BATCHES = 50
RAW_CURSOR = "raw_cursor"
_BATCH_SEQUENCE = "batch_sequence"


def raw_cursor(db: sqlite3.Connection) -> int:
    """The id of the newest reading that is in a batch."""
    return int(remembered(db, RAW_CURSOR) or 0)


def readings_to_send(db: sqlite3.Connection, limit: int) -> list[tuple[Any, ...]]:
    """The oldest readings not yet in a batch: (id, tag_id, boot_id, sequence, kind, transport, measured_at, measures), UTC only."""
    sql = (
        "SELECT id, tag_id, boot_id, sequence, kind, transport, measured_at, measures, clock_line FROM readings"
        " WHERE id > ? ORDER BY id LIMIT ?"
    )
    rows = db.execute(sql, (raw_cursor(db), limit)).fetchall()
    ready = next((i for i, row in enumerate(rows) if row[8] != 0), len(rows))
    return rows[:ready]


def rows_to_send(db: sqlite3.Connection, kind: BatchKind, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """(id, row), oldest first, UTC only."""
    sql = "SELECT id, row FROM outbox WHERE kind = ? AND clock_line = 0 ORDER BY id LIMIT ?"
    return [(row_id, msgspec.json.decode(text)) for row_id, text in db.execute(sql, (kind.value, limit))]


def next_sequence(db: sqlite3.Connection) -> int:
    return int(remembered(db, _BATCH_SEQUENCE) or 0) + 1


def keep_batch(
    db: sqlite3.Connection, sequence: int, kind: BatchKind, row_ids: list[int], digest: str, created_at: float, blob: bytes
) -> None:
    """Persist a batch and take its rows out of the outbox, in one transaction. Raise StoreError if rows were dropped meanwhile."""
    with Transaction(db):
        if kind is BatchKind.READINGS:
            first = db.execute("SELECT min(id) FROM readings WHERE id > ?", (raw_cursor(db),)).fetchone()[0]
            if first != row_ids[0]:
                raise StoreError("readings of this batch were dropped meanwhile")
            remember(db, RAW_CURSOR, str(row_ids[-1]))
        else:
            done = sum(db.execute("DELETE FROM outbox WHERE id = ?", (row_id,)).rowcount for row_id in row_ids)
            if done != len(row_ids):
                raise StoreError("rows of this batch were dropped meanwhile")
        remember(db, _BATCH_SEQUENCE, str(sequence))
        db.execute(
            "INSERT INTO batches(sequence, kind, class, rows, hash, created_at, blob) VALUES(?,?,?,?,?,?,?)",
            (sequence, kind.value, CLASS_OF[kind].value, len(row_ids), digest, created_at, blob),
        )


def batches_to_send(db: sqlite3.Connection, limit: int) -> list[tuple[int, str, bytes, int]]:
    """(sequence, hash, blob, rows), alarms before summaries before raw, oldest first."""
    sql = (
        "SELECT sequence, hash, blob, rows FROM batches WHERE refused IS NULL"
        " ORDER BY CASE class WHEN 'alarm' THEN 0 WHEN 'summary' THEN 1 ELSE 2 END, sequence LIMIT ?"
    )
    return db.execute(sql, (limit,)).fetchall()


def kinds_waiting(db: sqlite3.Connection) -> set[BatchKind]:
    """Kinds that have a persisted batch not yet acked."""
    return {BatchKind(row[0]) for row in db.execute("SELECT DISTINCT kind FROM batches WHERE refused IS NULL")}


def forget_batch(db: sqlite3.Connection, sequence: int, counters: dict[str, int] | None = None) -> None:
    with Transaction(db):
        db.execute("DELETE FROM batches WHERE sequence = ?", (sequence,))
        if counters:
            count(db, counters)


def refuse_batch(db: sqlite3.Connection, sequence: int, reason: str) -> None:
    """The cloud will never take this batch: keep it for a look, out of the way; but for alarms the newest REFUSED_BATCHES only."""
    with Transaction(db):
        db.execute("UPDATE batches SET refused = ? WHERE sequence = ?", (reason, sequence))
        count(db, {"refused_batches": 1})
        db.execute(
            "DELETE FROM batches WHERE refused IS NOT NULL AND class <> 'alarm' AND sequence NOT IN"
            " (SELECT sequence FROM batches WHERE refused IS NOT NULL ORDER BY sequence DESC LIMIT ?)",
            (REFUSED_BATCHES,),
        )


def refused(db: sqlite3.Connection) -> list[dict[str, Any]]:
    sql = "SELECT sequence, kind, rows, created_at, refused FROM batches WHERE refused IS NOT NULL ORDER BY sequence DESC LIMIT 10"
    names = ("sequence", "kind", "rows", "created_at", "reason")
    return [dict(zip(names, row, strict=True)) for row in db.execute(sql)]


def depths(db: sqlite3.Connection) -> dict[str, int]:
    """What waits: readings not yet batched, other rows by kind, persisted batches and their rows, refused batches."""
    newest = db.execute("SELECT coalesce(max(id), 0) FROM readings").fetchone()[0]
    out = {"readings": max(0, newest - raw_cursor(db))}
    out |= dict(db.execute("SELECT kind, count(*) FROM outbox GROUP BY kind"))
    waiting, rows, refused_count = db.execute(
        "SELECT sum(refused IS NULL), sum(CASE WHEN refused IS NULL THEN rows END), sum(refused IS NOT NULL) FROM batches"
    ).fetchone()
    return out | {"batches": waiting or 0, "batched_rows": rows or 0, "refused_batches": refused_count or 0}
