"""The gateway put together: adapters, committer, uplink and page, started in order and stopped in reverse."""

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import sdnotify

from wardtwin_edge import clock as clocks
from wardtwin_edge import history, roster
from wardtwin_edge.ble import BleLink
from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Config
from wardtwin_edge.local.page import Page
from wardtwin_edge.mqtt import MqttLink
from wardtwin_edge.pipeline import Pipeline
from wardtwin_edge.rollup import Rollup
from wardtwin_edge.serial_port import SerialPorts
from wardtwin_edge.store import FILE_NAME, Store, open_or_replace
from wardtwin_edge.uplink import Uplink

_log = logging.getLogger(__name__)
_ALIVE_S = 15.0
_CLOCK_EVERY_S = 5.0


class Gateway:
    def __init__(self, config: Config) -> None:
        self.config = config
        data_dir = config.data_dir
        self.files = roster.Files(data_dir)
        self._roster_stamp = self.files.stamp()
        known, self.roster_faults = self.files.load()
        self.store: Store
        self.store, self.notice = open_or_replace(data_dir / FILE_NAME)
        if self.notice:
            _log.error(self.notice)
        self.clock = clocks.system_clock(self.store.newest_stamp(), config.clock.wait_s)
        self.pipeline = Pipeline(config, self.store, known, self.clock, time.monotonic())
        self.committer = Committer(config.commit, self.store, self.pipeline, self.clock, secrets.randbits(32) or 1)
        self.mqtt = MqttLink(config.mqtt, config.gateway.id, self.committer) if config.mqtt.host else None
        self.ble = BleLink(config.ble, self.committer)
        self.serial = SerialPorts(config.serial, self.committer)
        self.uplink = Uplink(config.cloud, config.gateway.id, self.store, self.committer, self.clock)
        self.rollup = Rollup(config, self.store, self.pipeline, self.committer, self.clock)
        self.started_s = time.monotonic()
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; return the exit code."""
        loop = asyncio.get_running_loop()
        # the thread that commits shall not wait 5 ms for the one that reads, every time it comes back from the disk
        sys.setswitchinterval(0.001)
        # few threads: each would keep memory of its own
        loop.set_default_executor(ThreadPoolExecutor(max_workers=2, thread_name_prefix="aside"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)

        def in_loop(call: Callable[[], None]) -> Callable[[], None]:
            def hand_over() -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended: so has the gateway
                    loop.call_soon_threadsafe(call)

            return hand_over

        self.committer.on_urgent, self.committer.on_fatal = in_loop(self.uplink.hurry), in_loop(self._ended.set)
        self.committer.start()
        if self.mqtt:
            self.mqtt.start()
        if self.config.serial.ports:
            self.serial.start()
        page = Page(self)
        await page.start()
        jobs = (
            self.uplink.run(), self.rollup.run(), self.ble.run(), self._watch_clock(), self._watch_roster(), self._notify()
        )  # fmt: skip
        tasks = [asyncio.create_task(job) for job in jobs]
        for task in tasks:
            task.add_done_callback(_say_why)
        await self._ended.wait()
        await page.stop()
        return await self._stop(tasks)

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> int:
        if self.mqtt:
            self.mqtt.stop_reading()
        self.serial.stop_reading()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # the committer first: adapters stay for the acks of what it still commits
        self.committer.stop()
        await asyncio.to_thread(self.committer.join, 10)
        for adapter in (self.mqtt, self.serial):
            if adapter is not None and adapter.is_alive():
                await asyncio.to_thread(adapter.join, 6)
        self.store.close()
        return 70 if self.committer.fatal else 0

    async def _watch_clock(self) -> None:
        while True:
            correction = await asyncio.to_thread(self.clock.check)
            if correction is not None:
                _log.warning("the clock was put right by %+.1f s", correction.step_s)
                await asyncio.wrap_future(self.committer.submit(partial(self._correct, correction)))
            await asyncio.sleep(_CLOCK_EVERY_S)

    def _correct(self, correction: clocks.Correction) -> None:
        self.committer.write(self.pipeline.correct(correction))
        if correction.line != clocks.SYNCHRONISED:
            for line, newest in history.lines(self.store.db):
                known = line == correction.line
                history.move_line(self.store.db, line, correction.step_s if known else correction.started_at - newest)

    async def _watch_roster(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            stamp = await asyncio.to_thread(self.files.stamp)
            if stamp != self._roster_stamp:
                self._roster_stamp = stamp
                await self.reload_roster()

    async def reload_roster(self) -> None:
        known, self.roster_faults = await asyncio.to_thread(self.files.load)

        def adopt() -> None:
            self.pipeline.roster = known
            self.pipeline.load()

        await asyncio.wrap_future(self.committer.submit(adopt))

    async def _notify(self) -> None:
        notifier = sdnotify.SystemdNotifier()
        notifier.notify("READY=1")
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                if time.monotonic() - self.committer.heartbeat_s < _ALIVE_S:
                    notifier.notify("WATCHDOG=1")
                await asyncio.sleep(2.0)
        notifier.notify("STOPPING=1")


def _say_why(task: asyncio.Task[None]) -> None:
    """A task of the gateway runs for ever; one that ended by a fault of its own must not do so silently."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("a part of the gateway ended", exc_info=task.exception())
