"""What the chip gives: identity, ciphers, NVS, the queue's partition, the clock."""

import time

import cryptolib
import esp32
import machine

from wardtwin_tag.flash_queue import FlashQueue
from wardtwin_tag.ram_queue import RamQueue

_ECB = 1
_YEAR_2024_S = 1_704_067_200
_EPOCH_S = 946_684_800 if time.gmtime(0)[0] == 2000 else 0
"""MicroPython on an ESP32 counts from 2000."""


def encrypt_block(key):
    """Return 16 bytes -> 16 bytes, AES-ECB under `key`."""
    return cryptolib.aes(key, _ECB).encrypt


class Store:
    """Unsigned 32-bit numbers in NVS (namespace "wardtwin"), which holds signed ones."""

    def __init__(self):
        self._nvs = esp32.NVS("wardtwin")

    def get(self, key, default):
        try:
            value = self._nvs.get_i32(key)
        except OSError:
            return default
        return value + (1 << 32) if value < 0 else value

    def set(self, key, value):
        self._nvs.set_i32(key, value - (1 << 32) if value >> 31 else value)

    def commit(self):
        self._nvs.commit()


def open_queue():
    """Return (queue, whether it is on flash)."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="queue")
    if not found:
        return RamQueue(), False
    return FlashQueue(found[0]), True


def unix_s():
    """Seconds since 1970; before 2024 nobody has set the clock."""
    return time.time() + _EPOCH_S


def set_clock(at_unix_s):
    year, month, day, hour, minute, second = time.gmtime(at_unix_s - _EPOCH_S)[:6]
    machine.RTC().datetime((year, month, day, 0, hour, minute, second, 0))


def clock_is_set():
    return unix_s() >= _YEAR_2024_S
