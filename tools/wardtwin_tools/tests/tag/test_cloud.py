"""`wardtwin tag provision --cloud` against a real cloud agent: the commands as they are typed, nothing in between replaced."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardtwin_sync.registry import Building, Floor, Hospital, Registry, Room, decode_card, encode

TAG_ID = "240ac4e29526"
PUMP = ["--kind", "energy", "--device-id", "PUMP-07", "--device-name", "Infusion pump 7", "--device-type", "infusion_pump"]


def run(module: str, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@dataclass
class Cloud:
    url: str
    data: Path
    token_file: Path

    def provision(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        common = ["--tag-id", TAG_ID, "--ward", "ward-3", "--transport", "ble", "--cloud", self.url, "--cloud-token-file", self.token_file]
        return run("wardtwin_tools.cli", "tag", "provision", *common, "--out", self.data.parent / "tags", *arguments, code=code)

    def twin(self) -> dict[str, Any]:
        twin: dict[str, Any] = httpx.get(f"{self.url}/api/v1/twin").raise_for_status().json()
        return twin


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A hospital of one room, nothing in it, and a technician's token."""
    data = tmp_path / "cloud"
    room = Room("w3-101", "Room 101", ((0, 0), (5, 0), (5, 4), (0, 4)))
    hospital = Hospital("h", "Hospital", "Europe/Berlin", (Building("b", "House", (Floor("f", "Ward 3", 3, (room,)),)),))
    (tmp_path / "registry.json").write_bytes(encode(Registry(1, hospital)))
    run("wardtwin_cloud.cli", "registry", "import", "--data", data, tmp_path / "registry.json")
    token_file = tmp_path / "cloud.token"
    token_file.write_text(run("wardtwin_cloud.cli", "token", "add", "anna", "--data", data)["token"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "wardtwin_cloud.cli", "run", "--data", str(data), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 20
            while not _answers(url):
                assert process.poll() is None, "the cloud agent ended at start"
                assert time.monotonic() < deadline, "the cloud agent did not come up"
                time.sleep(0.05)
            yield Cloud(url, data, token_file)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).is_success
    except httpx.TransportError:
        return False


def test_a_provisioned_tag_and_its_device_are_in_the_twin_and_its_key_is_not_in_the_cloud(cloud: Cloud) -> None:
    made = cloud.provision(*PUMP, "--home-room", "w3-101")
    assert made["cloud"] == {"status": "registered", "detail": f"{cloud.url}/api/v1/tags"}
    (device,) = cloud.twin()["devices"]
    assert (device["device_id"], device["name"], device["device_type"]) == ("PUMP-07", "Infusion pump 7", "infusion_pump")
    assert (device["tag_ids"], device["ward"], device["room_id"]) == ([TAG_ID], "ward-3", "w3-101")
    key = decode_card(Path(made["card"]).read_bytes()).key_hex
    kept = b"".join(path.read_bytes() for path in cloud.data.iterdir())
    assert TAG_ID.encode() in kept
    assert key.encode() not in kept
    assert bytes.fromhex(key) not in kept


def test_a_tag_made_again_for_another_device_leaves_the_first(cloud: Cloud) -> None:
    cloud.provision(*PUMP)
    cloud.provision("--kind", "energy", "--device-id", "ECG-1", "--device-name", "ECG", "--device-type", "ecg")
    assert {row["device_id"]: row["tag_ids"] for row in cloud.twin()["devices"]} == {"PUMP-07": [], "ECG-1": [TAG_ID]}


def test_an_environment_tag_is_in_its_room(cloud: Cloud) -> None:
    cloud.provision("--kind", "environment", "--room", "w3-101")
    assert [row["room_id"] for row in cloud.twin()["rooms"]] == ["w3-101"]


def test_a_room_the_hospital_has_not_is_told_by_name_and_the_tag_is_made_all_the_same(cloud: Cloud) -> None:
    made = cloud.provision(*PUMP, "--home-room", "w9-999", code=3)
    assert made["cloud"]["status"] == "refused"
    assert "w9-999 is not in the hospital" in made["cloud"]["detail"]
    assert Path(made["card"]).exists()
    assert cloud.twin()["devices"] == []


def test_a_gateways_token_is_refused_with_the_command_that_makes_the_right_one(cloud: Cloud) -> None:
    cloud.token_file.write_text(run("wardtwin_cloud.cli", "gateway", "add", "gw-1", "--data", cloud.data)["token"])
    deadline = time.monotonic() + 5
    while "403" not in (made := cloud.provision(*PUMP, code=3))["cloud"]["detail"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert made["cloud"]["status"] == "refused"
    assert "403" in made["cloud"]["detail"]
    assert "wardtwin-cloud token add" in made["cloud"]["detail"]
