"""MicroPython's `select.poll` with time-outs on the scaled clock; while it waits, the lines of radio and board are served."""

import time as _time

import _emulator
import uselect as _real
import utime as _realtime
from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT  # noqa: F401


class poll:
    def __init__(self):
        self._poll = _real.poll()
        self._owners = {}
        self._pumps = {}

    def register(self, stream, events=POLLIN | POLLOUT):
        line = getattr(stream, "emulated_line", None)
        if line is None:
            self._poll.register(stream, events)
        else:
            self._owners[id(line)] = stream
            self._poll.register(line, events)

    def unregister(self, stream):
        line = getattr(stream, "emulated_line", None)
        if line is None:
            self._poll.unregister(stream)
        else:
            self._owners.pop(id(line), None)
            self._poll.unregister(line)

    def modify(self, stream, events):
        self._poll.modify(getattr(stream, "emulated_line", None) or stream, events)

    def poll(self, timeout_ms=-1):
        while len(self._pumps) < len(_emulator.sources):
            source, pump = _emulator.sources[len(self._pumps)]
            self._pumps[id(source)] = pump
            self._poll.register(source, POLLIN)
        if _emulator.timers and timeout_ms != 0:
            left_ms = _emulator.run_timers()
            if left_ms is not None and (timeout_ms < 0 or left_ms < timeout_ms):
                timeout_ms = left_ms
        if timeout_ms > 0:
            real_us = _time.real_us(timeout_ms * 1000)
            began_us = _realtime.ticks_us()
            found = self._sort(self._poll.poll(real_us // 1000))
            if found is not None:
                return found
            # the rest below a millisecond, which is a good part of a second at 200 times the speed
            rest_us = real_us - _realtime.ticks_diff(_realtime.ticks_us(), began_us)
            if rest_us > 0:
                _realtime.sleep_us(rest_us)
            timeout_ms = 0
        return self._sort(self._poll.poll(timeout_ms)) or []

    ipoll = poll

    def _sort(self, found):
        """Serve the board's own lines; return the program's events, or None when nothing at all came."""
        if not found:
            return None
        events = []
        for entry in found:
            pump = self._pumps.get(id(entry[0]))
            if pump is not None:
                pump()
            else:
                events.append((self._owners.get(id(entry[0]), entry[0]), entry[1]))
        return events
