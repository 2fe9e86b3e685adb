"""Plantower PMS5003 (series data manual V2.3): 9600 baud 8N1, a 32-byte frame about every second, unasked, until told otherwise.

Frame, big-endian: 42 4D, length 28, six concentrations in µg/m³ (PM1, PM2.5, PM10 for standard particles, then for the
atmosphere), six counts, version and error code, sum of all before. Commands: 42 4D, letter, two bytes, sum.
"""

import struct

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.uart import LineSettings, UartChip
from wardtwin_board.rooms import RoomSignal

FRAME_S = 1.0
_PASSIVE_READ = 0xE2
_MODE = 0xE1
_SLEEP = 0xE4
_COMMAND_BYTES = 7


class Pms5003(UartChip):
    settings = LineSettings(9600)

    def __init__(self, room: RoomSignal, seed: int = 0) -> None:
        super().__init__(seed)
        self._room = room
        self._stuck: bytes | None = None
        self.power_up(0.0)

    def power_up(self, now_s: float) -> None:
        self._received = b""
        self._active = True
        self.awake = True
        self._next_s = now_s + FRAME_S

    @property
    def talks_every_s(self) -> float | None:
        return FRAME_S if self._active and self.awake else None

    def receive(self, data: bytes, now_s: float) -> bytes:
        self._received += data
        answer = b""
        while len(self._received) >= _COMMAND_BYTES:
            command, check = self._received[:5], self._received[5:7]
            if command[:2] != b"BM" or sum(command) != int.from_bytes(check, "big"):
                self._received = self._received[1:]
                continue
            self._received = self._received[_COMMAND_BYTES:]
            answer += self._obey(command[2], command[4], now_s)
        return answer

    def _obey(self, letter: int, value: int, now_s: float) -> bytes:
        if letter == _MODE:
            self._active = bool(value)
            self._next_s = now_s + FRAME_S
        elif letter == _SLEEP:
            self.awake = bool(value)
            self._next_s = now_s + FRAME_S
        elif letter == _PASSIVE_READ and self.awake and not self._active:
            return self._frame(now_s)
        return b""

    def transmit(self, now_s: float) -> bytes:
        if not self._active or not self.awake:
            return b""
        out = b""
        self._next_s = max(self._next_s, now_s - 4 * FRAME_S)
        while self._next_s <= now_s:
            out += self._frame(self._next_s)
            self._next_s += FRAME_S
        return out

    def _frame(self, now_s: float) -> bytes:
        if self.fault is Fault.SILENCE:
            return b""
        climate = self._room(now_s)
        masses = [round(climate.pm1_ug_m3), round(climate.pm2_5_ug_m3), round(climate.pm10_ug_m3)]
        counts = [round(climate.pm1_ug_m3 * factor) for factor in (190, 55, 9, 2, 1, 0)]
        body = struct.pack(">2sH12HBB", b"BM", 28, *masses, *masses, *counts, 0x97, 0)
        frame = body + struct.pack(">H", sum(body) & 0xFFFF)
        if self.fault is Fault.STUCK:
            self._stuck = self._stuck or frame
            return self._stuck
        self._stuck = None
        if self.fault is Fault.CHECKSUM:
            frame = frame[:-1] + bytes((frame[-1] ^ 0x5A,))
        return self.spoil(frame)
