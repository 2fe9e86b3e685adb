"""Sensirion SCD41 (data sheet v1.4): CO2, temperature and humidity; measures every 5 s once told to."""

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.i2c import SensirionChip
from wardtwin_board.rooms import RoomSignal

START_PERIODIC = 0x21B1
START_LOW_POWER = 0x21AC
READ_MEASUREMENT = 0xEC05
STOP_PERIODIC = 0x3F86
DATA_READY = 0xE4B8
SERIAL_NUMBER = 0x3682
SELF_TEST = 0x3639
REINIT = 0x3646
AMBIENT_PRESSURE = 0xE000
_WHILE_MEASURING = {READ_MEASUREMENT, STOP_PERIODIC, DATA_READY, AMBIENT_PRESSURE}


class Scd41(SensirionChip):
    address = 0x62

    def __init__(self, room: RoomSignal, serial: int = 0xF896_31A7_3BEE) -> None:
        super().__init__()
        self._room = room
        self._serial = serial
        self._period_s: float | None = None
        self._next_s = 0.0
        self._stuck: list[int] | None = None

    def power_up(self, now_s: float) -> None:
        self._period_s = None
        self._answer = None
        self.busy(now_s, 30)

    def command(self, code: int, words: list[int], now_s: float) -> None:
        if self._period_s is not None and code not in _WHILE_MEASURING:
            return  # ignored while it measures, as the data sheet says
        if code in (START_PERIODIC, START_LOW_POWER):
            self._period_s = 5.0 if code == START_PERIODIC else 30.0
            self._next_s = now_s + self._period_s
        elif code == STOP_PERIODIC:
            self._period_s = None
            self.busy(now_s, 500)
        elif code == DATA_READY:
            self.reply([0x8006 if self._ready(now_s) else 0x8000], now_s, 1)
        elif code == READ_MEASUREMENT and self._ready(now_s):
            self._next_s = now_s + (self._period_s or 0.0) - (now_s - self._next_s) % (self._period_s or 1.0)
            self.reply(self._measurement(now_s), now_s, 1)
        elif code == SERIAL_NUMBER:
            self.reply([self._serial >> shift & 0xFFFF for shift in (32, 16, 0)], now_s, 1)
        elif code == SELF_TEST:
            self.reply([0], now_s, 10000)
        elif code == REINIT:
            self.busy(now_s, 30)

    def _ready(self, now_s: float) -> bool:
        return self._period_s is not None and now_s >= self._next_s

    def _measurement(self, now_s: float) -> list[int]:
        climate = self._room(now_s)
        words = [
            round(climate.co2_ppm),
            round((climate.temperature_c + 45) * 65535 / 175),
            round(climate.relative_humidity_pct * 65535 / 100),
        ]
        if self.fault is Fault.STUCK:
            self._stuck = self._stuck or words
            return self._stuck
        self._stuck = None
        return words
