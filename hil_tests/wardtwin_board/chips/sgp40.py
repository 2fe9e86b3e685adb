"""Sensirion SGP40 (data sheet v1.1): a raw signal of volatile compounds, compensated by humidity and temperature given with the command."""

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.i2c import SensirionChip
from wardtwin_board.rooms import RoomSignal

MEASURE_RAW = 0x260F
SELF_TEST = 0x280E
HEATER_OFF = 0x3615
SERIAL_NUMBER = 0x3682
_TEST_PASSED = 0xD400


class Sgp40(SensirionChip):
    address = 0x59

    def __init__(self, room: RoomSignal, serial: int = 0x0000_1234_5678) -> None:
        super().__init__()
        self._room = room
        self._serial = serial
        self._stuck: int | None = None
        self.compensation: tuple[float, float] | None = None
        """(relative humidity in %, temperature in °C) of the last command, as the tag gave them."""

    def command(self, code: int, words: list[int], now_s: float) -> None:
        if code == MEASURE_RAW and len(words) == 2:
            self.compensation = words[0] * 100 / 65535, words[1] * 175 / 65535 - 45
            raw = self._room(now_s).voc_raw
            if self.fault is Fault.STUCK:
                self._stuck = raw if self._stuck is None else self._stuck
                raw = self._stuck
            else:
                self._stuck = None
            self.reply([raw & 0xFFFF], now_s, 25)
        elif code == SELF_TEST:
            self.reply([_TEST_PASSED], now_s, 320)
        elif code == SERIAL_NUMBER:
            self.reply([self._serial >> shift & 0xFFFF for shift in (32, 16, 0)], now_s, 1)
