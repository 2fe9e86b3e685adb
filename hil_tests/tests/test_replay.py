"""Recordings through chip, tag, gateway and cloud: the on-intervals the cloud has are those the label rule gives.

The recordings of household appliances are third parties' data and not part of the project: WARDTWIN_RECORDINGS names the folder.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from wardtwin_models import device_types, label_rule
from wardtwin_tools.replay import Replay, run_replay

RECORDINGS = Path(os.environ.get("WARDTWIN_RECORDINGS", Path(__file__).parents[3] / "shared" / "data" / "power"))
EARLY_S, LATE_S = 30.0, 60.0
DAY_S = 86_400.0


@dataclass(frozen=True)
class Day:
    """A unit's day, and the part of it that CI plays; `make soak` plays all of it.

    speed: 200 where nothing happens within a minute; less for bursts of seconds, as a process that waits for its turn for a
    third of a second misses a minute of a day at 200.
    """

    device_type: str
    file: str
    unit: str
    start_s: float
    duration_s: float
    speed: float = 200.0


DAYS = (
    Day("washing_machine", "washingmachine.npz", "7297E3_20120108", 47_400, 9_900),
    Day("dishwasher", "dishwasher.npz", "B7E6F4_20120203", 27_900, 7_200),
    Day("coffee_maker", "coffeemaker.npz", "99266D_20110901", 26_600, 1_800, 50.0),
    Day("microwave_oven", "microwaveoven.npz", "98A0D3_20110921", 26_300, 1_000, 50.0),
    Day("monitor_tft", "monitor_tft.npz", "B1B603_20111119", 47_500, 2_700),
    Day("tv", "tv_lcd.npz", "B81116_20110902", 63_000, 8_400),
)


def labelled(day: Day, start_s: float, duration_s: float) -> tuple[list[tuple[float, float]], float]:
    """On-intervals by label rule 1, cut to the part that is played, in seconds from its start; and the type's least on-time."""
    with np.load(RECORDINGS / day.file) as archive:
        keys = [key for key in archive.files if key.split("_")[0] == day.unit.split("_")[0]]
        power = {key: np.where(archive[key] < 0, np.nan, archive[key].astype(float)) for key in keys}
    record = device_types.of(day.device_type)
    levels = label_rule.levels(list(power.values()))
    assert levels is not None
    whole = label_rule.on_intervals(power[day.unit], levels.threshold_w, record.min_on_s, record.min_off_s)
    cut = [(max(i.start_s - start_s, 0.0), min(i.end_s - start_s, duration_s)) for i in whole]
    return [(a, b) for a, b in cut if b > a], record.min_on_s


def agree(day: Day, start_s: float, duration_s: float, speed: float) -> None:
    plan = Replay(RECORDINGS / day.file, day.unit, day.device_type, "mqtt", speed, start_s, duration_s)
    result = asyncio.run(run_replay(plan))
    assert result["lost"] == result["duplicates"] == 0
    expected, least_s = labelled(day, start_s, duration_s)
    found = [(row["start_s"], row["end_s"]) for row in result["intervals"] if row["state"] == "in_use"]
    # an interval of just the least on-time may fall to either side of it
    for start, end in (interval for interval in expected if interval[1] - interval[0] > 1.3 * least_s):
        assert any(-EARLY_S <= a - start <= LATE_S and -EARLY_S <= b - end <= LATE_S for a, b in found), (start, end, found)
    for a, b in found:
        assert any(a < end + LATE_S and b > start - EARLY_S for start, end in expected), (a, b, expected)
    in_use_s = sum(b - a for a, b in found)
    assert abs(in_use_s - sum(end - start for start, end in expected)) < 0.02 * duration_s


@pytest.fixture(autouse=True)
def _recordings() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings in {RECORDINGS}: set WARDTWIN_RECORDINGS to a folder of the tracebase days as .npz")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.device_type)
def test_part_of_a_recorded_day_gives_the_labelled_intervals_in_the_cloud(day: Day) -> None:
    agree(day, day.start_s, day.duration_s, day.speed)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.device_type)
def test_a_whole_recorded_day_gives_the_labelled_intervals_in_the_cloud(day: Day) -> None:
    agree(day, 0.0, DAY_S, min(day.speed, 100.0))
