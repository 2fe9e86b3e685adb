"""`wardtwin bench ingest`: MQTT to durable commit, beside two ceilings of the same run: paho alone, SQLite alone.

Each stage drains the same number of sealed QoS 1 frames that were queued at the broker for a persistent session beforehand, so the
publisher is out of the picture. `durable` is the whole gateway: authenticate, decode, classify, commit with synchronous=FULL, ack.
"""

import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.progress import Progress

from wardtwin_board.broker import Mosquitto
from wardtwin_board.drain import drain_with_paho, publish, subscribe_once
from wardtwin_board.load import BrokerAccess, LoadTag
from wardtwin_tools.bench.crash import load_registry
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.output import console
from wardtwin_tools.stack import BrokerSettings, Stack, card_of

TAGS = 200
COMMIT_ROWS = 150
DATABASE = "gateway.db"
DRAIN_S = 120.0


async def ingest(messages: int, rounds: int) -> dict[str, Any]:
    """`rounds` times: queue, drain with paho, drain with the gateway; the medians are reported, `of_paho` is that of the ratios."""
    registry = load_registry(TAGS)
    cards = [card_of(registry, tag.tag_id) for tag in registry.tags]
    tags = [LoadTag(card.binding.tag_id, bytes.fromhex(card.key_hex)) for card in cards]
    paho: list[float] = []
    gateway: list[Drained] = []
    with tempfile.TemporaryDirectory(prefix="wardtwin-ingest-") as scratch, Progress(console=console, transient=True) as progress:
        task = progress.add_task("rounds", total=rounds * 3 + 1)
        workdir = Path(scratch)
        broker = Mosquitto(workdir / "broker", users={GATEWAY_ID: "gateway", "load": "load"}, tags={})
        await broker.start()
        access = BrokerAccess(broker.host, broker.port, str(broker.ca_pem), "load", "load")
        stack = Stack(workdir, registry, cards, BrokerSettings(broker.host, broker.port, GATEWAY_ID, "gateway", broker.ca_pem))
        try:
            stack.prepare()
            # both sessions must exist before the frames are published, so that the broker queues for them
            await stack.start()
            await _connected(stack)
            stack.gateway.stop()
            subscribe_once(access)
            for _ in range(rounds):
                frames = [(tag.tag_id, tag.make(n)) for n in range(messages // TAGS) for tag in tags]
                publish(access, frames)
                progress.advance(task)
                paho.append(drain_with_paho(access, len(frames)))
                progress.advance(task)
                gateway.append(await _drain_with_gateway(stack, workdir / "gateway", len(frames)))
                progress.advance(task)
            sqlite_per_s = _sqlite_alone(workdir / "ceiling.db", frames)
        finally:
            await stack.stop()
            broker.stop()
    return {
        "durable_per_s": round(median(drained.per_s for drained in gateway)),
        "paho_only_per_s": round(median(paho)),
        "sqlite_only_per_s": round(sqlite_per_s),
        "of_paho": round(median(drained.per_s / alone for drained, alone in zip(gateway, paho, strict=True)), 3),
        "cpu_us_per_message": round(median(drained.cpu_us for drained in gateway), 1),
        "rss_mb": round(max(drained.rss_mb for drained in gateway), 1),
        "messages": len(frames),
        "rounds": rounds,
    }


@dataclass(frozen=True)
class Drained:
    per_s: float
    cpu_us: float
    rss_mb: float


async def _connected(stack: Stack) -> None:
    deadline = time.monotonic() + 15
    while not (await stack.get_gateway())["transports"]["mqtt"]["ok"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the gateway did not reach the broker within 15 s")
        await asyncio.sleep(0.1)


async def _drain_with_gateway(stack: Stack, data_dir: Path, total: int) -> Drained:
    """Start the gateway, watch its own database fill, stop it. The rate runs from the first commit seen, so start-up is no part of it."""
    with closing(sqlite3.connect(f"file:{data_dir / DATABASE}?mode=ro", uri=True)) as database:

        def newest() -> int:
            return int(database.execute("SELECT coalesce(max(id), 0) FROM readings").fetchone()[0])

        before = newest()
        stack.gateway.start()
        process = psutil.Process(stack.gateway.pid)
        deadline = time.monotonic() + DRAIN_S
        while (first := newest()) == before:
            _check(stack, deadline)
            await asyncio.sleep(0.005)
        began, cpu_began, rss = time.monotonic(), process.cpu_times(), 0
        while (stored := newest()) < before + total:
            _check(stack, deadline)
            rss = max(rss, process.memory_info().rss)
            await asyncio.sleep(0.02)
        seconds, cpu = time.monotonic() - began, process.cpu_times()
    stack.gateway.stop()
    drained = stored - first
    used_s = cpu.user + cpu.system - cpu_began.user - cpu_began.system
    return Drained(drained / seconds, used_s / drained * 1e6, rss / 1e6)


def _check(stack: Stack, deadline: float) -> None:
    stack.gateway.check()
    if time.monotonic() > deadline:
        raise TimeoutError(f"the gateway did not drain the broker within {DRAIN_S:.0f} s")


def _sqlite_alone(path: Path, frames: list[tuple[str, bytes]]) -> float:
    """The same frames as rows with the same unique key, WAL and synchronous=FULL, at the gateway's commit size."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE frame (id INTEGER PRIMARY KEY, tag TEXT, boot INT, sequence INT, body BLOB, UNIQUE (tag, boot, sequence))"
    )
    rows = [(tag_id, 1, n, data) for n, (tag_id, data) in enumerate(frames)]
    began = time.monotonic()
    for start in range(0, len(rows), COMMIT_ROWS):
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT OR IGNORE INTO frame (tag, boot, sequence, body) VALUES (?, ?, ?, ?)", rows[start : start + COMMIT_ROWS]
        )
        connection.execute("COMMIT")
    seconds = time.monotonic() - began
    connection.close()
    return len(rows) / seconds
