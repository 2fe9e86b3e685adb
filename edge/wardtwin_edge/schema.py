"""The database's shape, as numbered steps. A step once released is never changed; a new one is added.

Stamps (`measured_at`, `since`, `at`) are seconds on the time line `clock_line`: 0 is UTC, anything else a provisional line
(see `clock`) that is moved to UTC once the time is known. Rows are sent only when they are on line 0.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def _first(db: "Database") -> None:
    db["meta"].create({"key": str, "value": str}, pk="key")
    # the raw outbox: what is above the cursor in meta is not yet in a batch. `measures` is a JSON object
    db["readings"].create(
        {
            "id": int, "tag_id": str, "boot_id": int, "sequence": int, "kind": str, "transport": str,
            "measured_at": float, "clock_line": int, "measures": str,
        },
        pk="id", not_null={"tag_id", "boot_id", "sequence", "kind", "transport", "measured_at", "clock_line", "measures"},
    )  # fmt: skip
    db["readings"].create_index(["tag_id", "boot_id", "sequence"], unique=True)
    db["readings"].create_index(["measured_at"])
    # what was once in readings and is pruned: still not to be taken for new
    db["pruned"].create({"tag_id": str, "boot_id": int, "first": int, "last": int}, pk=("tag_id", "boot_id", "first"))
    db["boots"].create({"tag_id": str, "boot_id": int, "started_at": float, "uptime_s": float}, pk=("tag_id", "boot_id"))
    db["ble_counters"].create({"tag_id": str, "counter": int}, pk="tag_id")
    db["states"].create(
        {"id": int, "device_id": str, "tag_id": str, "state": str, "since": float, "reason": str, "clock_line": int}, pk="id"
    )
    db["states"].create_index(["device_id", "since"])
    # rows of every kind but readings that wait for a batch; `row` is a JSON object
    db["outbox"].create({"id": int, "kind": str, "row": str, "clock_line": int}, pk="id")
    db["outbox"].create_index(["kind", "id"])
    db["batches"].create(
        {"sequence": int, "kind": str, "class": str, "rows": int, "hash": str, "created_at": float, "blob": bytes, "refused": str},
        pk="sequence",
    )
    db["quarantine"].create(
        {"id": int, "at": float, "transport": str, "tag_id": str, "boot_id": int, "sequence": int, "reason": str, "payload": bytes}, pk="id"
    )
    # what the classifier, alarms and locator are in the middle of, so that a restart goes on from there
    db["live"].create({"key": str, "value": str}, pk="key")
    # minutes whose summary is to be made, or made again
    db["minutes"].create({"tag_id": str, "minute_start": int}, pk=("tag_id", "minute_start"))
    db["counters"].create({"name": str, "value": int}, pk="name")


MIGRATIONS: tuple[Callable[["Database"], None], ...] = (_first,)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the database to the newest shape; return its version. Each step is one transaction with its number."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"the database has version {version}, this software knows {len(MIGRATIONS)}")
    if version == len(MIGRATIONS):
        return version
    # only now: it brings numpy along where that is installed, a second and 20 MB that a gateway already up to date need not pay
    from sqlite_utils import Database

    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[number](Database(connection))
            connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if connection.in_transaction:
            connection.execute("COMMIT")
    return len(MIGRATIONS)
