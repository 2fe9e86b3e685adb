"""What a tag gave, holds and let go, read from the image of its flash queue: the tag's own word, after its plug was pulled."""

from dataclasses import dataclass

from wardtwin_tag.flash_queue import SECTOR_BYTES, FlashQueue
from wardtwin_wire import frame


@dataclass(frozen=True)
class QueueContents:
    """sent: frames the tag ever accepted; held: (boot id, sequence) of those not yet acked; dropped: lost to the ring's bound;
    torn: cut short by a power cut, never sent."""

    sent: int
    held: tuple[tuple[int, int], ...]
    dropped: int
    torn: int

    @property
    def acked(self) -> int:
        return self.sent - len(self.held) - self.dropped


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
    held = tuple(frame.read_header(data)[2:4] for data, waits in queue.records() if waits)
    return QueueContents(queue.appended, held, queue.dropped, queue.torn)
