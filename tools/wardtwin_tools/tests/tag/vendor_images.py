"""Images for an ESP32 made by their documented format: no vendor's bytes are committed here."""

import hashlib
import struct
from functools import reduce
from operator import xor

from wardtwin_tools.tag import partition_table


def esp_image(segments: list[bytes], *, chip: int = 0, flash_size_code: int = 0x1) -> bytes:
    """An image as esptool's documentation ("Firmware Image Format") says, with its SHA-256. Size code 1 is 2 MB."""
    header = struct.pack("<BBBBI", 0xE9, len(segments), 2, flash_size_code << 4, 0x4008_0000)
    header += struct.pack("<B3xHBHH4xB", 0xEE, chip, 0, 0, 0xFFFF, 1)
    body = b"".join(struct.pack("<II", 0x3FFF_0000 + 0x1000 * n, len(s)) + s for n, s in enumerate(segments))
    image = header + body
    image += b"\0" * (15 - len(image) % 16) + bytes([reduce(xor, b"".join(segments), 0xEF)])
    return image + hashlib.sha256(image).digest()


def application(size: int = 200_000, chip: int = 0) -> bytes:
    description = struct.pack("<IIQ32s32s", 0xABCD5432, 0, 0, b"v1.28.0", b"micropython").ljust(256, b"\0")
    noise = hashlib.shake_256(b"application").digest(size // 4 * 4)
    return esp_image([description + noise, b"\x12\x34\x56\x78" * 64], chip=chip)


def vendor_bin(*, chip: int = 0, app: bytes | None = None) -> bytes:
    """Laid out as MicroPython's makeimg.py does; its table has no vfs, as in releases since 1.26."""
    bootloader = esp_image([hashlib.shake_256(b"bootloader").digest(18_000), b"\0\1\2\3" * 99], chip=chip)
    table = partition_table.encode([p for p in partition_table.LAYOUT if p.label in ("nvs", "phy_init", "factory")])
    return bootloader.ljust(0x7000, b"\xff") + table.ljust(0x8000, b"\xff") + (application(chip=chip) if app is None else app)
