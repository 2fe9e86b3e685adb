"""Transitions become intervals without holes or overlaps."""

from wardtwin_tools.intervals import intervals


def test_intervals_cover_the_recording_without_holes() -> None:
    rows = [{"state": "off", "since": 90.0}, {"state": "in_use", "since": 160.0}, {"state": "off", "since": 200.5}]
    assert intervals(rows, 100.0, 300.0) == [
        {"state": "off", "start_s": 0.0, "end_s": 60.0},
        {"state": "in_use", "start_s": 60.0, "end_s": 100.5},
        {"state": "off", "start_s": 100.5, "end_s": 200.0},
    ]


def test_what_came_after_the_end_is_left_out_and_silence_is_unknown() -> None:
    assert intervals([{"state": "off", "since": 400.0}], 100.0, 300.0) == [{"state": "unknown", "start_s": 0.0, "end_s": 200.0}]


def test_a_repeated_state_is_one_interval() -> None:
    rows = [{"state": "off", "since": 0.0}, {"state": "off", "since": 10.0}]
    assert intervals(rows, 0.0, 20.0) == [{"state": "off", "start_s": 0.0, "end_s": 20.0}]


def test_a_state_that_holds_no_time_before_the_start_is_dropped() -> None:
    rows = [{"state": "standby", "since": 1.0}, {"state": "in_use", "since": 2.0}]
    assert intervals(rows, 5.0, 9.0) == [{"state": "in_use", "start_s": 0.0, "end_s": 4.0}]
