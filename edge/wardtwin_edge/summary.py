"""One row a minute for each device and room. Pure: readings and states in, rows out; columns of BatchKind.SUMMARIES.

A minute is summed up again when a late report or a late-told change of state falls into it: the row with the same subject
and minute that comes later is the better one.
"""

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from wardtwin_sync.batch import ENERGY_FIELDS, ENVIRONMENT_FIELDS

MINUTE_S = 60


def of_device(
    subject: str, minute_start: int, readings: list[tuple[float, dict[str, Any]]], states: list[tuple[str, float]]
) -> dict[str, Any] | None:
    """readings: (measured_at, values) by time, those of the minute; states: (state, since), the one standing at its start first.

    energy_wh is the increase of the tag's counter within the minute, left out when it went back (a tag's counter that was reset).
    """
    measured = [values for _, values in readings if "active_power_w" in values or "energy_wh" in values]
    if not measured and not states:
        return None
    row: dict[str, Any] = {"subject": subject, "minute_start": minute_start, "samples": len(measured)}
    row |= _means(measured, ENERGY_FIELDS, leave_out="energy_wh")
    powers = [values["active_power_w"] for values in measured if "active_power_w" in values]
    if powers:
        row["active_power_w_min"], row["active_power_w_max"] = min(powers), max(powers)
    energies = [values["energy_wh"] for values in measured if "energy_wh" in values]
    if len(energies) > 1 and energies[-1] >= energies[0]:
        row["energy_wh"] = round(energies[-1] - energies[0], 3)
    row["seconds_by_state"] = seconds_by_state(minute_start, minute_start + MINUTE_S, states) or None
    return row


def of_room(subject: str, minute_start: int, readings: list[tuple[float, dict[str, Any]]]) -> dict[str, Any] | None:
    measured = [values for _, values in readings if any(name in values for name in ENVIRONMENT_FIELDS)]
    if not measured:
        return None
    means = _means(measured, ENVIRONMENT_FIELDS)
    return {"subject": subject, "minute_start": minute_start, "samples": len(measured), "seconds_by_state": None, **means}


def seconds_by_state(start: float, end: float, states: list[tuple[str, float]]) -> dict[str, float]:
    """How long each state stood in [start, end); states: (state, since) by since. Before the first there is nothing known."""
    out: dict[str, float] = {}
    for i, (state, since) in enumerate(states):
        until = states[i + 1][1] if i + 1 < len(states) else end
        seconds = min(until, end) - max(since, start)
        if seconds > 0:
            out[state] = round(out.get(state, 0.0) + seconds, 3)
    return out


def _means(measured: list[dict[str, Any]], names: Iterable[str], leave_out: str = "") -> dict[str, float]:
    out = {}
    for name in names:
        found = [values[name] for values in measured if name in values]
        if found and name != leave_out:
            out[name] = round(fmean(found), 4)
    return out
