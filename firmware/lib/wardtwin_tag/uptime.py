"""Milliseconds since the tag started, from a tick counter that wraps (every 12 days on an ESP32)."""


class Uptime:
    """ticks_ms() and ticks_diff(new, old) as in MicroPython's time module. Ask more often than half a wrap (6 days)."""

    def __init__(self, ticks_ms, ticks_diff):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._last = ticks_ms()
        self._now_ms = 0

    def now_ms(self):
        ticks = self._ticks_ms()
        self._now_ms += self._ticks_diff(ticks, self._last)
        self._last = ticks
        return self._now_ms
