"""The connection every promise of the store rests on: WAL, synchronous=FULL, and errors that say what to do."""

import sqlite3
from pathlib import Path

from wardtwin_edge.errors import StoreError, StoreFullError


def connect(path: Path, *, writer: bool = False) -> sqlite3.Connection:
    """A connection with the settings that the promises of this module rest on."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if writer else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = {-6000 if writer else -2000}")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        if not writer:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


class Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise store_error(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as fault:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise store_error(fault) from fault
            return
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise store_error(error) from error


def store_error(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreFullError(str(error), "free space on the gateway's disk, or lower storage.disk_bound_mb")
    return StoreError(str(error), "run `wardtwin-edge maintain check`")


def remembered(db: sqlite3.Connection, key: str) -> str:
    """A word kept under `key`, empty when there is none."""
    found = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else ""


def remember(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (key, value))


def count(db: sqlite3.Connection, counters: dict[str, int]) -> None:
    """Add to counters that outlive the process."""
    sql = "INSERT INTO counters VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value"
    db.executemany(sql, counters.items())


def counters(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT name, value FROM counters"))
