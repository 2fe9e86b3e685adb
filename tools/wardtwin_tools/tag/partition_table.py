"""The flash map of a tag, and ESP-IDF's binary partition table that tells the bootloader and MicroPython about it.

Format (ESP-IDF programming guide, "Partition Tables"; gen_esp32part): rows of 32 bytes, little endian: magic AA 50,
type u8, subtype u8, offset u32, size u32, label 16 bytes padded with zeros, flags u32. After the last row one row
EB EB, 14 x FF, MD5 of all rows before it; FF up to 0xC00 bytes. The table stands at 0x8000.

Why the tag's map is not the vendor's: docs/adr/0001-queue-partition.md.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from wardtwin_tools.tag.errors import ImageError

TABLE_OFFSET = 0x8000
TABLE_BYTES = 0xC00
SECTOR_BYTES = 0x1000
APP_ALIGNMENT = 0x10000
FLASH_BYTES = 0x40_0000
"""The map is for chips with 4 MiB and leaves what a larger one has unused."""

APP, DATA = 0x00, 0x01
FACTORY = 0x00
PHY, NVS, UNDEFINED, FAT = 0x01, 0x02, 0x06, 0x81

_ROW = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5_MARK = b"\xeb\xeb" + b"\xff" * 14
_END = b"\xff" * _ROW.size


@dataclass(frozen=True)
class Partition:
    """`offset` and `size` in bytes from the start of the flash."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


LAYOUT = (
    Partition("nvs", DATA, NVS, 0x9000, 0x6000),
    Partition("phy_init", DATA, PHY, 0xF000, 0x1000),
    Partition("factory", APP, FACTORY, 0x1_0000, 0x1F_0000),
    # the vendor's MicroPython marks its littlefs "fat" and finds it by its label; so do we
    Partition("vfs", DATA, FAT, 0x20_0000, 0x18_0000),
    Partition("queue", DATA, UNDEFINED, 0x38_0000, 0x8_0000),
)


def partition(label: str, layout: Iterable[Partition] = LAYOUT) -> Partition:
    return next(p for p in layout if p.label == label)


def check(layout: Iterable[Partition], flash_bytes: int = FLASH_BYTES) -> None:
    """Raise ImageError for what the bootloader would refuse: overlap, bad alignment, beyond the flash, bad label."""
    last_end = TABLE_OFFSET + SECTOR_BYTES
    labels: set[str] = set()
    for p in sorted(layout, key=lambda p: p.offset):
        alignment = APP_ALIGNMENT if p.type == APP else SECTOR_BYTES
        if not 1 <= len(p.label.encode()) <= 15 or not p.label.isascii() or p.label in labels:
            raise ImageError(f"partition label {p.label!r} is taken, or not 1 to 15 ASCII characters")
        if p.offset % alignment or p.size % SECTOR_BYTES or p.size <= 0:
            raise ImageError(f"partition {p.label}: offset {p.offset:#x} or size {p.size:#x} is not aligned")
        if p.offset < last_end:
            raise ImageError(f"partition {p.label} at {p.offset:#x} overlaps what ends at {last_end:#x}")
        if p.end > flash_bytes:
            raise ImageError(f"partition {p.label} ends at {p.end:#x}, the flash at {flash_bytes:#x}")
        labels.add(p.label)
        last_end = p.end


def encode(layout: Iterable[Partition] = LAYOUT) -> bytes:
    """Return the table's 0xC00 bytes, rows in the order given."""
    rows = b"".join(_ROW.pack(_MAGIC, p.type, p.subtype, p.offset, p.size, p.label.encode(), 0) for p in layout)
    table = rows + _MD5_MARK + hashlib.md5(rows, usedforsecurity=False).digest()
    if len(table) + _ROW.size > TABLE_BYTES:
        raise ImageError("too many partitions for one table")
    return table.ljust(TABLE_BYTES, b"\xff")


def decode(raw: bytes) -> tuple[Partition, ...]:
    """Read a table. Raise ImageError when it has no rows, no end, a foreign row or a wrong MD5."""
    found: list[Partition] = []
    for at in range(0, min(len(raw), TABLE_BYTES) - _ROW.size + 1, _ROW.size):
        row = raw[at : at + _ROW.size]
        if row == _END:
            if not found:
                break
            return tuple(found)
        if row.startswith(_MD5_MARK[:2]):
            if row[16:] != hashlib.md5(raw[:at], usedforsecurity=False).digest():
                raise ImageError("the partition table's MD5 does not match its rows")
            continue
        magic, type_, subtype, offset, size, label, _flags = _ROW.unpack(row)
        if magic != _MAGIC:
            raise ImageError(f"no partition table: row {at // _ROW.size} begins with {row[:2].hex()}")
        found.append(Partition(label.split(b"\0", 1)[0].decode("ascii", "replace"), type_, subtype, offset, size))
    raise ImageError("no partition table: no rows, or no end")
