"""Tag logic, alike on MicroPython and CPython: takes bytes, numbers and clocks, returns values; knows no board and no radio."""

FIRMWARE_VERSION = 0x0001
"""major * 256 + minor, as the STATUS frame and the HELLO message carry it."""
