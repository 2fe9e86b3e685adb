"""A tag's life: boot, settings, the tasks, the watchdog. The main.py of each kind brings the sampling."""

import asyncio
import gc
import random
import sys
import time

import machine

from wardtwin_node import board
from wardtwin_node.console import Console
from wardtwin_tag import FIRMWARE_VERSION, settings
from wardtwin_tag.backoff import Backoff
from wardtwin_tag.beacon import Beacon
from wardtwin_tag.counters import AdvertCounter, spend_boot_id
from wardtwin_tag.errors import SettingsError
from wardtwin_tag.health import HeapWatch, Liveness, Parts, reset_cause
from wardtwin_tag.uplink import Uplink
from wardtwin_tag.uptime import Uptime
from wardtwin_wire import bthome, ccm, frame, keys

SAMPLE_MS = 1_000

_WATCHDOG_MS = 60_000
_SAMPLING_LIMIT_MS = 30_000
_STATUS_MS = 60_000
_HEAP_MS = 10_000
_CONSOLE_MS = 100
_BEAT_MS = 1_000
_SLOW_BEAT_MS = 10_000
_CLOCK_SAVE_MS = 3_600_000


class Node:
    """kind: "energy" or "environment". settings is None when settings.json cannot be used: then run() only answers the console."""

    def __init__(self, kind):
        self.kind = frame.ENERGY if kind == "energy" else frame.ENVIRONMENT
        self.uptime = Uptime(time.ticks_ms, time.ticks_diff)
        self.parts = Parts()
        self.tag_id = machine.unique_id()
        self.reset_cause = reset_cause(machine.reset_cause())
        self.store = board.Store()
        self.boot_id = spend_boot_id(self.store)
        self.uplink = None
        self.values = {}
        self.sightings = []
        self.junk_bytes = lambda: 0
        self._console = Console(self.tag_id, self.kind, self._acked)
        self._console_lossless = False
        self.fault = ""
        self.settings = self._load(kind)
        if self.settings is not None:
            self._prepare(self.settings)

    def report(self, values):
        """Take one report period's values, {} when there are none: on flash when this returns, or in the next adverts."""
        self.values = values
        if values:
            self._send(self.kind, frame.pack_values(self.kind, self.uptime.now_ms(), values))

    def beat(self):
        """The sampling side is alive; without this the watchdog resets the board."""
        self._liveness.beat(self.uptime.now_ms())

    def failed(self, part, error):
        if self.parts.failed(part):
            print(part + ":", repr(error))  # noqa: T201

    def run(self, sample):
        """Never returns. sample: coroutine function () that loops, calling beat() and report()."""
        asyncio.run(self._run(sample))

    async def every(self, period_ms):
        """Wait for the next multiple of the period; periods that were missed are left out."""
        await asyncio.sleep_ms(period_ms - self.uptime.now_ms() % period_ms)

    def _load(self, kind):
        try:
            with open("settings.json") as file:
                loaded = settings.load(file.read())
            if loaded.kind != kind:
                raise SettingsError(["kind: this is the firmware of an %s tag" % kind])
        except SettingsError as error:
            self.fault = str(error)
            return None
        except OSError:
            self.fault = "settings.json: missing"
            return None
        if loaded.unknown:
            print("settings not known:", ", ".join(loaded.unknown))  # noqa: T201
        return loaded

    def _prepare(self, loaded):
        self._liveness = Liveness(_SAMPLING_LIMIT_MS, self.uptime.now_ms())
        self._heap = HeapWatch()
        self._links = []
        root = board.encrypt_block(loaded.key)
        if not board.clock_is_set():
            # certificates need a time that is not absurd: the last one known
            board.set_clock(max(self.store.get("utc", 0), loaded.provisioned_at_s))
        if loaded.transport != "ble":
            queue, on_flash = board.open_queue()
            if not on_flash:
                self.failed("flash", "no partition named queue")
            report_aead = ccm.Ccm(board.encrypt_block(keys.derive(root, keys.REPORT)), frame.TAG_BYTES)
            ack_aead = ccm.Ccm(board.encrypt_block(keys.derive(root, keys.ACK)), frame.TAG_BYTES)
            self.uplink = Uplink(queue, report_aead, ack_aead, self.tag_id, self.boot_id)
        if loaded.transport == "mqtt":
            from wardtwin_node.broker import Broker

            self._links.append(Broker(loaded, self.tag_id, self.uplink, self.uptime, self.parts).run)
        self._console_lossless = loaded.transport == "serial"
        self._air_aead = ccm.Ccm(board.encrypt_block(keys.derive(root, keys.BTHOME)), bthome.TAG_BYTES)
        self._links.append(self._air)

    async def _run(self, sample):
        tasks = [self._serve_console]
        if self.settings is None:
            tasks.append(self._complain)
        else:
            tasks += self._links
            tasks.append(sample)
        running = [asyncio.create_task(self._keep(task)) for task in tasks]
        if self.settings is None:
            await running[0]
        await self._supervise()

    async def _keep(self, task):
        """Start `task` again whenever it ends in an exception nobody expected."""
        backoff = Backoff(1_000, 60_000, random.random)
        while True:
            try:
                await task()
            except Exception as error:
                sys.print_exception(error)
            await asyncio.sleep_ms(backoff.next_ms())

    async def _complain(self):
        while True:
            print("not provisioned:", self.fault)  # noqa: T201
            await asyncio.sleep_ms(10_000)

    async def _serve_console(self):
        while True:
            now_ms = self.uptime.now_ms()
            self._console.poll(now_ms)
            while self._console_lossless and self._console.ready():
                data = self.uplink.next_frame(now_ms)
                if data is None:
                    break
                self._console.send(data)
            await asyncio.sleep_ms(_CONSOLE_MS)

    def _acked(self, data):
        if self.uplink is not None:
            self.uplink.acked(data, self.uptime.now_ms())

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
                gc.collect()
                if self._heap.must_reset(gc.mem_free()):
                    print("heap: %d bytes free, reset" % gc.mem_free())  # noqa: T201
                    machine.reset()
            if now_ms >= next_status_ms or self.parts.changed:
                next_status_ms = now_ms + _STATUS_MS
                self.parts.changed = False
                self._send_status(now_ms)
            if now_ms >= next_clock_ms:
                next_clock_ms = now_ms + _CLOCK_SAVE_MS
                self._save_clock(now_ms)
            await asyncio.sleep_ms(1_000)

    def _send_status(self, now_ms):
        if self.uplink is None:
            return
        values = {
            "boot_count": self.boot_id,
            "reset_cause": self.reset_cause,
            "heap_free_bytes": gc.mem_free(),
            "queue_depth": self.uplink.queue.depth,
            "queue_dropped": self.uplink.queue.dropped,
            "failed_parts": self.parts.failed_mask,
            "junk_bytes": self._console.junk_bytes + self.junk_bytes(),
            "firmware_version": FIRMWARE_VERSION,
        }
        self._send(frame.STATUS, frame.pack_values(frame.STATUS, now_ms, values))

    def _save_clock(self, now_ms):
        unix_ms = self.uplink.unix_ms(now_ms) if self.uplink is not None else None
        if unix_ms is not None:
            board.set_clock(unix_ms // 1000)
            self.store.set("utc", unix_ms // 1000)
            self.store.commit()

    def _send(self, kind, payload):
        if self.uplink is None:
            return
        try:
            self.uplink.report(kind, payload)
        except OSError as error:
            self.failed("flash", error)

    async def _air(self):
        """Advertise and scan in turns. An energy tag hears the room beacons; an environment tag is one."""
        from wardtwin_node.radio import Radio

        options = self.settings.ble
        is_beacon = self.kind == frame.ENVIRONMENT
        sends_values = self.settings.transport == "ble"
        radio = Radio(options["advert_interval_ms"])
        counter = AdvertCounter(self.store)
        tx_power_dbm = options["beacon_tx_power_dbm"] if is_beacon else None
        beacon = Beacon(self._air_aead, radio.address, counter, tx_power_dbm)
        beat_ms = _BEAT_MS if sends_values else _SLOW_BEAT_MS
        next_scan_ms = self.uptime.now_ms()
        while True:
            if is_beacon or sends_values:
                radio.advertise(beacon.advert(self._frames(sends_values)))
            await self.every(beat_ms if is_beacon or sends_values else _BEAT_MS)
            if not is_beacon and self.uptime.now_ms() >= next_scan_ms:
                next_scan_ms = self.uptime.now_ms() + int(options["scan_period_s"] * 1000)
                if sends_values:
                    radio.stop()
                self.sightings = await radio.scan(options["scan_window_ms"], self.uptime)
                self.parts.works("ble")
                if self.sightings:
                    self._send(frame.SIGHTINGS, frame.pack_sightings(self.uptime.now_ms(), self.sightings))

    def _frames(self, sends_values):
        """The objects of the coming adverts, the one that matters most first."""
        frames = []
        values = self.values
        if sends_values and values:
            frames = bthome.energy_frames(values) if self.kind == frame.ENERGY else bthome.environment_frames(values)
        frames.append(bthome.status_frame(self.boot_id, self.uptime.now_ms(), self.parts.failed_mask, values.get("peak_current_a")))
        if self.sightings:
            frames.append(bthome.sightings_frame(self.sightings))
        return frames
