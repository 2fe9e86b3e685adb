"""Live events: at once, coalesced, resumable, and never held up by a slow page."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardtwin_cloud.errors import BusyError
from wardtwin_cloud.live import CLIENT_BACKLOG, RING_EVENTS, Hub
from wardtwin_cloud.tests.serving import Feeder, Server, readings, serving
from wardtwin_sync.batch import BatchKind


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    with serving(tmp_path_factory.mktemp("cloud")) as running:
        yield running


class Listener:
    """Collects (arrival, id, event, data) in a thread until closed or `count` came."""

    def __init__(self, url: str, count: int, **headers: str) -> None:
        self.events: list[tuple[float, str | None, str, Any]] = []
        self.count = count
        self.thread = threading.Thread(target=self._run, args=(url, headers), daemon=True)
        self.thread.start()

    def _run(self, url: str, headers: dict[str, str]) -> None:
        fields: dict[str, str] = {}
        with httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=15) as answer:
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                fields[name] = value
                if not line:
                    if "event" in fields and fields["event"] != "pulse":
                        self.events.append((time.monotonic(), fields.get("id"), fields["event"], json.loads(fields["data"])))
                    fields = {}
                if len(self.events) >= self.count:
                    return

    def wait(self, timeout: float = 10) -> list[tuple[float, str | None, str, Any]]:
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"only {len(self.events)} events came"
        return self.events


def test_a_commit_reaches_an_open_page_well_within_a_second(server: tuple[Server, str]) -> None:
    with Feeder(server[0].url, server[1], epoch="live-1") as feeder:
        listener = Listener(server[0].url, 2)
        time.sleep(1.5)
        started = time.monotonic()
        feeder.send(BatchKind.READINGS, readings(1, 1, active_power_w=77.5))
        first, second = listener.wait()
        assert first[2] == "snapshot"
        assert second[2] == "delta"
        assert second[0] - started < 0.5
        assert second[3]["devices"][0]["active_power_w"] == 77.5


def test_many_commits_in_a_second_come_as_few_deltas(server: tuple[Server, str]) -> None:
    with Feeder(server[0].url, server[1], epoch="live-2") as feeder:
        listener = Listener(server[0].url, 1000)
        end = time.monotonic() + 2.2
        sent = 0
        while time.monotonic() < end:
            feeder.send(BatchKind.READINGS, readings(sent, 1))
            sent += 1
        time.sleep(1.3)
        deltas = [event for event in listener.events if event[2] == "delta"]
        assert sent > 50
        assert 2 <= len(deltas) <= 5


def test_a_page_that_comes_back_gets_what_it_missed_not_everything(server: tuple[Server, str]) -> None:
    with Feeder(server[0].url, server[1], epoch="live-3") as feeder:
        (snapshot,) = Listener(server[0].url, 1).wait()
        feeder.send(BatchKind.READINGS, readings(1, 1, active_power_w=11.0))
        time.sleep(1.2)
        feeder.send(BatchKind.READINGS, readings(2, 1, active_power_w=12.0))
        time.sleep(0.3)
        assert snapshot[1] is not None
        events = Listener(server[0].url, 2, **{"Last-Event-ID": snapshot[1]}).wait()
        assert [event[2] for event in events] == ["delta", "delta"]
        assert [event[3]["devices"][0]["active_power_w"] for event in events] == [11.0, 12.0]


@pytest.mark.parametrize("last_id", ["", "nonsense", "00000000-3", "-5", "x" * 5000])
def test_an_id_of_another_run_is_answered_with_a_snapshot(server: tuple[Server, str], last_id: str) -> None:
    ((_, _, event, data),) = Listener(server[0].url, 1, **{"Last-Event-ID": last_id}).wait()
    assert event == "snapshot"
    assert data["hospital"]["name"] == "Test hospital"


def test_an_import_while_running_resyncs_open_pages(tmp_path: Path) -> None:
    from wardtwin_cloud.store import open_store
    from wardtwin_cloud.tests.serving import small_registry
    from wardtwin_sync.registry import encode

    with serving(tmp_path) as (server, _):
        listener = Listener(server.url, 2)
        time.sleep(0.3)
        store = open_store(tmp_path / "wardtwin.sqlite")
        store.import_registry(encode(small_registry(7)), time.time())
        store.close()
        first, second = listener.wait()
        assert (len(first[3]["devices"]), len(second[3]["devices"])) == (3, 7)


def test_sigterm_ends_open_streams_and_exits_with_0(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, _):
        listener = Listener(server.url, 100)
        time.sleep(0.5)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 3
        listener.thread.join(3)
        assert not listener.thread.is_alive()


def hub(max_clients: int = 10) -> Hub:
    return Hub(lambda: {"delta": 1}, lambda: {"snapshot": 1}, lambda: 0.0, max_clients)


def test_a_slow_client_is_dropped_and_resumes() -> None:
    async def scenario() -> None:
        one = hub()
        stream = one.stream(None)
        assert await anext(stream) == b"retry: 2000\n\n"
        assert b"snapshot" in await anext(stream)
        for n in range(CLIENT_BACKLOG + 5):
            one.publish("delta", {"n": n})
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert one.clients == 0
        again = one.stream(f"{one._run}-3")
        await anext(again)
        assert b'"n":3' in await anext(again)
        await again.aclose()  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_beyond_the_ring_a_snapshot_is_sent() -> None:
    async def scenario() -> None:
        one = hub()
        for n in range(RING_EVENTS + 10):
            one.publish("delta", {"n": n})
        for last_id, event in ((f"{one._run}-9", b"snapshot"), (f"{one._run}-10", b"delta")):
            stream = one.stream(last_id)
            await anext(stream)
            assert b"event: " + event in await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_clients_are_bounded() -> None:
    async def scenario() -> None:
        one = hub(max_clients=2)
        streams = [one.stream(None), one.stream(None)]
        with pytest.raises(BusyError):
            one.stream(None)
        for stream in streams:
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
        assert one.clients == 0

    asyncio.run(scenario())
