"""The store: what the cloud keeps. `Store` is the interface, `open_store` gives the SQLite one."""

from wardtwin_cloud.store.interface import Outcome, Span, Store
from wardtwin_cloud.store.sqlite import SqliteStore, open_store

__all__ = ["Outcome", "Span", "SqliteStore", "Store", "open_store"]
