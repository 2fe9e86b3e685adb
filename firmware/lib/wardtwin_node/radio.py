"""BLE: one job at a time, advertising or scanning (both at once fail beside Wi-Fi: micropython issue 9929)."""

import asyncio

import bluetooth
from micropython import const

from wardtwin_tag.sightings import Sightings
from wardtwin_wire import bthome

_IRQ_SCAN_RESULT = const(5)
_IRQ_SCAN_DONE = const(6)
_SCAN_POLL_MS = 50
_SCAN_GRACE_MS = 1_000


class Radio:
    def __init__(self, advert_interval_ms):
        self._interval_us = advert_interval_ms * 1000
        self._sightings = Sightings()
        self._scanning = False
        self._ble = bluetooth.BLE()
        self._ble.active(True)
        self._ble.irq(self._irq)
        self.missed = 0

    @property
    def address(self):
        """The six bytes the radio sends from, as printed."""
        return bytes(self._ble.config("mac")[1])

    def advertise(self, advert):
        """Repeat `advert` at the interval until the next one."""
        self._ble.gap_advertise(self._interval_us, advert, connectable=False)

    def stop(self):
        self._ble.gap_advertise(None)  # pyright: ignore[reportArgumentType] (the manual says None)

    async def scan(self, window_ms, uptime):
        """Return [(address, median RSSI in dBm)] of the room beacons heard. Stop advertising before. Raise OSError if refused."""
        self._scanning = True
        self._ble.gap_scan(window_ms, 30_000, 30_000, False)
        deadline_ms = uptime.now_ms() + window_ms + _SCAN_GRACE_MS
        while self._scanning and uptime.now_ms() < deadline_ms:
            await asyncio.sleep_ms(_SCAN_POLL_MS)
        if self._scanning:
            self._scanning = False
            self._ble.gap_scan(None)  # pyright: ignore[reportArgumentType]
        return self._sightings.take()

    def _irq(self, event, data):
        if event == _IRQ_SCAN_RESULT:
            if self._scanning:
                try:
                    if bthome.is_beacon(data[4]):
                        self._sightings.add(data[1], data[3])
                except MemoryError:
                    # one reading less; an exception here would end the scan for good (micropython-lib issue 982)
                    self.missed += 1
        elif event == _IRQ_SCAN_DONE:
            self._scanning = False
