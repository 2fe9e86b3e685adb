"""What every meter chip's decoder gives: one Sample a packet."""

MIN_APPARENT_POWER_VA = 0.5
"""Below this the chips' noise makes a power factor meaningless."""


class Sample:
    """One reading. frequency_hz and wh_per_pulse are None when the chip cannot tell; pulses is its raw energy counter."""

    def __init__(self, active_power_w, voltage_v, current_a, peak_current_a, frequency_hz, pulses, wh_per_pulse):
        self.active_power_w = active_power_w
        self.voltage_v = voltage_v
        self.current_a = current_a
        self.peak_current_a = peak_current_a
        self.frequency_hz = frequency_hz
        self.pulses = pulses
        self.wh_per_pulse = wh_per_pulse


def power_factor(active_power_w, voltage_v, current_a):
    """P / (V I), held in [-1, 1]; None when the apparent power is too small to say."""
    apparent_power_va = voltage_v * current_a
    if apparent_power_va < MIN_APPARENT_POWER_VA:
        return None
    return max(-1.0, min(1.0, active_power_w / apparent_power_va))
