"""What every chip on an I2C bus offers. A transaction is a write or a read of whole bytes; None means not acknowledged."""

from abc import ABC, abstractmethod

from wardtwin_board.chips.faults import Fault


class I2cChip(ABC):
    address: int

    def __init__(self) -> None:
        self.fault = Fault.NONE

    def power_up(self, now_s: float) -> None:  # noqa: B027  # most chips forget nothing that matters
        """The board's supply came."""

    @abstractmethod
    def write(self, data: bytes, now_s: float) -> bool:
        """Return whether all bytes were acknowledged."""

    @abstractmethod
    def read(self, size: int, now_s: float) -> bytes | None:
        """Return `size` bytes (a chip that has no more lets the bus float: 0xFF), or None when it does not answer now."""

    @property
    def answers(self) -> bool:
        return self.fault is not Fault.SILENCE


def crc8(data: bytes) -> int:
    """Sensirion's: polynomial 0x31, start 0xFF; crc8(BE EF) = 0x92."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


class SensirionChip(I2cChip):
    """Commands of 16 bits, words with a CRC each; an answer is ready some milliseconds after its command."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: bytes | None = None
        self._ready_s = 0.0
        self._busy_until_s = 0.0

    @abstractmethod
    def command(self, code: int, words: list[int], now_s: float) -> None:
        """Do `code`; call `reply` or `busy`."""

    def reply(self, words: list[int], now_s: float, after_ms: float) -> None:
        spoil = 0xFF if self.fault is Fault.CHECKSUM else 0
        self._answer = b"".join(word.to_bytes(2, "big") + bytes((crc8(word.to_bytes(2, "big")) ^ spoil,)) for word in words)
        self._ready_s = now_s + after_ms / 1000

    def busy(self, now_s: float, for_ms: float) -> None:
        self._busy_until_s = now_s + for_ms / 1000

    def write(self, data: bytes, now_s: float) -> bool:
        if now_s < self._busy_until_s:
            return False
        if not data:
            return True
        if len(data) < 2 or (len(data) - 2) % 3:
            return False
        words = []
        for at in range(2, len(data), 3):
            if crc8(data[at : at + 2]) != data[at + 2]:
                return False
            words.append(int.from_bytes(data[at : at + 2], "big"))
        self._answer = None
        self.command(int.from_bytes(data[:2], "big"), words, now_s)
        return True

    def read(self, size: int, now_s: float) -> bytes | None:
        if self._answer is None or now_s < self._ready_s:
            return None
        data, self._answer = self._answer[:size], self._answer[size:] or None
        return data + b"\xff" * (size - len(data))
