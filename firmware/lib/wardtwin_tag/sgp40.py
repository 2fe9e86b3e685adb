"""SGP40 VOC sensor (Sensirion SGP40 data sheet, sections 4.2 to 4.5). Measure once a second: the hot plate expects it."""

from wardtwin_tag.voc import VocIndex

_MEASURE_RAW = 0x260F
_MEASURE_MS = 30
_HALF_HUMIDITY = 0x8000
_25_DEGREES = 0x6666


class Sgp40:
    """bus: `Bus`; index: `VocIndex`. Gives voc_index, absent while the index is learning."""

    def __init__(self, bus, index=None):
        self._bus = bus
        self._index = index or VocIndex()
        self.temperature_c = None
        self.relative_humidity_pct = None
        """Set both to have the chip compensate for humidity; without them it takes 50 % at 25 degrees C."""

    def setup(self):
        # nothing to set, but a chip that is not there is found now
        self._bus.command(_MEASURE_RAW, (_HALF_HUMIDITY, _25_DEGREES))
        yield _MEASURE_MS
        self._bus.read_words(1)

    def measure(self):
        self._bus.command(_MEASURE_RAW, self._climate())
        yield _MEASURE_MS
        index = self._index.update(self._bus.read_words(1)[0])
        yield {"voc_index": index}

    def _climate(self):
        if self.temperature_c is None or self.relative_humidity_pct is None:
            return _HALF_HUMIDITY, _25_DEGREES
        humidity = int(self.relative_humidity_pct * 65535 / 100 + 0.5)
        temperature = int((self.temperature_c + 45) * 65535 / 175 + 0.5)
        return max(0, min(65535, humidity)), max(0, min(65535, temperature))
