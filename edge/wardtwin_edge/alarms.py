"""Warnings: a value beyond its limit for long enough raises one, back inside by a margin for long enough clears it. Pure.

What the meter chips give and what not: BL0942 and CSE7766 measure one current (and the voltage) of the outgoing line. They
cannot see a residual (earth leakage) current, which is the difference of two conductors; no rule here claims to. A tag's
`failed_parts` and its silence are seen by the gateway.
"""

import hashlib
from typing import Any

import msgspec

from wardtwin_edge.config import Mains
from wardtwin_sync.states import Severity


class Limit(msgspec.Struct, frozen=True, gc=False):
    """`above` or `below` (one is None) in `unit`; `margin`: how far back inside clears; `raise_s`, `clear_s`: for how long."""

    rule: str
    field: str
    severity: Severity
    unit: str
    above: float | None = None
    below: float | None = None
    margin: float = 0.0
    raise_s: float = 10.0
    clear_s: float = 30.0

    def is_beyond(self, value: float) -> bool:
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def is_back(self, value: float) -> bool:
        return value <= self.above - self.margin if self.above is not None else value >= (self.below or 0.0) + self.margin

    @property
    def limit(self) -> float:
        return self.above if self.above is not None else (self.below or 0.0)


PLUG_CURRENT_A = 16.0

ROOM_LIMITS = (
    # comfort range of DIN EN 16798-1 category II, widened by 1 °C against nuisance alarms
    Limit("temperature_high", "temperature_c", Severity.CAUTION, "°C", above=27.0, margin=0.5, raise_s=300, clear_s=300),
    Limit("temperature_low", "temperature_c", Severity.CAUTION, "°C", below=17.0, margin=0.5, raise_s=300, clear_s=300),
    Limit("humidity_high", "relative_humidity_pct", Severity.CAUTION, "%", above=65.0, margin=3, raise_s=600, clear_s=600),
    Limit("humidity_low", "relative_humidity_pct", Severity.INFORMATION, "%", below=25.0, margin=3, raise_s=600, clear_s=600),
    # indoor air guide values of the German environment agency: 1000 ppm conspicuous, 2000 ppm not acceptable
    Limit("co2_high", "co2_ppm", Severity.CAUTION, "ppm", above=1500, margin=200, raise_s=120, clear_s=120),
    Limit("co2_critical", "co2_ppm", Severity.CRITICAL, "ppm", above=5000, margin=500, raise_s=60, clear_s=120),
    # WHO 2021: 15 µg/m³ as 24 h mean; an alarm on minutes needs more
    Limit("pm2_5_high", "pm2_5_ug_m3", Severity.CAUTION, "µg/m³", above=35, margin=5, raise_s=300, clear_s=300),
    # SGP40: 100 is the room's own average, 500 the top of its scale
    Limit("voc_high", "voc_index", Severity.CAUTION, "", above=300, margin=50, raise_s=120, clear_s=300),
    # WHO 2010: 0.1 mg/m³ (80 ppb) over 30 minutes
    Limit("formaldehyde_high", "formaldehyde_ppb", Severity.CRITICAL, "ppb", above=80, margin=10, raise_s=300, clear_s=300),
)

TAG_SILENT = Limit("tag_silent", "silent_s", Severity.CAUTION, "s", above=0.0, raise_s=0.0, clear_s=0.0)
SENSOR_FAILED = Limit("sensor_failed", "failed_parts", Severity.CAUTION, "", above=0.0, raise_s=0.0, clear_s=0.0)
DISK_FULL = Limit("disk_full", "disk_share", Severity.CRITICAL, "", above=0.95, margin=0.05, raise_s=0.0, clear_s=60.0)
CLOCK_WRONG = Limit("clock_unsynchronised", "clock", Severity.CAUTION, "", above=0.0, raise_s=60.0, clear_s=0.0)


def energy_limits(mains: Mains, max_current_a: float | None) -> tuple[Limit, ...]:
    """Limits of one device. A voltage near zero is a device unplugged from a tag that is powered otherwise, not a brown-out."""
    high, low = mains.nominal_v * (1 + mains.tolerance), mains.nominal_v * (1 - mains.tolerance)
    return (
        Limit("over_voltage", "voltage_v", Severity.CRITICAL, "V", above=round(high, 1), margin=3, raise_s=3, clear_s=30),
        Limit("under_voltage", "voltage_v", Severity.CAUTION, "V", below=round(low, 1), margin=3, raise_s=3, clear_s=30),
        Limit(
            "over_current", "current_a", Severity.CRITICAL, "A", above=max_current_a or PLUG_CURRENT_A, margin=0.5, raise_s=5, clear_s=30
        ),
    )


class Watch:
    """One limit on one subject: standing or not, and since when it is about to change."""

    __slots__ = ("_pending_at", "alarm_id", "limit", "moved", "raised_at", "subject", "worst")

    def __init__(self, limit: Limit, subject: str) -> None:
        self.limit = limit
        self.subject = subject
        self.alarm_id: str | None = None
        self.raised_at = 0.0
        self.worst = 0.0
        self.moved = False
        self._pending_at: float | None = None

    def feed(self, value: float, at: float) -> dict[str, Any] | None:
        """Return the row to send when `value` at `at` raises or clears; columns of BatchKind.ALARMS."""
        limit = self.limit
        turning = limit.is_back(value) if self.alarm_id else limit.is_beyond(value)
        if not turning:
            if self._pending_at is not None:
                self._pending_at = None
                self.moved = True
            return None
        if self._pending_at is None:
            self._pending_at = at
            self.moved = True
        if at - self._pending_at < (limit.clear_s if self.alarm_id else limit.raise_s):
            return None
        since, self._pending_at = self._pending_at, None
        self.moved = True
        if self.alarm_id is None:
            self.raised_at, self.worst = since, value
            self.alarm_id = hashlib.sha256(f"{limit.rule}|{self.subject}|{since!r}".encode()).hexdigest()[:16]
            return self._row(value, None)
        row = self._row(value, since)
        self.alarm_id = None
        return row

    def row(self) -> dict[str, Any] | None:
        """The standing alarm with the value that raised it, for the page."""
        return self._row(self.worst, None) if self.alarm_id else None

    def _row(self, value: float, cleared_at: float | None) -> dict[str, Any]:
        limit = self.limit
        return {
            "alarm_id": self.alarm_id, "rule": limit.rule, "subject": self.subject, "severity": limit.severity.value,
            "raised_at": self.raised_at, "cleared_at": cleared_at, "value": value, "limit": limit.limit, "unit": limit.unit,
        }  # fmt: skip

    def memory(self) -> dict[str, Any]:
        self.moved = False
        return {"alarm_id": self.alarm_id, "raised_at": self.raised_at, "worst": self.worst, "pending_at": self._pending_at}

    def recall(self, memory: dict[str, Any]) -> None:
        self.alarm_id, self.raised_at, self.worst = memory["alarm_id"], memory["raised_at"], memory["worst"]
        self._pending_at = memory["pending_at"]
        self.moved = False

    def move(self, step_s: float) -> None:
        self.raised_at += step_s
        if self._pending_at is not None:
            self._pending_at += step_s
        self.moved = True
