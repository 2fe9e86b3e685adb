"""Frames that wait for their ack, as a ring log on raw NOR flash: erased a sector at a time, written by clearing bits.

    sector header (56 bytes)                          record
    0   magic "WTQ1"                                  0  length of the frame, u16 (0xFFFF: free)
    4   generation, u32: sector = generation % count  2  CRC-32 of length and frame
    8   records appended before this sector, u32      6  0xFF: waits; anything else: acked
    12  records dropped before this sector, u32       7  the frame
    16  CRC-32 of the 16 bytes above
    20  4 notes of (u32, inverted u32): the dropped counter as it will be once the next sector is erased
    52  zeros

All little-endian. A frame is in the log before it is first sent, and out of it only after the gateway's ack. When the ring is
full its oldest sector goes; what still waited there is counted, and the count is noted before the erase, so that a power
cut at any moment loses neither a frame nor the count. A record cut short by a power cut was never sent: it is skipped.
"""

import struct
from array import array
from binascii import crc32

SECTOR_BYTES = 4096
HEADER_BYTES = 56
RECORD_BYTES = 7

_MAGIC = b"WTQ1"
_HEADER = "<4sIII"
_NOTES_AT = 20
_NOTES = 4
_WAITS = 0xFF
_ERASE = 6
_SECTORS = 4


class FlashQueue:
    """append() frames, read() what waits, release() what is acked. RAM: 2 bytes a sector, and one sector while starting.

    flash: readblocks(sector, buffer, offset), writeblocks(sector, bytes, offset) that does not erase, ioctl(6, sector) that
    erases, ioctl(4, 0) the number of sectors (at least 3): what esp32.Partition is.
    A position is (generation, offset in the sector); positions only grow.
    """

    START = (0, 0)

    def __init__(self, flash):
        self._flash = flash
        self._sectors = flash.ioctl(_SECTORS, 0)
        self._waiting = array("H", [0] * self._sectors)
        self._word = bytearray(RECORD_BYTES)
        self.depth = 0
        self.dropped = 0
        self.appended = 0
        self.torn = 0
        self._generation = 0
        self._oldest = 1
        self._end = SECTOR_BYTES
        self._recover()

    def append(self, frame):
        """Write `frame` through to flash; return its position. When this returns, a power cut cannot lose the frame."""
        size = RECORD_BYTES + len(frame)
        if self._end + size > SECTOR_BYTES:
            self._open_next()
        head = struct.pack("<H", len(frame))
        record = head + struct.pack("<IB", crc32(frame, crc32(head)), _WAITS) + frame
        position = (self._generation, self._end)
        # the end moves first: after a failed write these bytes are no longer free
        self._end += size
        self._flash.writeblocks(self._generation % self._sectors, record, position[1])
        self._waiting[self._generation % self._sectors] += 1
        self.depth += 1
        self.appended += 1
        return position

    def read(self, position):
        """Return (position, frame) of the first waiting frame at or after `position`; None when there is none."""
        generation, offset = position
        if generation < self._oldest:
            generation, offset = self._oldest, HEADER_BYTES
        while generation <= self._generation:
            sector = generation % self._sectors
            if self._waiting[sector]:
                end = self._end if generation == self._generation else SECTOR_BYTES
                found = self._read_in(sector, max(offset, HEADER_BYTES), end)
                if found is not None:
                    return (generation, found[0]), found[1]
            generation, offset = generation + 1, HEADER_BYTES
        return None

    def release(self, position):
        """The frame at `position` is acked. Without effect when it is acked already or its sector was dropped. Return whether it waited."""
        generation, offset = position
        if not self._oldest <= generation <= self._generation:
            return False
        sector = generation % self._sectors
        length = self._header(sector, offset)
        if length is None or self._word[6] != _WAITS:
            return False
        self._flash.writeblocks(sector, b"\x00", offset + 6)
        self._waiting[sector] -= 1
        self.depth -= 1
        return True

    def after(self, position, frame):
        """The position behind `frame`, for read()."""
        return (position[0], position[1] + RECORD_BYTES + len(frame))

    def records(self):
        """Yield (frame, waits) of all that flash still holds, oldest first: acked ones stay until their sector is erased."""
        for generation in range(self._oldest, self._generation + 1):
            data = bytearray(SECTOR_BYTES)
            self._flash.readblocks(generation % self._sectors, data, 0)
            if _read_header(data) is not None:
                for offset, length in _whole_records(data)[0]:
                    yield bytes(data[offset + RECORD_BYTES : offset + RECORD_BYTES + length]), data[offset + 6] == _WAITS

    def _header(self, sector, offset):
        """Read a record's header into _word; return its length, None when there is no record."""
        if offset + RECORD_BYTES > SECTOR_BYTES:
            return None
        self._flash.readblocks(sector, self._word, offset)
        length = self._word[0] | self._word[1] << 8
        return None if offset + RECORD_BYTES + length > SECTOR_BYTES else length

    def _read_in(self, sector, offset, end):
        while offset < end:
            length = self._header(sector, offset)
            if length is None:
                return None
            if self._word[6] == _WAITS:
                crc = struct.unpack_from("<I", self._word, 2)[0]
                frame = bytearray(length)
                self._flash.readblocks(sector, frame, offset + RECORD_BYTES)
                if crc32(frame, crc32(self._word[:2])) == crc:
                    return offset, bytes(frame)
            offset += RECORD_BYTES + length
        return None

    def _open_next(self):
        """Make the next sector the one that is written; drop what waits in it."""
        generation = self._generation + 1
        sector = generation % self._sectors
        lost = self._waiting[sector]
        if lost:
            self._note(self.dropped + lost)
            self._waiting[sector] = 0
            self.depth -= lost
            self.dropped += lost
        self._flash.ioctl(_ERASE, sector)
        body = struct.pack(_HEADER, _MAGIC, generation, self.appended, self.dropped)
        self._flash.writeblocks(sector, body + struct.pack("<I", crc32(body)), 0)
        self._generation = generation
        self._oldest = max(self._oldest, generation - self._sectors + 1)
        self._end = HEADER_BYTES

    def _note(self, dropped):
        """Say in the last sector's header what the next erase will drop, in the first note that is still blank."""
        notes = bytearray(8 * _NOTES)
        sector = self._generation % self._sectors
        self._flash.readblocks(sector, notes, _NOTES_AT)
        for i in range(_NOTES):
            if notes[8 * i : 8 * i + 8] == b"\xff" * 8:
                self._flash.writeblocks(sector, struct.pack("<II", dropped, dropped ^ 0xFFFFFFFF), _NOTES_AT + 8 * i)
                return

    def _recover(self):
        data = bytearray(SECTOR_BYTES)
        last = None
        for sector in range(self._sectors):
            self._flash.readblocks(sector, data, 0)
            header = _read_header(data)
            if header is None or header[0] % self._sectors != sector:
                continue
            self._waiting[sector] = _whole_records(data)[1]
            if last is None or header[0] > last[0]:
                last = header
        if last is None:
            return
        self._generation, self.appended, self.dropped = last
        self._oldest = max(1, self._generation - self._sectors + 1)
        sector = self._generation % self._sectors
        self._flash.readblocks(sector, data, 0)
        records, _, self._end, self.torn = _whole_records(data)
        self.appended += len(records)
        if bytes(data[self._end :]) != b"\xff" * (SECTOR_BYTES - self._end):
            # a write was cut short here: these bytes are spent
            self.torn += 1
            self._end = SECTOR_BYTES
        noted = _noted(data)
        if noted is not None:
            # the erase of the next sector was begun: what it held is counted, whatever is left of it
            self.dropped = noted
            self._waiting[(self._generation + 1) % self._sectors] = 0
            self.depth = sum(self._waiting)
            self._open_next()
        self.depth = sum(self._waiting)


def _read_header(data):
    """Return (generation, appended, dropped), or None when the sector has no whole header."""
    magic, generation, appended, dropped = struct.unpack_from(_HEADER, data)
    if magic != _MAGIC or struct.unpack_from("<I", data, 16)[0] != crc32(data[:16]):
        return None
    return generation, appended, dropped


def _noted(data):
    """Return the last whole note, or None."""
    noted = None
    for i in range(_NOTES):
        value, inverted = struct.unpack_from("<II", data, _NOTES_AT + 8 * i)
        if value ^ inverted == 0xFFFFFFFF:
            noted = value
    return noted


def _whole_records(data):
    """Return ([(offset, length)], how many of them wait, end of what is written, broken records) of a sector.

    Walks as FlashQueue.read() does: over a broken record by its length, to the end of the sector when that makes no sense.
    """
    records = []
    waiting = broken = 0
    offset = HEADER_BYTES
    while offset + RECORD_BYTES <= SECTOR_BYTES:
        length = data[offset] | data[offset + 1] << 8
        start = offset + RECORD_BYTES
        if start + length > SECTOR_BYTES:
            break
        crc = struct.unpack_from("<I", data, offset + 2)[0]
        if crc32(data[start : start + length], crc32(data[offset : offset + 2])) == crc:
            records.append((offset, length))
            waiting += data[offset + 6] == _WAITS
        else:
            broken += 1
        offset = start + length
    return records, waiting, offset, broken
