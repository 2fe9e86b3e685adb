"""The one thread that writes: it groups what has arrived, has it worked out, commits, and only then acks.

Its heartbeat feeds the watchdog. A full disk stops the acks, not the thread: what arrived is held and tried again, and the
sources stop reading because nothing is released.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from wardtwin_edge.clock import SYNCHRONISED, Clock
from wardtwin_edge.config import Commit
from wardtwin_edge.errors import StoreError
from wardtwin_edge.pipeline import Arrival, Pipeline, Source
from wardtwin_edge.roster import Tag
from wardtwin_edge.store import Changes, Store, suspect
from wardtwin_wire import frame

_log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_WAITING = 256
"""Groups in the queue before sources that cannot be slowed down (BLE) are dropped."""
_WINDOW = 20
_QUIET_S = 0.004
"""A broker with its default settings sends 20 messages and then waits for acks: when as many are held and nothing more
comes, waiting for a fuller group would only cost time."""
_BACKLOG = 4
_TICK_S = 0.4
_ACK_EVERY_S = 0.25
_RETRY_S = 1.0


class Committer(threading.Thread):
    def __init__(self, commit: Commit, store: Store, pipeline: Pipeline, clock: Clock, session: int) -> None:
        super().__init__(name="committer", daemon=True)
        self._commit = commit
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self._acks = AckBook(session)
        self._arrivals: SimpleQueue[list[Arrival] | None] = SimpleQueue()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._stopping = threading.Event()
        self._next_tick = 0.0
        self.heartbeat_s = time.monotonic()
        self.fault: str | None = None
        self.fatal: BaseException | None = None
        self.disk_share = 0.0
        self.on_urgent: Callable[[], None] = lambda: None
        self.on_fatal: Callable[[], None] = lambda: None

    # -- called from other threads

    def put(self, arrivals: list[Arrival]) -> None:
        self._arrivals.put(arrivals)

    @property
    def is_crowded(self) -> bool:
        return self._arrivals.qsize() > MAX_WAITING

    @property
    def is_busy(self) -> bool:
        """Whether more has arrived than one commit takes."""
        return self._arrivals.qsize() > 2

    @property
    def waiting(self) -> int:
        return self._arrivals.qsize()

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Run `job` in this thread, between commits."""
        future: Future[T] = Future()
        self._jobs.append((job, future))
        self._arrivals.put(None)
        return future

    def stop(self) -> None:
        """Commit what has arrived, send the acks that are due, and end. Sources must have stopped reading."""
        self._stopping.set()
        self._arrivals.put(None)

    # -- this thread

    def run(self) -> None:
        try:
            while not (self._stopping.is_set() and self._arrivals.empty() and not self._jobs):
                self.heartbeat_s = time.monotonic()
                group = self._gather()
                if group:
                    self._commit_group(group)
                self._run_jobs()
                self._tick()
                self._acks.flush(self._time_ms(), time.monotonic())
            self._acks.flush(self._time_ms(), float("inf"))
        except BaseException as error:  # the process ends: a gateway that does not commit must not look alive
            _log.exception("the committer cannot go on")
            self.fatal = error
            self.on_fatal()

    def _gather(self) -> list[Arrival]:
        """The next group: full, or max_delay_ms after its first message, or a window's worth and nothing more on the way.

        What has arrived beyond a full group goes along, up to _BACKLOG groups: one sync to the disk for all of it.
        """
        group: list[Arrival] = []
        deadline = 0.0
        most = self._commit.max_messages
        while len(group) < most * _BACKLOG:
            if len(group) >= most:
                wait = 0.0
            elif not group:
                wait = max(0.0, min(_TICK_S, self._next_tick - time.monotonic(), self._acks.due_in(time.monotonic())))
            else:
                wait = deadline - time.monotonic()
                if len(group) >= _WINDOW:
                    wait = min(wait, _QUIET_S)
            try:
                arrived = self._arrivals.get(timeout=wait) if wait > 0 else self._arrivals.get_nowait()
            except Empty:
                break
            if arrived is None:
                break
            if not group:
                deadline = time.monotonic() + self._commit.max_delay_ms / 1000
            group += arrived
        return group

    def _commit_group(self, group: list[Arrival]) -> None:
        while True:
            try:
                changes, acks = self._pipeline.take(group)
                if changes:
                    self._store.commit(changes)
                break
            except (StoreError, sqlite3.Error) as error:
                self._pause(error)
                if self._stopping.is_set():
                    return  # not committed, not acked: the broker and the tags still hold it
        self.fault = None
        self._pipeline.committed += len(changes.readings)
        by_source: dict[Source, list[Any]] = {}
        for arrival in group:
            if arrival.token is not None:
                by_source.setdefault(arrival.source, []).append(arrival.token)
        for source, tokens in by_source.items():
            source.committed(tokens)
        self._acks.note(acks)
        if changes.outbox:
            self.on_urgent()

    def _pause(self, error: Exception) -> None:
        """Nothing was written: go back to what the store says, say so, and wait a little. A damaged database ends the process."""
        if _is_damaged(error):
            suspect(self._store.path)
            raise error
        if self.fault is None:
            _log.error("cannot commit: %s", error)
        self.fault = f"cannot write: {error}"
        try:
            self._pipeline.load()
        except (StoreError, sqlite3.Error):
            _log.exception("cannot read the store either")
        until = time.monotonic() + _RETRY_S
        while time.monotonic() < until and not self._stopping.is_set():
            self.heartbeat_s = time.monotonic()
            self._run_jobs()
            self._stopping.wait(0.1)

    def _run_jobs(self) -> None:
        while self._jobs:
            job, future = self._jobs.popleft()
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_tick:
            return
        self._next_tick = now_s + _TICK_S
        self.write(self._pipeline.tick(now_s, self.disk_share))

    def write(self, changes: Changes) -> None:
        """Commit what no message waits for. On a full disk it is worked out again by a later tick."""
        if not changes:
            return
        try:
            self._store.commit(changes)
        except (StoreError, sqlite3.Error) as error:
            self._pause(error)
            return
        if changes.outbox:
            self.on_urgent()

    def _time_ms(self) -> int:
        return int(self._clock.now() * 1000) if self._clock.line == SYNCHRONISED else 0


def _is_damaged(error: Exception) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text


class AckBook:
    """Runs of committed sequence numbers a tag, sent sealed, at most once per tag in _ACK_EVERY_S."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._sequence = 0
        self._open: dict[str, tuple[Tag, Source, set[tuple[int, int]]]] = {}
        self._sent_s: dict[str, float] = {}
        self._next_s = float("inf")

    def note(self, acks: list[tuple[Source, Tag, int, int]]) -> None:
        opened = self._open
        for source, tag, boot_id, sequence in acks:
            entry = opened.get(tag.tag_id)
            if entry is None or entry[1] is not source:
                entry = opened[tag.tag_id] = (tag, source, entry[2] if entry else set())
                self._next_s = min(self._next_s, self._sent_s.get(tag.tag_id, 0.0) + _ACK_EVERY_S)
            entry[2].add((boot_id, sequence))

    def due_in(self, now_s: float) -> float:
        return self._next_s - now_s

    def flush(self, time_ms: int, now_s: float) -> None:
        if now_s < self._next_s:
            return
        self._next_s = float("inf")
        for tag_id, (tag, source, numbers) in list(self._open.items()):
            due_s = self._sent_s.get(tag_id, 0.0) + _ACK_EVERY_S
            if now_s < due_s:
                self._next_s = min(self._next_s, due_s)
                continue
            del self._open[tag_id]
            self._sent_s[tag_id] = now_s
            found = runs(numbers)
            for start in range(0, len(found), frame.MAX_ACK_RUNS):
                self._sequence += 1
                payload = frame.pack_ack(time_ms, found[start : start + frame.MAX_ACK_RUNS])
                source.send_ack(tag_id, frame.seal(_Sealer(tag), frame.ACK, tag.id_bytes, self._session, self._sequence, payload))


def runs(numbers: set[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(boot_id, first, last), inclusive, of {(boot_id, sequence)}."""
    out: list[tuple[int, int, int]] = []
    for boot_id, sequence in sorted(numbers):
        if out and out[-1][0] == boot_id and out[-1][2] == sequence - 1:
            out[-1] = (boot_id, out[-1][1], sequence)
        else:
            out.append((boot_id, sequence, sequence))
    return out


class _Sealer:
    """The tag's ack cipher with the interface that wire asks for."""

    def __init__(self, tag: Tag) -> None:
        self._tag = tag

    def seal(self, nonce: bytes, text: bytes, associated: bytes) -> bytes:
        return self._tag.ack.encrypt(nonce, text, associated)
