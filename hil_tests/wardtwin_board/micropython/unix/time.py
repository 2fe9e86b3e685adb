"""MicroPython's `time` on a scaled clock; dates from 2000 until the clock is set, as on an ESP32.

WARDTWIN_CLOCK="<speed>:<unix base>:<CLOCK_MONOTONIC base>", speed at least 1. The interpreter's own ticks count
CLOCK_MONOTONIC. Ours begin with them at boot and run ahead: asyncio's task queue, written in C, stamps what is ready with
the interpreter's ticks, and these must never lie in our future. (An ESP32's begin at 0; firmware must not care.)
"""

import _emulator
import utime as _real
from utime import ticks_add, ticks_diff  # noqa: F401

_EPOCH_2000 = 946684800
_TICKS_MASK = ticks_add(0, -1)

_speed_milli = int(float(_emulator.setting("WARDTWIN_CLOCK", "1:0:0").split(":")[0]) * 1000)
_boot_us = _real.ticks_us()
_rtc_us = int(_emulator.setting("EMU_RTC_US", "0"))


def _elapsed_us():
    return (_real.ticks_us() - _boot_us) * _speed_milli // 1000


def ticks_us():
    return _boot_us + _elapsed_us() & _TICKS_MASK


def ticks_ms():
    return (_boot_us + (_real.ticks_us() - _boot_us) * _speed_milli // 1000) // 1000 & _TICKS_MASK


ticks_cpu = ticks_us


def time_ns():
    return (_rtc_us + _elapsed_us()) * 1000


def time():
    return (_rtc_us + _elapsed_us()) // 1000000


def set_rtc_us(us):
    """What machine.RTC().datetime(…) does. us: microseconds since 2000-01-01."""
    global _rtc_us
    _rtc_us = us - _elapsed_us()
    _emulator.tell(b"T", us // 1000000 & 0xFFFFFFFF)


def gmtime(seconds=None):
    return _real.gmtime((time() if seconds is None else seconds) + _EPOCH_2000)[:8]


localtime = gmtime


def mktime(parts):
    return _real.mktime(tuple(parts[:8]) + (0,)) - _EPOCH_2000  # noqa: RUF005


def real_us(scaled_us):
    return scaled_us * 1000 // _speed_milli


real_sleep_us = _real.sleep_us


def sleep_us(us):
    _real.sleep_us(real_us(us))


def sleep_ms(ms):
    """Radio events and pin changes arrive while the program sleeps, as interrupts do on the chip."""
    _emulator.pump()
    _real.sleep_us(real_us(ms * 1000))
    _emulator.pump()


def sleep(seconds):
    sleep_ms(int(seconds * 1000))
