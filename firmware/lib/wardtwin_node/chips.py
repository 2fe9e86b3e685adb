"""A sensor driver at work: set up, measured when due, left alone for a while when it fails."""

import asyncio
import random

from wardtwin_tag.backoff import Backoff
from wardtwin_tag.errors import SensorError

_RETRY_MS = 2_000
_MAX_RETRY_MS = 60_000
_STALE_PERIODS = 3
_FAILED_AFTER = 2
"""One miss is noise, or a chip that is still starting up."""


class Chip:
    """driver: setup() and measure() as `wardtwin_tag.bus` describes; part: its name in `wardtwin_wire.fields.PARTS`."""

    def __init__(self, node, part, driver, period_ms):
        self._node = node
        self._part = part
        self._driver = driver
        self._period_ms = period_ms
        self._due_at_ms = 0
        self._values = {}
        self._fresh_at_ms = 0
        self._ready = False
        self._misses = 0
        self._backoff = Backoff(_RETRY_MS, _MAX_RETRY_MS, random.random)

    async def measure(self):
        """Return field name -> number: the last values until new ones are due, {} after a failure. Never raises SensorError."""
        now_ms = self._node.uptime.now_ms()
        if now_ms < self._due_at_ms:
            return self._values
        self._due_at_ms = now_ms - now_ms % self._period_ms + self._period_ms
        try:
            if not self._ready:
                await _last(self._driver.setup())
                self._ready = True
                self._fresh_at_ms = self._node.uptime.now_ms()
            self._take(await _last(self._driver.measure()))
        except SensorError as error:
            # a chip that lost its supply needs its set-up again
            self._ready = False
            self._values = {}
            self._misses += 1
            if self._misses >= _FAILED_AFTER:
                self._due_at_ms = now_ms + self._backoff.next_ms()
                self._node.failed(self._part, error)
            return {}
        return self._values

    def _take(self, values):
        now_ms = self._node.uptime.now_ms()
        if values:
            self._values = values
            self._fresh_at_ms = now_ms
            self._misses = 0
            self._backoff.reset()
            self._node.parts.works(self._part)
        elif now_ms - self._fresh_at_ms > _STALE_PERIODS * self._period_ms:
            raise SensorError("not_ready", "for %d ms" % (now_ms - self._fresh_at_ms))


async def _last(steps):
    """Take the steps with their waits; return the dict at the end, if there is one."""
    for step in steps:
        if isinstance(step, dict):
            return step
        await asyncio.sleep_ms(step)
    return {}
