"""One chip on an I2C bus. A bus error becomes a SensorError, so that one dead chip is that chip's affair.

Drivers on it (`bme280`, `sgp40`, `scd41`) are written as steps: setup() and measure() are generators that yield the
milliseconds to wait before they go on, and measure() at last yields a dict of field name -> number. They own no clock.
"""

from wardtwin_tag.errors import SensorError


class Bus:
    """i2c: machine.I2C, or anything with its writeto, readfrom, readfrom_mem and writeto_mem; address: 7 bits."""

    def __init__(self, i2c, address):
        self._i2c = i2c
        self._address = address

    def read_registers(self, register, count):
        try:
            return self._i2c.readfrom_mem(self._address, register, count)
        except OSError:
            raise SensorError("silent", "address %02x" % self._address)

    def write_register(self, register, value):
        try:
            self._i2c.writeto_mem(self._address, register, bytes((value,)))
        except OSError:
            raise SensorError("silent", "address %02x" % self._address)

    def command(self, code, words=()):
        """Sensirion: a 16-bit command, then words, each with its CRC."""
        data = bytes((code >> 8, code & 0xFF))
        for word in words:
            pair = bytes((word >> 8, word & 0xFF))
            data += pair + bytes((crc8(pair),))
        try:
            self._i2c.writeto(self._address, data)
        except OSError:
            raise SensorError("silent", "address %02x" % self._address)

    def read_words(self, count):
        """Sensirion: `count` words, each with its CRC. Raise SensorError "checksum"."""
        try:
            data = self._i2c.readfrom(self._address, 3 * count)
        except OSError:
            raise SensorError("silent", "address %02x" % self._address)
        words = []
        for at in range(0, 3 * count, 3):
            if crc8(data[at : at + 2]) != data[at + 2]:
                raise SensorError("checksum", "address %02x" % self._address)
            words.append(data[at] << 8 | data[at + 1])
        return words


def crc8(data):
    """Sensirion's CRC-8: polynomial 0x31, start 0xFF; crc8(b"\\xbe\\xef") = 0x92."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc
