"""A browser that trusts nothing: every console error, page error and request to another host fails the test."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wardtwin_cloud.tests.browser.ward import alarms, demo_ward, fill
from wardtwin_cloud.tests.serving import Feeder, Server, serving
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import Registry

playwright_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip


@dataclass
class Ward:
    server: Server
    feeder: Feeder
    registry: Registry

    @property
    def url(self) -> str:
        return self.server.url


@dataclass
class Watch:
    """What a page did wrong."""

    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    tolerated: str = ""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Ended with its module: while it runs, its event loop occupies this thread, and no other test could run one."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """The demo ward with two hours behind it; the ECG has been silent for 20 minutes."""
    registry = demo_ward()
    with serving(tmp_path_factory.mktemp("ward"), registry) as (server, token), Feeder(server.url, token) as feeder:
        fill(feeder, registry, time.time(), silent="ecg-1")
        feeder.send(BatchKind.ALARMS, alarms(time.time()))
        yield Ward(server, feeder, registry)


OpenPage = Callable[..., object]


@pytest.fixture
def open_page(browser: object) -> Iterator[OpenPage]:
    """`open_page(url, width=, height=, theme=)`; at the end of the test the page must have behaved."""
    contexts = []
    watch = Watch()

    def open_(url: str, width: int = 1440, height: int = 900, theme: str = "light", *, line_cut: bool = False) -> object:
        if line_cut:  # the test ends the server: the browser may say that it cannot reach it, and nothing else
            watch.tolerated = "ERR_"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[attr-defined]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and watch.faults.append(message.text))
        page.on("pageerror", lambda error: watch.faults.append(str(error)))
        page.on("request", lambda sent: watch.hosts.add(urlsplit(sent.url).hostname or ""))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert watch.hosts <= {"127.0.0.1"}, "a page asked another host"
    faults = [fault for fault in watch.faults if not watch.tolerated or watch.tolerated not in fault]
    assert not faults


@contextmanager
def fresh_ward(data: Path, registry: Registry, arguments: tuple[str, ...] = ()) -> Iterator[Ward]:
    with serving(data, registry, arguments=arguments) as (server, token), Feeder(server.url, token) as feeder:
        yield Ward(server, feeder, registry)
