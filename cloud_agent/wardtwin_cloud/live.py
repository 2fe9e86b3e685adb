"""Live events to the pages: deltas once a second at most, the first at once; resume by id; slow clients dropped.

Event ids are `<run>-<n>`: `run` is random for each start of the agent, so an id of an earlier run is never taken for one
of this run. A client that resumes within the ring gets what it missed, any other gets a `snapshot`.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from wardtwin_cloud.errors import BusyError

INTERVAL_S = 1.0
GATHER_S = 0.03
"""The first change after a pause waits this long for the rest of its burst."""
PULSE_S = 10.0
RING_EVENTS = 120
RING_BYTES = 8 * 1024 * 1024
CLIENT_BACKLOG = 20


def frame(event: str, data: Any, id_: str | None = None) -> bytes:
    """One event of the text/event-stream format."""
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


class Client:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(CLIENT_BACKLOG + 1)
        self.dropped = False

    def push(self, event: bytes) -> None:
        """A client that does not read is cut off: it reconnects and resumes, and holds no memory meanwhile."""
        if self.dropped:
            return
        if self.queue.qsize() >= CLIENT_BACKLOG:
            self.end()
        else:
            self.queue.put_nowait(event)

    def end(self) -> None:
        self.dropped = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Hub:
    """`take_delta` gives what changed (and forgets it), `snapshot` everything; `now` is the clock the pages follow."""

    def __init__(
        self, take_delta: Callable[[], dict[str, Any]], snapshot: Callable[[], dict[str, Any]], now: Callable[[], float], max_clients: int
    ) -> None:
        self._take_delta = take_delta
        self._snapshot = snapshot
        self._now = now
        self._max_clients = max_clients
        self._run = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[tuple[int, bytes]] = deque()
        self._ring_bytes = 0
        self._clients: set[Client] = set()
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def last_id(self) -> str:
        return f"{self._run}-{self._number}"

    def changed(self) -> None:
        self._changed.set()

    async def pump(self) -> None:
        """Runs as a task: sends deltas as changes are told."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            self.publish("delta", self._take_delta())
            await asyncio.sleep(INTERVAL_S - GATHER_S)

    async def pulse(self) -> None:
        """Runs as a task: tells the time, so that a page knows its line is alive and what the clock says."""
        while True:
            await asyncio.sleep(PULSE_S)
            event = frame("pulse", {"now": self._now()})
            for client in tuple(self._clients):
                client.push(event)

    def publish(self, event: str, data: dict[str, Any]) -> None:
        self._number += 1
        encoded = frame(event, data, self.last_id)
        self._ring.append((self._number, encoded))
        self._ring_bytes += len(encoded)
        while len(self._ring) > RING_EVENTS or self._ring_bytes > RING_BYTES:
            self._ring_bytes -= len(self._ring.popleft()[1])
        for client in tuple(self._clients):
            client.push(encoded)

    def reset(self) -> None:
        """The twin was rebuilt: everyone starts over from a snapshot."""
        self._ring.clear()
        self._ring_bytes = 0
        self.publish("snapshot", self._snapshot())

    def close(self) -> None:
        """End every stream; the server waits for them when it stops."""
        self._closed = True
        for client in tuple(self._clients):
            client.end()

    def stream(self, last_id: str | None) -> AsyncIterator[bytes]:
        """The events after `last_id`, then live ones. Raise BusyError when too many listen already."""
        if self._closed or len(self._clients) >= self._max_clients:
            raise BusyError(f"{len(self._clients)} pages are open already", 10.0)
        client = Client()
        self._clients.add(client)
        return self._events(client, self._missed(last_id))

    def _missed(self, last_id: str | None) -> list[bytes]:
        run, _, number = (last_id or "").partition("-")
        if run == self._run and number.isdecimal():
            after = int(number)
            oldest = self._ring[0][0] if self._ring else self._number + 1
            if oldest - 1 <= after <= self._number:
                return [event for n, event in self._ring if n > after]
        return [frame("snapshot", self._snapshot(), self.last_id)]

    async def _events(self, client: Client, missed: list[bytes]) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 2000\n\n"
            for event in missed:
                yield event
            while True:
                queued = await client.queue.get()
                if queued is None:
                    return
                yield queued
        finally:
            self._clients.discard(client)
