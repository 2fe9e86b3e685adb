"""CSE7766 meter chip over UART, 4800 baud 8E1 (Chipsea, CSE7766 user manual, section "UART protocol").

The chip sends 24 bytes every 50 ms on its own, big-endian: state, 0x5A, voltage coefficient (3) and cycle (3), current
coefficient and cycle, power coefficient and cycle, ADJ, CF (2), and the low byte of the sum of bytes 2 to 22.
A quantity is coefficient / cycle, both from the same frame. ADJ bits 6, 5, 4: the voltage, current, power cycle is complete.

State 0x55: normal. 0xAA: the chip lost its factory calibration, nothing in the frame can be used. 0xF0 and bits: 8 voltage,
4 current, 2 power cycle is too long to measure (the quantity is zero), 1 the coefficients cannot be used.
"""

from wardtwin_tag.meter import Sample
from wardtwin_tag.scanner import Scanner

PACKET_BYTES = 24
PULSE_MODULUS = 1 << 16

_NORMAL = 0x55
_LOST_CALIBRATION = 0xAA
_NO_VOLTAGE = 8
_NO_CURRENT = 4
_NO_POWER = 2
_NO_COEFFICIENTS = 1


class Decoder:
    """Turn the UART's bytes into Samples. settings: the `meter` section of settings.json (only the gains are used).

    uncalibrated: frames whose chip cannot give values; without end the chip is dead.
    """

    PULSE_MODULUS = PULSE_MODULUS

    def __init__(self, settings):
        self._voltage_gain = settings["voltage_gain"]
        self._current_gain = settings["current_gain"]
        self._power_gain = settings["power_gain"]
        self._scanner = Scanner(PACKET_BYTES, _is_packet)
        # a cycle that is still being measured leaves the last value standing
        self._voltage_v = self._current_a = self._active_power_w = 0.0
        self.uncalibrated = 0

    @property
    def junk_bytes(self):
        return self._scanner.junk_bytes

    def request(self):
        """Nothing: the chip is not asked."""
        return b""

    def feed(self, data):
        """Return [Sample], oldest first."""
        samples = []
        for packet in self._scanner.feed(data):
            state = packet[0]
            if state == _LOST_CALIBRATION or (state & 0xF0 == 0xF0 and state & _NO_COEFFICIENTS):
                self.uncalibrated += 1
            else:
                samples.append(self._sample(packet, 0 if state == _NORMAL else state & 0x0F))
        return samples

    def _sample(self, packet, missing):
        complete = packet[20]
        power_coefficient = _u24(packet, 14)
        if missing & _NO_VOLTAGE:
            self._voltage_v = 0.0
        elif complete & 0x40:
            self._voltage_v = _ratio(packet, 2) * self._voltage_gain
        if missing & _NO_POWER:
            self._active_power_w = 0.0
        elif complete & 0x10:
            self._active_power_w = _ratio(packet, 14) * self._power_gain
        if missing & _NO_CURRENT or self._active_power_w == 0.0:
            # without load the chip counts its own noise as current
            self._current_a = 0.0
        elif complete & 0x20:
            self._current_a = _ratio(packet, 8) * self._current_gain
        return Sample(
            self._active_power_w,
            self._voltage_v,
            self._current_a,
            self._current_a,
            None,
            packet[21] << 8 | packet[22],
            power_coefficient / 3_600_000_000 * self._power_gain,
        )


def _is_packet(buffer, at):
    state = buffer[at]
    if buffer[at + 1] != 0x5A or (state not in (_NORMAL, _LOST_CALIBRATION) and state & 0xF0 != 0xF0):
        return False
    return sum(buffer[at + 2 : at + 23]) & 0xFF == buffer[at + 23]


def _ratio(packet, at):
    cycle = _u24(packet, at + 3)
    return _u24(packet, at) / cycle if cycle else 0.0


def _u24(data, at):
    return data[at] << 16 | data[at + 1] << 8 | data[at + 2]
