"""The twin page in a real browser: live, one selection everywhere, by keyboard too, tidy at every width."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from wardtwin_cloud.tests.browser.conftest import OpenPage, Ward, fresh_ward
from wardtwin_cloud.tests.browser.ward import fill
from wardtwin_cloud.tests.serving import readings, small_registry
from wardtwin_sync.batch import BatchKind

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

LONG = "Extrakorporales Membranoxygenierungs- und Hämofiltrationsgerätesystem 体外膜肺氧合与血液滤过综合治疗设备系统"


def layout_faults(page: Any) -> list[str]:
    """What sticks out of the window sideways, though nothing scrolls it."""
    found: list[str] = page.evaluate(
        """() => {
          const faults = [];
          if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
          for (const element of document.querySelectorAll("main *, .bar *, .rail *")) {
            const box = element.getBoundingClientRect();
            if (!box.width || element.closest(".sr-only, [hidden], .stack thead")) continue;
            let scrolled = false;
            for (let up = element.parentElement; up; up = up.parentElement) {
              if (["auto", "scroll", "hidden"].includes(getComputedStyle(up).overflowX)) scrolled = true;
            }
            if (!scrolled && box.right > innerWidth + 1) faults.push(`${element.tagName}.${element.className} ends at ${box.right}`);
          }
          return faults.slice(0, 5);
        }"""
    )
    return found


def chip(page: Any, state: str) -> int:
    return int(page.locator(f"#chips .chip.state-{state} strong").inner_text())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_every_page_fits_every_width_in_light_and_dark(ward: Ward, open_page: OpenPage, width: int, theme: str) -> None:
    page: Any = open_page(ward.url, width=width, theme=theme)
    for path in ("/", "/?place=room:3-01", "/?device=autoclave-1", "/devices", "/devices/autoclave-1", "/warnings", "/gateways"):
        page.goto(ward.url + path)
        page.wait_for_selector("#freshness[data-state=live]")
        assert layout_faults(page) == [], path


def test_a_new_reading_shows_within_two_seconds_without_a_reload(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(ward.url)
    page.wait_for_selector("#freshness[data-state=live]")
    tag = next(tag.tag_id for tag in ward.registry.tags if tag.device_id == "ventilator-1")
    ward.feeder.send(BatchKind.READINGS, [{**readings(90_000, 1)[0], "tag_id": tag, "active_power_w": 123.0}])
    expect(page.locator("#devices tr[data-device=ventilator-1] td.num").first).to_have_text("123", timeout=2000)
    ward.feeder.send(
        BatchKind.STATES, [{"device_id": "ventilator-1", "tag_id": tag, "state": "fault", "since": time.time(), "reason": "rule"}]
    )
    page.wait_for_selector("#devices tr[data-device=ventilator-1][data-state=fault]", timeout=2000)
    page.wait_for_selector("#plan [data-device=ventilator-1] use[href='#s-fault']", timeout=2000)
    ward.feeder.send(
        BatchKind.STATES, [{"device_id": "ventilator-1", "tag_id": tag, "state": "in_use", "since": time.time(), "reason": "rule"}]
    )


def test_a_device_silent_for_20_minutes_is_unknown_with_the_time_of_its_last_word(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(ward.url)
    row = page.locator("#devices tr[data-device=ecg-1]")
    assert "Unknown" in row.inner_text()
    assert re.search(r"no data since \d\d:\d\d", row.inner_text())
    assert row.locator("td.num").first.inner_text() == "–"


def test_a_device_that_is_heard_but_not_yet_understood_keeps_its_power(tmp_path: Path, open_page: OpenPage) -> None:
    with fresh_ward(tmp_path, small_registry(2)) as ward:
        ward.feeder.send(BatchKind.READINGS, readings(1, 2, active_power_w=55.5))
        page: Any = open_page(ward.url)
        text = page.locator("#devices tr[data-device=device-0]").inner_text()
        assert "Unknown" in text
        assert "heard, state not known yet" in text
        assert "55.5" in text
        assert "no data yet" in page.locator("#devices tr[data-device=device-1]").inner_text()
        page.close()


def test_one_selection_shows_in_plan_table_panel_and_address(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(ward.url)
    page.locator("#plan [data-device=autoclave-1]").click()
    assert page.locator("#devices tr.selected").get_attribute("data-device") == "autoclave-1"
    assert page.locator("#panel h2").inner_text() == "Autoclave 1"
    assert "device=autoclave-1" in page.url
    page.locator("#panel .link").click()
    assert page.locator("#tree [aria-selected=true]").get_attribute("aria-label").startswith("Reprocessing")
    assert page.locator("#plan .room.selected").get_attribute("data-room") == "3-06"
    assert page.locator("#devices tbody tr").count() == 2
    page.goto(page.url)
    assert page.locator("#place").inner_text() == "Reprocessing"


def test_state_chips_filter_the_table_and_count_the_place(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(ward.url)
    assert chip(page, "fault") == 1
    page.locator("#chips .chip.state-fault").click()
    assert page.locator("#devices tbody tr").count() == 1
    assert page.locator("#devices tbody tr").get_attribute("data-device") == "washer-1"
    assert "state=fault" in page.url


def test_the_page_is_used_by_keyboard_alone(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(ward.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("autocl")
    page.wait_for_selector("#search-results [aria-selected=true]")
    page.keyboard.press("Enter")
    assert page.locator("#panel h2").inner_text() == "Autoclave 1"
    page.locator("#devices .pick[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#panel h2").inner_text() == "ECG recorder 1"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator("#tree [tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#place").inner_text() == "Intensive care 2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"


def test_the_search_finds_the_longest_and_the_accented_name(tmp_path: Path, open_page: OpenPage) -> None:
    with fresh_ward(tmp_path, small_registry(2, name=LONG)) as ward:
        page: Any = open_page(ward.url + "/devices")
        page.keyboard.press("/")
        page.keyboard.type("hamofiltration")
        page.wait_for_selector("#search-results [role=option][aria-selected=true]")
        page.keyboard.press("Enter")
        page.wait_for_url("**/devices/device-0")
        page.close()


def test_the_page_turns_stale_by_itself_when_the_agent_dies_and_live_again_when_it_is_back(tmp_path: Path, open_page: OpenPage) -> None:
    with fresh_ward(tmp_path, small_registry(3), ("--stale-after", "3", "--silent-after", "3")) as ward:

        def feed(first: int) -> None:
            ward.feeder.send(BatchKind.READINGS, [row for n in range(3) for row in readings(first, 1, tag=n)])

        feed(1)
        ward.feeder.send(
            BatchKind.STATES,
            [{"device_id": f"device-{n}", "tag_id": None, "state": "in_use", "since": time.time(), "reason": "rule"} for n in range(3)],
        )
        page: Any = open_page(ward.url, line_cut=True)
        page.wait_for_selector("#freshness[data-state=live]")
        assert chip(page, "in_use") == 3
        ward.server.kill()
        page.wait_for_selector("#freshness[data-state=lost]", timeout=5000)
        expect(page.locator("#chips .state-unknown strong")).to_have_text("3", timeout=8000)
        ward.server.start()
        feed(2)
        page.wait_for_selector("#freshness[data-state=live]", timeout=15000)
        expect(page.locator("#chips .state-in_use strong")).to_have_text("3", timeout=8000)
        page.close()


def test_a_silent_gateway_is_said_in_the_top_bar_and_as_a_warning(tmp_path: Path, open_page: OpenPage) -> None:
    with fresh_ward(tmp_path, small_registry(3), ("--stale-after", "2", "--silent-after", "2")) as ward:
        ward.feeder.send(BatchKind.READINGS, readings(1, 1))
        page: Any = open_page(ward.url)
        page.wait_for_selector("#freshness[data-state=silent]", timeout=6000)
        assert "gw-1 silent since" in page.locator("#freshness").inner_text()
        assert "Gateway silent" in page.locator("#warnings").inner_text()
        page.close()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("count", [0, 3, 2000])
def test_any_number_of_devices_with_the_longest_names_fits(tmp_path: Path, open_page: OpenPage, count: int, width: int) -> None:
    registry = small_registry(count, rooms=max(2, count // 12), name=LONG)
    with fresh_ward(tmp_path, registry) as ward:
        fill(ward.feeder, registry, time.time(), hours=0.01)
        for path in ("/", "/devices"):
            page: Any = open_page(ward.url + path, width=width)
            page.wait_for_selector("#freshness[data-state=live]")
            assert layout_faults(page) == []
            if path == "/" and count == 0:
                assert "no devices" in page.locator("#devices").inner_text()
            page.close()


def test_an_empty_agent_shows_what_to_do_and_fills_itself(tmp_path: Path, open_page: OpenPage) -> None:
    from wardtwin_cloud.config import CloudConfig
    from wardtwin_cloud.store import open_store
    from wardtwin_cloud.tests.serving import Server
    from wardtwin_sync.registry import encode

    open_store(CloudConfig(tmp_path).database).close()
    server = Server(tmp_path)
    server.start()
    try:
        page: Any = open_page(server.url)
        assert "No hospital yet" in page.locator("main").inner_text()
        page.wait_for_selector("#freshness[data-state=live]")
        store = open_store(CloudConfig(tmp_path).database)
        store.import_registry(encode(small_registry()), time.time())
        store.close()
        page.wait_for_selector("#devices tbody tr", timeout=8000)
        page.close()
    finally:
        server.stop()
