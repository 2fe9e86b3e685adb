"""Chipsea CSE7766 energy meter (user manual): 4800 baud 8E1, a 24-byte frame about every 50 ms, unasked.

State, 0x5A, then big-endian: voltage coefficient (3) and cycle (3), current coefficient and cycle, power coefficient and
cycle, ADJ, CF (2), sum of bytes 2 to 22. Quantity = coefficient / cycle. ADJ bits 6, 5, 4: voltage, current, power cycle
complete; bit 7 turns over with every 65536 pulses. State 0x55; 0xF0 | 2 when the power cycle is too long to measure.
"""

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.uart import LineSettings, UartChip
from wardtwin_board.signals import MainsSignal

FRAME_S = 0.055  # 24 bytes of 11 bits at 4800 baud: one after the other
VOLTAGE_COEFFICIENT = 191200
CURRENT_COEFFICIENT = 16140
POWER_COEFFICIENT = 5195000
_LONGEST_CYCLE = 0xFFFFFF
_LEAST_W = 1.0
_MOST_FRAMES = 40  # what was said longer ago was lost in the tag's buffer anyway


class Cse7766(UartChip):
    settings = LineSettings(4800, parity=1)
    talks_every_s = FRAME_S

    def __init__(self, signal: MainsSignal, seed: int = 0) -> None:
        super().__init__(seed)
        self._signal = signal
        self._stuck: bytes | None = None
        self.lost_calibration = False
        self.power_up(0.0)

    def power_up(self, now_s: float) -> None:
        self._pulses = 0.0
        self._next_s = now_s
        self._counted_s = now_s

    def transmit(self, now_s: float) -> bytes:
        self._next_s = max(self._next_s, now_s - _MOST_FRAMES * FRAME_S)
        out = b""
        while self._next_s <= now_s:
            out += self._frame(self._next_s)
            self._next_s += FRAME_S
        if self.fault is Fault.SILENCE:
            return b""
        return self.spoil(out)

    def _frame(self, now_s: float) -> bytes:
        moment = self._signal(now_s)
        power_w = moment.active_power_w
        measurable = power_w >= _LEAST_W
        if measurable:
            # one pulse: coefficient / 1e6 joules
            self._pulses += power_w * (now_s - self._counted_s) / (POWER_COEFFICIENT / 1e6)
        self._counted_s = now_s
        state = 0xAA if self.lost_calibration else 0x55 if measurable else 0xF2
        body = b"".join(
            (
                _pair(VOLTAGE_COEFFICIENT, moment.voltage_v),
                _pair(CURRENT_COEFFICIENT, moment.current_a),
                _pair(POWER_COEFFICIENT, power_w),
                bytes((0x60 | (0x10 if measurable else 0) | (int(self._pulses) >> 16 & 1) << 7,)),
                (int(self._pulses) & 0xFFFF).to_bytes(2, "big"),
            )
        )
        frame = bytes((state, 0x5A)) + body + bytes((sum(body) & 0xFF,))
        if self.fault is Fault.STUCK:
            self._stuck = self._stuck or frame
            return self._stuck
        self._stuck = None
        return frame[:-1] + bytes((frame[-1] ^ 0x5A,)) if self.fault is Fault.CHECKSUM else frame


def _pair(coefficient: int, value: float) -> bytes:
    cycle = min(_LONGEST_CYCLE, round(coefficient / value)) if value > 0 else _LONGEST_CYCLE
    return coefficient.to_bytes(3, "big") + max(1, cycle).to_bytes(3, "big")
