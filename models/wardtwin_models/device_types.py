"""Type records: what wardtwin knows about a type of device before any model is trained. Values in device_types.toml.

A record holds the levels and times of the built-in state rule. Levels are active power in W at the plug, times in s.
"""

import tomllib
from functools import cache
from importlib import resources

import msgspec

GENERIC = "generic"


class DeviceType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`in_use_above_w`: in use from this power on; `in_use_below_w`: no longer in use below it (the band between is hysteresis).

    `off_below_w`: off below, standby from there to in use; a type without standby has None and is off whenever not in use.
    `min_on_s`: how long the device must draw in-use power (pauses up to `min_off_s` bridged) before it counts as in use.
    `min_off_s`: how long it must have stopped before it counts as no longer in use.
    `standby_dwell_s`: the same between off and standby. `silent_after_s`: no report for this long: unknown.
    `max_current_a`: what the device may draw; None: what its plug may (16 A).
    `stand_in_for`: for types of the recordings that stand in for medical ones: which.
    `source`: where the levels come from.
    """

    name: str
    title: str
    in_use_above_w: float
    in_use_below_w: float
    off_below_w: float | None
    min_on_s: float
    min_off_s: float
    source: str
    standby_dwell_s: float = 15.0
    silent_after_s: float = 120.0
    max_current_a: float | None = None
    stand_in_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low = self.off_below_w if self.off_below_w is not None else 0.0
        if not 0 <= low <= self.in_use_below_w <= self.in_use_above_w:
            raise ValueError(f"{self.name}: off_below_w <= in_use_below_w <= in_use_above_w does not hold")
        if min(self.min_on_s, self.min_off_s, self.standby_dwell_s) < 0 or self.silent_after_s <= 0:
            raise ValueError(f"{self.name}: times cannot be negative")


def decode(text: str) -> dict[str, DeviceType]:
    """Records by name, from TOML tables [<name>]. Raise ValueError (msgspec.ValidationError is one) at a record that cannot be."""
    return {name: msgspec.convert({"name": name, **record}, DeviceType) for name, record in tomllib.loads(text).items()}


@cache
def shipped() -> dict[str, DeviceType]:
    return decode(resources.files("wardtwin_models").joinpath("device_types.toml").read_text(encoding="utf-8"))


def of(name: str) -> DeviceType:
    """The record of `name`, or the generic one for a type this version does not know."""
    records = shipped()
    return records.get(name) or records[GENERIC]
