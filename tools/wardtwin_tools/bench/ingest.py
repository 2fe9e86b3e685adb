"""`wardtwin bench ingest`: MQTT to durable commit, beside two ceilings of the same run: paho alone, SQLite alone.

Each stage drains the same number of sealed QoS 1 frames that were queued at the broker for a persistent session beforehand, so the
publisher is out of the picture. `durable` is the whole gateway: authenticate, decode, classify, commit with synchronous=FULL, ack.
"""

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from wardtwin_board.broker import Mosquitto
from wardtwin_board.drain import drain_with_paho, publish, subscribe_once
from wardtwin_board.load import BrokerAccess, LoadTag
from wardtwin_tools.bench.crash import load_registry
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.output import console
from wardtwin_tools.stack import BrokerSettings, Stack, card_of

TAGS = 200
COMMIT_ROWS = 150


async def ingest(messages: int) -> dict[str, Any]:
    registry = load_registry(TAGS)
    cards = [card_of(registry, tag.tag_id) for tag in registry.tags]
    tags = [LoadTag(card.binding.tag_id, bytes.fromhex(card.key_hex)) for card in cards]
    with tempfile.TemporaryDirectory(prefix="wardtwin-ingest-") as scratch:
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
            console.print(f"queueing {messages} sealed frames of {TAGS} tags at the broker")
            frames = [(tag.tag_id, tag.make(n)) for n in range(messages // TAGS) for tag in tags]
            publish(access, frames)
            console.print("draining with paho alone")
            paho_per_s = drain_with_paho(access, len(frames))
            console.print("committing with SQLite alone")
            sqlite_per_s = _sqlite_alone(workdir / "ceiling.db", frames)
            console.print("draining with the gateway")
            durable = await _drain_with_gateway(stack, len(frames))
            return {
                "durable_per_s": round(durable["per_s"]),
                "paho_only_per_s": round(paho_per_s),
                "sqlite_only_per_s": round(sqlite_per_s),
                "of_paho": round(durable["per_s"] / paho_per_s, 3),
                "cpu_us_per_message": round(durable["cpu_us"], 1),
                "rss_mb": round(durable["rss_mb"], 1),
                "messages": len(frames),
            }
        finally:
            await stack.stop()
            broker.stop()


async def _connected(stack: Stack) -> None:
    deadline = time.monotonic() + 15
    while not (await stack.get_gateway())["transports"]["mqtt"]["ok"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the gateway did not reach the broker within 15 s")
        await asyncio.sleep(0.1)


async def _drain_with_gateway(stack: Stack, total: int) -> dict[str, float]:
    stack.gateway.start()
    process = psutil.Process(stack.gateway.pid)
    await stack.gateway.wait_ready()
    began = ended = time.monotonic()
    first = stored = 0
    cpu_began = process.cpu_times()
    rss = 0
    while stored < total and time.monotonic() - began < 300:
        status = await stack.get_gateway()
        now_stored = status["commit"]["committed"]
        now = time.monotonic()
        if first == 0 and now_stored:
            # count from the first look at which something was there: the start-up is not part of the rate
            first, began, cpu_began = now_stored, now, process.cpu_times()
        if now_stored != stored:
            stored, ended = now_stored, now
        rss = max(rss, process.memory_info().rss)
        await asyncio.sleep(0.1)
    cpu = process.cpu_times()
    seconds = max(ended - began, 1e-6)
    return {
        "per_s": (stored - first) / seconds,
        "cpu_us": (cpu.user + cpu.system - cpu_began.user - cpu_began.system) / max(stored - first, 1) * 1e6,
        "rss_mb": rss / 1e6,
    }


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
