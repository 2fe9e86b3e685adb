"""The gateway's memory: what was received and what follows from it. With `outbox` and `history` the only modules with SQL.

One connection writes, from one thread (see `committer`); others read. WAL and synchronous=FULL: what `commit` returned
from is on the disk. A reading, the changes of state and alarms it caused and its place in the outbox are one transaction.
"""

import secrets
import sqlite3
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from wardtwin_edge import schema
from wardtwin_edge.database import connect, count, remember, remembered, store_error
from wardtwin_edge.errors import StoreError
from wardtwin_sync.batch import BatchKind

ReadingRow = tuple[str, int, int, str, str, float, int, str]
"""tag_id, boot_id, sequence, kind, transport, measured_at, clock_line, measures as JSON."""

FILE_NAME = "gateway.db"
QUARANTINE_ROWS = 1_000
CHECKED_BYTES = 32 * 1024 * 1024
_READING_COLUMNS = ("tag_id", "boot_id", "sequence", "kind", "transport", "measured_at", "clock_line", "measures")
_CHUNKS = (64, 16, 4, 1)


def _insert_readings(rows: int) -> str:
    row = f"({','.join('?' * len(_READING_COLUMNS))})"
    return f"INSERT INTO readings({', '.join(_READING_COLUMNS)}) VALUES {','.join([row] * rows)}"


_INSERT_READINGS = [(rows, _insert_readings(rows)) for rows in _CHUNKS]


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
        _suspicion(path).unlink(missing_ok=True)
        return Store(path), f"the database was damaged ({error}); it is kept as {aside.name} and a new one was started"


def suspect(path: Path) -> None:
    """Have the database at `path` checked at the next start, however large it is."""
    _suspicion(path).touch()


def _suspicion(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")


class Store:
    """Use from one thread at a time; the sequence of calls is the committer's. `db` is for `Outbox` and `History`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        self.db = connect(path, writer=True)
        try:
            if is_new:
                path.chmod(0o600)
            else:
                self._check()
            schema.migrate(self.db)
            self.epoch = remembered(self.db, "epoch")
            if not self.epoch:
                self.epoch = secrets.token_hex(8)
                remember(self.db, "epoch", self.epoch)
        except BaseException:
            self.db.close()
            raise
        self._newest: dict[tuple[str, int], int] = {}

    def close(self) -> None:
        self.db.close()

    def _check(self) -> None:
        """A small database is read through at every start; a large one when there was a reason, since on a slow card it takes minutes."""
        suspicion = _suspicion(self.path)
        if self.path.stat().st_size > CHECKED_BYTES and not suspicion.exists():
            return
        answer = self.db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {answer}")
        suspicion.unlink(missing_ok=True)

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
        db = self.db
        try:
            db.execute("BEGIN IMMEDIATE")
            self._write_readings(changes.readings)
            self._write_derived(changes)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise store_error(error) from error
        newest = self._newest
        for row in changes.readings:
            key = (row[0], row[1])
            if row[2] > newest.get(key, 0):
                newest[key] = row[2]

    def _write_readings(self, rows: list[ReadingRow]) -> None:
        """Many rows a statement: sqlite3 gives the interpreter away at every one, and a thread that reads takes it for a while."""
        at = 0
        for size, sql in _INSERT_READINGS:
            while len(rows) - at >= size:
                self.db.execute(sql, list(chain.from_iterable(rows[at : at + size])))
                at += size

    def _write_derived(self, changes: Changes) -> None:
        db = self.db
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
            count(db, changes.counters)

    # -- what a start, or a commit that failed, is rebuilt from

    def live(self) -> dict[str, Any]:
        return {key: msgspec.json.decode(value) for key, value in self.db.execute("SELECT key, value FROM live")}

    def boots(self) -> list[tuple[str, int, float, float]]:
        return list(self.db.execute("SELECT tag_id, boot_id, started_at, uptime_s FROM boots"))

    def ble_counters(self) -> dict[str, int]:
        return dict(self.db.execute("SELECT tag_id, counter FROM ble_counters"))

    def minutes(self) -> set[tuple[str, int]]:
        return set(self.db.execute("SELECT tag_id, minute_start FROM minutes"))

    def newest_stamp(self) -> float:
        """The latest UTC stamp kept: the clock cannot be earlier than this. 0 when there is none."""
        return float(self.db.execute("SELECT coalesce(max(measured_at), 0) FROM readings WHERE clock_line = 0").fetchone()[0])

    def last_measured(self, tag_id: str) -> float | None:
        sql = "SELECT measured_at FROM readings WHERE tag_id = ? ORDER BY boot_id DESC, sequence DESC LIMIT 1"
        found = self._one(sql, (tag_id,))
        return None if found is None else float(found[0])

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
        found: tuple[Any, ...] | None = self.db.execute(sql, arguments).fetchone()
        return found
