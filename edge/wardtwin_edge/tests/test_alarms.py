import msgspec
import pytest

from wardtwin_edge import alarms
from wardtwin_edge.alarms import Watch
from wardtwin_edge.config import Mains

OVER, UNDER, CURRENT = alarms.energy_limits(Mains(), 3.0)


def feed(watch: Watch, *values: tuple[float, float]) -> list[tuple[float, float | None]]:
    rows = [watch.feed(value, at) for value, at in values]
    return [(row["raised_at"], row["cleared_at"]) for row in rows if row]


@pytest.mark.parametrize(
    ("name", "limit", "values", "expected"),
    [
        ("lasting over-voltage", OVER, [(260, 0), (260, 2), (260, 3)], [(0, None)]),
        ("a spike", OVER, [(260, 0), (230, 1), (260, 2), (260, 4)], []),
        ("just inside", OVER, [(253, 0), (253, 100)], []),
        ("back by less than the margin", OVER, [(260, 0), (260, 3), (251, 10), (251, 100)], [(0, None)]),
        ("back for long enough", OVER, [(260, 0), (260, 3), (230, 10), (230, 40)], [(0, None), (0, 10)]),
        ("under-voltage", UNDER, [(200, 5), (200, 8)], [(5, None)]),
        ("over-current of the type", CURRENT, [(3.2, 0), (3.2, 5)], [(0, None)]),
    ],
)
def test_alarms_need_to_last_both_ways(name, limit, values, expected) -> None:
    assert feed(Watch(limit, "device:d"), *values) == expected, name


def test_the_id_is_the_same_when_raised_and_when_cleared_and_after_a_restart() -> None:
    watch = Watch(OVER, "device:d")
    watch.feed(260, 0)
    raised = watch.feed(260, 3)
    assert raised is not None
    again = Watch(OVER, "device:d")
    again.recall(msgspec.json.decode(msgspec.json.encode(watch.memory())))
    again.feed(230, 10)
    cleared = again.feed(230, 40)
    assert cleared is not None
    assert cleared["alarm_id"] == raised["alarm_id"]
    assert (raised["rule"], raised["subject"], raised["severity"], raised["unit"]) == ("over_voltage", "device:d", "critical", "V")
    assert again.row() is None


def test_another_time_is_another_alarm() -> None:
    watch, ids = Watch(OVER, "device:d"), set()
    for start in (0, 1000):
        for at in (0, 3, 10, 40):
            row = watch.feed(260 if at < 5 else 230, start + at)
            ids |= {row["alarm_id"]} if row else set()
    assert len(ids) == 2


def test_a_device_without_a_limit_of_its_own_has_the_plug_s() -> None:
    assert alarms.energy_limits(Mains(), None)[2].above == 16.0


def test_no_rule_claims_what_the_meter_cannot_measure() -> None:
    rules = {limit.rule for limit in (*alarms.ROOM_LIMITS, *alarms.energy_limits(Mains(), None))}
    assert not {rule for rule in rules if "leak" in rule}
