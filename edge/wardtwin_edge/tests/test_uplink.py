import asyncio
import time
from pathlib import Path

import pytest

from wardtwin_edge import config, outbox, uplink
from wardtwin_edge.committer import Committer
from wardtwin_edge.database import count
from wardtwin_edge.pipeline import Arrival
from wardtwin_edge.store import Changes
from wardtwin_edge.tests.cloud import Cloud
from wardtwin_edge.tests.wards import Bench, FakeTag, Hands, Recorder
from wardtwin_edge.uplink import Uplink, back_off_s, judge, retry_after_s
from wardtwin_sync import batch as sync
from wardtwin_sync.batch import Ack, BatchKind, Command, StorageClass

TAG = FakeTag(1)
KEY = ("gw-1", "epoch", 3)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, sync.encode(Ack(*KEY, "stored")), "stored"),
        (200, sync.encode(Ack(*KEY, "duplicate")), "stored"),
        (200, sync.encode(Ack("gw-1", "epoch", 4, "stored")), "retry"),
        (200, b"<html>a captive portal</html>", "retry"),
        (400, b"ragged", "refused"),
        (413, b"", "refused"),
        (401, b"", "denied"),
        (403, b"", "denied"),
        (429, b"", "retry"),
        (500, b"", "retry"),
        (503, b"", "retry"),
        (302, b"", "retry"),
        (404, b"", "retry"),
    ],
)
def test_answers_mean_stored_refused_denied_or_again(status: int, body: bytes, kind: str) -> None:
    assert judge(status, None, body, KEY).kind == kind


def test_commands_ride_on_the_ack() -> None:
    command = Command("registry_changed")
    assert judge(200, None, sync.encode(Ack(*KEY, "stored", (command,))), KEY).commands == (command,)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("7", 7.0), ("-3", 0.0), ("99999", 600.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 70.0), ("soon", None), ("1e999", 600.0)],
)
def test_retry_after_is_read_in_both_forms_and_never_for_ever(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, 30.0) == seconds


def test_the_pause_grows_with_jitter_and_is_never_less_than_asked_for() -> None:
    assert back_off_s(1, None, 0.0) < back_off_s(5, None, 0.5) < back_off_s(50, None, 1.0) <= 61
    assert back_off_s(1, 30.0, 0.0) >= 30


class Link:
    """Store, committer and uplink as the gateway wires them, against a test's cloud."""

    def __init__(self, folder: Path, url: str) -> None:
        self.bench = Bench(folder, TAG, hands=Hands(monotonic=time.monotonic()))
        self.committer = Committer(config.Commit(), self.bench.store, self.bench.pipeline, self.bench.clock, 1)
        self.uplink = Uplink(config.Cloud(url, "secret"), "gw-1", self.bench.store, self.committer, self.bench.clock)
        self.source = Recorder()
        self.next = 1

    async def __aenter__(self) -> "Link":
        loop = asyncio.get_running_loop()
        self.committer.on_urgent = lambda: loop.call_soon_threadsafe(self.uplink.hurry)
        self.committer.start()
        self.task = asyncio.create_task(self.uplink.run())
        return self

    async def __aexit__(self, *rest: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.committer.stop()
        await asyncio.to_thread(self.committer.join, 5)
        self.bench.store.close()

    def put(self, count: int) -> None:
        frames = [TAG.energy(sequence) for sequence in range(self.next, self.next + count)]
        self.next += count
        self.committer.put([Arrival(self.source, frame, self.bench.hands.monotonic_s, 1) for frame in frames])

    def write(self, changes: Changes) -> None:
        self.committer.submit(lambda: self.committer.write(changes))


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def cloud():
    made = Cloud()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "_BACK_OFF_S", (0.02, 0.1))


def test_readings_arrive_once_in_batches_and_leave_the_outbox(cloud: Cloud, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(300)
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 300)
            await until(lambda: outbox.batches_to_send(link.bench.store.db, 1) == [])

    asyncio.run(scenario())
    rows = cloud.rows(BatchKind.READINGS)
    assert [row["sequence"] for row in rows] == list(range(1, 301))
    assert rows[0]["active_power_w"] == 50.0
    assert rows[0]["transport"] == "mqtt"


def test_changes_of_state_and_alarms_leave_at_once(cloud: Cloud, tmp_path: Path) -> None:
    delays = []

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            await asyncio.sleep(0.3)
            for n in range(5):
                link.write(Changes(outbox=[(BatchKind.ALARMS, {"alarm_id": str(n), "raised_at": 1.0}, 0)]))
                began = time.monotonic()
                await until(lambda n=n: len(cloud.rows(BatchKind.ALARMS)) == n + 1)
                delays.append(time.monotonic() - began)

    asyncio.run(scenario())
    assert sorted(delays)[2] < 0.3


def test_an_outage_is_caught_up_with_alarms_first(cloud: Cloud, tmp_path: Path) -> None:
    cloud.answer = lambda batch: (503, {}, b"")

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            for _ in range(60):
                link.put(100)
            await until(lambda: cloud.posts > 2)
            link.write(Changes(outbox=[(BatchKind.ALARMS, {"alarm_id": "a", "raised_at": 1.0}, 0)]))
            await until(lambda: len(outbox.batches_to_send(link.bench.store.db, 9)) >= 2)
            cloud.answer = lambda batch: None
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 6000)

    asyncio.run(scenario())
    assert cloud.order[0] is BatchKind.ALARMS


def test_a_batch_whose_ack_was_lost_is_sent_again_as_the_same_bytes(cloud: Cloud, tmp_path: Path) -> None:
    lost = []

    def lose(batch):
        if batch.kind is BatchKind.READINGS and len(lost) < 3:
            lost.append(batch.sequence)
            cloud.keep(batch, sync.digest(sync.encode(batch)))
            return 200, {}, b"cut off"
        return None

    cloud.answer = lose

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(50)
            await until(lambda: link.uplink.acked_rows >= 50)

    asyncio.run(scenario())
    assert len(set(lost)) == 1
    assert all(len(hashes) == 1 for hashes in cloud.hashes.values())
    assert len(cloud.rows(BatchKind.READINGS)) == 50


def test_a_restart_with_an_unacked_batch_sends_that_very_batch(cloud: Cloud, tmp_path: Path) -> None:
    cloud.answer = lambda batch: (500, {}, b"")

    async def first() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(20)
            await until(lambda: cloud.posts > 0)

    async def second() -> None:
        cloud.answer = lambda batch: None
        async with Link(tmp_path, cloud.url) as link:
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 20)
            link.next = 21
            link.put(5)
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 25)

    asyncio.run(first())
    asyncio.run(second())
    assert [batch.rows() for batch in cloud.batches.values() if batch.kind is BatchKind.READINGS] == [20, 5]
    assert len({epoch for epoch, _ in cloud.batches}) == 1


def test_a_batch_the_cloud_refuses_stands_aside_and_the_rest_goes_on(cloud: Cloud, tmp_path: Path) -> None:
    refused = []

    def refuse_first(batch):
        if batch.kind is BatchKind.READINGS and not refused:
            refused.append(batch.sequence)
            return 400, {}, b"ragged"
        return None

    cloud.answer = refuse_first

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(10)
            await until(lambda: outbox.refused(link.bench.store.db) != [])
            link.put(10)
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 10)
            assert outbox.refused(link.bench.store.db)[0]["reason"] == "400 ragged"

    asyncio.run(scenario())


def test_a_wrong_token_is_said_and_nothing_is_lost(cloud: Cloud, tmp_path: Path) -> None:
    cloud.answer = lambda batch: (403, {}, b"")

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(10)
            await until(lambda: cloud.posts >= 2)
            assert "token" in link.uplink.state
            assert not link.uplink.is_reached
            cloud.answer = lambda batch: None
            await until(lambda: len(cloud.rows(BatchKind.READINGS)) == 10)
            assert link.uplink.state == "connected"

    asyncio.run(scenario())


def test_retry_after_is_honoured(cloud: Cloud, tmp_path: Path) -> None:
    times = []

    def busy(batch):
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if len(times) == 1 else None

    cloud.answer = busy

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(1)
            await until(lambda: len(times) >= 2)

    asyncio.run(scenario())
    assert times[1] - times[0] >= 1.0


def test_an_endless_answer_is_cut_off_and_tried_again(cloud: Cloud, tmp_path: Path) -> None:
    cloud.answer = lambda batch: (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b" + bytes(1_000_000))

    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.put(1)
            await until(lambda: "longer than" in link.uplink.state)

    asyncio.run(scenario())


def test_no_cloud_at_all_stops_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Link(tmp_path, "http://127.0.0.1:9") as link:
            link.put(100)
            await until(lambda: len(link.source.tokens) == 100)
            await until(lambda: "cannot reach" in link.uplink.state)

    asyncio.run(scenario())


def test_every_drop_is_told_with_the_next_batch(cloud: Cloud, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Link(tmp_path, cloud.url) as link:
            link.committer.submit(lambda: count(link.bench.store.db, {"dropped_raw": 7}))
            link.put(1)
            await until(lambda: len(cloud.batches) == 1)

    asyncio.run(scenario())
    (batch,) = cloud.batches.values()
    assert batch.dropped == {StorageClass.RAW: 7}
