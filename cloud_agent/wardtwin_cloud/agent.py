"""The cloud agent as one object: store, writer, twin and live hub, wired. The routes reach everything through it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from wardtwin_cloud.clock import Clock
from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.live import Hub
from wardtwin_cloud.rows import Screened
from wardtwin_cloud.store import Outcome, Store
from wardtwin_cloud.twin import Limits
from wardtwin_cloud.twin.rebuild import rebuild
from wardtwin_cloud.writer import Writer

TICK_S = 1.0
READ_THREADS = 3

P = ParamSpec("P")
T = TypeVar("T")


class Agent:
    """Everything but `read`'s functions runs on the event loop."""

    def __init__(self, config: CloudConfig, clock: Clock, store: Store) -> None:
        self.config = config
        self.clock = clock
        self.store = store
        self.limits = Limits(config.stale_after_s * max(1.0, clock.speed), config.gateway_silent_after_s * max(1.0, clock.speed))
        self.twin = rebuild(store, self.limits)
        self.twin.settle(clock.now())
        self.fingerprints = {row["gateway_id"]: row["fingerprint"] for row in store.gateways()}
        self.writer = Writer(
            store,
            self._committed,
            max_batches=config.max_pending_batches,
            max_bytes=config.max_pending_bytes,
            max_rows=config.max_commit_rows,
        )
        self.hub = Hub(lambda: self.twin.delta(clock.now()), self.snapshot, clock.now, config.max_live_clients)
        self._marker = store.change_marker()
        self._refreshing = asyncio.Lock()
        self._readers = ThreadPoolExecutor(READ_THREADS, "reader")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.writer.start()
        self._tasks = [asyncio.create_task(work()) for work in (self.hub.pump, self.hub.pulse, self._tick)]

    async def stop(self) -> None:
        self.hub.close()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.writer.stop()
        self._readers.shutdown()
        self.store.close()

    async def read(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run a reading call of the store off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: function(*arguments, **named))

    def snapshot(self) -> dict[str, Any]:
        return {"speed": self.clock.speed, **self.twin.snapshot(self.clock.now())}

    def note_refusal(self, gateway_id: str, code: str) -> None:
        self.twin.note_refusal(gateway_id, code)
        self.hub.changed()

    def _committed(self, group: Sequence[tuple[Screened, Outcome]]) -> None:
        for batch, outcome in group:
            self.twin.take(batch, outcome)
        self.hub.changed()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.refresh()
            self.twin.tick(self.clock.now())
            if self.twin.changed:
                self.hub.changed()

    async def refresh(self) -> None:
        """Take what changed in the registry or the list of gateways, by a request or by another process (the command line)."""
        async with self._refreshing:
            marker = await self.read(self.store.change_marker)
            if marker != self._marker:
                await self._reload()
                self._marker = marker

    async def _reload(self) -> None:
        """Build the twin anew; every page gets a snapshot.

        A batch committed while the store is being read may be taken a second time from the writer: states and values do
        not mind (newer rows win), the gateway's count of batches may be one high until the next start.
        """
        self.fingerprints = {row["gateway_id"]: row["fingerprint"] for row in await self.read(self.store.gateways)}
        twin = rebuild(self.store, self.limits)
        twin.inherit(self.twin)
        twin.settle(self.clock.now())
        self.twin = twin
        self.hub.reset()
