"""What a tag gave, holds and let go, read from the image of its flash queue: the tag's own word, after its plug was pulled."""

from dataclasses import dataclass

from wardtwin_tag.flash_queue import SECTOR_BYTES, FlashQueue


@dataclass(frozen=True)
class QueueContents:
    """sent: frames the tag ever accepted; held: not yet acked; dropped: lost to the ring's bound; torn: cut short, never sent."""

    sent: int
    held: int
    dropped: int
    torn: int

    @property
    def acked(self) -> int:
        return self.sent - self.held - self.dropped


class _Image:
    """A copy of the flash: opening a queue may write."""

    def __init__(self, image: bytes) -> None:
        self._data = bytearray(image)

    def readblocks(self, sector: int, buffer: bytearray, offset: int) -> None:
        at = sector * SECTOR_BYTES + offset
        buffer[:] = self._data[at : at + len(buffer)]

    def writeblocks(self, sector: int, data: bytes, offset: int) -> None:
        at = sector * SECTOR_BYTES + offset
        for i, byte in enumerate(data):
            self._data[at + i] &= byte

    def ioctl(self, operation: int, sector: int) -> int:
        if operation == 4:
            return len(self._data) // SECTOR_BYTES
        if operation == 6:
            self._data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = b"\xff" * SECTOR_BYTES
        return 0


def read_queue(image: bytes) -> QueueContents:
    queue = FlashQueue(_Image(image))
    return QueueContents(queue.appended, queue.depth, queue.dropped, queue.torn)
