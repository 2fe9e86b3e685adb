"""Labels for recordings that have none: when was the device in use? Version "1".

A recording is active power in W once a second, NaN where missing. The rule is for training and tests only: it looks at a
unit's whole recording and into the future, which a gateway cannot.

1. Per unit (one physical device), over all its days: Otsu's threshold on the logarithm of the power above FLOOR_W splits
   resting from working. A unit is labelled only if the two are apart: their medians by RATIO, and each with SHARE of the time.
2. A sample at or above the threshold is on. Missing ones count like the last present if the gap is no longer than HOLD_S;
   over a longer gap nothing is known: it ends a stretch, and no pause is bridged across it.
3. Pauses of up to min_off_s between two on-samples are bridged; then a stretch of on shorter than min_on_s is none.

(Otsu, "A threshold selection method from gray-level histograms", IEEE SMC 9(1), 1979. Minimum on and off times as in
nilmtk's activations.) All functions are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = "1"
FLOOR_W = 1.0
RATIO = 1.8
SHARE = 0.002
HOLD_S = 120
_BINS = 128

Power = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """`end_s` is exclusive; both are seconds from the recording's start."""

    start_s: int
    end_s: int


@dataclass(frozen=True)
class Levels:
    """A unit's split: `threshold_w`, and the medians of what is below and above it."""

    threshold_w: float
    resting_w: float
    working_w: float


def levels(days: Sequence[Power]) -> Levels | None:
    """The unit's levels over all its recordings; None when resting and working cannot be told apart."""
    power = np.concatenate([np.asarray(day, dtype=np.float64) for day in days])
    power = power[np.isfinite(power) & (power >= FLOOR_W)]
    if len(power) < 2:
        return None
    logs = np.log(power)
    cut = otsu(logs)
    low, high = logs[logs <= cut], logs[logs > cut]
    if not len(low) or not len(high) or min(len(low), len(high)) < SHARE * len(logs):
        return None
    resting, working = float(np.exp(np.median(low))), float(np.exp(np.median(high)))
    return Levels(float(np.exp(cut)), resting, working) if working >= RATIO * resting else None


def otsu(values: Power) -> float:
    """The cut that makes the variance between the two sides largest, over a histogram of _BINS bins."""
    counts, edges = np.histogram(values, _BINS)
    centres = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum().astype(np.float64)
    mass = (counts * centres).cumsum()
    total, mean = below[-1], mass[-1]
    inside = (below > 0) & (below < total)
    between = np.full(_BINS, -1.0)
    between[inside] = (mean * below[inside] / total - mass[inside]) ** 2 / (below[inside] * (total - below[inside]))
    # several empty bins between two levels are equally good: the middle one is farthest from both
    best = np.flatnonzero(between >= between.max() - 1e-12 * abs(between.max()))
    return float(centres[best[len(best) // 2]])


def on_intervals(power: Power, threshold_w: float, min_on_s: float, min_off_s: float) -> list[Interval]:
    """When the device is in use, by steps 2 and 3."""
    held = hold(power)
    on = np.nan_to_num(held, nan=-1.0) >= threshold_w
    missing = np.concatenate(([0], np.isnan(held).cumsum()))
    merged: list[list[int]] = []
    for start, end in _runs(on):
        if merged and start - merged[-1][1] <= min_off_s and missing[start] == missing[merged[-1][1]]:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    return [Interval(start, end) for start, end in merged if end - start >= min_on_s]


def hold(power: Power) -> Power:
    """Carry the last present sample over gaps of up to HOLD_S; longer ones stay NaN throughout."""
    out = np.array(power, dtype=np.float64)
    for start, end in _runs(np.isnan(out)):
        if start > 0 and end - start <= HOLD_S:
            out[start:end] = out[start - 1]
    return out


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    steps = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))
