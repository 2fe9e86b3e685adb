"""SCD41 CO2 sensor (Sensirion SCD4x data sheet, sections 3.5 to 3.8): a new value every 5 s in periodic measurement."""

_STOP = 0x3F86
_STOP_MS = 500
_START = 0x21B1
_DATA_READY = 0xE4B8
_READ = 0xEC05
_COMMAND_MS = 1
_READY_BITS = 0x07FF


class Scd41:
    """bus: `Bus`. Gives co2_ppm, or nothing when there is no new value yet."""

    def __init__(self, bus):
        self._bus = bus

    def setup(self):
        # it may be measuring since before the tag's reset, and then takes no other command
        self._bus.command(_STOP)
        yield _STOP_MS
        self._bus.command(_START)
        yield _COMMAND_MS

    def measure(self):
        self._bus.command(_DATA_READY)
        yield _COMMAND_MS
        if not self._bus.read_words(1)[0] & _READY_BITS:
            yield {}
            return
        self._bus.command(_READ)
        yield _COMMAND_MS
        # the two further words are its own temperature and humidity, warmed by its heater
        yield {"co2_ppm": self._bus.read_words(3)[0]}
