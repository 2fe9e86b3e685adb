"""A tag's life: boot, settings, the tasks, the watchdog. The main.py of each kind brings the sampling."""

import asyncio
import gc
import random
import sys
import time

import machine
import micropython

from wardtwin_node import board
from wardtwin_node.air import Air
from wardtwin_node.console import Console
from wardtwin_tag import FIRMWARE_VERSION, settings
from wardtwin_tag.backoff import Backoff
from wardtwin_tag.counters import spend_boot_id
from wardtwin_tag.errors import SettingsError
from wardtwin_tag.health import HeapWatch, Liveness, Parts, reset_cause
from wardtwin_tag.uplink import NoUplink, Uplink
from wardtwin_tag.uptime import Uptime
from wardtwin_wire import ccm, frame, keys

SAMPLE_MS = 1_000

_KINDS = {"energy": frame.ENERGY, "environment": frame.ENVIRONMENT}
_WATCHDOG_MS = 60_000
_SAMPLING_LIMIT_MS = 30_000
_STATUS_MS = 60_000
_HEAP_MS = 10_000
_CONSOLE_MS = 100
_CLOCK_SAVE_MS = 3_600_000
_COMPLAIN_MS = 10_000
_RESTART_MS = 5_000


def run(kind, sampling):
    """Boot as a tag of `kind` ("energy" or "environment"). Never returns.

    sampling(node): makes an object whose coroutine run() loops, calling node.beat() and node.report(); after an exception
    run() is started again. Without usable settings it is not made: then the tag only says why, and answers WHO.
    """
    uptime = Uptime(time.ticks_ms, time.ticks_diff)
    store = board.Store()
    # before anything can be sent: a boot that dies at once still spent its id
    boot_id = spend_boot_id(store)
    try:
        loaded = _load(kind)
    except SettingsError as error:
        asyncio.run(_unprovisioned(kind, uptime, str(error)))
        return
    try:
        asyncio.run(Node(_KINDS[kind], loaded, uptime, store, boot_id).run(sampling))
    except Exception as error:
        # the watchdog may not run yet: a tag must not end at a prompt nobody sees
        sys.print_exception(error)
        time.sleep_ms(_RESTART_MS)
        machine.reset()


def _load(kind):
    try:
        with open("settings.json") as file:
            text = file.read()
    except OSError:
        raise SettingsError(["settings.json: missing"])
    loaded = settings.load(text)
    if loaded.kind != kind:
        raise SettingsError(["kind: %s, but this is the firmware of an %s tag" % (loaded.kind, kind)])
    if loaded.unknown:
        print("settings not known:", ", ".join(loaded.unknown))  # noqa: T201
    return loaded


async def _unprovisioned(kind, uptime, fault):
    # Ctrl-C still works, so that mpremote can provision; WHO has no such byte
    console = Console(machine.unique_id(), _KINDS[kind], lambda body: None)
    next_ms = 0
    while True:
        now_ms = uptime.now_ms()
        console.poll(now_ms)
        if now_ms >= next_ms:
            next_ms = now_ms + _COMPLAIN_MS
            print("not provisioned:", fault)  # noqa: T201
        await asyncio.sleep_ms(_CONSOLE_MS)


class Node:
    """A provisioned tag. kind: frame.ENERGY or frame.ENVIRONMENT."""

    def __init__(self, kind, loaded, uptime, store, boot_id):
        self.kind = kind
        self.settings = loaded
        self.uptime = uptime
        self.store = store
        self.boot_id = boot_id
        self.reset_cause = reset_cause(machine.reset_cause())
        self.tag_id = machine.unique_id()
        self.parts = Parts()
        self.values = {}
        self.junk_bytes = lambda: 0
        """Bytes the chips sent that were no packet; the sampling side replaces it."""
        self._liveness = Liveness(_SAMPLING_LIMIT_MS, uptime.now_ms())
        self._heap = HeapWatch()
        self._root = board.encrypt_block(loaded.key)
        self.uplink = self._uplink()
        # from here on Ctrl-C is a byte like any other in a frame
        micropython.kbd_intr(-1)
        self._console = Console(self.tag_id, kind, self._acked)
        last_known_s = max(store.get("utc", 0), loaded.provisioned_at_s)
        if last_known_s and not board.clock_is_set():
            # certificates need a time that is not absurd
            board.set_clock(last_known_s)

    def aead(self, label, tag_length):
        """Return the Ccm under the key derived for `label` of `wardtwin_wire.keys`."""
        return ccm.Ccm(board.encrypt_block(keys.derive(self._root, label)), tag_length)

    def report(self, values):
        """Take one report period's values, {} when there are none: on flash when this returns, or in the next adverts."""
        self.values = values
        if values:
            self.send(self.kind, frame.pack_values(self.kind, self.uptime.now_ms(), values))

    def send(self, kind, payload):
        """Queue a frame for the gateway; a tag that only advertises sends none."""
        try:
            self.uplink.report(kind, payload)
        except OSError as error:
            self.failed("flash", error)

    def beat(self):
        """The sampling side is alive; without this the watchdog resets the board."""
        self._liveness.beat(self.uptime.now_ms())

    def failed(self, part, error):
        if self.parts.failed(part):
            print(part + ":", repr(error))  # noqa: T201

    async def every(self, period_ms):
        """Wait for the next multiple of the period; periods that were missed are left out."""
        await asyncio.sleep_ms(period_ms - self.uptime.now_ms() % period_ms)

    async def run(self, sampling):
        tasks = [self._serve_console, self._serve_air, sampling(self).run]
        if self.settings.transport == "mqtt":
            tasks.append(self._serve_broker)
        running = [asyncio.create_task(self._keep(task)) for task in tasks]
        await self._supervise()
        return running

    def _uplink(self):
        if self.settings.transport == "ble":
            return NoUplink()
        queue, on_flash = board.open_queue()
        if not on_flash:
            self.failed("flash", "no partition named queue")
        report_aead, ack_aead = self.aead(keys.REPORT, frame.TAG_BYTES), self.aead(keys.ACK, frame.TAG_BYTES)
        return Uplink(queue, report_aead, ack_aead, self.tag_id, self.boot_id)

    def _acked(self, body):
        self.uplink.acked(body, self.uptime.now_ms())

    async def _keep(self, task):
        """Start `task` again whenever it ends in an exception nobody expected."""
        backoff = Backoff(1_000, 60_000, random.random)
        while True:
            try:
                await task()
            except Exception as error:
                sys.print_exception(error)
            await asyncio.sleep_ms(backoff.next_ms())

    async def _serve_console(self):
        carried = self.uplink if self.settings.transport == "serial" else NoUplink()
        while True:
            now_ms = self.uptime.now_ms()
            self._console.poll(now_ms)
            while self._console.ready():
                data = carried.next_frame(now_ms)
                if data is None:
                    break
                self._console.send(data)
            await asyncio.sleep_ms(_CONSOLE_MS)

    async def _serve_air(self):
        await Air(self).run()

    async def _serve_broker(self):
        # imported late: only tags on Wi-Fi have the memory of TLS to spend
        from wardtwin_node.broker import Broker

        await Broker(self).run()

    async def _supervise(self):
        """Feed the watchdog, watch the heap, report the status. Only this loop feeds."""
        watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        next_status_ms = next_heap_ms = 0
        next_clock_ms = _CLOCK_SAVE_MS
        while True:
            now_ms = self.uptime.now_ms()
            if self._liveness.alive(now_ms):
                watchdog.feed()
            if now_ms >= next_heap_ms:
                next_heap_ms = now_ms + _HEAP_MS
                self._watch_heap()
            if now_ms >= next_status_ms or self.parts.changed:
                next_status_ms = now_ms + _STATUS_MS
                self.parts.changed = False
                self._send_status(now_ms)
            if now_ms >= next_clock_ms:
                next_clock_ms = now_ms + _CLOCK_SAVE_MS
                self._save_clock(now_ms)
            await asyncio.sleep_ms(1_000)

    def _watch_heap(self):
        gc.collect()
        if self._heap.must_reset(gc.mem_free()):
            print("heap: %d bytes free, reset" % gc.mem_free())  # noqa: T201
            machine.reset()

    def _send_status(self, now_ms):
        queue = self.uplink.queue
        # garbage is not use: without a collection the figure would be a sawtooth
        gc.collect()
        values = {
            "boot_count": self.boot_id,
            "reset_cause": self.reset_cause,
            "heap_free_bytes": gc.mem_free(),
            "queue_depth": queue.depth,
            "queue_dropped": queue.dropped,
            "failed_parts": self.parts.failed_mask,
            "junk_bytes": self._console.junk_bytes + self.junk_bytes(),
            "firmware_version": FIRMWARE_VERSION,
        }
        self.send(frame.STATUS, frame.pack_values(frame.STATUS, now_ms, values))

    def _save_clock(self, now_ms):
        unix_ms = self.uplink.unix_ms(now_ms)
        if unix_ms is not None:
            board.set_clock(unix_ms // 1000)
            self.store.set("utc", unix_ms // 1000)
            self.store.commit()
