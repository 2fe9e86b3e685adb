from pathlib import Path

import pytest

from wardtwin_edge.errors import ConfigError
from wardtwin_edge.roster import Files, Roster, address_bytes
from wardtwin_edge.tests.wards import FakeTag, registry_of
from wardtwin_sync import registry


def test_cards_and_registry_are_kept_whole_and_to_the_owner(tmp_path: Path) -> None:
    files, tag = Files(tmp_path / "data"), FakeTag(1)
    files.add_card(registry.encode(tag.card))
    files.put_registry(registry.encode(registry_of(tag)))
    roster, faults = Files(tmp_path / "data").load()
    assert (faults, [known.tag_id for known in roster.tags], len(roster.rooms)) == ([], [tag.tag_id], 29)
    assert (tmp_path / "data/tags" / f"{tag.tag_id}.json").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"schema":9}'])
def test_what_is_no_card_changes_nothing(tmp_path: Path, raw: bytes) -> None:
    files = Files(tmp_path)
    with pytest.raises(ConfigError) as caught:
        files.add_card(raw)
    assert caught.value.advice
    assert files.load()[0].tags == []


def test_a_tag_id_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    raw = registry.encode(FakeTag(1).card).replace(FakeTag(1).tag_id.encode(), b"../../x12345")
    with pytest.raises(ConfigError):
        Files(tmp_path).add_card(raw)


def test_one_bad_file_does_not_cost_the_others(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.add_card(registry.encode(FakeTag(1).card))
    (tmp_path / "tags" / "bad.json").write_bytes(b"{")
    roster, faults = files.load()
    assert len(roster.tags) == 1
    assert "bad.json" in faults[0]


def test_any_change_of_the_files_is_noticed(tmp_path: Path) -> None:
    files = Files(tmp_path)
    stamps = {files.stamp()}
    files.add_card(registry.encode(FakeTag(1).card))
    stamps.add(files.stamp())
    files.put_registry(registry.encode(registry_of(FakeTag(1))))
    stamps.add(files.stamp())
    assert len(stamps) == 3


def test_the_registry_s_binding_counts_over_the_card_s() -> None:
    tag, moved = FakeTag(1), FakeTag(2)
    known = registry_of(FakeTag(1, device_type="ventilator"), moved)
    assert Roster([tag.card], known).tags[0].device_type.name == "ventilator"


def test_a_beacon_is_found_by_its_address_and_by_the_last_four_bytes() -> None:
    beacon = FakeTag(3, "environment")
    roster = Roster([FakeTag(1).card], registry_of(beacon))
    assert roster.beacons == {beacon.address: "room-3", beacon.address[-4:]: "room-3"}


@pytest.mark.parametrize("text", [None, "", "AA:BB", "6A1F0E2C-0000-1000-8000-00805F9B34FB", "zz:zz:zz:zz:zz:zz"])
def test_what_is_no_address_is_none(text: str | None) -> None:
    assert address_bytes(text) is None
