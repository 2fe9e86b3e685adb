"""Numbered migrations: `migrations/<dialect>/NNNN.sql`, applied in order, each in a transaction of its own."""

import sqlite3
from importlib.resources import files

from wardtwin_cloud.errors import SchemaVersionError


def migrations() -> list[tuple[int, str]]:
    folder = files("wardtwin_cloud.store") / "migrations" / "sqlite"
    found = [(int(entry.name.removesuffix(".sql")), entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted(found)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the database to the newest version and return it. Raise SchemaVersionError if it is newer than this program."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = migrations()
    newest = steps[-1][0]
    if version > newest:
        raise SchemaVersionError(f"the data folder has schema {version}, this wardtwin knows up to {newest}: install the newer one")
    for number, script in steps:
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    return newest
