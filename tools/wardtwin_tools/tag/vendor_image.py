"""The vendor's MicroPython image for the ESP32, taken apart and checked before a byte of it is written.

The download (ESP32_GENERIC-….bin) is meant for 0x1000 and holds, padded with FF: bootloader at 0x1000, partition table
at 0x8000, application at 0x10000 (MicroPython ports/esp32/makeimg.py). Written whole, its padding would wipe the NVS
at 0x9000 and with it the tag's boot counter; so the pieces are written one by one, with the tag's own table.

Image format (esptool documentation, "Firmware Image Format"): header 24 bytes with magic E9, segment count, chip id
u16 at 12, hash flag at 23; segments of (address u32, length u32, bytes); padding up to the last byte of a 16-byte row,
which is the XOR of all segment bytes and EF; SHA-256 of everything before it if the flag is 1.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import reduce
from operator import xor

from wardtwin_tools.tag import partition_table
from wardtwin_tools.tag.errors import ImageError

BOOTLOADER_OFFSET = 0x1000
APPLICATION_OFFSET = partition_table.partition("factory").offset
CHIP_ID = 0
CHIP_NAMES = {
    0: "ESP32",
    2: "ESP32-S2",
    5: "ESP32-C3",
    9: "ESP32-S3",
    12: "ESP32-C2",
    13: "ESP32-C6",
    16: "ESP32-H2",
    18: "ESP32-P4",
    23: "ESP32-C5",
}

_MAGIC = 0xE9
_HEADER_BYTES = 24
_SEGMENT = struct.Struct("<II")
_DIGEST_BYTES = 32
_APP_DESCRIPTION = struct.pack("<I", 0xABCD5432)
_DOWNLOAD = "Take the plain .bin for ESP32_GENERIC from the MicroPython download page (not .app-bin, .elf or .uf2)."


@dataclass(frozen=True)
class VendorImage:
    """`bootloader` goes to 0x1000, `application` to 0x10000. `name` is e.g. "micropython v1.28.0", empty if unsaid."""

    bootloader: bytes
    application: bytes
    name: str


def parse(raw: bytes) -> VendorImage:
    """Raise ImageError when `raw` is cut, damaged, for another chip, not a whole image, or too large for the tag."""
    if not raw or raw[0] != _MAGIC:
        raise ImageError("the file is not an ESP32 image: it does not begin with E9", _DOWNLOAD)
    bootloader = _image(raw, "the bootloader")
    table_at = partition_table.TABLE_OFFSET - BOOTLOADER_OFFSET
    application_at = APPLICATION_OFFSET - BOOTLOADER_OFFSET
    if raw[_HEADER_BYTES + _SEGMENT.size :].startswith(_APP_DESCRIPTION):
        raise ImageError("the file is an application alone, without a bootloader", _DOWNLOAD)
    if len(bootloader) > table_at:
        raise ImageError("the bootloader would run into the partition table", _DOWNLOAD)
    if len(raw) <= application_at:
        raise ImageError("the file ends before the application begins: the download is cut", _DOWNLOAD)
    partition_table.decode(raw[table_at:application_at])
    application = _image(raw[application_at:], "the application")
    room = partition_table.partition("factory").size
    if len(application) > room:
        raise ImageError(
            f"the application has {len(application):,} bytes, its partition {room:,}",
            "Take the vendor's generic image without extras, or one of the release the guide names.",
        )
    return VendorImage(bootloader, application, _name(application))


def _image(raw: bytes, what: str) -> bytes:
    """Return the image at the start of `raw`, without what follows it."""
    if len(raw) < _HEADER_BYTES or raw[0] != _MAGIC:
        raise ImageError(f"{what} is missing: no E9 where it should begin", _DOWNLOAD)
    (chip,) = struct.unpack_from("<H", raw, 12)
    if chip != CHIP_ID:
        raise ImageError(f"{what} is for an {CHIP_NAMES.get(chip, f'unknown chip ({chip})')}, the tag is an ESP32", _DOWNLOAD)
    at, checksum = _HEADER_BYTES, 0xEF
    for _ in range(raw[1]):
        if at + _SEGMENT.size > len(raw):
            raise ImageError(f"{what} is cut short", _DOWNLOAD)
        _address, length = _SEGMENT.unpack_from(raw, at)
        at += _SEGMENT.size
        checksum = reduce(xor, raw[at : at + length], checksum)
        at += length
    end = (at // 16 + 1) * 16
    hashed = raw[23] == 1
    if end + _DIGEST_BYTES * hashed > len(raw):
        raise ImageError(f"{what} is cut short", _DOWNLOAD)
    if raw[end - 1] != checksum:
        raise ImageError(f"{what} is damaged: its checksum does not match", _DOWNLOAD)
    if not hashed:
        return raw[:end]
    if hashlib.sha256(raw[:end]).digest() != raw[end : end + _DIGEST_BYTES]:
        raise ImageError(f"{what} is damaged: its SHA-256 does not match", _DOWNLOAD)
    return raw[: end + _DIGEST_BYTES]


def _name(application: bytes) -> str:
    """Project and version from esp_app_desc_t (ESP-IDF esp_app_desc.h): version at 16, project name at 48, 32 bytes each."""
    description = application[_HEADER_BYTES + _SEGMENT.size :]
    if not description.startswith(_APP_DESCRIPTION):
        return ""
    version, project = (description[at : at + 32].split(b"\0", 1)[0].decode("ascii", "replace") for at in (16, 48))
    return f"{project} {version}".strip()
