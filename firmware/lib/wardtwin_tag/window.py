"""What one report says of the samples since the last one."""

from wardtwin_tag.meter import power_factor
from wardtwin_wire import fields

_WHOLE = {name for name, _, step in fields.ENVIRONMENT if step == 1}


class EnvironmentWindow:
    """Mean of each quantity of `wardtwin_wire.fields.ENVIRONMENT`; one without a sample is absent."""

    def __init__(self):
        self._sums = {}

    def add(self, values):
        """values: name -> number or None."""
        for name, value in values.items():
            if value is not None:
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (total + value, count + 1)

    def close(self):
        """Return name -> mean, and begin anew."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        for name in _WHOLE:
            if name in means:
                means[name] = int(means[name] + 0.5)
        self._sums = {}
        return means


class EnergyWindow:
    """Mean power, voltage, current and frequency, the power factor of the means, and the largest current seen."""

    def __init__(self):
        self._begin()

    def _begin(self):
        self._count = 0
        self._active_power_w = self._voltage_v = self._current_a = 0.0
        self._frequency_hz = 0.0
        self._frequencies = 0
        self._peak_current_a = 0.0

    def add(self, sample):
        self._count += 1
        self._active_power_w += sample.active_power_w
        self._voltage_v += sample.voltage_v
        self._current_a += sample.current_a
        if sample.frequency_hz is not None:
            self._frequency_hz += sample.frequency_hz
            self._frequencies += 1
        if sample.peak_current_a > self._peak_current_a:
            self._peak_current_a = sample.peak_current_a

    def close(self, energy_wh):
        """Return field name -> number or None as `wardtwin_wire.fields.ENERGY` names them, and begin anew; {} without a sample."""
        count = self._count
        if not count:
            return {}
        power, voltage, current = self._active_power_w / count, self._voltage_v / count, self._current_a / count
        values = {
            "active_power_w": power,
            "voltage_v": voltage,
            "current_a": current,
            "power_factor": power_factor(power, voltage, current),
            "frequency_hz": self._frequency_hz / self._frequencies if self._frequencies else None,
            "energy_wh": energy_wh,
            "peak_current_a": self._peak_current_a,
        }
        self._begin()
        return values
