"""The device page in a real browser: its chart is drawn, its states stand behind and beneath it, figures behind every line."""

import time
from pathlib import Path
from typing import Any

import pytest

from wardtwin_cloud.tests.browser.conftest import OpenPage, Ward
from wardtwin_cloud.tests.serving import Feeder, readings, serving
from wardtwin_sync.batch import BatchKind

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


def inked(page: Any) -> float:
    """The share of the chart's pixels that differ from its most frequent colour: nothing drawn is 0."""
    share: float = page.evaluate(
        """() => {
          const canvas = document.querySelector("#chart canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const counts = new Map();
          for (let n = 0; n < data.length; n += 16) {
            const key = `${data[n]},${data[n + 1]},${data[n + 2]},${data[n + 3]}`;
            counts.set(key, (counts.get(key) ?? 0) + 1);
          }
          return 1 - Math.max(...counts.values()) / (data.length / 16);
        }"""
    )
    return share


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_chart_is_drawn_with_its_states(ward: Ward, open_page: OpenPage, width: int, theme: str) -> None:
    page: Any = open_page(f"{ward.url}/devices/autoclave-1", width=width, theme=theme)
    page.wait_for_selector("#chart canvas")
    page.wait_for_selector("#timeline .span")
    assert inked(page) > 0.1
    words = page.locator("#shares").inner_text()
    assert "In use" in words
    assert "%" in words
    assert page.locator("#states tbody tr").count() >= 2
    assert page.locator("#timeline .span.state-in_use").count() >= 1


@pytest.mark.parametrize("width", [390, 1440])
def test_no_label_of_the_time_axis_is_cut_at_the_right_edge(tmp_path: Path, open_page: OpenPage, width: int) -> None:
    """With a clock that all but stands, at a full minute: the last tick is at the very end of the axis, the worst case."""
    noon = 1_800_000_000
    clock = {"WARDTWIN_CLOCK": f"0.001:{noon}:{time.clock_gettime(time.CLOCK_MONOTONIC)}"}
    with serving(tmp_path, environ=clock) as (server, token), Feeder(server.url, token) as feeder:
        feeder.send(BatchKind.READINGS, readings(1, 100, at=noon - 1))
        page: Any = open_page(f"{server.url}/devices/device-0", width=width)
        page.wait_for_selector("#chart canvas")
        edge = page.evaluate(
            """() => {
              const canvas = document.querySelector("#chart canvas");
              const high = Math.round(24 * devicePixelRatio);
              const cells = canvas.getContext("2d").getImageData(0, canvas.height - high, canvas.width, high).data;
              const inked = (x) => Array.from({ length: high }, (_, y) => cells[(y * canvas.width + x) * 4 + 3]).some((alpha) => alpha > 0);
              const columns = Array.from({ length: canvas.width }, (_, x) => inked(x));
              return { last: columns.lastIndexOf(true), width: canvas.width };
            }"""
        )
        assert edge["last"] > edge["width"] * 0.9, "no label near the edge: the test would prove nothing"
        assert edge["last"] < edge["width"] - 2


def test_ranges_are_links_and_the_longer_one_reaches_further_back(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/devices/autoclave-1")
    page.wait_for_selector("#states tbody tr")
    short = page.locator("#states tbody tr").count()
    page.get_by_role("link", name="6 h", exact=True).click()
    page.wait_for_url("**range=6h")
    page.wait_for_selector("#states tbody tr")
    assert page.locator("#states tbody tr").count() > short
    assert page.locator(".ranges [aria-current]").inner_text() == "6 h"


def test_a_table_stands_behind_the_chart(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/devices/autoclave-1")
    page.wait_for_selector("#chart canvas")
    page.locator("#figures summary").click()
    page.wait_for_selector("#readings tbody tr")
    assert page.locator("#readings tbody tr").count() > 50


def test_hovering_reads_the_value_its_time_and_the_state(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/devices/autoclave-1")
    page.wait_for_selector("#chart .u-over")
    box = page.locator("#chart .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40)
    page.wait_for_selector(".readout strong")
    text = page.locator(".readout").inner_text()
    assert "W" in text
    assert "In use" in text


def test_what_it_does_now_follows_live(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/devices/infusion-pump-1")
    page.wait_for_selector("#freshness[data-state=live]")
    tag = next(tag.tag_id for tag in ward.registry.tags if tag.device_id == "infusion-pump-1")
    ward.feeder.send(BatchKind.READINGS, [{**readings(95_000, 1, boot=0)[0], "tag_id": tag, "active_power_w": 66.6}])
    expect(page.locator("#now")).to_contain_text("66.6", timeout=2000)
    since = time.time()
    ward.feeder.send(
        BatchKind.STATES, [{"device_id": "infusion-pump-1", "tag_id": tag, "state": "charging", "since": since, "reason": "rule"}]
    )
    page.wait_for_selector("#now .state-charging", timeout=2000)
    page.wait_for_selector("#states tbody tr:first-child .state-charging", timeout=3000)
    ward.feeder.send(
        BatchKind.STATES, [{"device_id": "infusion-pump-1", "tag_id": tag, "state": "in_use", "since": since + 1, "reason": "rule"}]
    )


def test_a_silent_device_is_shown_as_not_known_since_then(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/devices/ecg-1")
    page.wait_for_selector("#timeline .span.state-unknown")
    assert "no data since" in page.locator("#now").inner_text()
    assert "no data since" in page.locator("#states tbody tr").first.inner_text()


def test_server_rendered_pages_follow_live(ward: Ward, open_page: OpenPage) -> None:
    page: Any = open_page(f"{ward.url}/warnings")
    page.wait_for_selector("#freshness[data-state=live]")
    alarm = {
        "alarm_id": "live-1", "rule": "voc_high", "subject": "room:3-02", "severity": "information", "raised_at": time.time(),
        "cleared_at": None, "value": 310.0, "limit": 250.0, "unit": "",
    }  # fmt: skip
    ward.feeder.send(BatchKind.ALARMS, [alarm])
    page.wait_for_selector("text=Air quality poor", timeout=5000)
    ward.feeder.send(BatchKind.ALARMS, [{**alarm, "cleared_at": time.time()}])
    expect(page.locator("[data-live=earlier]")).to_contain_text("Air quality poor", timeout=5000)
