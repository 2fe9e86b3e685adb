"""The one writer: gathers concurrent batches into one durable commit and answers each after it."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from wardtwin_cloud.errors import BusyError, StoreError
from wardtwin_cloud.rows import Screened
from wardtwin_cloud.store import Outcome, Store

Committed = Callable[[Sequence[tuple[Screened, Outcome]]], None]
_Waiting = tuple[Screened, asyncio.Future[Outcome]]


class Room:
    """A batch's share of the bound on bytes held; grows when the batch is unpacked."""

    def __init__(self, writer: "Writer") -> None:
        self._writer = writer
        self.size = 0

    def resize(self, size: int) -> None:
        self._writer._resize(self.size, size)
        self.size = size


class Writer:
    """A thread that owns `store.commit`. `submit` is called on the event loop, and so is `on_commit`, before the answers go out."""

    def __init__(self, store: Store, on_commit: Committed, *, max_batches: int, max_bytes: int, max_rows: int) -> None:
        self._store = store
        self._on_commit = on_commit
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._pending_batches = 0
        self._pending_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commit what is queued, then end."""
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    @property
    def pending(self) -> int:
        return self._pending_batches

    @contextmanager
    def room(self, size: int) -> Iterator["Room"]:
        """Room for one batch of `size` bytes, from its first byte to its ack. Raise BusyError when there is none."""
        if self._pending_batches >= self._max_batches:
            raise BusyError(f"{self._pending_batches} batches are waiting to be written")
        room = Room(self)
        self._pending_batches += 1
        try:
            room.resize(size)
            yield room
        finally:
            self._pending_batches -= 1
            self._pending_bytes -= room.size

    def _resize(self, old: int, new: int) -> None:
        if self._pending_bytes - old + new > self._max_bytes:
            raise BusyError(f"{self._pending_bytes} bytes are waiting to be written")
        self._pending_bytes += new - old

    async def submit(self, batch: Screened) -> Outcome:
        """Return once `batch` is durable. Raise StoreError when it is not kept."""
        assert self._loop is not None, "start first"
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue.put((batch, done))
        return await done

    # -- in the thread

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, ended = self._gather(first)
            self._commit(group)
            if ended:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        group, rows = [first], len(first[0].rows)
        while rows < self._max_rows:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
            rows += len(waiting[0].rows)
        return group, False

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            outcomes = self._store.commit([batch for batch, _ in group])
        except Exception as error:
            if len(group) > 1:  # one bad neighbour must not cost the others their commit
                for waiting in group:
                    self._commit([waiting])
                return
            self._tell(self._fail, group, error if isinstance(error, StoreError) else StoreError(repr(error)))
            return
        self._tell(self._succeed, group, outcomes)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *arguments)

    # -- back on the loop

    def _succeed(self, group: list[_Waiting], outcomes: list[Outcome]) -> None:
        try:
            self._on_commit([(batch, outcome) for (batch, _), outcome in zip(group, outcomes, strict=True)])
        finally:
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if not done.done():
                    done.set_result(outcome)

    def _fail(self, group: list[_Waiting], error: Exception) -> None:
        for _, done in group:
            if not done.done():
                done.set_exception(error)
