"""What an administrator does to the database by hand, on sqlite-utils. Times go out as ISO 8601, UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wardtwin_edge.database import connect
from wardtwin_edge.errors import StoreError
from wardtwin_edge.store import FILE_NAME

TABLES = ("readings", "states", "quarantine", "outbox", "counters")
_STAMPS = ("measured_at", "since", "at", "created_at")


def check(data_dir: Path) -> list[str]:
    """What is wrong with the database's pages and indexes, line by line; empty when nothing is."""
    db = connect(_existing(data_dir))
    try:
        return [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    finally:
        db.close()


def vacuum(data_dir: Path) -> tuple[int, int]:
    """Return the file's size before and after. Raise StoreError while the gateway runs."""
    from sqlite_utils import Database

    path = _existing(data_dir)
    before = path.stat().st_size
    db = connect(path, writer=True)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA busy_timeout = 500")
        Database(db).vacuum()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except Exception as error:
        raise StoreError(f"cannot vacuum: {error}", "stop the gateway first: systemctl stop wardtwin-edge") from error
    finally:
        db.close()
    return before, path.stat().st_size


def export(data_dir: Path, table: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows of `table`, oldest first; with `limit` the newest so many. Stamps on a provisional time line stay numbers."""
    from sqlite_utils import Database

    if table not in TABLES:
        raise StoreError(f"no table {table!r} to export", f"choose one of {', '.join(TABLES)}")
    db = connect(_existing(data_dir))
    try:
        found = Database(db)[table]
        skip = max(0, found.count - limit) if limit is not None else 0
        for row in found.rows_where(order_by="rowid", offset=skip) if skip else found.rows_where(order_by="rowid"):
            for name in _STAMPS:
                if name in row and not row.get("clock_line"):
                    row[name] = datetime.fromtimestamp(row[name], UTC).isoformat(timespec="milliseconds")
            yield row
    finally:
        db.close()


def _existing(data_dir: Path) -> Path:
    path = data_dir / FILE_NAME
    if not path.exists():
        raise StoreError(f"there is no database at {path}", "run the gateway once, or correct gateway.data_dir")
    return path
