"""The cloud's clock: real, or scaled for demo and tests."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wardtwin_cloud.errors import ConfigError

VARIABLE = "WARDTWIN_CLOCK"


@dataclass(frozen=True)
class Clock:
    """`now()` is UTC seconds since 1970. `speed` is how many of them pass in one real second."""

    speed: float
    now: Callable[[], float]


def real_clock() -> Clock:
    return Clock(1.0, time.time)


def scaled_clock(speed: float, unix_base: float, monotonic_base: float, monotonic: Callable[[], float] = time.monotonic) -> Clock:
    """The clock all processes of a demo share: unix_base + (monotonic − monotonic_base) · speed, on this host's CLOCK_MONOTONIC."""
    return Clock(speed, lambda: unix_base + (monotonic() - monotonic_base) * speed)


def clock_from(environ: Mapping[str, str]) -> Clock:
    """Read WARDTWIN_CLOCK="<speed>:<unix base>:<CLOCK_MONOTONIC base>"; absent is real time. Raise ConfigError if unreadable."""
    text = environ.get(VARIABLE, "")
    if not text:
        return real_clock()
    try:
        speed, unix_base, monotonic_base = (float(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f'{VARIABLE} is "{text}", expected "<speed>:<unix base>:<CLOCK_MONOTONIC base>"') from None
    if not 0 < speed <= 1_000_000:
        raise ConfigError(f"{VARIABLE}: speed {speed:g} is not between 0 and 1000000")
    return scaled_clock(speed, unix_base, monotonic_base)
