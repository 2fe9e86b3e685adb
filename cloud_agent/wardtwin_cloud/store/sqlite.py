"""SQLite behind the Store interface: WAL, synchronous=FULL, one writing connection, a few reading ones."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from wardtwin_cloud.errors import StoreError
from wardtwin_cloud.register import subject_of
from wardtwin_cloud.rows import Screened, table_columns
from wardtwin_cloud.store import queries
from wardtwin_cloud.store.interface import Outcome, Row, Span
from wardtwin_cloud.store.migrate import migrate
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import Registry, decode_registry, encode

READERS = 4
BUSY_TIMEOUT_MS = 10_000
MAX_QUARANTINE = 1_000
"""Entries kept. Beyond, only known ones are counted up: a gateway gone mad cannot fill the disk."""
MAX_QUARANTINE_BODIES = 100
MAX_REVISIONS = 100
"""Revisions of the registry kept: each is a whole one."""


_ORDER = ("epoch_number", "batch_sequence")


def _insert_sql(kind: BatchKind) -> str:
    own = table_columns(kind)
    names = ("gateway_id", "ahead", *own, *(_ORDER if kind is BatchKind.SUMMARIES else ()))
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"INSERT INTO {kind.value} ({columns}) VALUES ({', '.join('?' * len(names))})"
    if kind is BatchKind.ALARMS:
        # a raise that comes after its clear must not open the alarm again
        sql += (
            " ON CONFLICT (gateway_id, alarm_id) DO UPDATE SET severity = excluded.severity,"
            ' "value" = coalesce(excluded."value", "value"), "limit" = coalesce(excluded."limit", "limit"),'
            " unit = coalesce(excluded.unit, unit), raised_at = min(excluded.raised_at, raised_at),"
            " cleared_at = coalesce(excluded.cleared_at, cleared_at)"
        )
    if kind is BatchKind.SUMMARIES:
        # a minute revised: the latest batch of the gateway wins, in whatever order they come
        moved = ", ".join(f"{name} = excluded.{name}" for name in ("ahead", *own[2:], *_ORDER))
        sql += (
            f" ON CONFLICT (gateway_id, subject, minute_start) DO UPDATE SET {moved}"
            " WHERE (excluded.epoch_number, excluded.batch_sequence) >= (epoch_number, batch_sequence)"
        )
    return sql


_INSERT = {kind: _insert_sql(kind) for kind in BatchKind}


class SqliteStore:
    """See `interface.Store`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._writer = self._connect()
        try:
            migrate(self._writer)
        except BaseException:
            self._writer.close()
            raise
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(self._connect())

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -8192")
        return connection

    def close(self) -> None:
        for _ in range(READERS):
            self._readers.get().close()
        self._writer.close()

    # -- writing

    def commit(self, batches: Sequence[Screened]) -> list[Outcome]:
        with self._transaction():
            return [self._keep(batch) for batch in batches]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One at a time, from any thread. Raise StoreError when the database cannot; nothing is kept then."""
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreError(f"the store cannot commit: {error}") from error
                raise

    def _keep(self, batch: Screened) -> Outcome:
        db = self._writer
        known = db.execute("SELECT digest FROM batches WHERE gateway_id = ? AND epoch = ? AND sequence = ?", batch.key).fetchone()
        if known is not None:
            outcome = Outcome.DUPLICATE if known[0] == batch.digest else self._quarantine(batch, known[0])
            db.execute("UPDATE gateways SET received_at = ? WHERE gateway_id = ?", (batch.received_at, batch.gateway_id))
            return outcome
        db.execute(
            "INSERT INTO epochs SELECT ?, ?, (SELECT count(*) + 1 FROM epochs WHERE gateway_id = ?) WHERE true"
            " ON CONFLICT (gateway_id, epoch) DO NOTHING",
            (batch.gateway_id, batch.epoch, batch.gateway_id),
        )
        db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*batch.key, batch.digest, batch.kind.value, len(batch.rows), batch.created_at, batch.received_at),
        )
        gateway = batch.gateway_id
        order = (self._epoch_number(batch), batch.sequence) if batch.kind is BatchKind.SUMMARIES else ()
        db.executemany(_INSERT[batch.kind], ((gateway, ahead, *row, *order) for ahead, row in zip(batch.ahead, batch.rows, strict=True)))
        db.execute(
            "UPDATE gateways SET epoch = ?, received_at = ?, batches = batches + 1, rows = rows + ?, ahead = ahead + ?, dropped = ?"
            " WHERE gateway_id = ?",
            (batch.epoch, batch.received_at, len(batch.rows), sum(batch.ahead), msgspec.json.encode(batch.dropped).decode(), gateway),
        )
        return Outcome.STORED

    def _epoch_number(self, batch: Screened) -> int:
        key = (batch.gateway_id, batch.epoch)
        (number,) = self._writer.execute("SELECT number FROM epochs WHERE gateway_id = ? AND epoch = ?", key).fetchone()
        return int(number)

    def _quarantine(self, batch: Screened, stored_digest: str) -> Outcome:
        db = self._writer
        again = db.execute(
            "UPDATE quarantine SET times = times + 1, last_at = ?"
            " WHERE gateway_id = ? AND epoch = ? AND sequence = ? AND offered_digest = ?",
            (batch.received_at, *batch.key, batch.digest),
        ).rowcount
        (held,) = db.execute("SELECT count(*) FROM quarantine").fetchone()
        if not again and held < MAX_QUARANTINE:
            body = zstandard.compress(batch.raw, 3) if held < MAX_QUARANTINE_BODIES else None
            db.execute(
                "INSERT INTO quarantine (gateway_id, epoch, sequence, stored_digest, offered_digest, kind, rows, first_at, last_at,"
                " times, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (*batch.key, stored_digest, batch.digest, batch.kind.value, len(batch.rows), batch.received_at, batch.received_at, body),
            )
        return Outcome.QUARANTINED

    def import_registry(self, body: bytes, at: float) -> int:
        registry = decode_registry(body)
        with self._transaction():
            return self._put_registry(registry, at)

    def change_registry(self, change: Callable[[Registry | None], Registry], at: float) -> int:
        with self._transaction():
            row = self._writer.execute("SELECT revision, body FROM registry ORDER BY revision DESC LIMIT 1").fetchone()
            known = decode_registry(row[1].encode()) if row is not None else None
            changed = change(known)
            return int(row[0]) if row is not None and changed == known else self._put_registry(changed, at)

    def _put_registry(self, registry: Registry, at: float) -> int:
        db = self._writer
        revision = int(db.execute("INSERT INTO registry (imported_at, body) VALUES (?, ?)", (at, encode(registry).decode())).lastrowid or 0)
        db.execute("DELETE FROM registry WHERE revision <= ?", (revision - MAX_REVISIONS,))
        sat = {tag_id: (subject, since) for tag_id, subject, since in db.execute(queries.BOUND_TO)}
        sits = dict.fromkeys(sat, "") | {tag.tag_id: subject_of(tag) for tag in registry.tags}
        for tag_id, subject in sits.items():
            before, since = sat.get(tag_id, (None, 0.0))
            if subject != before:
                moved_at = max(at, since) if before is not None else 0.0
                db.execute("INSERT OR REPLACE INTO bindings (tag_id, since, subject) VALUES (?, ?, ?)", (tag_id, moved_at, subject))
        return revision

    def add_gateway(self, gateway_id: str, fingerprint: str, at: float) -> None:
        """Add a gateway, or give a known one a new token; the old token ends."""
        with self._transaction():
            self._writer.execute(
                "INSERT INTO gateways (gateway_id, fingerprint, added_at) VALUES (?, ?, ?)"
                " ON CONFLICT (gateway_id) DO UPDATE SET fingerprint = excluded.fingerprint, added_at = excluded.added_at",
                (gateway_id, fingerprint, at),
            )

    def add_token(self, name: str, fingerprint: str, at: float) -> bool:
        with self._transaction():
            sql = "INSERT INTO tokens (name, fingerprint, added_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
            return self._writer.execute(sql, (name, fingerprint, at)).rowcount == 1

    def revoke_token(self, name: str) -> bool:
        with self._transaction():
            return self._writer.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount == 1

    # -- reading

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._readers.get()
        try:
            yield connection
        finally:
            self._readers.put(connection)

    def _rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[Row]:
        with self._reading() as connection:
            cursor = connection.execute(sql, arguments)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, cells, strict=True)) for cells in cursor]

    def registry(self) -> tuple[int, bytes] | None:
        rows = self._rows("SELECT revision, body FROM registry ORDER BY revision DESC LIMIT 1")
        return (rows[0]["revision"], rows[0]["body"].encode()) if rows else None

    def gateways(self) -> list[Row]:
        return self._rows(queries.GATEWAYS)

    def tokens(self) -> list[Row]:
        return self._rows(queries.TOKENS)

    def bound_since(self) -> dict[str, float]:
        return {row["tag_id"]: row["since"] for row in self._rows(queries.BOUND_SINCE)}

    def spans(self, subject: str, start: float, end: float) -> list[Span]:
        bound = self._rows(queries.SPANS, (subject, subject, end, start))
        return [Span(row["tag_id"], max(start, row["since"]), end if row["until"] is None else min(end, row["until"])) for row in bound]

    def change_marker(self) -> tuple[int, int, float]:
        (row,) = self._rows(queries.CHANGE_MARKER)
        return row["revision"], row["gateways"], row["added_at"]

    def latest_readings(self, tag_id: str, frames: int) -> list[Row]:
        return self._rows(queries.LATEST_READINGS, (tag_id, frames))

    def latest_states(self) -> Iterator[Row]:
        yield from self._rows(queries.LATEST_STATES)

    def latest_placements(self) -> Iterator[Row]:
        yield from self._rows(queries.LATEST_PLACEMENTS)

    def latest_health(self) -> Iterator[Row]:
        yield from self._rows(queries.LATEST_HEALTH)

    def tag_ids(self) -> list[str]:
        return [row["tag_id"] for row in self._rows(queries.TAG_IDS) if row["tag_id"] is not None]

    def open_alarms(self, limit: int) -> list[Row]:
        return self._rows(queries.OPEN_ALARMS, (limit,))

    def alarms(self, before: float | None, limit: int) -> list[Row]:
        return self._rows(queries.ALARMS, (before if before is not None else float("inf"), limit))

    def states(self, device_id: str, start: float, end: float, limit: int) -> list[Row]:
        before = self._rows(queries.STATE_AT, (device_id, start))
        return before + self._rows(queries.STATES, (device_id, start, end, limit))

    def readings(self, spans: Sequence[Span], limit: int) -> list[Row]:
        if not spans:
            return []
        return self._rows(queries.READINGS.format(spans=_any_of(spans)), (*chain.from_iterable(spans), limit))

    def reading_buckets(self, spans: Sequence[Span], start: float, bucket_s: float) -> list[Row]:
        if not spans:
            return []
        sql = queries.READING_BUCKETS.format(spans=_any_of(spans))
        return self._rows(sql, (start, bucket_s, start, bucket_s, *chain.from_iterable(spans)))

    def summaries(self, subject: str, start: float, end: float, limit: int) -> list[Row]:
        return self._rows(queries.SUMMARIES, (subject, start, end, limit))

    def summary_buckets(self, subject: str, start: float, end: float, bucket_s: float) -> list[Row]:
        return self._rows(queries.SUMMARY_BUCKETS, (start, bucket_s, start, bucket_s, subject, start, end))

    def sequences(self, tag_id: str | None = None) -> list[Row]:
        counts = self._rows(queries.SEQUENCES, (tag_id, tag_id))
        gaps: dict[tuple[str, int, str], list[list[int]]] = {}
        for gap in self._rows(queries.GAPS, (tag_id, tag_id)):
            runs = gaps.setdefault((gap["tag_id"], gap["boot_id"], gap["transport"]), [])
            if len(runs) < queries.MAX_GAPS:
                runs.append([gap["gap_first"], gap["gap_last"]])
        return [{**row, "missing": gaps.get((row["tag_id"], row["boot_id"], row["transport"]), [])} for row in counts]

    def quarantine(self, limit: int) -> list[Row]:
        return self._rows(queries.QUARANTINE, (limit,))

    def quarantine_count(self) -> int:
        return int(self._rows("SELECT count(*) AS held FROM quarantine")[0]["held"])


def _any_of(spans: Sequence[Span]) -> str:
    return " OR ".join([queries.SPAN] * len(spans))


def open_store(path: Path) -> SqliteStore:
    """Open, or make, the store at `path`. Raise StoreError when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteStore(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot open {path}: {error}") from error
