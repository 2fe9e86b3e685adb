"""BME280 temperature, humidity and pressure (Bosch Sensortec BST-BME280-DS002, sections 4.2 "compensation" and 5.3 "memory map").

The integer forms of the data sheet: an ESP32's floats have 24 bits, too few for the pressure's.
"""

import struct

from wardtwin_tag.errors import SensorError

_ID = 0xD0
_CHIP = 0x60
_CALIBRATION_1 = 0x88
_CALIBRATION_2 = 0xE1
_CTRL_HUM = 0xF2
_STATUS = 0xF3
_CTRL_MEAS = 0xF4
_CONFIG = 0xF5
_VALUES = 0xF7
_MEASURING = 0x08
_ONCE_EACH = 0x25
"""Oversampling 1 for temperature and pressure, forced mode: one measurement, then sleep."""
_MEASURE_MS = 10
"""1.25 + 2.3 + 2.3 + 0.575 + 2.3 + 0.575 ms at most (section 9.1), rounded up."""
_SKIPPED = 0x80000
_HUMIDITY_SKIPPED = 0x8000


class Bme280:
    """bus: `Bus`. Gives temperature_c, relative_humidity_pct, pressure_hpa."""

    def __init__(self, bus):
        self._bus = bus

    def setup(self):
        chip = self._bus.read_registers(_ID, 1)[0]
        if chip != _CHIP:
            raise SensorError("identity", "chip %02x" % chip)
        self._calibration = Calibration(self._bus.read_registers(_CALIBRATION_1, 26), self._bus.read_registers(_CALIBRATION_2, 7))
        self._bus.write_register(_CONFIG, 0)
        yield 0

    def measure(self):
        # the humidity setting takes effect with the next write to ctrl_meas, and is gone after a brown-out
        self._bus.write_register(_CTRL_HUM, 1)
        self._bus.write_register(_CTRL_MEAS, _ONCE_EACH)
        yield _MEASURE_MS
        if self._bus.read_registers(_STATUS, 1)[0] & _MEASURING:
            raise SensorError("not_ready")
        data = self._bus.read_registers(_VALUES, 8)
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        humidity = data[6] << 8 | data[7]
        if pressure == _SKIPPED or temperature == _SKIPPED or humidity == _HUMIDITY_SKIPPED:
            raise SensorError("not_ready", "reset values")
        yield self._calibration.compensate(temperature, pressure, humidity)


class Calibration:
    """The chip's trimming values. low: registers 0x88 to 0xA1; high: 0xE1 to 0xE7."""

    def __init__(self, low, high):
        self.t1, self.t2, self.t3 = struct.unpack_from("<Hhh", low, 0)
        self.p = struct.unpack_from("<Hhhhhhhhh", low, 6)
        self.h1 = low[25]
        self.h2, self.h3 = struct.unpack_from("<hB", high, 0)
        # two signed 12-bit values share the middle byte
        self.h4 = _signed12(high[3] << 4 | high[4] & 0x0F)
        self.h5 = _signed12(high[5] << 4 | high[4] >> 4)
        self.h6 = high[6] - 256 if high[6] > 127 else high[6]

    def compensate(self, temperature, pressure, humidity):
        """Return field name -> number from the raw 20-, 20- and 16-bit readings."""
        fine = self.fine_temperature(temperature)
        return {
            "temperature_c": ((fine * 5 + 128) >> 8) / 100,
            "relative_humidity_pct": self.humidity_q10(humidity, fine) / 1024,
            "pressure_hpa": self.pressure_q8(pressure, fine) / 25600,
        }

    def fine_temperature(self, raw):
        """t_fine of the data sheet: 1/5120 degrees C."""
        a = (((raw >> 3) - (self.t1 << 1)) * self.t2) >> 11
        b = (raw >> 4) - self.t1
        return a + ((((b * b) >> 12) * self.t3) >> 14)

    def pressure_q8(self, raw, fine):
        """Pressure in Pa * 256 (the 64-bit form); 0 when the trimming values are none."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        a = fine - 128000
        b = a * a * p6 + ((a * p5) << 17) + (p4 << 35)
        a = ((a * a * p3) >> 8) + ((a * p2) << 12)
        a = (((1 << 47) + a) * p1) >> 33
        if a == 0:
            return 0
        p = (((1048576 - raw) << 31) - b) * 3125 // a
        c = (p9 * (p >> 13) * (p >> 13)) >> 25
        d = (p8 * p) >> 19
        return ((p + c + d) >> 8) + (p7 << 4)

    def humidity_q10(self, raw, fine):
        """Relative humidity in % * 1024, held in [0, 100]."""
        v = fine - 76800
        a = ((raw << 14) - (self.h4 << 20) - self.h5 * v + 16384) >> 15
        b = (((v * self.h6) >> 10) * (((v * self.h3) >> 11) + 32768)) >> 10
        v = a * (((b + 2097152) * self.h2 + 8192) >> 14)
        v -= ((((v >> 15) * (v >> 15)) >> 7) * self.h1) >> 4
        return max(0, min(419430400, v)) >> 12


def _signed12(value):
    return value - 4096 if value & 0x800 else value
