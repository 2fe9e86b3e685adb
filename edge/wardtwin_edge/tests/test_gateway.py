"""The whole gateway as a process: what systemd, an installer and a pulled plug do to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from wardtwin_edge.tests.cloud import Cloud
from wardtwin_edge.tests.wards import FakeTag, registry_of, wait_for
from wardtwin_sync import registry
from wardtwin_sync.batch import BatchKind

COMMAND = [sys.executable, "-m", "wardtwin_edge.cli"]


class Process:
    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.data = folder / "data"
        self.config = folder / "edge.toml"
        head = f'[gateway]\nid = "gw-1"\nward = "ward-3"\ndata_dir = "{self.data}"\n'
        self.config.write_text(f'{head}[ble]\nbackend = "none"\n[local]\nport = 0\n{extra}')
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "log"

    def start(self, **env: str) -> None:
        (self.data / "local.url").unlink(missing_ok=True)
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*COMMAND, "run", "--config", str(self.config)], stderr=log, env=os.environ | env, text=True)
        self.started.append(self.process)
        wait_for(lambda: (self.data / "local.url").exists(), 20, f"the start: {self.log.read_text()}")
        wait_for(self._answers, 10, "the page")

    def _answers(self) -> bool:
        try:
            self.url = (self.data / "local.url").read_text().strip()
            return self.get("/api/status").status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, trust_env=False)

    def status(self) -> dict:
        return self.get("/api/status").json()

    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'admin.token').read_text().strip()}"}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, *rest = arguments
        words = [*COMMAND, command, *rest, "--config", str(self.config)]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    while Process.started:
        process = Process.started.pop()
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def gateway(tmp_path: Path) -> Process:
    return Process(tmp_path, '[mqtt]\nhost = "127.0.0.1"\nport = 9\n[cloud]\nurl = "http://127.0.0.1:9"\ntoken = "secret"\n')


def test_it_starts_without_broker_cloud_and_tags_and_ends_on_sigterm(gateway: Process) -> None:
    gateway.start()
    facts = gateway.status()
    assert facts["commit"]["alive"]
    assert "cannot connect" in facts["transports"]["mqtt"]["state"]
    assert any("No tag is known" in line["text"] for line in facts["advice"])
    assert gateway.stop() == 0


def test_the_page_shows_it_in_words_and_loads_nothing_from_elsewhere(gateway: Process) -> None:
    gateway.start()
    page = gateway.get("/")
    assert page.status_code == 200
    assert "gw-1" in page.text
    assert "MQTT: cannot connect" in page.text
    assert "http" not in page.text.replace("http://127.0.0.1:9", "")
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]
    for asset in ("page.css", "page.js", "icon.svg"):
        assert gateway.get(f"/static/{asset}").status_code == 200
    assert gateway.get("/?part").text.lstrip().startswith("<header>")
    gateway.stop()


def test_tags_and_registry_come_in_by_http_with_the_admin_token_only(gateway: Process) -> None:
    gateway.start()
    tag = FakeTag(1)
    card = registry.encode(tag.card)
    assert httpx.post(gateway.url + "/api/tags", content=card, trust_env=False).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert httpx.post(gateway.url + "/api/tags", content=card, headers=wrong, trust_env=False).status_code == 401
    answer = httpx.post(gateway.url + "/api/tags", content=b"{}", headers=gateway.token(), trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["advice"]
    assert httpx.post(gateway.url + "/api/tags", content=card, headers=gateway.token(), trust_env=False).status_code == 201
    known = registry.encode(registry_of(tag))
    assert httpx.put(gateway.url + "/api/registry", content=known, headers=gateway.token(), trust_env=False).status_code == 200
    assert [row["name"] for row in gateway.status()["tags"]] == ["Device 1"]
    assert tag.key.hex() not in gateway.get("/api/status").text + gateway.get("/").text
    assert (gateway.data / "tags" / f"{tag.tag_id}.json").stat().st_mode & 0o077 == 0
    gateway.stop()


def test_metrics_are_prometheus_text(gateway: Process) -> None:
    gateway.start()
    families = {family.name: family for family in text_string_to_metric_families(gateway.get("/metrics").text)}
    assert families["wardtwin_edge_commit_alive"].samples[0].value == 1
    assert families["wardtwin_edge_transport_up"].samples[0].labels == {"transport": "mqtt"}
    gateway.stop()


def test_a_card_added_on_the_command_line_is_noticed(gateway: Process, tmp_path: Path) -> None:
    gateway.start()
    file = tmp_path / "card.json"
    file.write_bytes(registry.encode(FakeTag(1).card))
    command = subprocess.run(
        [*COMMAND, "tag", "add", "--config", str(gateway.config), str(file)], capture_output=True, text=True, timeout=30, check=True
    )
    assert "added" in command.stdout
    wait_for(lambda: len(gateway.status()["tags"]) == 1, 5, "the tag")
    gateway.stop()


def test_doctor_says_what_the_page_says_and_ends_with_1_while_something_needs_you(gateway: Process) -> None:
    asleep = gateway.call("doctor")
    assert asleep.returncode == 1
    assert "systemctl start" in asleep.stdout
    gateway.start()
    awake = gateway.call("doctor")
    assert awake.returncode == 1
    assert "MQTT: cannot connect" in awake.stdout
    facts = json.loads(gateway.call("doctor", "--json").stdout)
    assert facts["running"]
    gateway.stop()


def test_doctor_ends_with_0_when_nothing_needs_anybody(tmp_path: Path) -> None:
    gateway = Process(tmp_path)
    gateway.start()
    done = gateway.call("doctor")
    assert done.returncode == 0, done.stdout
    gateway.stop()


def test_systemd_is_told_of_readiness_and_fed_while_it_commits(gateway: Process, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        gateway.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        words = {notify.recv(100) for _ in range(2)}
        assert words == {b"READY=1", b"WATCHDOG=1"}
        gateway.stop()


def test_a_taken_port_costs_the_page_and_not_the_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = Process(tmp_path)
        gateway.config.write_text(gateway.config.read_text().replace("port = 0", f"port = {taken.getsockname()[1]}"))
        with gateway.log.open("w") as log:
            gateway.process = subprocess.Popen([*COMMAND, "run", "--config", str(gateway.config)], stderr=log, text=True)
        Process.started.append(gateway.process)
        wait_for(lambda: "cannot listen" in gateway.log.read_text(), 20)
        time.sleep(0.3)
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml [", "is not TOML"),
        ("[gateway]\nid = 3\ndata_dir = 'x'\n", "$.gateway.id"),
        ("[gateway]\nid = 'a'\ndata_dir = 'x'\nroom = 'y'\n", "room"),
        ("[gateway]\nid = 'a/b'\ndata_dir = 'x'\n", "slash"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    done = subprocess.run([*COMMAND, "run", "--config", str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_summaries_and_a_heartbeat_reach_the_cloud_on_a_scaled_clock(tmp_path: Path) -> None:
    cloud = Cloud()
    gateway = Process(tmp_path, f'[cloud]\nurl = "{cloud.url}"\ntoken = "secret"\n')
    try:
        gateway.start(WARDTWIN_CLOCK=f"100:1790000000:{time.monotonic()}")
        assert gateway.status()["clock"]["state"] == "scaled"
        wait_for(lambda: cloud.rows(BatchKind.HEALTH), 10, "the heartbeat")
        assert gateway.stop() == 0
    finally:
        cloud.close()
