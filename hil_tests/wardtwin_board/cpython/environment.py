"""Makes CPython's modules have what MicroPython's have and the tag uses: time, asyncio, gc, sys, socket, ssl, micropython, cryptolib.

All of it is global to the process, which runs one tag and nothing else.
"""

import asyncio
import calendar
import gc
import importlib
import io
import os
import socket
import ssl
import sys
import time
import traceback
import types
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wardtwin_board.cpython.sockets import Socket, wrap_socket

EPOCH_2000 = 946684800
TICKS_PERIOD = 1 << 62
HEAP_FREE_BYTES = 150_000
"""What gc.mem_free tells: CPython has no bounded heap."""


def prepare() -> None:
    """Change the modules; call once, before the firmware is imported."""
    sys.path[:0] = [os.environ["EMU_LIBRARIES"], str(Path(__file__).parent.parent / "micropython")]
    clock = Clock(float(os.environ.get("WARDTWIN_CLOCK", "1").split(":")[0]), int(os.environ.get("EMU_RTC_US", "0")))
    _extend(time, clock.functions())
    _extend(asyncio, {"sleep_ms": Sleeper(clock.speed)})
    _extend(gc, {"mem_free": lambda: HEAP_FREE_BYTES, "mem_alloc": lambda: 0})
    _extend(sys, {"print_exception": lambda error, file=None: traceback.print_exception(error, file=file or sys.stdout)})
    _extend(socket, {"socket": Socket})
    _extend(ssl.SSLContext, {"wrap_socket": wrap_socket})
    sys.modules["micropython"] = _module("micropython", {"const": lambda value: value, "kbd_intr": lambda _character: None})
    sys.modules["cryptolib"] = _module("cryptolib", {"aes": Aes})
    # unbuffered both: what poll() says must be what read() finds
    sys.stdin = io.TextIOWrapper(_Input(0, "rb", closefd=False))
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), write_through=True)


class Clock:
    """`time` as the emulated MicroPython has it; see micropython/unix/time.py."""

    def __init__(self, speed: float, rtc_us: int) -> None:
        self.speed = speed
        self._boot_ns = time.monotonic_ns()
        self._rtc_us = rtc_us
        self._sleep = time.sleep

    def functions(self) -> dict[str, Any]:
        return {
            "ticks_us": lambda: self._elapsed_us() % TICKS_PERIOD,
            "ticks_ms": lambda: self._elapsed_us() // 1000 % TICKS_PERIOD,
            "ticks_cpu": lambda: self._elapsed_us() % TICKS_PERIOD,
            "ticks_add": lambda ticks, delta: (ticks + delta) % TICKS_PERIOD,
            "ticks_diff": lambda a, b: (a - b + TICKS_PERIOD // 2) % TICKS_PERIOD - TICKS_PERIOD // 2,
            "time": lambda: self._rtc_now_us() // 1_000_000,
            "time_ns": lambda: self._rtc_now_us() * 1000,
            "gmtime": self._gmtime,
            "localtime": self._gmtime,
            "mktime": lambda parts: calendar.timegm((*parts[:6], 0, 0, 0)) - EPOCH_2000,
            "set_rtc_us": self._set_rtc_us,
            "sleep": lambda seconds: self._sleep(seconds / self.speed),
            "sleep_ms": lambda ms: self._sleep_pumping(ms / 1000),
            "sleep_us": lambda us: self._sleep(us / 1e6 / self.speed),
            "real_sleep_us": lambda us: self._sleep(us / 1e6),
            "real_us": lambda us: int(us / self.speed),
        }

    def _elapsed_us(self) -> int:
        return int((time.monotonic_ns() - self._boot_ns) * self.speed) // 1000

    def _rtc_now_us(self) -> int:
        return self._rtc_us + self._elapsed_us()

    def _gmtime(self, seconds: int | None = None) -> tuple[int, ...]:
        parts = _real_gmtime((self._rtc_now_us() // 1_000_000 if seconds is None else seconds) + EPOCH_2000)
        return (*parts[:6], parts.tm_wday, parts.tm_yday)

    def _set_rtc_us(self, us: int) -> None:
        emulator = importlib.import_module("_emulator")
        self._rtc_us = us - self._elapsed_us()
        emulator.tell(b"T", us // 1_000_000 & 0xFFFFFFFF)

    def _sleep_pumping(self, seconds: float) -> None:
        emulator = importlib.import_module("_emulator")
        emulator.pump()
        self._sleep(seconds / self.speed)
        emulator.pump()


_real_gmtime = time.gmtime


class Sleeper:
    """asyncio.sleep_ms on scaled time; lines of radio and board are served by the loop meanwhile."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._served = 0

    def __call__(self, ms: int) -> Coroutine[Any, Any, None]:
        emulator = importlib.import_module("_emulator")
        loop = asyncio.get_running_loop()
        for stream, pump in emulator.sources[self._served :]:
            loop.add_reader(stream, pump)
        self._served = len(emulator.sources)
        emulator.run_timers()
        return asyncio.sleep(ms / 1000 / self._speed)


class Aes:
    """cryptolib.aes in ECB mode (1), which is all the tag uses."""

    def __init__(self, key: bytes, mode: int) -> None:
        if mode != 1:
            raise ValueError("ECB only")
        cipher = Cipher(algorithms.AES(bytes(key)), modes.ECB())
        self._encryptor, self._decryptor = cipher.encryptor(), cipher.decryptor()

    def encrypt(self, data: bytes) -> bytes:
        return self._encryptor.update(bytes(data))

    def decrypt(self, data: bytes) -> bytes:
        return self._decryptor.update(bytes(data))


class _Input(io.FileIO):
    """FileIO that io.TextIOWrapper accepts."""

    def read1(self, size: int = -1) -> bytes:
        return self.read(size) or b""


def _extend(module: object, names: dict[str, Any]) -> None:
    for name, value in names.items():
        setattr(module, name, value)


def _module(name: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    _extend(module, names)
    return module
