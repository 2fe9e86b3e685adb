"""PMS5003 particle sensor over UART, 9600 baud 8N1 (Plantower PMS5003 data manual V2.3, appendix I).

Active mode: 32 bytes about once a second, big-endian: "BM", length 28, thirteen words, and the sum of the 30 bytes before.
Words 4 to 6 are PM1, PM2.5 and PM10 in ug/m3 under atmospheric conditions.
"""

from wardtwin_tag.scanner import Scanner

PACKET_BYTES = 32


class Decoder:
    """Turn the UART's bytes into dicts of pm1_ug_m3, pm2_5_ug_m3, pm10_ug_m3."""

    def __init__(self):
        self._scanner = Scanner(PACKET_BYTES, _is_packet)

    @property
    def junk_bytes(self):
        return self._scanner.junk_bytes

    def feed(self, data):
        """Return [dict], oldest first."""
        return [
            {"pm1_ug_m3": _u16(packet, 10), "pm2_5_ug_m3": _u16(packet, 12), "pm10_ug_m3": _u16(packet, 14)}
            for packet in self._scanner.feed(data)
        ]


def _is_packet(buffer, at):
    if buffer[at] != 0x42 or buffer[at + 1] != 0x4D or _u16(buffer, at + 2) != 28:
        return False
    return sum(buffer[at : at + 30]) & 0xFFFF == _u16(buffer, at + 30)


def _u16(data, at):
    return data[at] << 8 | data[at + 1]
