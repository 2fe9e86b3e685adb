"""What the demo's devices draw through a day: cycles of off, standby, in use and charging with watts of the right size.

The watts are from data sheets and published measurements, rounded; the times are shortened so that a visitor sees changes.
"""

import random
from dataclasses import dataclass

from wardtwin_board.signals import Mains, MainsNoise, MainsSignal, jitter, mains


@dataclass(frozen=True)
class Phase:
    """One state of a device. seconds: shortest and longest stay; ripple_w: standard deviation from second to second.

    burst: (period in s, share of it, watts on top), for compressors, heaters and motors.
    """

    state: str
    seconds: tuple[float, float]
    active_power_w: float
    ripple_w: float = 0.3
    burst: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Pattern:
    power_factor: float
    phases: tuple[Phase, ...]


_OFF = Phase("off", (300, 900), 0.3, 0.02)

PATTERNS: dict[str, Pattern] = {
    "infusion_pump": Pattern(0.55, (
        Phase("standby", (300, 700), 3.1, 0.1), Phase("in_use", (240, 900), 8.2, 0.5, (3, 0.3, 2.5)),
        Phase("charging", (300, 700), 14.5, 0.3))),
    "syringe_pump": Pattern(0.52, (
        Phase("in_use", (240, 900), 6.4, 0.4, (8, 0.15, 2.0)), Phase("standby", (300, 700), 2.6, 0.1),
        Phase("charging", (300, 700), 11.0, 0.3))),
    "ventilator": Pattern(0.72, (
        Phase("in_use", (600, 1800), 78.0, 2.5, (4, 0.35, 38.0)), Phase("standby", (300, 700), 31.0, 0.6))),
    "patient_monitor": Pattern(0.62, (
        Phase("in_use", (600, 1800), 38.0, 1.0, (300, 0.08, 9.0)), Phase("standby", (300, 700), 11.5, 0.3))),
    "humidifier": Pattern(0.99, (
        Phase("in_use", (400, 1200), 9.0, 0.5, (20, 0.45, 140.0)), Phase("standby", (300, 700), 5.2, 0.2))),
    "ultrasound": Pattern(0.86, (
        Phase("standby", (300, 700), 54.0, 1.5), Phase("in_use", (300, 700), 205.0, 12.0), _OFF)),
    "ecg": Pattern(0.5, (
        Phase("standby", (300, 700), 4.4, 0.1), Phase("in_use", (200, 400), 21.0, 1.5, (12, 0.4, 14.0)), _OFF,
        Phase("charging", (300, 700), 17.0, 0.4))),
    "anaesthesia": Pattern(0.8, (
        Phase("in_use", (500, 1500), 142.0, 4.0, (5, 0.4, 30.0)), Phase("standby", (300, 700), 61.0, 1.0))),
    "electrosurgical": Pattern(0.7, (
        Phase("standby", (300, 700), 24.0, 0.5), Phase("in_use", (300, 700), 31.0, 1.0, (14, 0.3, 240.0)), _OFF)),
    "autoclave": Pattern(0.99, (
        Phase("standby", (300, 700), 38.0, 0.8), Phase("in_use", (500, 1100), 260.0, 6.0, (45, 0.6, 1850.0)))),
    "washer_disinfector": Pattern(0.93, (
        Phase("in_use", (500, 1100), 340.0, 15.0, (70, 0.5, 1900.0)), Phase("standby", (300, 700), 9.0, 0.3))),
    "lab_refrigerator": Pattern(0.78, (
        Phase("in_use", (100000, 100001), 4.0, 0.2, (540, 0.4, 96.0)),)),
}  # fmt: skip
"""device type -> what it does, in turn, for ever."""

DEFAULT_PATTERN = Pattern(0.8, (Phase("standby", (300, 700), 8.0), Phase("in_use", (200, 600), 60.0, 2.0), _OFF))


class DeviceSignal:
    """A MainsSignal of a device type; `state_at` is the truth that a test compares with. `pace` > 1 shortens the stays."""

    def __init__(self, device_type: str, seed: int = 0, pace: float = 1.0) -> None:
        self.pattern = PATTERNS.get(device_type, DEFAULT_PATTERN)
        self._seed = seed
        self._pace = pace
        self._noise = MainsNoise(seed)
        self._chance = random.Random(f"{device_type}:{seed}")
        self._ends: list[float] = []
        self._first = self._chance.randrange(len(self.pattern.phases))

    def _phase(self, t_s: float) -> Phase:
        phases = self.pattern.phases
        while not self._ends or self._ends[-1] <= t_s:
            phase = phases[(self._first + len(self._ends)) % len(phases)]
            self._ends.append((self._ends[-1] if self._ends else 0.0) + self._chance.uniform(*phase.seconds) / self._pace)
        low, high = 0, len(self._ends) - 1
        while low < high:
            middle = (low + high) // 2
            if self._ends[middle] > t_s:
                high = middle
            else:
                low = middle + 1
        return phases[(self._first + low) % len(phases)]

    def state_at(self, t_s: float) -> str:
        return self._phase(t_s).state

    def __call__(self, t_s: float) -> Mains:
        phase = self._phase(t_s)
        power_w = phase.active_power_w + phase.ripple_w * jitter(self._seed + 7, int(t_s))
        if phase.burst:
            period_s, share, extra_w = phase.burst
            if t_s % period_s < share * period_s:
                power_w += extra_w
        return mains(max(0.0, power_w), self._noise.voltage_v(t_s), self.pattern.power_factor, self._noise.frequency_hz(t_s))


def device_signal(device_type: str, seed: int = 0, pace: float = 1.0) -> MainsSignal:
    return DeviceSignal(device_type, seed, pace)
