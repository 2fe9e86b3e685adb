"""Room beacons heard in one scan. Filled from the radio's interrupt: everything is allocated beforehand."""

MAX_BEACONS = 16
MAX_READINGS = 8


class Sightings:
    """add() while scanning, take() after it."""

    def __init__(self):
        self._addresses = bytearray(6 * MAX_BEACONS)
        self._rssi = bytearray(MAX_READINGS * MAX_BEACONS)
        self._heard = bytearray(MAX_BEACONS)
        self._count = 0

    def add(self, address, rssi_dbm):
        """Allocates nothing. address: six bytes; a beacon beyond MAX_BEACONS is left out, of a beacon's readings the last are kept."""
        slot = self._slot(address)
        if slot < 0:
            return
        heard = self._heard[slot]
        self._rssi[slot * MAX_READINGS + heard % MAX_READINGS] = rssi_dbm & 0xFF
        self._heard[slot] = heard + 1 if heard < 255 - MAX_READINGS else heard + 1 - MAX_READINGS

    def take(self):
        """Return [(address, median RSSI in dBm)], and begin anew."""
        found = []
        for slot in range(self._count):
            count = min(self._heard[slot], MAX_READINGS)
            start = slot * MAX_READINGS
            readings = sorted([b - 256 if b > 127 else b for b in self._rssi[start : start + count]])
            found.append((bytes(self._addresses[slot * 6 : slot * 6 + 6]), readings[count // 2]))
        self._count = 0
        return found

    def _slot(self, address):
        addresses = self._addresses
        for slot in range(self._count):
            start = slot * 6
            for i in range(6):
                if addresses[start + i] != address[i]:
                    break
            else:
                return slot
        if self._count == MAX_BEACONS:
            return -1
        slot = self._count
        for i in range(6):
            addresses[slot * 6 + i] = address[i]
        self._heard[slot] = 0
        self._count = slot + 1
        return slot
