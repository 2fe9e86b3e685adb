"""The emulated board's end of the lines to the bench process: inherited file descriptors, named by environment variables.

One file for both interpreters. A line is a socket pair's end that the bench has made (non-)blocking; MicroPython and
CPython read and write it as a raw file: `read` gives None when a non-blocking line has nothing.

    EMU_CTL      control: messages of one letter, a 4-byte little-endian argument and, for some, more (see below)
    EMU_I2C      requests and answers of the I2C buses (blocking)
    EMU_UART<n>  the bytes of UART n
    EMU_HCI      HCI H4 packets of the Bluetooth controller

Control, board to bench: R reset, W watchdog armed (ms), F fed, S deep sleep (ms), B out of power, U UART settings,
T clock set. Bench to board: L Wi-Fi link (0, 1), P pin level (pin << 1 | level), A ADC (pin << 16 | u16),
O power fails (at that many more flash bytes).
"""

import os
import struct
import sys

MESSAGE_BYTES = 5

pins = {}
analog = {}
state = {"link": 1, "flash_bytes_left": -1}
sources = []
timers = []
"""Functions that do what is due and return the ms until they have more to do, or None."""
on_link = []
on_pin = []
_lines = {}


def setting(name, default=None):
    value = os.getenv(name)
    return default if value is None else value


def line(name):
    """Return the raw file of a line; the same one every time: a second one would close the descriptor when collected."""
    if name not in _lines:
        fd = os.getenv(name)
        if fd is None:
            raise OSError(19, name + " is not on this board")
        _lines[name] = open(int(fd), "r+b", buffering=0)
    return _lines[name]


def listen(stream, pump):
    """Call pump() whenever `stream` has something to read and the board's program waits, sleeps or polls."""
    sources.append((stream, pump))


def pump():
    for _, each in sources:
        each()
    run_timers()


def run_timers():
    """Do what is due; return the ms until the next, or None."""
    soonest = None
    for timer in timers:
        left = timer()
        if left is not None and (soonest is None or left < soonest):
            soonest = left
    return soonest


def tell(letter, argument=0, more=b""):
    if os.getenv("EMU_CTL") is not None:
        line("EMU_CTL").write(letter + struct.pack("<I", argument) + more)


def halt(letter, argument=0):
    """Tell the bench and stand still until it kills this process."""
    tell(letter, argument)
    import time

    while True:
        time.sleep_us(1000000)


_pending = b""


def pump_control():
    global _pending
    while True:
        data = line("EMU_CTL").read(8 * MESSAGE_BYTES)
        if data is None:
            return
        if not data:
            sys.exit("the bench is gone")
        _pending += data
        while len(_pending) >= MESSAGE_BYTES:
            letter = _pending[:1]
            argument = struct.unpack_from("<I", _pending, 1)[0]
            _pending = _pending[MESSAGE_BYTES:]
            _take(letter, argument)


def _take(letter, argument):
    if letter == b"L":
        state["link"] = argument
        for call in on_link:
            call(argument)
    elif letter == b"P":
        pins[argument >> 1] = argument & 1
        for call in on_pin:
            call(argument >> 1)
    elif letter == b"A":
        analog[argument >> 16] = argument & 0xFFFF
    elif letter == b"O":
        state["flash_bytes_left"] = argument


if os.getenv("EMU_CTL") is not None:
    listen(line("EMU_CTL"), pump_control)
