"""What is done every few seconds and waits for nobody: minutes summed up, the disk kept within its bound, a heartbeat sent."""

import asyncio
import logging
import shutil
import sqlite3
from collections import defaultdict
from typing import Any

import msgspec

from wardtwin_edge import history, summary
from wardtwin_edge.clock import SYNCHRONISED, Clock
from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Config
from wardtwin_edge.database import connect
from wardtwin_edge.errors import StoreError
from wardtwin_edge.pipeline import Pipeline
from wardtwin_edge.roster import Roster
from wardtwin_edge.store import Store
from wardtwin_sync.batch import BatchKind

_log = logging.getLogger(__name__)
_EVERY_S = 2.0
_LATE_S = 10.0
"""How long after its end a minute is summed up; what comes later has it summed up again."""
_MINUTES = 400
_PRUNE_STEPS = 20
_HEARTBEAT_EVERY_S = 30.0


class Rollup:
    def __init__(self, config: Config, store: Store, pipeline: Pipeline, committer: Committer, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._pipeline = pipeline
        self._committer = committer
        self._clock = clock
        self.free_bytes = 0
        self.used_bytes = 0

    @property
    def bound_bytes(self) -> int:
        return int(self._config.storage.disk_bound_mb * 1024 * 1024)

    async def run(self) -> None:
        """Until cancelled."""
        reader = connect(self._store.path)
        loop = asyncio.get_running_loop()
        heartbeat_s = 0.0
        try:
            while True:
                try:
                    await self._bound()
                    while await self._sum_up(reader) == _MINUTES:
                        pass
                    if loop.time() >= heartbeat_s and self._clock.line == SYNCHRONISED:
                        heartbeat_s = loop.time() + _HEARTBEAT_EVERY_S
                        await asyncio.wrap_future(self._committer.submit(self._heartbeat))
                except (StoreError, sqlite3.Error) as error:
                    _log.warning("upkeep: %s", error)
                await asyncio.sleep(_EVERY_S)
        finally:
            reader.close()

    async def _bound(self) -> None:
        self.free_bytes = shutil.disk_usage(self._store.path.parent).free
        keep_since = self._clock.now() - self._config.storage.history_hours * 3600
        for _ in range(_PRUNE_STEPS):
            job = self._committer.submit(lambda: history.prune(self._store.db, keep_since, self.bound_bytes))
            if not await asyncio.wrap_future(job):
                break
        self.used_bytes = await asyncio.wrap_future(self._committer.submit(lambda: history.used_bytes(self._store.db)))
        # a database that may not grow any more is as full as a disk that cannot take more
        self._committer.disk_share = max(self.used_bytes / self.bound_bytes - 0.1, 0.0) if self.free_bytes > 16 * 2**20 else 1.0

    async def _sum_up(self, reader: sqlite3.Connection) -> int:
        if self._clock.line != SYNCHRONISED:
            return 0
        before = self._clock.now() - _LATE_S - _EVERY_S * self._clock.speed
        due, rows = await asyncio.to_thread(_summaries, reader, self._pipeline.roster, before)
        if due:

            def keep() -> None:
                history.keep_summaries(self._store.db, due, rows)
                for tag_id, _ in due:
                    if tag_id in self._pipeline.tags:
                        self._pipeline.tags[tag_id].minute = -1

            await asyncio.wrap_future(self._committer.submit(keep))
        return len(due)

    def _heartbeat(self) -> None:
        pipeline = self._pipeline
        row = {
            "at": self._clock.now(),
            "clock_state": self._clock.state.value,
            "queue_depth": self._committer.waiting,
            "disk_bytes": self.used_bytes,
            "tags_heard": sum(state.heard.received_s is not None for state in pipeline.tags.values()),
            "rejected": sum(pipeline.rejected.values()),
            "detail": {f"{transport}.{reason}": n for (transport, reason), n in pipeline.rejected.items()},
        }
        history.keep_row(self._store.db, BatchKind.HEALTH, row)


def _summaries(reader: sqlite3.Connection, roster: Roster, before: float) -> tuple[list[tuple[str, int]], list[dict[str, Any]]]:
    """(what is done, rows) of minutes ended by `before`. A room with several tags is one row, whichever of them was touched."""
    due = history.minutes_due(reader, before, _MINUTES)
    by_minute: dict[int, set[str]] = defaultdict(set)
    for tag_id, minute in due:
        by_minute[minute].add(tag_id)
    rows: list[dict[str, Any]] = []
    for minute, touched in by_minute.items():
        readings: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
        for tag_id, at, measures in history.readings_between(reader, minute, minute + summary.MINUTE_S):
            readings[tag_id].append((at, msgspec.json.decode(measures)))
        rooms = set()
        for tag_id in touched:
            tag = roster.by_name.get(tag_id)
            if tag is None:
                continue
            if tag.is_energy and tag.device is not None:
                states = history.states_between(reader, tag.device.device_id, minute, minute + summary.MINUTE_S)
                row = summary.of_device(f"device:{tag.device.device_id}", minute, readings[tag_id], states)
                rows += [row] if row else []
            elif not tag.is_energy and tag.binding.room_id:
                rooms.add(tag.binding.room_id)
        for room_id in rooms:
            there = [tag.tag_id for tag in roster.tags if not tag.is_energy and tag.binding.room_id == room_id]
            row = summary.of_room(f"room:{room_id}", minute, sorted((r for t in there for r in readings[t]), key=lambda r: r[0]))
            rows += [row] if row else []
    return due, rows
