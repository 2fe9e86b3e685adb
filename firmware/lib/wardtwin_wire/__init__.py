"""Bytes on the air and on the wire: the same files on tag (MicroPython) and gateway (CPython). Imports struct only."""
