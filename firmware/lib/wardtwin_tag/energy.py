"""Energy since the tag's first day, from a chip counter that rolls over and forgets.

The total is a whole number of 0.1 Wh and a rest: an ESP32's floats have 24 bits and would lose small steps on a large sum.
"""

SAVE_EVERY_MS = 60_000
"""Two NVS entries a minute at most: see "Flash wear" in docs/firmware.md. A power cut loses at most this much."""

_MAX_POWER_W = 25_000
_FIRST_LIMIT_MS = 3_600_000
_SLACK_MS = 10_000


class EnergyCounter:
    """store: get(key, default), set(key, value), commit(), for unsigned 32-bit values.

    chip_restarted: the meter chip lost its supply together with the tag, so its counter began at zero.
    """

    def __init__(self, store, modulus, chip_restarted):
        self._store = store
        self._modulus = modulus
        self._total = store.get("energy", 0)
        self._rest = 0.0
        self._last = 0 if chip_restarted else store.get("pulses", 0)
        self._last_at_ms = None
        self._saved = self._total
        self._saved_at_ms = None

    @property
    def energy_wh(self):
        return self._total / 10

    def update(self, pulses, wh_per_pulse, now_ms):
        """Take the chip's counter. A step larger than any load can make means the chip restarted: then it counts from zero."""
        elapsed_ms = _FIRST_LIMIT_MS if self._last_at_ms is None else now_ms - self._last_at_ms + _SLACK_MS
        if wh_per_pulse > 0:
            limit = _MAX_POWER_W / wh_per_pulse * (elapsed_ms / 3_600_000)
            step = (pulses - self._last) % self._modulus
            if step > limit:
                step = pulses if pulses <= limit else 0
            self._rest += step * wh_per_pulse
            whole = int(self._rest * 10)
            self._total += whole
            self._rest -= whole / 10
        self._last = pulses
        self._last_at_ms = now_ms

    def save(self, now_ms):
        """Write through when a save is due and there is something new. Return whether it wrote."""
        if self._saved_at_ms is None:
            self._saved_at_ms = now_ms
        if self._total == self._saved or now_ms - self._saved_at_ms < SAVE_EVERY_MS:
            return False
        self._store.set("energy", self._total)
        self._store.set("pulses", self._last)
        self._store.commit()
        self._saved = self._total
        self._saved_at_ms = now_ms
        return True
