"""Frames on a byte stream (USB serial): COBS, a CRC-16, and a zero byte on either side.

A zero never occurs inside, so the reader finds the next frame after any noise, boot message or half frame.
Message types: REPORT (tag -> gateway, a sealed frame), ACK (gateway -> tag, a sealed frame), HELLO (tag -> gateway,
tag id 6 bytes, kind 1 byte, firmware version u16), and WHO (gateway -> tag, empty: asks for a HELLO).
"""

import struct

REPORT = 1
ACK = 2
HELLO = 3
WHO = 4

MAX_BODY_BYTES = 224


def crc16(data):
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF; crc16(b"123456789") = 0x29B1."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def encode(message_type, body):
    """Return the bytes for the line: zero, COBS(type, body, CRC), zero."""
    data = bytes((message_type,)) + bytes(body)
    return b"\x00" + _stuff(data + struct.pack("<H", crc16(data))) + b"\x00"


class Decoder:
    """Feed what came in; get whole messages. Text and noise between frames are counted in `junk_bytes`, never raised."""

    def __init__(self):
        self._buffer = bytearray()
        self._overrun = False
        self.junk_bytes = 0

    def feed(self, data):
        """Return [(message_type, body)] completed by `data`; what is not yet complete waits."""
        messages = []
        for byte in data:
            if byte == 0:
                if self._buffer:
                    message = _message(self._buffer)
                    if message is None:
                        self.junk_bytes += len(self._buffer)
                    else:
                        messages.append(message)
                    self._buffer = bytearray()
                self._overrun = False
            elif self._overrun:
                self.junk_bytes += 1
            else:
                self._buffer.append(byte)
                if len(self._buffer) > MAX_BODY_BYTES + 8:
                    self.junk_bytes += len(self._buffer)
                    self._buffer = bytearray()
                    self._overrun = True
        return messages


def _message(stuffed):
    data = _unstuff(stuffed)
    if data is None or len(data) < 3 or struct.unpack_from("<H", data, len(data) - 2)[0] != crc16(data[:-2]):
        return None
    return data[0], bytes(data[1:-2])


def _stuff(data):
    out = bytearray()
    block = bytearray()
    for byte in data:
        if byte:
            block.append(byte)
        if not byte or len(block) == 254:
            out.append(len(block) + 1)
            out += block
            block = bytearray()
    out.append(len(block) + 1)
    return bytes(out + block)


def _unstuff(data):
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if len(block) != code - 1:
            return None
        out += block
        at += code
        if code < 255 and at < len(data):
            out.append(0)
    return out
