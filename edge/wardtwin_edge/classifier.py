"""What a device is doing, from its power: levels with hysteresis, and dwell before a change counts. Pure: times are arguments.

This is the built-in default and what a model falls back to. A change is told once it has lasted, and is stamped with the
moment the level was first crossed: what was told late is still dated right.

- In use begins when in-use power has been drawn for min_on_s, pauses of up to min_off_s bridged; it ends when the power has
  stayed below for more than min_off_s.
- Otherwise the device is off or in standby, changing after standby_dwell_s.
- No report for longer than silent_after_s: unknown since the last one. Out of unknown, the level counts that is there after SETTLE_S,
  or SETTLE_IN_USE_S.
"""

from typing import Any

import msgspec

from wardtwin_models.device_types import DeviceType
from wardtwin_sync.states import DeviceState

SETTLE_S = 3.0
SETTLE_IN_USE_S = 10.0
"""In-use power is believed after min_on_s as ever, but nobody waits longer than this for the first word on a device."""
_OFF_BAND = 0.8
"""Standby is left for off below this share of off_below_w."""


class Change(msgspec.Struct, frozen=True, gc=False):
    state: DeviceState
    since: float
    reason: str


class Classifier:
    """One device. `feed` and `silent` return the changes they prove; `memory` and `recall` carry it over a restart."""

    __slots__ = ("_drawing", "_first_at", "_low", "_low_since", "_off_w", "_pause_at", "_run_at", "_type", "last_at", "moved", "state")

    def __init__(self, device_type: DeviceType) -> None:
        self._type = device_type
        self._off_w = -1.0 if device_type.off_below_w is None else device_type.off_below_w
        self.state = DeviceState.UNKNOWN
        self.last_at: float | None = None
        self.moved = False
        self._drawing = False
        self._first_at: float | None = None
        self._run_at: float | None = None
        self._pause_at: float | None = None
        self._low = DeviceState.OFF
        self._low_since: float | None = None

    def feed(self, power_w: float, at: float) -> list[Change]:
        """`at`: when the power was measured. A report older than the last one changes nothing."""
        changes: list[Change] = []
        last = self.last_at
        if last is not None:
            if at <= last:
                return changes
            if at - last > self._type.silent_after_s and self.state is not DeviceState.UNKNOWN:
                changes += self._lost(last, "silent")
        self.last_at = at
        kind = self._type
        drawing = self._drawing = power_w >= (kind.in_use_below_w if self._drawing else kind.in_use_above_w)
        state = self.state
        if state is DeviceState.UNKNOWN:
            self._settle(power_w, at, changes)
        elif state is DeviceState.IN_USE:
            if drawing:
                self._resume(at, changes)
            else:
                self._in_pause(power_w, at, changes)
        elif drawing or self._run_at is not None:
            self._in_run(power_w, at, changes)
        else:
            self._at_rest(power_w, at, changes)
        return changes

    def silent(self, now: float) -> list[Change]:
        """Ask whether the device has gone unknown by `now`; call it when nothing is fed."""
        if self.last_at is None or self.state is DeviceState.UNKNOWN or now - self.last_at <= self._type.silent_after_s:
            return []
        return self._lost(self.last_at, "silent")

    def memory(self) -> dict[str, Any]:
        """What `recall` needs, for JSON; call when `moved`, which it clears."""
        self.moved = False
        return {
            "state": self.state, "drawing": self._drawing, "first_at": self._first_at, "run_at": self._run_at, "pause_at": self._pause_at,
            "low": self._low, "low_since": self._low_since,
        }  # fmt: skip

    def recall(self, memory: dict[str, Any], last_at: float | None) -> None:
        self.state = DeviceState(memory["state"])
        self._drawing = memory["drawing"]
        self._first_at, self._run_at, self._pause_at = memory["first_at"], memory["run_at"], memory["pause_at"]
        self._low, self._low_since = DeviceState(memory["low"]), memory["low_since"]
        self.last_at = last_at
        self.moved = False

    def move(self, step_s: float) -> None:
        """The clock was corrected: every stamp held here moves by `step_s`."""
        for name in ("last_at", "_first_at", "_run_at", "_pause_at", "_low_since"):
            stamp = getattr(self, name)
            if stamp is not None:
                setattr(self, name, stamp + step_s)
        self.moved = True

    def _settle(self, power_w: float, at: float, changes: list[Change]) -> None:
        if self._first_at is None:
            self._first_at = at
            self.moved = True
        if at - self._first_at < (min(self._type.min_on_s, SETTLE_IN_USE_S) if self._drawing else SETTLE_S):
            return
        since, self._first_at = self._first_at, None
        self._to(DeviceState.IN_USE if self._drawing else self._rest(power_w), since, changes)

    def _in_pause(self, power_w: float, at: float, changes: list[Change]) -> None:
        if self._pause_at is None:
            self._pause_at = at
            self._low, self._low_since = self._rest(power_w), None
            self.moved = True
        else:
            self._low = self._rest(power_w)
        if at - self._pause_at > self._type.min_off_s:
            since, self._pause_at = self._pause_at, None
            self._to(self._low, since, changes)

    def _resume(self, at: float, changes: list[Change]) -> None:
        """Drawing again while in use: the pause is bridged, unless it was too long for that and no report fell behind its end."""
        if self._pause_at is None:
            return
        since, self._pause_at = self._pause_at, None
        self.moved = True
        if at - since > self._type.min_off_s:
            self._to(self._low, since, changes)
            self._run_at = at

    def _in_run(self, power_w: float, at: float, changes: list[Change]) -> None:
        if self._run_at is None:
            self._run_at = at
            self.moved = True
        if self._drawing:
            if self._pause_at is not None:
                if at - self._pause_at > self._type.min_off_s:
                    self._run_at = at
                self._pause_at = None
                self.moved = True
            if at - self._run_at >= self._type.min_on_s:
                since, self._run_at = self._run_at, None
                self._to(DeviceState.IN_USE, since, changes)
            return
        if self._pause_at is None:
            self._pause_at = at
            self.moved = True
        if at - self._pause_at > self._type.min_off_s:
            self._run_at = self._pause_at = None
            self.moved = True
            self._at_rest(power_w, at, changes)

    def _at_rest(self, power_w: float, at: float, changes: list[Change]) -> None:
        low = self._rest(power_w)
        if low is self.state:
            if self._low_since is not None:
                self._low_since = None
                self.moved = True
            return
        if self._low_since is None:
            self._low_since = at
            self.moved = True
        if at - self._low_since >= self._type.standby_dwell_s:
            self._to(low, self._low_since, changes)

    def _rest(self, power_w: float) -> DeviceState:
        resting = self._low if self.state is DeviceState.IN_USE else self.state
        edge = self._off_w * _OFF_BAND if resting is DeviceState.STANDBY else self._off_w
        return DeviceState.STANDBY if 0 <= edge <= power_w else DeviceState.OFF

    def _lost(self, since: float, reason: str) -> list[Change]:
        changes: list[Change] = []
        self._drawing = False
        self._first_at = self._run_at = self._pause_at = None
        self._to(DeviceState.UNKNOWN, since, changes, reason)
        return changes

    def _to(self, state: DeviceState, since: float, changes: list[Change], reason: str = "rule") -> None:
        self.moved = True
        self._low_since = None
        if state is not self.state:
            self.state = state
            changes.append(Change(state, since, reason))
