"""Making a tag known, over real HTTP against a real process."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from wardtwin_cloud.cli import app
from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.store import open_store
from wardtwin_cloud.tests.serving import GATEWAY, Feeder, Server, readings, serving
from wardtwin_cloud.tests.test_live import Listener
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import decode_registry

TAG = "240ac4e29526"
PUMP = {"device_id": "PUMP-07", "name": "Infusion pump 7", "device_type": "infusion_pump", "ward": "ward-3", "home_room_id": "room-1"}


class Bench:
    """Someone with a token, and a gateway beside them."""

    def __init__(self, server: Server, gateway_token: str, token: str) -> None:
        self.server = server
        self.token = token
        self.feeder = Feeder(server.url, gateway_token)

    def post(self, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        authorization = {"Authorization": f"Bearer {self.token if token is None else token}", "Content-Type": "application/json"}
        return self.feeder.client.post(f"{self.server.url}/api/v1/tags", content=raw, headers=authorization | headers)

    def device(self, device_id: str) -> dict[str, Any] | None:
        devices: list[dict[str, Any]] = self.feeder.get("/api/v1/twin")["devices"]
        return next((row for row in devices if row["device_id"] == device_id), None)

    def revision(self) -> int:
        store = open_store(CloudConfig(self.server.data).database)
        try:
            stored = store.registry()
        finally:
            store.close()
        assert stored is not None
        return stored[0]


def cli(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def on_device(device: dict[str, Any] | None = None, tag_id: str = TAG, **binding: Any) -> dict[str, Any]:
    device_id = device["device_id"] if device else None
    bound = {"tag_id": tag_id, "kind": "energy", "transport": "mqtt", "device_id": device_id, "ward": "ward-3"}
    return {"schema": 1, "binding": bound | binding, "device": device}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serving(tmp_path / "cloud") as (server, gateway_token):
        bench = Bench(server, gateway_token, cli("token", "add", "anna", "--data", str(server.data))["token"])
        with bench.feeder:
            yield bench


def test_a_new_tag_and_its_device_are_in_the_twin_with_the_answer_and_on_open_pages(bench: Bench) -> None:
    listener = Listener(bench.server.url, 2)
    time.sleep(0.5)
    answer = bench.post(on_device(PUMP))
    assert (answer.status_code, answer.json()["status"]) == (201, "added")
    shown = bench.device("PUMP-07")
    assert shown is not None
    assert (shown["name"], shown["tag_ids"], shown["room_id"], shown["ward"]) == ("Infusion pump 7", [TAG], "room-1", "ward-3")
    assert httpx.get(f"{bench.server.url}/devices/PUMP-07").status_code == 200
    _, (_, _, event, data) = listener.wait()
    assert event == "snapshot"
    assert "PUMP-07" in [row["device_id"] for row in data["devices"]]
    # and its readings are its own from the first on
    assert bench.feeder.send(BatchKind.READINGS, [{**readings(1, 1)[0], "tag_id": TAG, "active_power_w": 12.5}]).status_code == 200
    assert (bench.device("PUMP-07") or {})["active_power_w"] == 12.5


def test_a_tag_heard_before_it_was_known_shows_what_it_had_sent(bench: Bench) -> None:
    bench.feeder.send(BatchKind.READINGS, [{**readings(1, 1)[0], "tag_id": TAG, "active_power_w": 33.0}])
    assert [row["id"] for row in bench.feeder.get("/api/v1/twin")["unknown"]] == [TAG]
    bench.post(on_device(PUMP))
    assert (bench.device("PUMP-07") or {})["active_power_w"] == 33.0
    assert bench.feeder.get("/api/v1/twin")["unknown"] == []


def test_the_same_again_changes_nothing(bench: Bench) -> None:
    bench.post(on_device(PUMP))
    revision = bench.revision()
    again = bench.post(on_device(PUMP))
    assert (again.status_code, again.json()) == (200, {"tag_id": TAG, "status": "unchanged", "revision": revision})
    assert bench.revision() == revision


def test_a_known_device_takes_the_new_name_and_type_and_keeps_what_was_not_said(bench: Bench) -> None:
    bench.post(on_device(PUMP))
    answer = bench.post(on_device({"device_id": "PUMP-07", "name": "Pump seven", "device_type": "syringe_pump"}))
    assert (answer.status_code, answer.json()["status"]) == (200, "changed")
    shown = bench.device("PUMP-07")
    assert shown is not None
    assert (shown["name"], shown["device_type"], shown["ward"], shown["home_room_id"]) == ("Pump seven", "syringe_pump", "ward-3", "room-1")


def test_a_tag_that_moves_leaves_the_old_device_and_its_history_stays_there(bench: Bench) -> None:
    past = time.time() - 30
    bench.feeder.send(BatchKind.READINGS, readings(1, 5, at=past, active_power_w=700.0))
    moved = bench.post(on_device(None, tag_id="0" * 12, device_id="device-1", ward="ward"))
    assert moved.json()["status"] == "changed"
    old, new = bench.device("device-0"), bench.device("device-1")
    assert old is not None
    assert new is not None
    assert (old["tag_ids"], sorted(new["tag_ids"])) == ([], ["0" * 12, f"{1:012x}"])
    assert new["active_power_w"] is None, "what it measured on the other device is not this one's"
    bench.feeder.send(BatchKind.READINGS, readings(6, 1, at=past + 1, active_power_w=700.0))  # late: from its queue
    bench.feeder.send(BatchKind.READINGS, readings(7, 1, at=time.time() + 1, active_power_w=5.0))
    assert (bench.device("device-1") or {})["active_power_w"] == 5.0

    def history(device_id: str) -> list[float]:
        rows = bench.feeder.get(f"/api/v1/devices/{device_id}/readings")["readings"]
        return [row["active_power_w"] for row in rows]

    assert history("device-0") == [700.0] * 6
    assert history("device-1") == [5.0]
    bench.server.stop()
    bench.server.start()
    assert (bench.device("device-1") or {})["active_power_w"] == 5.0
    assert history("device-0") == [700.0] * 6


def test_what_only_the_agent_remembers_outlives_a_registration(bench: Bench) -> None:
    assert bench.feeder.post_raw(b"{}", 1).status_code == 400
    alarm = {
        "alarm_id": "a1", "rule": "over_voltage", "subject": "device:device-0", "severity": "caution", "raised_at": time.time(),
        "cleared_at": None, "value": 260.0, "limit": 253.0, "unit": "V",
    }  # fmt: skip
    bench.feeder.send(BatchKind.ALARMS, [{**alarm, "cleared_at": time.time()}])
    bench.post(on_device(PUMP))
    bench.feeder.send(BatchKind.ALARMS, [alarm])  # late: raised before it was cleared
    twin = bench.feeder.get("/api/v1/twin")
    assert twin["alarms"] == []
    assert [(row["refused"], row["last_refusal"]) for row in twin["gateways"]] == [(1, "content")]


def test_an_environment_tag_gives_its_room_a_climate(bench: Bench) -> None:
    binding = {"tag_id": TAG, "kind": "environment", "transport": "ble", "room_id": "room-0", "ble_address": "24:0A:C4:E2:95:28"}
    assert bench.post({"schema": 1, "binding": binding, "device": None}).status_code == 201
    row = {**readings(1, 1)[0], "tag_id": TAG, "kind": "environment", "temperature_c": 21.5}
    bench.feeder.send(BatchKind.READINGS, [row])
    (room,) = [row for row in bench.feeder.get("/api/v1/twin")["rooms"] if row["room_id"] == "room-0"]
    assert room["climate"]["temperature_c"] == 21.5


def test_what_was_answered_survives_a_kill(bench: Bench) -> None:
    assert bench.post(on_device(PUMP)).status_code == 201
    bench.server.kill()
    bench.server.start()
    assert (bench.device("PUMP-07") or {})["tag_ids"] == [TAG]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**on_device(PUMP), "key_hex": "00" * 16}, ["key_hex"]),
        (on_device(PUMP, key_hex="00" * 16), ["key_hex", "binding"]),
        (on_device({**PUMP, "key": "00"}), ["key", "device"]),
        (on_device({**PUMP, "home_room_id": "w9-999"}), ["w9-999"]),
        (on_device(None, kind="environment", room_id="w9-999"), ["w9-999"]),
        (on_device(None, device_id="nobody"), ["nobody"]),
        (on_device(None), ["device_id"]),
        (on_device(PUMP, kind="environment", room_id="room-0"), ["room_id"]),
        (on_device(PUMP, tag_id="24:0A"), ["tag_id"]),
        (on_device(PUMP, ble_address="24:0a:c4:e2:95:28"), ["ble_address"]),
        (on_device(PUMP, device_id="device-0"), ["device.device_id"]),
        (on_device({**PUMP, "name": " "}), ["device.name"]),
        (on_device(PUMP, transport="pigeon"), ["transport"]),
        ({**on_device(PUMP), "schema": 2}, ["schema 2"]),
        ({"schema": 1}, ["binding"]),
        (b"", []),
        (b"[1]", []),
        (b"[" * 60_000, []),
        (b"\xff\xfe", []),
    ],
)
def test_a_fault_is_named_and_changes_nothing(rejecting: Bench, body: Any, words: list[str]) -> None:
    before = rejecting.revision()
    answer = rejecting.post(body)
    assert answer.status_code == 400, answer.text
    for word in words:
        assert word in answer.json()["message"]
    assert rejecting.revision() == before


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with serving(tmp_path_factory.mktemp("cloud")) as (server, gateway_token):
        bench = Bench(server, gateway_token, cli("token", "add", "anna", "--data", str(server.data))["token"])
        with bench.feeder:
            yield bench


def test_each_kind_of_token_opens_its_own_door_only(rejecting: Bench) -> None:
    assert rejecting.post(on_device(PUMP), token=rejecting.feeder.token).status_code == 403
    for token in ("wrong", "wtr_wrong", "wtg_wrong"):
        assert rejecting.post(on_device(PUMP), token=token).status_code == 401
    with Feeder(rejecting.server.url, rejecting.token, GATEWAY) as feeder:
        assert feeder.send(BatchKind.READINGS, readings(1, 1)).status_code == 403
    assert rejecting.device("PUMP-07") is None


def test_a_revoked_token_ends_at_once_and_a_name_is_used_once(bench: Bench) -> None:
    data = str(bench.server.data)
    other = cli("token", "add", "ben", "--data", data)["token"]
    assert [row["name"] for row in cli("token", "list", "--data", data)["tokens"]] == ["anna", "ben"]
    assert "already" in CliRunner().invoke(app, ["token", "add", "anna", "--data", data]).output
    cli("token", "revoke", "anna", "--data", data)
    assert bench.post(on_device(PUMP)).status_code == 401
    assert bench.post(on_device(PUMP), token=other).status_code == 201
    assert CliRunner().invoke(app, ["token", "revoke", "anna", "--data", data]).exit_code == 1
    stored = b"".join(path.read_bytes() for path in bench.server.data.iterdir())
    assert other.encode() not in stored


def test_more_than_a_card_is_refused_before_it_is_read(rejecting: Bench) -> None:
    assert rejecting.post(b" " * 70_000).status_code == 413
    assert rejecting.post(on_device(PUMP), **{"Content-Type": "text/plain"}).status_code == 415


def test_a_ward_registered_at_once_is_whole_while_readings_come(bench: Bench) -> None:
    def one(n: int) -> int:
        device = {**PUMP, "device_id": f"PUMP-{n:02}"}
        return bench.post(on_device(device, tag_id=f"{0xA000 + n:012x}")).status_code

    with ThreadPoolExecutor(8) as pool:
        feeding = pool.submit(lambda: [bench.feeder.send(BatchKind.READINGS, readings(n, 1)).status_code for n in range(1, 40)])
        assert set(pool.map(one, range(24))) == {201}
        assert set(feeding.result()) == {200}
    twin = bench.feeder.get("/api/v1/twin")
    assert sum(row["device_id"].startswith("PUMP-") for row in twin["devices"]) == 24
    assert bench.feeder.get("/api/v1/sequences", tag_id="0" * 12)["sequences"][0]["count"] == 39


def test_without_a_hospital_it_says_to_import_one(tmp_path: Path) -> None:
    token = cli("token", "add", "anna", "--data", str(tmp_path))["token"]
    server = Server(tmp_path)
    server.start()
    try:
        answer = httpx.post(f"{server.url}/api/v1/tags", json=on_device(PUMP), headers={"Authorization": f"Bearer {token}"})
    finally:
        server.stop()
    assert answer.status_code == 409
    assert "registry import" in answer.json()["message"]


def test_the_registry_keeps_its_last_revisions_and_all_else_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wardtwin_cloud.register import bind_tag
    from wardtwin_cloud.tests.serving import small_registry
    from wardtwin_sync.registry import TagBinding, encode
    from wardtwin_sync.states import Transport

    monkeypatch.setattr("wardtwin_cloud.store.sqlite.MAX_REVISIONS", 3)
    store = open_store(tmp_path / "store.sqlite")
    store.import_registry(encode(small_registry()), 0.0)
    for n in range(10):
        binding = TagBinding(TAG, "energy", Transport.MQTT, device_id=f"device-{n % 3}")
        assert store.change_registry(lambda known, binding=binding: bind_tag(known, binding, None), float(n)) == n + 2
    stored = store.registry()
    held = store._rows("SELECT count(*) AS held FROM registry")[0]["held"]
    store.close()
    assert stored is not None
    registry = decode_registry(stored[1])
    assert held == 3
    assert (registry.hospital, registry.devices, registry.tags[:-1]) == (
        small_registry().hospital, small_registry().devices, small_registry().tags,
    )  # fmt: skip
    assert registry.tags[-1].device_id == "device-0"
