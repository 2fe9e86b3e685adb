"""The commands a person runs, as a person runs them: the demo, a replay on each transport, and the crash bench."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wardtwin_tools.errors import RecordingError
from wardtwin_tools.replay import Replay, load


def wardtwin(*arguments: str, timeout_s: float = 240.0) -> dict[str, Any]:
    """Run the command; its last line on stdout, as JSON. It must exit with 0 and print nothing else there."""
    command = [str(Path(sys.executable).parent / "wardtwin"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert done.stdout.count("\n") == 1, done.stdout
    return dict(json.loads(done.stdout))


def test_the_demo_brings_every_device_to_its_room_over_all_transports_and_loses_nothing(tmp_path: Path) -> None:
    result = wardtwin("demo", "--headless", "--seconds", "40", "--workdir", str(tmp_path / "demo"))
    assert result["tags"]["energy"] >= 12
    assert result["tags"]["environment"] >= 6
    assert result["lost"] == result["duplicates"] == 0
    assert result["sent"] > 300
    assert result["stored"] + result["held_by_tags"] == result["sent"]
    assert all(result["transports"][name]["stored"] > 50 for name in ("ble", "mqtt", "serial"))
    devices = result["devices"]
    assert all(device["active_power_w"] is not None for device in devices)
    assert all(device["room"] for device in devices)
    assert sum(device["state"] != "unknown" for device in devices) > len(devices) / 2
    assert all(15 < room["temperature_c"] < 30 for room in result["rooms"])


@pytest.mark.parametrize("transport", ["mqtt", "serial", "ble"])
def test_a_recording_comes_out_as_its_intervals_over_every_transport(transport: str, tmp_path: Path) -> None:
    path = tmp_path / "kettle.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time_s", "active_power_w", "voltage_v", "power_factor"])
        rows.writerows([t, 1800 if 200 <= t < 380 else 0.4, 229.5, 0.99] for t in range(600))
    result = wardtwin("replay", str(path), "--device-type", "coffee_maker", "--transport", transport, "--speed", "40")
    assert [row["state"] for row in result["intervals"]] == ["off", "in_use", "off"]
    assert result["intervals"][1]["start_s"] == pytest.approx(200, abs=15)
    assert result["intervals"][1]["end_s"] == pytest.approx(380, abs=15)
    assert result["lost"] == result["duplicates"] == 0
    assert result["stored"] > 100


def test_a_file_that_is_no_recording_is_refused_with_what_one_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("time,watts\n1,2\n")
    command = [str(Path(sys.executable).parent / "wardtwin"), "replay", str(path), "--device-type", "coffee_maker", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "time_s,active_power_w" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert "time_s,active_power_w" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("0,1\n1,watt\n", "line 3: active_power_w is 'watt', not a number"),
        ("0,1\n1\n", "line 3: active_power_w is None, not a number"),
        ("0,1\n1,nan\n", "line 3: active_power_w is 'nan', not a number"),
        ("0,1\n5,1\n4,1\n", "line 4: time_s does not grow"),
    ],
)
def test_a_recording_s_fault_is_named_with_its_line(tmp_path: Path, rows: str, fault: str) -> None:
    path = tmp_path / "recording.csv"
    path.write_text("time_s,active_power_w\n" + rows)
    with pytest.raises(RecordingError, match=fault):
        load(Replay(path, None, "coffee_maker", "mqtt", 1.0))


def test_nothing_is_lost_or_double_while_gateway_broker_and_cloud_are_killed() -> None:
    result = wardtwin("bench", "crash", "--kills", "6", "--rate", "300", "--seed", "7")
    assert sum(result["kills"].values()) == 6
    assert result["sent"] > 1500
    assert result["lost"] == result["duplicates"] == result["held_by_tags"] == 0


@pytest.mark.soak
def test_twenty_kills_at_500_messages_a_second_lose_nothing() -> None:
    result = wardtwin("bench", "crash", "--kills", "20", "--rate", "500", timeout_s=600)
    assert result["lost"] == result["duplicates"] == result["held_by_tags"] == 0
