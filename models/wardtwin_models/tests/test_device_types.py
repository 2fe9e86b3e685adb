import pytest

from wardtwin_models import device_types

RECORD = """
[pump]
title = "Pump"
in_use_above_w = {above}
in_use_below_w = {below}
off_below_w = {off}
min_on_s = 5
min_off_s = 10
source = "test"
"""


def test_every_shipped_record_is_whole_and_says_where_it_is_from() -> None:
    records = device_types.shipped()
    assert {"infusion_pump", "ventilator", "xray", "washing_machine", "printer", "generic"} <= records.keys()
    assert all(record.source and record.title for record in records.values())


def test_what_a_stand_in_stands_for_exists() -> None:
    records = device_types.shipped()
    assert {name for record in records.values() for name in record.stand_in_for} <= records.keys()


def test_a_type_nobody_wrote_down_is_generic() -> None:
    assert device_types.of("no_such_thing").name == device_types.GENERIC
    assert device_types.of("tv").name == "tv"


@pytest.mark.parametrize(("above", "below", "off"), [(10, 20, 1), (10, 5, 6), (10, 5, -1)])
def test_levels_out_of_order_are_refused(above: float, below: float, off: float) -> None:
    with pytest.raises(ValueError, match="pump"):
        device_types.decode(RECORD.format(above=above, below=below, off=off))


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValueError, match="in_use_abov"):
        device_types.decode(RECORD.format(above=10, below=5, off=1).replace("in_use_above_w", "in_use_abov_w"))
