"""What time it is, and how sure that is.

A Raspberry Pi has no clock battery: after a power cut its time is that of the last shutdown, or 1970, until a time
server answers. Until then everything is stamped on a provisional time line, seconds since the machine started, and
carries that line's id; once the time is known, `correction` says by how much the line's stamps have to move.
"""

import os
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

BUILD_DATE = 1_735_689_600.0
"""2025-01-01: no clock that is right can say less."""
SYNCHRONISED = 0
"""The id of the one time line that is UTC."""
_SLEW_LIMIT_S = 0.5
SCALED_CLOCK = "WARDTWIN_CLOCK"


class ClockState(StrEnum):
    SYNCHRONISED = "synchronised"
    UNCONFIRMED = "unconfirmed"
    UNSYNCHRONISED = "unsynchronised"
    SCALED = "scaled"


class Clock:
    """Turns readings of the monotonic clock into stamps, so that a step of the system's time never tears a series.

    floor: UTC seconds that have passed if the clock is right (the newest stamp in the store).
    confirmed: asks the time service, None when there is none.
    wait_s: after this long an unconfirmed but plausible time is used, and said to be unconfirmed.
    """

    speed = 1.0

    def __init__(
        self,
        floor: float = BUILD_DATE,
        wait_s: float = 600.0,
        system: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        confirmed: Callable[[], bool | None] = lambda: None,
        boot: str | None = None,
    ) -> None:
        self._floor = max(floor, BUILD_DATE)
        self._wait_s = wait_s
        self._system = system
        self._monotonic = monotonic
        self._confirmed = confirmed
        self._started = monotonic()
        self._provisional = zlib.crc32((boot or boot_id()).encode()) or 1
        self._anchor = 0.0
        self.jumps = 0
        self.state = self._judge()
        if self.state is not ClockState.UNSYNCHRONISED:
            self._anchor = self._system() - self._monotonic()

    @property
    def line(self) -> int:
        """SYNCHRONISED, or the id of the provisional time line that stamps are on now."""
        return self._provisional if self.state is ClockState.UNSYNCHRONISED else SYNCHRONISED

    def at(self, monotonic_s: float) -> float:
        """The stamp of a moment of the monotonic clock: UTC seconds, or seconds since start on a provisional line."""
        return self._anchor + monotonic_s

    def now(self) -> float:
        return self._anchor + self._monotonic()

    def check(self) -> "Correction | None":
        """Ask again what time it is; call every few seconds. Return how stamps made so far have to move, if they have to."""
        before, self.state = self.state, self._judge()
        if self.state is ClockState.UNSYNCHRONISED:
            if before is not ClockState.UNSYNCHRONISED:
                self.state = before  # a time that was good once is kept running by the monotonic clock, whatever the system now says
            return None
        step = self._system() - self.now()
        if before is ClockState.UNSYNCHRONISED:
            self._anchor += step
            return Correction(self._provisional, step, self._anchor)
        if abs(step) > _SLEW_LIMIT_S:
            self.jumps += 1
        self._anchor += step
        return Correction(SYNCHRONISED, step, self._anchor) if abs(step) > _SLEW_LIMIT_S else None

    def _judge(self) -> ClockState:
        system = self._system()
        if system < BUILD_DATE:
            return ClockState.UNSYNCHRONISED
        confirmed = self._confirmed()
        if confirmed or (confirmed is None and system >= self._floor):
            return ClockState.SYNCHRONISED
        waited = self._monotonic() - self._started >= self._wait_s
        return ClockState.UNCONFIRMED if waited else ClockState.UNSYNCHRONISED


class Correction:
    """`line`: whose stamps move (SYNCHRONISED: only what is derived from live offsets), by `step_s`.

    `started_at`: when this machine started, UTC: stamps of an earlier start's line cannot be later than that.
    """

    def __init__(self, line: int, step_s: float, started_at: float) -> None:
        self.line = line
        self.step_s = step_s
        self.started_at = started_at


class ScaledClock(Clock):
    """For tests and the demo: `speed` seconds pass in one. `spec` is "<speed>:<unix base>:<monotonic base>"."""

    def __init__(self, spec: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        speed, base, start = (float(part) for part in spec.split(":"))
        super().__init__(system=lambda: base + (monotonic() - start) * speed, monotonic=monotonic)
        self.speed = speed
        self._base = base
        self._start = start
        self.state = ClockState.SCALED

    @property
    def line(self) -> int:
        return SYNCHRONISED

    def at(self, monotonic_s: float) -> float:
        return self._base + (monotonic_s - self._start) * self.speed

    def now(self) -> float:
        return self.at(self._monotonic())

    def check(self) -> Correction | None:
        return None


def system_clock(floor: float, wait_s: float) -> Clock:
    spec = os.environ.get(SCALED_CLOCK)
    return ScaledClock(spec) if spec else Clock(floor, wait_s, confirmed=time_service_confirms)


def time_service_confirms() -> bool | None:
    """Whether chrony or systemd's time service says the system's clock is right; None when neither can be asked."""
    if shutil.which("chronyc"):
        answer = _output(["chronyc", "-c", "tracking"])
        if answer is not None:
            return not answer.strip().endswith("Not synchronised")
    if shutil.which("timedatectl"):
        answer = _output(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
        if answer is not None and answer.strip() in ("yes", "no"):
            return answer.strip() == "yes"
    return None


def boot_id() -> str:
    """Names this start of the machine (Linux); elsewhere a new name for every process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{time.time_ns()}"


def _output(command: list[str]) -> str | None:
    try:
        # systemd's own tools would speak to the service manager in our name
        env = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


class Timeline:
    """When a tag's reports were measured: the tag counts milliseconds since its start, the gateway knows when they came.

    For every (tag, boot) the least of (received − uptime) seen is the moment the tag started, up to the shortest delay on the
    way. Reports that waited in the tag's queue have a larger difference and do not move it. DRIFT lets it rise slowly, so
    that a tag's crystal (±40 ppm) cannot make old stamps out of fresh reports. Pure: times come in as arguments, in seconds.
    """

    DRIFT = 1e-4
    OLDEST_S = 32 * 86_400.0
    """No tag's queue reaches further back. An uptime that says so is wrong: the report is stamped on receipt, and the tag's
    start is taken from it anew. Without a bound one tag could date reports to where no store follows, or before 1970."""
    _WORTH_KEEPING_S = 0.05

    def __init__(self) -> None:
        self._starts: dict[tuple[str, int], list[float]] = {}
        self._kept: dict[tuple[str, int], float] = {}
        self._moved: set[tuple[str, int]] = set()

    def measured_at(self, tag_id: str, boot_id: int, uptime_s: float, received_at: float) -> float:
        key = (tag_id, boot_id)
        seen = received_at - uptime_s
        known = self._starts.get(key)
        if known is None:
            self._starts[key] = [seen, uptime_s]
            self._moved.add(key)
            return received_at
        start, newest = known
        if start + uptime_s < received_at - self.OLDEST_S:
            self._starts[key] = [seen, uptime_s]
            self._moved.add(key)
            return received_at
        if uptime_s > newest:
            start += (uptime_s - newest) * self.DRIFT
            known[1] = uptime_s
        if seen < start:
            start = seen
        known[0] = start
        if abs(self._kept.get(key, 0.0) - start) > self._WORTH_KEEPING_S:
            self._moved.add(key)
        return start + uptime_s

    def changed(self) -> list[tuple[str, int, float, float]]:
        """(tag_id, boot_id, started_at, newest uptime) of what moved since the last call and is worth keeping."""
        out = []
        for key in self._moved:
            start, uptime = self._starts[key]
            self._kept[key] = start
            out.append((*key, start, uptime))
        self._moved.clear()
        return out

    def restore(self, rows: list[tuple[str, int, float, float]]) -> None:
        self._starts = {(tag, boot): [start, uptime] for tag, boot, start, uptime in rows}
        self._kept = {key: start for key, (start, _) in self._starts.items()}
        self._moved.clear()

    def move(self, step_s: float) -> None:
        """The gateway's clock was corrected by `step_s`: what was derived from it moves along."""
        for known in self._starts.values():
            known[0] += step_s
        self._moved.update(self._starts)
