"""BL0942 meter chip over UART (Shanghai Belling, BL0942 data sheet V1.04, sections 2 "registers" and 3.2 "UART").

The tag sends READ and gets one packet of 23 bytes: 0x55, then little-endian I_RMS (3), V_RMS (3), I_FAST_RMS (3),
WATT (3, two's complement), CF_CNT (3), FREQ (3, the last zero), STATUS (3, ten bits used), and the checksum: the inverted low
byte of the sum of the command byte and all that went before. Such a sum also fits every rotation of a packet: after a lost
byte two like packets hold a false third one between them. So a request begins a new packet, and unused bits must be zero.

    I_RMS = 305978 * I[mV at the pins] / Vref        V_RMS = 73989 * V[mV] / Vref
    WATT  = 3537 * I[mV] * V[mV] * cos / Vref^2      f = 2 * 500 kHz / FREQ
    one CF pulse = 1638.4 * 256 s at WATT = 1        I_FAST_RMS = 0.363 * I_RMS (half a cycle wide)
"""

from wardtwin_tag.meter import Sample
from wardtwin_tag.scanner import Scanner

PACKET_BYTES = 23
PULSE_MODULUS = 1 << 24

_READ = 0x58
_FULL_PACKET = 0xAA
_HEADER = 0x55
_FAST_RATIO = 0.363
_PULSE_SECONDS = 1638.4 * 256


def request(address=0):
    """The two bytes that ask the chip at `address` (0 to 3, its pins A2 and A1) for a packet."""
    return bytes((_READ | address, _FULL_PACKET))


class Decoder:
    """Turn the UART's bytes into Samples. settings: the `meter` section of settings.json."""

    PULSE_MODULUS = PULSE_MODULUS

    def __init__(self, settings):
        vref = settings["vref_v"]
        # ohms times 1000: the data sheet's formulas take millivolts
        millivolt_per_ampere = settings["shunt_ohm"] * 1000
        millivolt_per_volt = settings["divider_low_ohm"] / (settings["divider_low_ohm"] + settings["divider_high_ohm"]) * 1000
        self._ampere = vref / (305978 * millivolt_per_ampere) * settings["current_gain"]
        self._volt = vref / (73989 * millivolt_per_volt) * settings["voltage_gain"]
        self._watt = vref * vref / (3537 * millivolt_per_ampere * millivolt_per_volt) * settings["power_gain"]
        self._wh_per_pulse = _PULSE_SECONDS * self._watt / 3600
        self._request = request(settings["address"])
        self._scanner = Scanner(PACKET_BYTES, self._is_packet)

    @property
    def junk_bytes(self):
        return self._scanner.junk_bytes

    def request(self):
        """The two bytes that ask the chip for a packet. A half packet that came before is forgotten."""
        self._scanner.restart()
        return self._request

    def feed(self, data):
        """Return [Sample], oldest first."""
        return [self._sample(packet) for packet in self._scanner.feed(data)]

    def _is_packet(self, buffer, at):
        if buffer[at] != _HEADER or buffer[at + 18] or buffer[at + 20] & 0xFC or buffer[at + 21]:
            return False
        end = at + PACKET_BYTES - 1
        return (self._request[0] + sum(buffer[at:end])) & 0xFF ^ 0xFF == buffer[end]

    def _sample(self, packet):
        current_a = _u24(packet, 1) * self._ampere
        watt = _u24(packet, 10)
        if watt & 0x800000:
            watt -= 1 << 24
        period = packet[16] | packet[17] << 8
        return Sample(
            watt * self._watt,
            _u24(packet, 4) * self._volt,
            current_a,
            max(current_a, _u24(packet, 7) / _FAST_RATIO * self._ampere),
            1_000_000 / period if period else None,
            _u24(packet, 13),
            self._wh_per_pulse,
        )


def _u24(data, at):
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16
