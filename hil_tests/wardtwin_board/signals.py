"""What a device draws from the mains, as a function of scaled time. Pure: the same seed and time give the same watts."""

import csv
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

NOMINAL_V = 230.0
NOMINAL_HZ = 50.0


@dataclass(frozen=True)
class Mains:
    """One moment at the socket. current_a is the true RMS current, so power = voltage * current * power factor."""

    active_power_w: float
    voltage_v: float = NOMINAL_V
    current_a: float = 0.0
    power_factor: float = 1.0
    frequency_hz: float = NOMINAL_HZ


MainsSignal = Callable[[float], Mains]
"""Scaled seconds since the board was first powered -> Mains."""


def mains(active_power_w: float, voltage_v: float = NOMINAL_V, power_factor: float = 1.0, frequency_hz: float = NOMINAL_HZ) -> Mains:
    """The current follows from power, voltage and power factor."""
    power_w = max(0.0, active_power_w)
    current_a = power_w / (voltage_v * power_factor) if voltage_v > 0 and power_factor > 0 else 0.0
    return Mains(power_w, voltage_v, current_a, power_factor if power_w else 0.0, frequency_hz)


def constant(active_power_w: float, voltage_v: float = NOMINAL_V, power_factor: float = 1.0) -> MainsSignal:
    moment = mains(active_power_w, voltage_v, power_factor)
    return lambda _t_s: moment


def steps(points: Sequence[tuple[float, float]], power_factor: float = 0.9) -> MainsSignal:
    """points: (from this second on, watts), in order; nothing is drawn before the first."""
    times = [at for at, _ in points]

    def signal(t_s: float) -> Mains:
        i = bisect_right(times, t_s) - 1
        return mains(points[i][1] if i >= 0 else 0.0, NOMINAL_V, power_factor)

    return signal


class MainsNoise:
    """The building's supply: voltage and frequency wander slowly and jitter from second to second."""

    def __init__(self, seed: int = 0, nominal_v: float = NOMINAL_V) -> None:
        self._seed = seed
        self._nominal_v = nominal_v
        self._phase = random.Random(seed).uniform(0, 2 * math.pi)

    def voltage_v(self, t_s: float) -> float:
        return self._nominal_v + 1.8 * math.sin(t_s / 700 + self._phase) + 0.35 * jitter(self._seed, int(t_s))

    def frequency_hz(self, t_s: float) -> float:
        return NOMINAL_HZ + 0.02 * math.sin(t_s / 90 + self._phase) + 0.004 * jitter(self._seed + 1, int(t_s))


def jitter(seed: int, n: int) -> float:
    """About normal, mean 0, standard deviation 1; the same for the same (seed, n), with no state."""
    x = (seed * 0x9E3779B97F4A7C15 + n * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    total = 0
    for _ in range(3):
        x ^= x >> 31
        x = x * 0xD6E8FEB86659FD93 & 0xFFFFFFFFFFFFFFFF
        total += x >> 32
    return (total / 0xFFFFFFFF - 1.5) * 2.0


Series = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """Watts, and where the file has them volts, amperes and power factor, at given seconds from the recording's start.

    Between two rows the earlier holds; after the last, and in gaps longer than `gap_s`, nothing is drawn.
    """

    time_s: Series
    active_power_w: Series
    voltage_v: Series | None = None
    current_a: Series | None = None
    power_factor: Series | None = None
    gap_s: float = 120.0

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1]) if len(self.time_s) else 0.0

    def __call__(self, t_s: float) -> Mains:
        i = int(np.searchsorted(self.time_s, t_s, side="right")) - 1
        if i < 0 or t_s - self.time_s[i] > self.gap_s:
            return Mains(0.0, NOMINAL_V, 0.0, 0.0)
        power_w = max(0.0, float(self.active_power_w[i]))
        voltage_v = NOMINAL_V if self.voltage_v is None else float(self.voltage_v[i])
        if self.current_a is not None:
            current_a = float(self.current_a[i])
            apparent_va = voltage_v * current_a
            return Mains(power_w, voltage_v, current_a, min(1.0, power_w / apparent_va) if apparent_va > 0 else 0.0)
        factor = 0.95 if self.power_factor is None else float(self.power_factor[i])
        return mains(power_w, voltage_v, factor if factor > 0 else 1.0)


def read_recording(path: Path, unit: str | None = None) -> Recording:
    """A CSV `time_s,active_power_w[,voltage_v,current_a,power_factor]`, or one array of an .npz: int16 watts at 1 Hz, -1 missing.

    unit: the array's key in the .npz; may be left out when there is one. Raise ValueError for a file that is neither.
    """
    if path.suffix == ".npz":
        return _read_npz(path, unit)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"time_s", "active_power_w"} <= rows[0].keys():
        raise ValueError(f"{path}: a recording's first line is time_s,active_power_w[,voltage_v,current_a,power_factor]")

    def column(name: str) -> Series | None:
        if name not in rows[0]:
            return None
        return np.array([_number(path, line, name, row[name]) for line, row in enumerate(rows, start=2)])

    time_s, active_power_w = column("time_s"), column("active_power_w")
    assert time_s is not None
    assert active_power_w is not None
    back = np.flatnonzero(np.diff(time_s) <= 0)
    if len(back):
        raise ValueError(f"{path}, line {back[0] + 3}: time_s does not grow")
    return Recording(time_s - time_s[0], active_power_w, column("voltage_v"), column("current_a"), column("power_factor"))


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path}, line {line}: {name} is {text!r}, not a number")
    return number


def _read_npz(path: Path, unit: str | None) -> Recording:
    with np.load(path) as archive:
        if unit is None and len(archive.files) == 1:
            unit = archive.files[0]
        if unit not in archive.files:
            raise ValueError(f"{path}: say which unit: {', '.join(sorted(archive.files))}")
        watts = archive[unit]
    present = np.flatnonzero(watts >= 0)
    return Recording(present.astype(float), watts[present].astype(float))
