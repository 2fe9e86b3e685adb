"""The only door to bleak: BTHome adverts in, with the strength they were heard at.

Radios go silent without a word (BlueZ after a scan error, a stuck controller). A watchdog notices that nothing at all is
heard any more and goes up a ladder: restart the scan, then a new scanner and a power cycle of the adapter, then say so and
keep trying. No adapter at all is the bottom of the same ladder.
"""

import asyncio
import contextlib
import importlib
import logging
import random
import time
from collections.abc import Coroutine
from typing import Any

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Ble
from wardtwin_edge.errors import ConfigError
from wardtwin_edge.pipeline import Arrival
from wardtwin_edge.roster import address_bytes
from wardtwin_sync.states import Transport
from wardtwin_wire.bthome import SERVICE_UUID

_log = logging.getLogger(__name__)
_BACK_OFF_S = (2.0, 120.0)
_ANSWER_S = 15.0
"""How long the system may take to start or stop a scan before it counts as stuck."""


class BleLink:
    transport = Transport.BLE

    def __init__(self, config: Ble, committer: Committer) -> None:
        self._config = config
        self._committer = committer
        self._backend = load_backend(config.backend)
        self._addresses: dict[str, bytes | None] = {}
        self.state = "switched off" if config.backend == "none" else "starting"
        self.is_scanning = False
        self.is_silent = False
        """Nothing is heard, over scans and scanners made anew, until something is."""
        self.adverts = 0
        self.received = 0
        self.dropped = 0
        self.restarts = 0
        self.power_cycles = 0
        self.last_heard_s: float | None = None

    def committed(self, tokens: list[Any]) -> None:
        """Adverts are not acked: the tag repeats them."""

    def send_ack(self, tag_id: str, sealed: bytes) -> None:
        """There is no way back to a tag that only advertises."""

    async def run(self) -> None:
        """Until cancelled."""
        if self._config.backend == "none":
            return
        failures = 0
        while True:
            heard_before = self.adverts
            try:
                await self._scan()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever a radio stack raises, the other transports go on
                self.state = f"no radio: {error or type(error).__name__}"
                _log.warning("ble: %s", self.state)
            self.is_scanning = False
            failures = 1 if self.adverts > heard_before else failures + 1
            if failures > 1:
                await self._power_cycle()
            low, high = _BACK_OFF_S
            await asyncio.sleep(min(high, low * 2 ** min(failures, 8)) * random.uniform(0.5, 1.0))

    async def _scan(self) -> None:
        """Scan until the radio stays silent through a restart of the scan."""
        scanner = self._new_scanner()
        await _answered(scanner.start())
        try:
            self.is_scanning = True
            self.state = "adapter started anew, nothing heard yet" if self.is_silent else "scanning"
            self.last_heard_s = time.monotonic()
            restarted = False
            while True:
                await asyncio.sleep(min(1.0, self._config.stall_s / 4))
                silent_s = time.monotonic() - self.last_heard_s
                if silent_s < self._config.stall_s:
                    restarted = False
                    if not self.is_silent:
                        self.state = "scanning"
                elif not restarted:
                    self.is_silent = True
                    self.state = f"nothing heard for {silent_s:.0f} s, scan restarted"
                    self.restarts += 1
                    restarted = True
                    await _answered(scanner.stop())
                    await _answered(scanner.start())
                elif silent_s > 2 * self._config.stall_s:
                    self.state = f"nothing heard for {silent_s:.0f} s, not even after a restart of the scan: adapter is started anew"
                    _log.warning("ble: %s", self.state)
                    return
        finally:
            with contextlib.suppress(Exception):
                await _answered(scanner.stop())

    def _new_scanner(self) -> BleakScanner:
        options: dict[str, Any] = {"bluez": {"adapter": self._config.adapter}} if self._config.adapter else {}
        return BleakScanner(self._on_advert, backend=self._backend, **options)

    async def _power_cycle(self) -> None:
        """Run the site's own command for a stuck adapter, e.g. hciconfig hci0 reset, or a USB port's power."""
        if not self._config.power_cycle:
            return
        self.power_cycles += 1
        try:
            process = await asyncio.create_subprocess_exec(*self._config.power_cycle)
        except OSError as error:
            _log.error("ble: cannot run the power cycle command: %s", error)
            return
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _on_advert(self, device: BLEDevice, advert: AdvertisementData) -> None:
        now = time.monotonic()
        self.last_heard_s = now
        self.is_silent = False
        self.adverts += 1
        data = advert.service_data.get(SERVICE_UUID)
        if data is None:
            return
        address = self._address(device.address)
        if address is None:
            return
        self.received += 1
        if self._committer.is_crowded:
            self.dropped += 1
            return
        self._committer.put([Arrival(self, bytes(data), now, None, address, advert.rssi)])

    def _address(self, text: str) -> bytes | None:
        try:
            return self._addresses[text]
        except KeyError:
            if len(self._addresses) > 5_000:  # phones change theirs every quarter of an hour
                self._addresses.clear()
            address = self._addresses[text] = address_bytes(text)
            return address


async def _answered(call: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(_ANSWER_S):  # not wait_for: before Python 3.12 it may swallow a cancellation
        await call


def load_backend(name: str) -> type[BaseBleakScanner] | None:
    """None for the platform's own; else the class at "package.module:Class". Raise ConfigError."""
    if name in ("bleak", "none"):
        return None
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"ble.backend {name!r} cannot be loaded: {error}", "use bleak, none or package.module:Class") from error
    if not (isinstance(found, type) and issubclass(found, BaseBleakScanner)):
        raise ConfigError(f"ble.backend {name!r} is no bleak scanner backend")
    return found
