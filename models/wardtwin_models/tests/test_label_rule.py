import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardtwin_models import label_rule
from wardtwin_models.label_rule import Interval

NAN = float("nan")


def series(*phases: tuple[int, float]) -> np.ndarray:
    return np.concatenate([np.full(seconds, watts) for seconds, watts in phases])


@pytest.mark.parametrize(
    ("name", "power", "expected"),
    [
        ("one run", series((10, 2), (30, 50), (10, 2)), [(10, 40)]),
        ("too short", series((10, 2), (9, 50), (100, 2)), []),
        ("a pause bridged", series((6, 50), (20, 2), (6, 50)), [(0, 32)]),
        ("a pause too long", series((15, 50), (21, 2), (15, 50)), [(0, 15), (36, 51)]),
        ("missing for a moment", series((10, 50), (100, NAN), (10, 50)), [(0, 120)]),
        ("missing for long", series((20, 50), (121, NAN), (20, 50)), [(0, 20), (141, 161)]),
        ("missing inside a pause", series((20, 50), (5, 2), (121, NAN), (20, 50)), [(0, 20), (146, 166)]),
        ("missing at the start", series((20, NAN), (20, 50)), [(20, 40)]),
        (
            "nothing",
            series(
                (50, 0),
            ),
            [],
        ),
    ],
)
def test_intervals_follow_the_rule(name: str, power: np.ndarray, expected: list[tuple[int, int]]) -> None:
    assert label_rule.on_intervals(power, 20, min_on_s=10, min_off_s=20) == [Interval(*pair) for pair in expected], name


def test_the_threshold_lies_between_a_unit_s_two_levels() -> None:
    noise = np.random.default_rng(1).normal(1, 0.05, 20_000)
    day = np.where(np.arange(20_000) % 5_000 < 1_000, 200.0, 4.0) * noise
    found = label_rule.levels([day[:10_000], day[10_000:]])
    assert found is not None
    assert 6 < found.threshold_w < 150
    assert found.resting_w == pytest.approx(4, rel=0.05)
    assert found.working_w == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("always the same", series((1000, 50))),
        ("levels too near", series((1000, 50), (1000, 70))),
        ("hardly ever on", series((100_000, 3), (50, 900))),
        ("never above the floor", series((1000, 0.5))),
        ("nothing present", series((1000, NAN))),
    ],
)
def test_a_unit_whose_levels_cannot_be_told_apart_is_not_labelled(name: str, power: np.ndarray) -> None:
    assert label_rule.levels([power]) is None, name


@given(st.lists(st.sampled_from([0.0, 5.0, 50.0, NAN]), min_size=1, max_size=300), st.integers(1, 30), st.integers(0, 60))
def test_intervals_are_in_order_apart_and_long_enough(power: list[float], min_on: int, min_off: int) -> None:
    found = label_rule.on_intervals(np.array(power), 20, min_on, min_off)
    assert all(i.end_s - i.start_s >= min_on for i in found)
    assert all(a.end_s < b.start_s for a, b in itertools.pairwise(found))
    assert all(power[i.start_s] == 50.0 for i in found)
