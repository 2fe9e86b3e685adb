"""Pages as the server gives them: they render whatever the hospital is like, and carry the headers that keep them safe."""

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.store import open_store
from wardtwin_cloud.tests.serving import GATEWAY, Feeder, Server, readings, serving, small_registry
from wardtwin_cloud.web.catalogue import catalogue
from wardtwin_cloud.web.rendering import data_block
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import encode

PAGES = ("/", "/devices", "/warnings", "/gateways")
LONG = "Extrakorporales Membranoxygenierungs- und Hämofiltrationsgerätesystem 体外膜肺氧合与血液滤过综合治疗设备系统 <b>&\"'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    with serving(tmp_path_factory.mktemp("cloud"), small_registry(3, name=LONG)) as running:
        yield running


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("page", [*PAGES, "/devices/device-1", "/nothing", "/devices/ghost"])
def test_every_page_forbids_inline_code_and_other_hosts_and_obeys_itself(server: tuple[Server, str], page: str) -> None:
    answer = httpx.get(server[0].url + page)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for tag, attributes in Tags(answer.text).tags:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "style"
        if tag == "script":
            assert attributes.get("src") or attributes.get("type") == "application/json"
        for name in ("src", "href"):
            assert not re.match(r"(?i)(https?:)?//", attributes.get(name) or ""), (tag, attributes)


@pytest.mark.parametrize("page", ["/nothing", "/devices/ghost", "/static/x/nothing.js", "/static/x/..%2f..%2fcli.py"])
def test_what_is_not_there_is_a_404_page_that_leads_home(server: tuple[Server, str], page: str) -> None:
    answer = httpx.get(server[0].url + page)
    assert answer.status_code == 404
    assert 'href="/"' in answer.text


def test_api_faults_are_json_with_a_word_and_a_sentence(server: tuple[Server, str]) -> None:
    for path in ("/api/v1/nothing", "/api/v1/devices/device-0/states?from=yesterday", "/api/v1/alarms?limit=0"):
        fault = httpx.get(server[0].url + path)
        assert fault.status_code in (400, 404)
        assert set(fault.json()) == {"error", "message"}


def test_names_are_escaped_everywhere(server: tuple[Server, str]) -> None:
    for page in ("/", "/devices", "/devices/device-1"):
        text = httpx.get(server[0].url + page).text
        assert "体外膜肺" in text
        assert "<b>&" not in text


def test_data_blocks_cannot_end_their_element() -> None:
    assert "</" not in data_block({"name": "</script><script>alert(1)</script>\u2028"})


def test_assets_are_immutable_and_their_address_changes_with_them(server: tuple[Server, str]) -> None:
    text = httpx.get(server[0].url).text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
    assert len(addresses) >= 3
    for address in addresses:
        answer = httpx.get(server[0].url + address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_an_agent_without_a_registry_says_what_to_do(tmp_path: Path) -> None:
    open_store(CloudConfig(tmp_path).database).close()
    server = Server(tmp_path)
    server.start()
    try:
        assert "registry import" in httpx.get(server.url).text
        for page in PAGES:
            assert httpx.get(server.url + page).status_code == 200
        assert httpx.get(f"{server.url}/api/v1/twin").json()["hospital"] is None
    finally:
        server.stop()


@pytest.mark.parametrize("count", [0, 3, 2000])
def test_pages_render_with_any_number_of_devices_in_good_time(tmp_path: Path, count: int) -> None:
    with serving(tmp_path, small_registry(count, rooms=max(2, count // 5))) as (server, token), Feeder(server.url, token) as feeder:
        rows = [row for n in range(count) for row in readings(1, 1, tag=n)]
        if rows:
            feeder.send(BatchKind.READINGS, rows).raise_for_status()
        for page in PAGES:
            httpx.get(server.url + page)
            started = time.perf_counter()
            answer = httpx.get(server.url + page)
            assert answer.status_code == 200
            assert time.perf_counter() - started < 1.0, page


def test_the_device_list_filters_and_pages_through_every_device_once(tmp_path: Path) -> None:
    with serving(tmp_path, small_registry(450, rooms=3)) as (server, _):
        seen: list[str] = []
        address = "/devices"
        for _ in range(5):
            text = httpx.get(server.url + address).text
            seen += re.findall(r'<td class="name"><a href="/devices/([^"]+)"', text)
            following = re.search(r'<a href="(/devices\?[^"]*after=[^"]+)"', text)
            if following is None:
                break
            address = following[1].replace("&amp;", "&")
        assert len(seen) == len(set(seen)) == 450
        text = httpx.get(f"{server.url}/devices", params={"q": "device-44", "state": "unknown"}).text
        assert len(re.findall(r'<td class="name">', text)) == 11


def test_a_warning_shows_on_its_page_with_name_value_and_limit(server: tuple[Server, str]) -> None:
    with Feeder(server[0].url, server[1], epoch="warnings") as feeder:
        alarm = {
            "alarm_id": "w", "rule": "over_voltage", "subject": "tag:000000000001", "severity": "critical", "raised_at": time.time(),
            "cleared_at": None, "value": 261.5, "limit": 253.0, "unit": "V",
        }  # fmt: skip
        feeder.send(BatchKind.ALARMS, [alarm])
        text = httpx.get(f"{server[0].url}/warnings").text
        for part in ("Voltage too high", "261.5 V", "253 V", "Critical", "/devices/device-1"):
            assert part in text


def test_times_are_the_hospitals(tmp_path: Path) -> None:
    """Berlin is one hour ahead of UTC on 1 January, whatever this machine's zone."""
    clock = f"1:1767268800:{time.monotonic()}"  # 2026-01-01T12:00:00Z
    with (
        serving(tmp_path, environ={"WARDTWIN_CLOCK": clock, "TZ": "America/New_York"}) as (server, token),
        Feeder(server.url, token) as feeder,
    ):
        batch = feeder.batch(BatchKind.READINGS, readings(1, 1, at=1767268790.0))
        assert feeder.post(batch).status_code == 200
        assert (
            '<time datetime="2026-01-01T12:59:50+01:00" title="2026-01-01T12:59:50+01:00">12:59</time>'
            in httpx.get(f"{server.url}/devices").text
        )
        assert GATEWAY in httpx.get(f"{server.url}/gateways").text


def test_a_scaled_clock_stretches_the_limits(tmp_path: Path) -> None:
    with serving(tmp_path, environ={"WARDTWIN_CLOCK": f"200:1767268800:{time.monotonic()}"}) as (server, _):
        twin = httpx.get(f"{server.url}/api/v1/twin").json()
        assert (twin["speed"], twin["stale_after_s"]) == (200, 24000)
        assert twin["now"] > 1767268800


def test_every_string_used_by_templates_and_scripts_is_in_the_catalogue() -> None:
    web = files("wardtwin_cloud.web")
    strings = catalogue().strings
    sources = [entry for entry in (web / "templates").iterdir() if entry.name.endswith(".html")]
    sources += [entry for entry in (web / "assets" / "js").iterdir() if entry.name.endswith(".js")]
    used: set[str] = set()
    for source in sources:
        used |= set(re.findall(r"""\bt\(\s*["']([a-z_0-9]+\.[a-z_0-9]+)["']""", source.read_text("utf-8")))
    assert len(used) > 80
    missing = {key for key in used if key not in strings and not (key[-1] == "_" and any(known.startswith(key) for known in strings))}
    assert not missing


def test_vendored_files_are_those_of_the_lock_file() -> None:
    web = files("wardtwin_cloud.web")
    lock = json.loads((web / "vendoring" / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/uplot"]["version"]
    assert f"uplot {version}" in (web / "assets" / "vendor" / "VERSIONS.txt").read_text()
    assert f"uPlot {version} (MIT" in (web / "assets" / "vendor" / "uplot" / "uplot.js").read_text()
    assert "MIT License" in (web / "assets" / "vendor" / "uplot" / "LICENSE").read_text()
    assert not [name for name, package in lock["packages"].items() if name and "resolved" in package], (
        "addresses of a registry in the lock file"
    )


def test_a_registry_imported_into_a_running_agent_shows_within_seconds(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, _):
        store = open_store(CloudConfig(tmp_path).database)
        store.import_registry(encode(small_registry(9)), time.time())
        store.close()
        end = time.monotonic() + 5
        while len(httpx.get(f"{server.url}/api/v1/twin").json()["devices"]) != 9:
            assert time.monotonic() < end
            time.sleep(0.1)
