from wardtwin_edge import summary


def test_a_device_s_minute_has_mean_extremes_energy_and_seconds_by_state() -> None:
    readings = [(600.0 + i, {"active_power_w": 10.0 + i, "voltage_v": 230.0, "energy_wh": 5.0 + i / 10}) for i in range(60)]
    row = summary.of_device("device:d", 600, readings, [("standby", 300.0), ("in_use", 615.0)])
    assert row == {
        "subject": "device:d", "minute_start": 600, "samples": 60, "active_power_w": 39.5, "active_power_w_min": 10.0,
        "active_power_w_max": 69.0, "voltage_v": 230.0, "energy_wh": 5.9, "seconds_by_state": {"standby": 15.0, "in_use": 45.0},
    }  # fmt: skip


def test_a_counter_that_went_back_gives_no_energy() -> None:
    row = summary.of_device("device:d", 0, [(1, {"energy_wh": 100.0}), (2, {"energy_wh": 0.1})], [])
    assert row is not None
    assert "energy_wh" not in row
    assert row["seconds_by_state"] is None


def test_a_minute_without_reports_still_tells_the_state() -> None:
    row = summary.of_device("device:d", 60, [], [("unknown", 10.0)])
    assert row == {"subject": "device:d", "minute_start": 60, "samples": 0, "seconds_by_state": {"unknown": 60.0}}


def test_before_the_first_state_nothing_is_known() -> None:
    assert summary.seconds_by_state(0, 60, [("off", 45.0)]) == {"off": 15.0}
    assert summary.seconds_by_state(0, 60, []) == {}
    assert summary.of_device("device:d", 0, [], []) is None


def test_a_room_s_minute_is_the_mean_of_what_its_tags_measured() -> None:
    readings = [(0.0, {"temperature_c": 20.0, "co2_ppm": 500}), (1.0, {"temperature_c": 22.0})]
    row = summary.of_room("room:r", 0, readings)
    assert row == {"subject": "room:r", "minute_start": 0, "samples": 2, "seconds_by_state": None, "temperature_c": 21.0, "co2_ppm": 500}
    assert summary.of_room("room:r", 0, []) is None
