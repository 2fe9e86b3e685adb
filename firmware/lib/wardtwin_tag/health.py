"""How a tag is: which parts fail, how it was reset, whether its heap holds."""

from wardtwin_wire import fields

HEAP_LIMIT_BYTES = 16_000
"""About a tenth of an ESP32's MicroPython heap: a TLS record and a frame still fit."""
HEAP_PATIENCE = 3

_BROWN_OUT = 6


def reset_cause(code):
    """Return the index into `wardtwin_wire.fields.RESET_CAUSES` of a machine.reset_cause() of the ESP32 port."""
    return code if 0 < code <= _BROWN_OUT else 0


def chip_restarted(cause):
    """Whether what hangs on the tag's supply began anew with it: after power on, brown-out, and when nothing is known."""
    return cause in (0, 1, _BROWN_OUT)


class Parts:
    """Bits of `fields.PARTS` that are configured and do not answer. `changed` is set by every change, for the reporter to clear."""

    def __init__(self):
        self.failed_mask = 0
        self.failures = 0
        self.changed = False

    def failed(self, name):
        """Return whether this is news."""
        self.failures += 1
        return self._set(self.failed_mask | 1 << fields.PARTS.index(name))

    def works(self, name):
        """Return whether this is news."""
        return self._set(self.failed_mask & ~(1 << fields.PARTS.index(name)))

    def _set(self, mask):
        news = mask != self.failed_mask
        self.failed_mask = mask
        self.changed = self.changed or news
        return news


class HeapWatch:
    """A heap that stays short after a collection, HEAP_PATIENCE times in a row, will not recover by itself."""

    def __init__(self):
        self._short = 0

    def must_reset(self, free_bytes):
        """free_bytes: what is free after a collection."""
        self._short = self._short + 1 if free_bytes < HEAP_LIMIT_BYTES else 0
        return self._short >= HEAP_PATIENCE


class Liveness:
    """The watchdog is fed only while the sampling side has been seen within `limit_ms`."""

    def __init__(self, limit_ms, now_ms):
        self._limit_ms = limit_ms
        self._seen_at_ms = now_ms

    def beat(self, now_ms):
        self._seen_at_ms = now_ms

    def alive(self, now_ms):
        return now_ms - self._seen_at_ms <= self._limit_ms
