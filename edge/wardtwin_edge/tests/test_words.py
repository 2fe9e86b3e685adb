import sqlite3
from pathlib import Path

import pytest

from wardtwin_edge import maintenance
from wardtwin_edge.advice import advice
from wardtwin_edge.errors import StoreError
from wardtwin_edge.local import words
from wardtwin_edge.store import Changes
from wardtwin_edge.tests.wards import Bench, FakeTag

GOOD = {
    "gateway": {"uptime_s": 100.0, "notices": []},
    "clock": {"state": "synchronised"},
    "transports": {"ble": {"state": "not configured", "ok": None}, "mqtt": {"state": "connected", "ok": True}},
    "disk": {"free_bytes": 10**10},
    "cloud": {"url": "https://x", "state": "connected", "is_reached": True},
    "commit": {"alive": True, "fault": None},
    "tags": [{"name": "Pump", "silent": False, "failed_parts": 0}],
    "strangers": [],
    "dropped": {},
    "refused_batches": [],
}


def test_when_all_is_well_nothing_is_said() -> None:
    assert advice(GOOD) == []


@pytest.mark.parametrize(
    ("part", "value", "severity", "says"),
    [
        ("commit", {"alive": True, "fault": "cannot write: full"}, "critical", "Nothing is being stored"),
        ("commit", {"alive": False, "fault": None}, "critical", "systemctl restart"),
        ("clock", {"state": "unsynchronised"}, "caution", "time server"),
        ("clock", {"state": "unconfirmed"}, "caution", "chrony"),
        ("disk", {"free_bytes": 10**6}, "caution", "MB left"),
        ("cloud", {"url": "", "state": "", "is_reached": False}, "information", "No cloud"),
        ("cloud", {"url": "x", "state": "cannot reach the cloud", "is_reached": False}, "caution", "Everything is kept"),
        ("cloud", {"url": "x", "state": "does not accept this gateway's token", "is_reached": False}, "caution", "right token"),
        ("transports", {"ble": {"state": "no radio: none.", "ok": False}}, "caution", "no radio: none. Check"),
        ("dropped", {"raw": 5}, "caution", "5 rows"),
        ("strangers", ["c0ffee"], "information", "tag add"),
        ("tags", [], "information", "No tag is known"),
        ("tags", [{"name": "Pump", "silent": True, "failed_parts": 0}], "caution", "1 of 1 tags not heard: Pump"),
        ("tags", [{"name": "Room", "silent": False, "failed_parts": 2}], "caution", "sensor"),
    ],
)
def test_each_fault_is_said_with_what_to_do(part: str, value: object, severity: str, says: str) -> None:
    (line,) = advice({**GOOD, part: value})
    assert line["severity"] == severity
    assert says in line["text"]


def test_the_worst_comes_first() -> None:
    lines = advice({**GOOD, "tags": [], "commit": {"alive": False, "fault": None}, "clock": {"state": "unconfirmed"}})
    assert [line["severity"] for line in lines] == ["critical", "caution", "information"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "never"), (0.4, "0 s"), (100, "100 s"), (125, "2 min"), (9000, "2 h"), (300_000, "3 d")]
)
def test_ages_have_units(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_sizes_and_measures_have_units() -> None:
    assert [words.size(n) for n in (12, 1_500, 123_456_789, 5e12)] == ["12 B", "1.5 kB", "123 MB", "5000 GB"]
    assert words.measures({"active_power_w": 12.4, "co2_ppm": 700, "boot_count": 3}) == "12 W · 700 ppm CO₂"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    bench = Bench(tmp_path, FakeTag(1))
    bench.take(*[FakeTag(1).energy(sequence) for sequence in range(1, 6)])
    bench.store.commit(Changes(quarantine=[(1.79e9, "mqtt", "t", 1, 1, "kind", b"\x00\xff")]))
    bench.store.close()
    return tmp_path


def test_rows_are_exported_with_readable_times(data: Path) -> None:
    rows = list(maintenance.export(data, "readings", limit=2))
    assert [row["sequence"] for row in rows] == [4, 5]
    assert rows[0]["measured_at"].endswith("+00:00")
    assert len(list(maintenance.export(data, "quarantine"))) == 1


def test_a_sound_database_passes_the_check_and_shrinks(data: Path) -> None:
    assert maintenance.check(data) == []
    before, after = maintenance.vacuum(data)
    assert after <= before + 4096


def test_a_running_gateway_s_database_is_not_vacuumed(data: Path) -> None:
    held = sqlite3.connect(data / "gateway.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="vacuum"):
            maintenance.vacuum(data)
    finally:
        held.close()


def test_tables_with_secrets_or_none_are_not_exported(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="live"):
        list(maintenance.export(data, "live"))
    with pytest.raises(StoreError, match="no database"):
        list(maintenance.export(tmp_path / "nowhere", "readings"))
