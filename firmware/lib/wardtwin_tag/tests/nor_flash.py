"""NOR flash as esp32.Partition shows it, with a power cut at any byte. Runs on CPython and MicroPython."""

SECTOR_BYTES = 4096


class PowerCutError(Exception):
    """The supply went away in the middle of a write or an erase."""


class NorFlash:
    """cut_after: bytes written (an erase counts as CUTS_IN_ERASE) until the power is cut; None for never."""

    CUTS_IN_ERASE = 3

    def __init__(self, sectors):
        self.data = bytearray(b"\xff" * (sectors * SECTOR_BYTES))
        self.cut_after = None
        self.erases = [0] * sectors
        self.written = 0

    def readblocks(self, block, buffer, offset=0):
        start = block * SECTOR_BYTES + offset
        assert offset + len(buffer) <= SECTOR_BYTES
        buffer[:] = self.data[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset):
        start = block * SECTOR_BYTES + offset
        assert offset + len(buffer) <= SECTOR_BYTES
        for i in range(len(buffer)):
            if self._cut(1):
                # the byte that was being written keeps some of its bits
                self.data[start + i] &= buffer[i] | 0xA5
                raise PowerCutError
            self.data[start + i] &= buffer[i]

    def ioctl(self, operation, argument):
        if operation == 4:
            return len(self.data) // SECTOR_BYTES
        assert operation == 6
        start = argument * SECTOR_BYTES
        for step in range(self.CUTS_IN_ERASE):
            if self._cut(1):
                # cells rise one after another: here the ones at the end did, and random bits of the rest
                half = start + SECTOR_BYTES - step * SECTOR_BYTES // self.CUTS_IN_ERASE
                for i in range(half, start + SECTOR_BYTES):
                    self.data[i] = 0xFF
                for i in range(start + 40 * step, half, 97):
                    self.data[i] |= 0x5A
                raise PowerCutError
        self.erases[argument] += 1
        self.data[start : start + SECTOR_BYTES] = b"\xff" * SECTOR_BYTES
        return 0

    def _cut(self, count):
        self.written += count
        if self.cut_after is None:
            return False
        self.cut_after -= count
        return self.cut_after < 0
