"""Bosch BME280 (data sheet BST-BME280-DS002): temperature, pressure and humidity behind a register map.

The raw ADC words are found by running the data sheet's compensation (section 4.2.3, 32- and 64-bit integers) backwards over
the chip's calibration words, so a driver that compensates as the data sheet says reads what the room is.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.i2c import I2cChip
from wardtwin_board.rooms import RoomSignal

CHIP_ID = 0x60
_SKIPPED = 0x80000
_RESET_WORD = 0xB6


@dataclass(frozen=True)
class Calibration:
    """Words of one real chip; names as in the data sheet, table 16."""

    t: tuple[int, int, int] = (28485, 26735, 50)
    p: tuple[int, ...] = (36738, -10635, 3024, 6980, -4, -7, 9900, -10230, 4285)
    h: tuple[int, ...] = (75, 362, 0, 320, 0, 30)


class Bme280(I2cChip):
    def __init__(self, room: RoomSignal, address: int = 0x76, calibration: Calibration | None = None) -> None:
        super().__init__()
        self.address = address
        self._room = room
        self._calibration = calibration or Calibration()
        self._registers = bytearray(256)
        self._pointer = 0
        self._measured_s: float | None = None
        self._held: bytes | None = None
        self._reset()

    def power_up(self, now_s: float) -> None:
        self._reset()

    def _reset(self) -> None:
        self._registers = bytearray(256)
        self._registers[0xD0] = CHIP_ID
        c = self._calibration
        self._registers[0x88:0xA0] = struct.pack("<Hhh", *c.t) + struct.pack("<Hhhhhhhhh", *c.p)
        self._registers[0xA1] = c.h[0]
        self._registers[0xE1:0xE4] = struct.pack("<hB", c.h[1], c.h[2])
        self._registers[0xE4] = c.h[3] >> 4 & 0xFF
        self._registers[0xE5] = c.h[3] & 0x0F | (c.h[4] & 0x0F) << 4
        self._registers[0xE6] = c.h[4] >> 4 & 0xFF
        self._registers[0xE7] = c.h[5] & 0xFF
        self._registers[0xF7:0xFF] = b"\x80\x00\x00\x80\x00\x00\x80\x00"
        self._humidity_control = 0
        self._held = None

    def write(self, data: bytes, now_s: float) -> bool:
        if not data:
            return True
        self._pointer = data[0]
        for at in range(1, len(data), 2):
            self._set(data[at - 1], data[at], now_s)
        return True

    def _set(self, register: int, value: int, now_s: float) -> None:
        if register == 0xE0 and value == _RESET_WORD:
            self._reset()
        elif register in (0xF2, 0xF4, 0xF5):
            self._registers[register] = value
            if register == 0xF4:
                # ctrl_hum takes effect only with the next write of ctrl_meas (section 5.4.3)
                self._humidity_control = self._registers[0xF2]
                if value & 3 in (1, 2):
                    self._measure(now_s)
                    self._measured_s = now_s
                    self._registers[0xF4] = value & 0xFC

    def read(self, size: int, now_s: float) -> bytes | None:
        if self._registers[0xF4] & 3 == 3:
            self._measure(now_s)
        self._registers[0xF3] = 0x08 if self._measured_s is not None and now_s - self._measured_s < 0.0093 else 0
        data = bytes(self._registers[(self._pointer + i) & 0xFF] for i in range(size))
        self._pointer = (self._pointer + size) & 0xFF
        if self.fault is Fault.CHECKSUM:
            # no CRC on this chip: a broken line shows as words out of range
            return b"\xff" * size
        return data

    def _measure(self, now_s: float) -> None:
        if self.fault is Fault.STUCK and self._held is not None:
            return
        control = self._registers[0xF4]
        climate = self._room(now_s)
        temperature = pressure = _SKIPPED
        humidity = 0x8000
        fine = self.fine_temperature(self.raw_temperature(climate.temperature_c))
        if control >> 5 & 7:
            temperature = self.raw_temperature(climate.temperature_c)
        if control >> 2 & 7:
            pressure = self.raw_pressure(climate.pressure_hpa, fine)
        if self._humidity_control & 7:
            humidity = self.raw_humidity(climate.relative_humidity_pct, fine)
        self._held = (pressure << 4).to_bytes(3, "big") + (temperature << 4).to_bytes(3, "big") + humidity.to_bytes(2, "big")
        self._registers[0xF7:0xFF] = self._held

    def raw_temperature(self, temperature_c: float) -> int:
        wanted = round(temperature_c * 100)
        return _search(lambda raw: (self.fine_temperature(raw) * 5 + 128) >> 8, wanted, 1 << 20)

    def raw_pressure(self, pressure_hpa: float, fine: int) -> int:
        # compensated pressure falls as the raw word rises
        wanted = round(pressure_hpa * 100 * 256)
        return _search(lambda raw: -self.pressure_q24_8(raw, fine), -wanted, 1 << 20)

    def raw_humidity(self, humidity_pct: float, fine: int) -> int:
        return _search(lambda raw: self.humidity_q22_10(raw, fine), round(humidity_pct * 1024), 1 << 16)

    def fine_temperature(self, raw: int) -> int:
        t1, t2, t3 = self._calibration.t
        first = (((raw >> 3) - (t1 << 1)) * t2) >> 11
        second = (((((raw >> 4) - t1) * ((raw >> 4) - t1)) >> 12) * t3) >> 14
        return first + second

    def pressure_q24_8(self, raw: int, fine: int) -> int:
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self._calibration.p
        a = fine - 128000
        b = a * a * p6 + ((a * p5) << 17) + (p4 << 35)
        a = ((a * a * p3) >> 8) + ((a * p2) << 12)
        a = (((1 << 47) + a) * p1) >> 33
        if a == 0:
            return 0
        p = 1048576 - raw
        p = (((p << 31) - b) * 3125) // a
        c = (p9 * (p >> 13) * (p >> 13)) >> 25
        d = (p8 * p) >> 19
        return ((p + c + d) >> 8) + (p7 << 4)

    def humidity_q22_10(self, raw: int, fine: int) -> int:
        h1, h2, h3, h4, h5, h6 = self._calibration.h
        v = fine - 76800
        v = ((((raw << 14) - (h4 << 20) - (h5 * v)) + 16384) >> 15) * (
            ((((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192) >> 14
        )
        v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
        return max(0, min(419430400, v)) >> 12


def _search(rising: Callable[[int], int], wanted: int, limit: int) -> int:
    low, high = 0, limit - 1
    while low < high:
        middle = (low + high) // 2
        if rising(middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low == 0 or abs(rising(low) - wanted) <= abs(rising(low - 1) - wanted) else low - 1
