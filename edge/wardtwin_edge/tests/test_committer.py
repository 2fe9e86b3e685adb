import threading
import time
from pathlib import Path

import pytest

from wardtwin_edge import config
from wardtwin_edge.committer import AckBook, Committer
from wardtwin_edge.pipeline import Arrival
from wardtwin_edge.tests.wards import Bench, FakeTag, Recorder, wait_for
from wardtwin_wire import frame

TAG = FakeTag(1)
SESSION = 0xABCDEF


@pytest.fixture
def running(tmp_path: Path):
    bench = Bench(tmp_path, TAG, FakeTag(2))
    committer = Committer(config.Commit(), bench.store, bench.pipeline, bench.clock, SESSION)
    committer.start()
    yield bench, committer
    committer.stop()
    committer.join(5)
    bench.store.close()


def arrivals(source: Recorder, *payloads: bytes) -> list[Arrival]:
    return [Arrival(source, payload, time.monotonic(), n) for n, payload in enumerate(payloads)]


def acked(source: Recorder) -> list[tuple[int, int, int]]:
    out = []
    for _, sealed in source.acks:
        kind, _, session, _, payload = frame.open_frame(TAG.ack, sealed)
        assert (kind, session) == (frame.ACK, SESSION)
        out += frame.unpack_ack(payload)[1]
    return out


def test_messages_are_released_and_acked_once_they_are_on_the_disk(running) -> None:
    bench, committer = running
    source = Recorder()
    committer.put(arrivals(source, TAG.energy(1), TAG.energy(2), b"junk"))
    wait_for(lambda: acked(source) == [(1, 1, 2)])
    assert source.tokens == [0, 1, 2]  # junk is released too: the broker shall not keep it
    assert bench.pipeline.committed == 2


def test_acks_of_a_tag_are_gathered(running) -> None:
    _, committer = running
    source = Recorder()
    for sequence in range(1, 60):
        committer.put(arrivals(source, TAG.energy(sequence)))
        time.sleep(0.005)
    wait_for(lambda: {n for _, first, last in acked(source) for n in range(first, last + 1)} == set(range(1, 60)))
    assert len(source.acks) <= 5


def test_a_full_disk_holds_the_acks_and_everything_goes_on_when_there_is_room(running) -> None:
    bench, committer = running
    source = Recorder()
    committer.submit(lambda: bench.store.db.execute("PRAGMA max_page_count = 1")).result(5)
    payloads = [TAG.energy(sequence) for sequence in range(1, 400)]
    for start in range(0, len(payloads), 100):
        committer.put(arrivals(source, *payloads[start : start + 100]))
    wait_for(lambda: committer.fault is not None, what="the fault")
    done = len(source.tokens)
    assert done < 399
    heartbeat = committer.heartbeat_s
    wait_for(lambda: committer.heartbeat_s > heartbeat, what="a heartbeat on a full disk")
    committer.submit(lambda: bench.store.db.execute("PRAGMA max_page_count = 1000000")).result(5)
    wait_for(lambda: len(source.tokens) == 399, what="the rest")
    assert committer.fault is None
    assert bench.store.db.execute("SELECT count(*), count(DISTINCT sequence) FROM readings").fetchone() == (399, 399)


def test_a_damaged_database_ends_the_committer_and_is_checked_at_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TAG)
    committer = Committer(config.Commit(), bench.store, bench.pipeline, bench.clock, SESSION)
    ended = threading.Event()
    committer.on_fatal = ended.set
    committer.start()

    def damage() -> None:
        bench.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = bench.store.db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'readings'").fetchone()[0]
        with bench.store.path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        bench.store.db.execute("PRAGMA shrink_memory")

    committer.submit(damage).result(5)
    committer.put(arrivals(Recorder(), TAG.energy(1)))
    assert ended.wait(10)
    committer.join(5)
    bench.store.close()
    assert list(tmp_path.glob("*.suspect"))


def test_stopping_commits_what_has_arrived(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TAG)
    committer = Committer(config.Commit(), bench.store, bench.pipeline, bench.clock, SESSION)
    source = Recorder()
    for sequence in range(1, 50):
        committer.put(arrivals(source, TAG.energy(sequence)))
    committer.start()
    committer.stop()
    committer.join(5)
    assert len(bench.rows("readings")) == 49
    assert acked(source) == [(1, 1, 49)]
    bench.store.close()


def test_more_runs_than_a_frame_holds_go_in_several(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TAG)
    source, book = Recorder(), AckBook(SESSION)
    tag = bench.roster.by_name[TAG.tag_id]
    book.note([(source, tag, 1, sequence) for sequence in range(1, 40, 2)])
    book.flush(0, float("inf"))
    assert acked(source) == [(1, n, n) for n in range(1, 40, 2)]
    assert max(len(sealed) for _, sealed in source.acks) <= frame.MAX_FRAME_BYTES
    bench.store.close()
