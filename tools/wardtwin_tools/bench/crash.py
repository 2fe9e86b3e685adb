"""`wardtwin bench crash`: gateway, broker and cloud killed at random moments under load; then everything is counted."""

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.progress import Progress

from wardtwin_board.broker import Mosquitto
from wardtwin_board.load import BrokerAccess, Load, LoadTag
from wardtwin_sync.registry import SCHEMA, Building, Hospital, Registry, TagBinding
from wardtwin_sync.states import Transport
from wardtwin_tools.counts import count, settle
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.output import console
from wardtwin_tools.stack import BrokerSettings, Stack, card_of

TAGS = 20


def load_registry(tags: int = TAGS) -> Registry:
    """A registry of tags alone: what counts is their frames, not what they sit on."""
    hospital = Hospital("load", "Load", "UTC", (Building("b", "Building", ()),))
    bindings = tuple(TagBinding(f"10ad{n:08x}", "energy", Transport.MQTT, ward="ward-3") for n in range(1, tags + 1))
    return Registry(SCHEMA, hospital, (), bindings)


async def crash(kills: int, rate: float, seed: int | None = None) -> dict[str, Any]:
    """SIGKILL one of the three every 0.5 to 2 s, start it again up to a second later; settle; count."""
    chance = random.Random(seed)
    registry = load_registry()
    cards = [card_of(registry, tag.tag_id) for tag in registry.tags]
    counts = {"gateway": 0, "broker": 0, "cloud": 0}
    with tempfile.TemporaryDirectory(prefix="wardtwin-crash-") as scratch:
        workdir = Path(scratch)
        broker = Mosquitto(workdir / "broker", users={GATEWAY_ID: "gateway", "load": "load"}, tags={})
        await broker.start()
        settings = BrokerSettings(broker.host, broker.port, GATEWAY_ID, "gateway", broker.ca_pem)
        stack = Stack(workdir, registry, cards, settings)
        load = Load(
            [LoadTag(card.binding.tag_id, bytes.fromhex(card.key_hex)) for card in cards],
            BrokerAccess(broker.host, broker.port, str(broker.ca_pem), "load", "load"),
            rate,
        )
        try:
            stack.prepare()
            await stack.start()
            began = time.monotonic()
            load.start()
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("kills", total=kills)
                for _ in range(kills):
                    await asyncio.sleep(chance.uniform(0.5, 2.0))
                    victim = chance.choice(list(counts))
                    counts[victim] += 1
                    if victim == "broker":
                        broker.kill()
                    else:
                        (stack.gateway if victim == "gateway" else stack.cloud).kill()
                    await asyncio.sleep(chance.uniform(0.0, 1.0))
                    if victim == "broker":
                        await broker.start()
                    else:
                        (stack.gateway if victim == "gateway" else stack.cloud).start()
                    progress.advance(task)
            await asyncio.sleep(1.0)
            load.stop_generating()
            seconds = time.monotonic() - began
            await stack.cloud.wait_ready()
            await stack.gateway.wait_ready()
            deadline = time.monotonic() + 120
            while load.held and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            counted = count(await settle(stack), {"mqtt"})
            return {
                "sent": load.sent,
                "stored": counted.stored,
                "lost": load.sent - counted.stored,
                "duplicates": counted.duplicates,
                "held_by_tags": load.held,
                "rate_per_s": round(load.sent / seconds, 1),
                "kills": counts,
            }
        finally:
            load.close()
            await stack.stop()
            broker.stop()
