import pytest

from wardtwin_edge.clock import BUILD_DATE, SYNCHRONISED, ClockState, ScaledClock, Timeline, time_service_confirms
from wardtwin_edge.tests.wards import NOW, Hands


def test_a_plausible_time_without_a_time_service_is_taken() -> None:
    clock = Hands().clock()
    assert clock.state is ClockState.SYNCHRONISED
    assert clock.line == SYNCHRONISED
    assert clock.now() == NOW


@pytest.mark.parametrize(
    ("system", "floor", "confirmed", "state"),
    [
        (100.0, 0, None, ClockState.UNSYNCHRONISED),  # 1970: no battery
        (BUILD_DATE - 1, 0, True, ClockState.UNSYNCHRONISED),
        (NOW, NOW + 60, None, ClockState.UNSYNCHRONISED),  # earlier than what is stored
        (NOW, NOW + 60, True, ClockState.SYNCHRONISED),  # but the time service knows better than the store
        (NOW, 0, False, ClockState.UNSYNCHRONISED),  # fake-hwclock: plausible, and said to be wrong
        (NOW, 0, True, ClockState.SYNCHRONISED),
    ],
)
def test_the_time_is_trusted_only_with_reason(system, floor, confirmed, state) -> None:
    assert Hands(system).clock(floor=floor, confirmed=lambda: confirmed).state is state


def test_until_the_time_is_known_stamps_are_seconds_since_the_start() -> None:
    hands = Hands(system=100.0, monotonic=30.0)
    clock = hands.clock()
    assert clock.line != SYNCHRONISED
    assert clock.now() == 30.0
    hands.pass_(5)
    hands.system_s = NOW
    correction = clock.check()
    assert correction is not None
    assert correction.line != SYNCHRONISED
    assert 30.0 + correction.step_s == NOW - 5  # the first stamp, on the right line
    assert clock.now() == NOW
    assert clock.line == SYNCHRONISED
    assert correction.started_at == NOW - 35


def test_an_unconfirmed_time_is_used_after_a_while_and_said_to_be_so() -> None:
    hands = Hands()
    clock = hands.clock(confirmed=lambda: False, wait_s=600)
    hands.pass_(599)
    assert clock.check() is None
    hands.pass_(2)
    assert clock.check() is not None
    assert clock.state is ClockState.UNCONFIRMED


def test_small_steps_are_followed_and_large_ones_told() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.system_s += 0.2
    assert clock.check() is None
    hands.system_s += 3600
    correction = clock.check()
    assert correction is not None
    assert correction.line == SYNCHRONISED
    assert correction.step_s == pytest.approx(3600)
    assert clock.jumps == 1


def test_a_time_that_was_right_survives_the_system_s_clock_falling_back() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.pass_(10)
    hands.system_s = 0.0
    assert clock.check() is None
    assert clock.now() == NOW + 10


def test_the_scaled_clock_runs_at_its_speed_from_its_base() -> None:
    clock = ScaledClock(f"200:{NOW}:50", monotonic=lambda: 53.0)
    assert clock.now() == NOW + 600
    assert clock.at(51.0) == NOW + 200
    assert clock.speed == 200
    assert clock.state is ClockState.SCALED


def test_the_time_service_answers_yes_no_or_nothing() -> None:
    assert time_service_confirms() in (True, False, None)


def test_reports_that_waited_keep_the_moment_they_were_measured() -> None:
    line = Timeline()
    assert line.measured_at("t", 1, 10.0, NOW + 10.5) == NOW + 10.5  # nothing better is known yet
    assert line.measured_at("t", 1, 11.0, NOW + 11.0) == NOW + 11.0  # came faster: the start is earlier than thought
    assert line.measured_at("t", 1, 12.0, NOW + 500.0) == pytest.approx(NOW + 12.0, abs=0.01)


def test_an_uptime_that_leaps_back_by_ages_is_not_believed_and_spoils_nothing_after_it() -> None:
    timeline = Timeline()
    assert timeline.measured_at("tag", 1, 2.0**48 / 1000, 1000.0) == 1000.0
    assert timeline.measured_at("tag", 1, 50.0, 1001.0) == 1001.0
    assert timeline.measured_at("tag", 1, 60.0, 1041.0) == pytest.approx(1011.0, abs=0.1)
    assert timeline.changed() == [("tag", 1, pytest.approx(951.0, abs=0.1), 60.0)]


def test_a_new_boot_of_a_tag_has_a_start_of_its_own() -> None:
    line = Timeline()
    line.measured_at("t", 1, 1000.0, NOW)
    assert line.measured_at("t", 2, 1.0, NOW + 5) == NOW + 5


def test_a_crystal_that_is_slow_does_not_make_fresh_reports_old() -> None:
    line = Timeline()
    for hour in range(240):  # ten days at 50 ppm
        real = hour * 3600.0
        at = line.measured_at("t", 1, real * (1 - 50e-6), NOW + real)
    assert at == pytest.approx(NOW + real, abs=1.0)


def test_what_is_known_of_tags_survives_a_restart() -> None:
    line = Timeline()
    line.measured_at("t", 1, 10.0, NOW + 10)
    rows = line.changed()
    assert line.changed() == []
    again = Timeline()
    again.restore(rows)
    assert again.measured_at("t", 1, 11.0, NOW + 300) == pytest.approx(NOW + 11, abs=0.01)


def test_a_corrected_clock_moves_every_tag_s_start() -> None:
    line = Timeline()
    line.measured_at("t", 1, 10.0, 40.0)
    line.move(NOW)
    assert line.measured_at("t", 1, 11.0, NOW + 300) == pytest.approx(NOW + 41, abs=0.01)
    assert line.changed()
