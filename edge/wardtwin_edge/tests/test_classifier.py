import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wardtwin_edge.classifier import Classifier
from wardtwin_models import label_rule
from wardtwin_models.device_types import DeviceType

TYPE = DeviceType("pump", "Pump", 20, 15, 2, min_on_s=10, min_off_s=20, source="test", standby_dwell_s=5, silent_after_s=60)


def states(*phases: tuple[float, float], kind: DeviceType = TYPE, start: float = 0.0) -> list[tuple[str, float, str]]:
    """Feed (seconds, power) phases at 1 Hz; return (state, since, reason)."""
    classifier = Classifier(kind)
    at, out = start, []
    for seconds, power in phases:
        for _ in range(int(seconds)):
            out += classifier.feed(power, at)
            at += 1
    return [(change.state.value, change.since, change.reason) for change in out]


@pytest.mark.parametrize(
    ("name", "phases", "expected"),
    [
        ("off from the start", [(30, 0)], [("off", 0)]),
        ("standby from the start", [(30, 5)], [("standby", 0)]),
        ("in use is dated to its first sample", [(30, 5), (30, 50)], [("standby", 0), ("in_use", 30)]),
        ("a burst shorter than min_on is none", [(30, 5), (9, 50), (60, 5)], [("standby", 0)]),
        ("bursts with short pauses are one run", [(30, 5), (6, 50), (10, 5), (6, 50), (9, 5)], [("standby", 0), ("in_use", 30)]),
        ("a pause of min_off is bridged", [(30, 50), (20, 5), (30, 50)], [("in_use", 0)]),
        ("a longer one ends it where it began", [(30, 50), (30, 5)], [("in_use", 0), ("standby", 30)]),
        ("and goes to off when it is off", [(30, 50), (30, 0)], [("in_use", 0), ("off", 30)]),
        ("between the levels nothing changes", [(30, 50), (60, 17)], [("in_use", 0)]),
        ("nor on the way up", [(30, 5), (60, 17)], [("standby", 0)]),
        ("standby to off takes its dwell", [(30, 5), (3, 0), (30, 5), (30, 0)], [("standby", 0), ("off", 63)]),
        ("off to standby likewise", [(30, 0), (30, 5)], [("off", 0), ("standby", 30)]),
    ],
)
def test_states_change_when_they_have_lasted_and_are_dated_right(name, phases, expected) -> None:
    assert [(state, since) for state, since, _ in states(*phases)] == expected, name


def test_a_type_without_standby_is_off_whenever_not_in_use() -> None:
    kind = msgspec.structs.replace(TYPE, off_below_w=None)
    assert [state for state, _, _ in states((30, 5), (30, 50), (60, 5), kind=kind)] == ["off", "in_use", "off"]


def test_silence_is_unknown_since_the_last_report_and_never_off() -> None:
    classifier = Classifier(TYPE)
    for second in range(30):
        classifier.feed(50, float(second))
    assert classifier.silent(60.0) == []
    (change,) = classifier.silent(100.0)
    assert (change.state, change.since, change.reason) == ("unknown", 29.0, "silent")
    assert classifier.silent(200.0) == []


def test_a_gap_found_afterwards_is_unknown_too() -> None:
    classifier = Classifier(TYPE)
    for second in itertools.chain(range(30), range(500, 515)):
        changes = classifier.feed(50, float(second))
        if changes:
            last = changes
    assert [(c.state, c.since) for c in last] == [("in_use", 500.0)]
    assert classifier.state == "in_use"


def test_reports_that_come_late_change_nothing() -> None:
    classifier = Classifier(TYPE)
    for second in range(30):
        classifier.feed(50, float(second))
    assert classifier.feed(0, 10.0) == []
    assert classifier.last_at == 29.0


power = st.sampled_from([0.0, 1.0, 5.0, 17.0, 25.0, 100.0])


@given(st.lists(st.tuples(st.integers(1, 70), power), min_size=1, max_size=12), st.integers(0, 400))
def test_a_restart_in_the_middle_makes_no_difference(phases, cut) -> None:
    series = [watts for seconds, watts in phases for _ in range(seconds)]
    whole, halves = Classifier(TYPE), Classifier(TYPE)
    expected, got = [], []
    for at, watts in enumerate(series):
        expected += whole.feed(watts, float(at))
        if at == cut:
            again = Classifier(TYPE)
            again.recall(msgspec.json.decode(msgspec.json.encode(halves.memory())), halves.last_at)
            halves = again
        got += halves.feed(watts, float(at))
    assert got == expected


@given(st.lists(st.tuples(st.floats(0, 3000), st.floats(0.5, 100)), max_size=60))
def test_changes_are_told_in_order_and_never_repeat_a_state(samples) -> None:
    classifier, at, changes = Classifier(TYPE), 0.0, []
    for watts, step in samples:
        at += step
        changes += classifier.feed(watts, at)
    assert [c.since for c in changes] == sorted(c.since for c in changes)
    assert all(a.state != b.state for a, b in itertools.pairwise(changes))


@settings(max_examples=500)
@example([(1, 50.0), (21, 0.0), (1, 50.0)])
@example([(30, 50.0), (21, 0.0), (30, 50.0)])
@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 5.0, 50.0])), min_size=1, max_size=10))
def test_in_use_intervals_equal_the_label_rule_s(phases) -> None:
    """The rule sees the future, the classifier does not; what both call in use is the same, once it has settled at rest."""
    kind = msgspec.structs.replace(TYPE, in_use_below_w=20)
    series = np.array([0.0] * 30 + [watts for seconds, watts in phases for _ in range(seconds)] + [0.0] * 60)
    classifier, found, start = Classifier(kind), [], None
    for at, watts in enumerate(series.tolist()):
        for change in classifier.feed(watts, float(at)):
            if change.state == "in_use":
                start = change.since
            elif start is not None:
                found.append((start, change.since))
                start = None
    # the classifier needs a sample min_on_s after the first, the rule min_on_s samples: one more
    expected = [(i.start_s, i.end_s) for i in label_rule.on_intervals(series, 20, kind.min_on_s + 1, kind.min_off_s)]
    assert found == expected


def test_a_clock_put_right_moves_what_is_remembered() -> None:
    classifier = Classifier(TYPE)
    for second in range(30):
        classifier.feed(5, float(second))
    classifier.feed(50, 30.0)
    classifier.move(1_000_000)
    changes = [change for second in range(31, 50) for change in classifier.feed(50, 1_000_000.0 + second)]
    assert [(c.state, c.since) for c in changes] == [("in_use", 1_000_030.0)]
