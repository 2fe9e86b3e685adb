"""A tag's id and its radio's address, both from the chip's base MAC."""

import re

from wardtwin_tools.tag.errors import SettingsError

_TAG_ID = re.compile(r"[0-9a-f]{12}")


def tag_id(text: str) -> str:
    """Take a MAC or tag id in any usual spelling; return 12 lower-case hex digits (machine.unique_id() on the tag)."""
    plain = re.sub(r"[:\-. ]", "", text.strip()).lower()
    if not _TAG_ID.fullmatch(plain):
        raise SettingsError(f"{text!r} is no tag id", "A tag id is the chip's MAC: 12 hex digits, e.g. 240ac4e29526; `--port` reads it.")
    return plain


def ble_address(tag: str) -> str:
    """The address the adverts come from: an ESP32's Bluetooth MAC is its base MAC + 2 in the last byte (ESP-IDF, "MAC address")."""
    octets = bytearray.fromhex(tag)
    octets[5] = (octets[5] + 2) & 0xFF
    return octets.hex(":").upper()
