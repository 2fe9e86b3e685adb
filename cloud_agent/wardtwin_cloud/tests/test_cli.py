"""The command line, as a person and as a script use it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wardtwin_cloud.cli import app
from wardtwin_cloud.clock import clock_from
from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.errors import ConfigError
from wardtwin_cloud.store import open_store
from wardtwin_cloud.tests.serving import small_registry
from wardtwin_cloud.tokens import fingerprint, owner_of
from wardtwin_sync.registry import encode


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_a_registry_is_imported_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    file.write_bytes(encode(small_registry(4)))
    counts = json.loads(run("registry", "import", str(file), "--data", str(tmp_path / "data"), "--json"))
    assert counts == {"revision": 1, "rooms": 2, "devices": 4, "tags": 6}
    status = json.loads(run("status", "--data", str(tmp_path / "data"), "--json"))
    assert (status["hospital"], status["devices"]) == ("Test hospital", 4)


def test_every_contradiction_of_a_registry_is_told_and_nothing_imported(tmp_path: Path) -> None:
    document = json.loads(encode(small_registry()))
    document["devices"][0]["home_room_id"] = "nowhere"
    document["tags"][1]["device_id"] = "nobody"
    document["devices"].append(document["devices"][1])
    document["hospital"]["time_zone"] = "Mars/Olympus"
    file = tmp_path / "registry.json"
    file.write_text(json.dumps(document))
    output = run("registry", "import", str(file), "--data", str(tmp_path), code=1)
    for word in ("nowhere", "nobody", "device-1 is there 2 times", "Mars/Olympus", "Nothing was imported"):
        assert word in output
    assert json.loads(run("status", "--data", str(tmp_path), "--json"))["hospital"] is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema":1}', b"\xff\xfe"])
def test_a_file_that_is_no_registry_is_said_plainly(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "registry.json"
    file.write_bytes(content)
    assert "Error" in run("registry", "import", str(file), "--data", str(tmp_path), code=1)


def test_a_token_is_printed_once_and_stored_as_a_hash_only(tmp_path: Path) -> None:
    token = json.loads(run("gateway", "add", "gw-9", "--data", str(tmp_path), "--json"))["token"]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in stored
    assert fingerprint(token).encode() in stored
    assert "known already" in run("gateway", "add", "gw-9", "--data", str(tmp_path), code=1)
    other = run("gateway", "add", "gw-9", "--data", str(tmp_path), "--new-token").strip().splitlines()[-1]
    store = open_store(CloudConfig(tmp_path).database)
    fingerprints = {row["gateway_id"]: row["fingerprint"] for row in store.gateways()}
    store.close()
    assert owner_of(token, fingerprints) is None
    assert owner_of(other, fingerprints) == "gw-9"
    assert token not in run("gateway", "list", "--data", str(tmp_path), "--json")


@pytest.mark.parametrize("gateway_id", ["", "a b", "x" * 129, "../etc", "gw/1"])
def test_a_gateway_id_that_fits_no_address_is_refused(tmp_path: Path, gateway_id: str) -> None:
    assert "1 to 128" in run("gateway", "add", gateway_id, "--data", str(tmp_path), code=1)


@pytest.mark.parametrize("text", ["x", "1:2", "1:2:3:4", "0:1:1", "-1:1:1", "nan:1:1", "a:b:c"])
def test_an_unreadable_clock_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="WARDTWIN_CLOCK"):
        clock_from({"WARDTWIN_CLOCK": text})


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        output = run("run", "--data", str(tmp_path), "--port", str(taken.getsockname()[1]), code=1)
    assert "cannot listen" in output
