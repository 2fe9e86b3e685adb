"""What every chip on a UART offers to the board. `now_s` is scaled time (see `clock`); a chip has no clock of its own."""

import random
from abc import ABC
from dataclasses import dataclass

from wardtwin_board.chips.faults import Fault, noisy


@dataclass(frozen=True)
class LineSettings:
    """parity: 0 none, 1 even, 2 odd."""

    baud: int
    bits: int = 8
    parity: int = 0
    stop: int = 1

    @property
    def byte_s(self) -> float:
        return (1 + self.bits + (1 if self.parity else 0) + self.stop) / self.baud


class UartChip(ABC):
    settings: LineSettings

    def __init__(self, seed: int = 0) -> None:
        self.fault = Fault.NONE
        self._chance = random.Random(seed)

    def power_up(self, now_s: float) -> None:  # noqa: B027  # most chips forget nothing that matters
        """The board's supply came: counters and modes are as after a reset."""

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Bytes from the tag; return what the chip says to them."""
        return b""

    def transmit(self, now_s: float) -> bytes:
        """What a chip that talks unasked has said since the last call."""
        return b""

    @property
    def talks_every_s(self) -> float | None:
        """The time between two unasked frames, or None for a chip that only answers."""
        return None

    def spoil(self, data: bytes) -> bytes:
        return noisy(data, self._chance) if self.fault is Fault.NOISE else data
