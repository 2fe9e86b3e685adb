"""The gateway's memory: what was received, what follows from it, and what is still to be sent. The only module with SQL.

One connection writes, from one thread (see `committer`); others read. WAL and synchronous=FULL: what `commit` returned
from is on the disk. A reading, the changes of state and alarms it caused and its place in the outbox are one transaction.
"""

import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from wardtwin_edge import schema
from wardtwin_edge.errors import StoreError, StoreFullError
from wardtwin_sync.batch import CLASS_OF, BatchKind, StorageClass

Key = tuple[str, int, int]
"""(tag_id, boot_id, sequence)."""
ReadingRow = tuple[str, int, int, str, str, float, int, str]
"""tag_id, boot_id, sequence, kind, transport, measured_at, clock_line, measures as JSON."""

FILE_NAME = "gateway.db"
QUARANTINE_ROWS = 1_000
REFUSED_BATCHES = 50
_INSERT_READING = (
    "INSERT INTO readings(tag_id, boot_id, sequence, kind, transport, measured_at, clock_line, measures) VALUES(?,?,?,?,?,?,?,?)"
)


@dataclass(slots=True)
class Changes:
    """What one group commit writes. `outbox`: (kind, row, clock_line); `states`: (device_id, tag_id, state, since, reason, clock_line)."""

    readings: list[ReadingRow] = field(default_factory=list)
    states: list[tuple[str, str, str, float, str, int]] = field(default_factory=list)
    outbox: list[tuple[BatchKind, dict[str, Any], int]] = field(default_factory=list)
    live: dict[str, Any] = field(default_factory=dict)
    boots: list[tuple[str, int, float, float]] = field(default_factory=list)
    ble_counters: dict[str, int] = field(default_factory=dict)
    minutes: set[tuple[str, int]] = field(default_factory=set)
    quarantine: list[tuple[float, str, str, int, int, str, bytes]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.readings or self.states or self.outbox or self.live or self.boots or self.ble_counters
            or self.minutes or self.quarantine or self.counters
        )  # fmt: skip


def connect(path: Path, *, writer: bool = False) -> sqlite3.Connection:
    """A connection with the settings that the promises of this module rest on."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if writer else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8000")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        if not writer:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def open_or_replace(path: Path) -> tuple["Store", str | None]:
    """Open the database at `path`. One that is damaged is moved aside, never deleted; then the second value says so."""
    try:
        return Store(path), None
    except sqlite3.DatabaseError as error:
        if not path.exists() or (isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error)):
            raise StoreError(f"cannot open {path}: {error}", "check the data directory's owner and free space") from error
        aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            side = path.with_name(path.name + suffix)
            if side.exists():
                side.rename(aside.with_name(aside.name + suffix))
        return Store(path), f"the database was damaged ({error}); it is kept as {aside.name} and a new one was started"


class Store:
    """Use from one thread at a time; the sequence of calls is the committer's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        self._db = connect(path, writer=True)
        try:
            if is_new:
                path.chmod(0o600)
            else:
                self._check()
            schema.migrate(self._db)
            self.epoch = self._remembered("epoch", secrets.token_hex(8))
        except BaseException:
            self._db.close()
            raise
        self._newest: dict[tuple[str, int], int] = {}

    def close(self) -> None:
        self._db.close()

    def _check(self) -> None:
        answer = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {answer}")

    # -- the hot path

    def is_new(self, tag_id: str, boot_id: int, sequence: int) -> bool:
        """Whether no reading with this key was ever committed. Above the newest there is nothing to look up."""
        newest = self._newest.get((tag_id, boot_id))
        if newest is None:
            newest = self._newest[tag_id, boot_id] = self._newest_of(tag_id, boot_id)
        if sequence > newest:
            return True
        key = (tag_id, boot_id, sequence)
        if self._one("SELECT 1 FROM readings WHERE tag_id=? AND boot_id=? AND sequence=?", key) is not None:
            return False
        if self._one("SELECT 1 FROM quarantine WHERE tag_id=? AND boot_id=? AND sequence=?", key) is not None:
            return False
        return self._one("SELECT 1 FROM pruned WHERE tag_id=? AND boot_id=? AND first<=? AND last>=?", (*key, sequence)) is None

    def commit(self, changes: Changes) -> None:
        """Write all of it or nothing. Raise StoreFullError when there is no room, StoreError for anything else."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_INSERT_READING, changes.readings)
            self._write_derived(changes)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _store_error(error) from error
        newest = self._newest
        for row in changes.readings:
            key = (row[0], row[1])
            if row[2] > newest.get(key, 0):
                newest[key] = row[2]

    def _write_derived(self, changes: Changes) -> None:
        db = self._db
        if changes.states:
            db.executemany("INSERT INTO states(device_id, tag_id, state, since, reason, clock_line) VALUES(?,?,?,?,?,?)", changes.states)
        if changes.outbox:
            rows = [(kind.value, msgspec.json.encode(row).decode(), line) for kind, row, line in changes.outbox]
            db.executemany("INSERT INTO outbox(kind, row, clock_line) VALUES(?,?,?)", rows)
        if changes.live:
            rows_live = [(key, msgspec.json.encode(value).decode()) for key, value in changes.live.items()]
            db.executemany("INSERT INTO live VALUES(?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", rows_live)
        if changes.boots:
            db.executemany("INSERT OR REPLACE INTO boots(tag_id, boot_id, started_at, uptime_s) VALUES(?,?,?,?)", changes.boots)
        if changes.ble_counters:
            db.executemany("INSERT OR REPLACE INTO ble_counters VALUES(?,?)", changes.ble_counters.items())
        if changes.minutes:
            db.executemany("INSERT OR IGNORE INTO minutes VALUES(?,?)", changes.minutes)
        if changes.quarantine:
            db.executemany(
                "INSERT INTO quarantine(at, transport, tag_id, boot_id, sequence, reason, payload) VALUES(?,?,?,?,?,?,?)",
                changes.quarantine,
            )
            db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (QUARANTINE_ROWS,))
        if changes.counters:
            self._count(changes.counters)

    def _count(self, counters: dict[str, int]) -> None:
        sql = "INSERT INTO counters VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value"
        self._db.executemany(sql, counters.items())

    # -- what a start, or a commit that failed, is rebuilt from

    def live(self) -> dict[str, Any]:
        return {key: msgspec.json.decode(value) for key, value in self._db.execute("SELECT key, value FROM live")}

    def boots(self) -> list[tuple[str, int, float, float]]:
        return list(self._db.execute("SELECT tag_id, boot_id, started_at, uptime_s FROM boots"))

    def ble_counters(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT tag_id, counter FROM ble_counters"))

    def minutes(self) -> set[tuple[str, int]]:
        return set(self._db.execute("SELECT tag_id, minute_start FROM minutes"))

    def counters(self, connection: sqlite3.Connection | None = None) -> dict[str, int]:
        return dict((connection or self._db).execute("SELECT name, value FROM counters"))

    def newest_stamp(self) -> float:
        """The latest UTC stamp kept: the clock cannot be earlier than this. 0 when there is none."""
        return float(self._db.execute("SELECT coalesce(max(measured_at), 0) FROM readings WHERE clock_line = 0").fetchone()[0])

    def last_measured(self, tag_id: str) -> float | None:
        sql = "SELECT measured_at FROM readings WHERE tag_id = ? ORDER BY boot_id DESC, sequence DESC LIMIT 1"
        found = self._one(sql, (tag_id,))
        return None if found is None else float(found[0])

    # -- time known at last

    def move_line(self, line: int, step_s: float) -> None:
        """Move every stamp of provisional `line` by `step_s`, to UTC. `live` and `boots` are rewritten by their owners."""
        with self._transaction():
            self._db.execute("UPDATE readings SET measured_at = measured_at + ?, clock_line = 0 WHERE clock_line = ?", (step_s, line))
            self._db.execute("UPDATE states SET since = since + ?, clock_line = 0 WHERE clock_line = ?", (step_s, line))
            moved = []
            for row_id, text in self._db.execute("SELECT id, row FROM outbox WHERE clock_line = ?", (line,)).fetchall():
                row = msgspec.json.decode(text)
                for name in _STAMPS & row.keys():
                    if row[name] is not None:
                        row[name] += step_s
                moved.append((msgspec.json.encode(row).decode(), row_id))
            self._db.executemany("UPDATE outbox SET row = ?, clock_line = 0 WHERE id = ?", moved)
            self._db.execute("DELETE FROM minutes")
            self._db.execute(
                "INSERT OR IGNORE INTO minutes SELECT DISTINCT tag_id, CAST(measured_at / 60 AS INTEGER) * 60 FROM readings"
                " WHERE measured_at BETWEEN ? AND ?",
                (step_s, step_s + 10 * 366 * 86_400),
            )

    def lines(self) -> list[tuple[int, float]]:
        """Provisional lines that have rows, each with its latest stamp."""
        return list(self._db.execute("SELECT clock_line, max(measured_at) FROM readings WHERE clock_line <> 0 GROUP BY clock_line"))

    # -- outbox

    def readings_to_send(self, limit: int, connection: sqlite3.Connection | None = None) -> list[tuple[Any, ...]]:
        """The oldest readings not yet in a batch: (id, tag_id, boot_id, sequence, kind, transport, measured_at, measures), UTC only."""
        sql = (
            "SELECT id, tag_id, boot_id, sequence, kind, transport, measured_at, measures, clock_line FROM readings"
            " WHERE id > (SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'raw_cursor'), 0)) ORDER BY id LIMIT ?"
        )
        rows = (connection or self._db).execute(sql, (limit,)).fetchall()
        ready = next((i for i, row in enumerate(rows) if row[8] != 0), len(rows))
        return rows[:ready]

    def outbox_to_send(self, kind: BatchKind, limit: int, connection: sqlite3.Connection | None = None) -> list[tuple[int, str]]:
        sql = "SELECT id, row FROM outbox WHERE kind = ? AND clock_line = 0 ORDER BY id LIMIT ?"
        return (connection or self._db).execute(sql, (kind.value, limit)).fetchall()

    def next_batch_sequence(self, connection: sqlite3.Connection | None = None) -> int:
        found = (connection or self._db).execute("SELECT value FROM meta WHERE key = 'batch_sequence'").fetchone()
        return int(found[0]) + 1 if found else 1

    def keep_batch(self, sequence: int, kind: BatchKind, row_ids: list[int], digest: str, created_at: float, blob: bytes) -> None:
        """Persist a batch and take its rows out of the outbox, in one transaction. Raise StoreError if the rows are no longer there."""
        with self._transaction():
            if kind is BatchKind.READINGS:
                cursor = int(self._remembered("raw_cursor", "0"))
                if row_ids[0] <= cursor:
                    raise StoreError("readings of this batch were dropped or batched meanwhile")
                self._remember("raw_cursor", str(row_ids[-1]))
            else:
                self._db.executemany("DELETE FROM outbox WHERE id = ?", ((row_id,) for row_id in row_ids))
            self._remember("batch_sequence", str(sequence))
            self._db.execute(
                "INSERT INTO batches(sequence, kind, class, rows, hash, created_at, blob) VALUES(?,?,?,?,?,?,?)",
                (sequence, kind.value, CLASS_OF[kind].value, len(row_ids), digest, created_at, blob),
            )

    def batches_to_send(self, limit: int, connection: sqlite3.Connection | None = None) -> list[tuple[int, str, str, bytes, int]]:
        """(sequence, kind, hash, blob, rows), alarms before summaries before raw, oldest first."""
        sql = (
            "SELECT sequence, kind, hash, blob, rows FROM batches WHERE refused IS NULL"
            " ORDER BY CASE class WHEN 'alarm' THEN 0 WHEN 'summary' THEN 1 ELSE 2 END, sequence LIMIT ?"
        )
        return (connection or self._db).execute(sql, (limit,)).fetchall()

    def forget_batch(self, sequence: int, counters: dict[str, int] | None = None) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM batches WHERE sequence = ?", (sequence,))
            if counters:
                self._count(counters)

    def refuse_batch(self, sequence: int, reason: str) -> None:
        """The cloud will never take this batch: keep it for a look, out of the way, the newest REFUSED_BATCHES of them."""
        with self._transaction():
            self._db.execute("UPDATE batches SET refused = ? WHERE sequence = ?", (reason, sequence))
            self._count({"refused_batches": 1})
            self._db.execute(
                "DELETE FROM batches WHERE refused IS NOT NULL AND class <> 'alarm' AND sequence NOT IN"
                " (SELECT sequence FROM batches WHERE refused IS NOT NULL ORDER BY sequence DESC LIMIT ?)",
                (REFUSED_BATCHES,),
            )

    def depths(self, connection: sqlite3.Connection | None = None) -> dict[str, int]:
        """What waits: readings, other rows by kind, persisted batches, refused batches."""
        db = connection or self._db
        cursor = "(SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'raw_cursor'), 0))"
        out = {"readings": int(db.execute(f"SELECT coalesce(max(id), 0) - {cursor} FROM readings").fetchone()[0])}
        out |= dict(db.execute("SELECT kind, count(*) FROM outbox GROUP BY kind"))
        waiting, refused = db.execute("SELECT sum(refused IS NULL), sum(refused IS NOT NULL) FROM batches").fetchone()
        return out | {"batches": waiting or 0, "refused_batches": refused or 0}

    # -- summaries

    def readings_between(self, start: float, end: float, connection: sqlite3.Connection | None = None) -> list[tuple[str, str, float, str]]:
        """(tag_id, kind, measured_at, measures) of UTC readings, by time."""
        sql = "SELECT tag_id, kind, measured_at, measures FROM readings WHERE measured_at >= ? AND measured_at < ? AND clock_line = 0 ORDER BY measured_at"
        return (connection or self._db).execute(sql, (start, end)).fetchall()

    def states_until(
        self, device_id: str, start: float, end: float, connection: sqlite3.Connection | None = None
    ) -> list[tuple[str, float]]:
        """(state, since) of the device: the one that stands at `start`, and those that begin before `end`."""
        db = connection or self._db
        first = db.execute(
            "SELECT state, since FROM states WHERE device_id = ? AND since <= ? ORDER BY since DESC, id DESC LIMIT 1", (device_id, start)
        ).fetchall()
        later = db.execute(
            "SELECT state, since FROM states WHERE device_id = ? AND since > ? AND since < ? ORDER BY since, id", (device_id, start, end)
        ).fetchall()
        return first + later

    def keep_summaries(self, done: Iterable[tuple[str, int]], rows: list[dict[str, Any]]) -> None:
        with self._transaction():
            self._db.executemany("DELETE FROM minutes WHERE tag_id = ? AND minute_start = ?", done)
            encoded = [(BatchKind.SUMMARIES.value, msgspec.json.encode(row).decode()) for row in rows]
            self._db.executemany("INSERT INTO outbox(kind, row, clock_line) VALUES(?,?,0)", encoded)

    # -- inside

    def _newest_of(self, tag_id: str, boot_id: int) -> int:
        here = self._one("SELECT max(sequence) FROM readings WHERE tag_id=? AND boot_id=?", (tag_id, boot_id))
        pruned = self._one("SELECT max(last) FROM pruned WHERE tag_id=? AND boot_id=?", (tag_id, boot_id))
        aside = self._one("SELECT max(sequence) FROM quarantine WHERE tag_id=? AND boot_id=?", (tag_id, boot_id))
        return max(here[0] or 0, pruned[0] or 0, aside[0] or 0)  # type: ignore[index]

    def forget_newest(self) -> None:
        """After a commit that failed: look everything up again."""
        self._newest.clear()

    def _one(self, sql: str, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._db.execute(sql, arguments).fetchone()
        return found

    def _remembered(self, key: str, default: str) -> str:
        found = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        if found is not None:
            return str(found[0])
        self._db.execute("INSERT INTO meta VALUES(?,?)", (key, default))
        return default

    def _remember(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (key, value))

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


_STAMPS = {"since", "raised_at", "cleared_at", "at"}


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _store_error(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as fault:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise _store_error(fault) from fault
            return
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise _store_error(error) from error


def _store_error(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreFullError(str(error), "free space on the gateway's disk, or lower storage.disk_bound_mb")
    return StoreError(str(error), "run `wardtwin-edge maintain check`")


__all__ = ["Changes", "Key", "StorageClass", "Store", "connect", "open_or_replace"]
