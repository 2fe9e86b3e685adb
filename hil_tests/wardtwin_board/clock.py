"""The bench's clock: real time, or time that runs `speed` times as fast, for boards, gateway and cloud alike."""

import time
from dataclasses import dataclass, field

ENVIRONMENT_NAME = "WARDTWIN_CLOCK"


@dataclass(frozen=True)
class Clock:
    """scaled unix now = unix_base + (CLOCK_MONOTONIC now - mono_base) * speed. Raise ValueError for a speed below 1."""

    speed: float = 1.0
    unix_base: float = field(default_factory=time.time)
    mono_base: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.speed < 1:
            raise ValueError("the clock may run faster than real time, not slower")

    def now_s(self) -> float:
        """Scaled seconds since the clock was made. Signals and chips live on this axis."""
        return (time.monotonic() - self.mono_base) * self.speed

    def unix(self) -> float:
        return self.unix_base + self.now_s()

    def real_s(self, scaled_s: float) -> float:
        return scaled_s / self.speed

    @property
    def environment(self) -> dict[str, str]:
        return {ENVIRONMENT_NAME: f"{self.speed:g}:{self.unix_base:.6f}:{self.mono_base:.6f}"}
