"""The adverts of a tag, one new frame a beat, in rotation."""

from wardtwin_wire import bthome


class Beacon:
    """Seal the next frame. tx_power_dbm marks a room beacon (see `wardtwin_wire.bthome`); None for other tags.

    aead: Ccm with tag_length 4 under the bind key; address: six bytes the radio sends from; counter: `AdvertCounter`.
    """

    def __init__(self, aead, address, counter, tx_power_dbm=None):
        self._aead = aead
        self._address = address
        self._counter = counter
        self._tx_power_dbm = tx_power_dbm
        self._beat = 0

    def advert(self, frames):
        """Return the next advert, at most 31 bytes. frames: object bytes, the one that matters most first: it has every other beat."""
        beat = self._beat
        self._beat += 1
        if beat % 2 == 0 or len(frames) == 1:
            objects = frames[0]
        else:
            objects = frames[1 + beat // 2 % (len(frames) - 1)]
        counter = self._counter.take()
        return bthome.advert(self._aead, self._address, counter, counter & 0xFF, objects, self._tx_power_dbm)
