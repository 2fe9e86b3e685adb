"""The faults a chip can be given at any moment: `chip.fault = Fault.CHECKSUM`."""

import random
from enum import StrEnum


class Fault(StrEnum):
    NONE = "none"
    CHECKSUM = "checksum"
    """CRC or checksum do not fit the bytes."""
    SILENCE = "silence"
    """No answer; on I2C: the address is not acknowledged."""
    STUCK = "stuck"
    """The values stand still, the frames are right."""
    NOISE = "noise"
    """UART: bytes are hit, lost and invented."""


def noisy(data: bytes, chance: random.Random, rate: float = 0.01) -> bytes:
    """Of each byte: hit, lost or one invented before it, each with probability `rate`."""
    out = bytearray()
    for byte in data:
        draw = chance.random()
        if draw < rate:
            out.append(byte ^ 1 << chance.randrange(8))
        elif draw < 2 * rate:
            continue
        elif draw < 3 * rate:
            out += bytes((chance.randrange(256), byte))
        else:
            out.append(byte)
    return bytes(out)
