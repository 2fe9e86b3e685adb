"""What the cloud has of each tag, counted against what the tags gave: the one place where lost and duplicate are defined."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wardtwin_tools.stack import Stack


@dataclass(frozen=True)
class Counted:
    """Rows of the cloud by transport. `stored` counts distinct frames, `duplicates` the rows beyond."""

    stored: int
    duplicates: int


def count(sequences: list[dict[str, Any]], transports: set[str]) -> Counted:
    """`sequences`: the cloud's /api/v1/sequences rows."""
    rows = [row for row in sequences if row["transport"] in transports]
    stored = sum(row["distinct"] for row in rows)
    return Counted(stored, sum(row["count"] for row in rows) - stored)


def not_stored(tag_id: str, frames: Iterable[tuple[int, int]], sequences: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Which of a tag's `frames`, (boot id, sequence), the cloud does not have."""
    rows = {row["boot_id"]: row for row in sequences if row["tag_id"] == tag_id}
    return [(boot_id, sequence) for boot_id, sequence in frames if not _has(rows.get(boot_id), sequence)]


def _has(row: dict[str, Any] | None, sequence: int) -> bool:
    if row is None or not row["first"] <= sequence <= row["last"]:
        return False
    return not any(first <= sequence <= last for first, last in row["missing"])


async def settle(stack: Stack, quiet_s: float = 1.5, timeout_s: float = 60.0) -> list[dict[str, Any]]:
    """Wait until the gateway has nothing left to send and the cloud's rows stand still; return the cloud's sequences."""
    deadline = time.monotonic() + timeout_s
    last: list[dict[str, Any]] = []
    still_since = time.monotonic()
    while time.monotonic() < deadline:
        status = await stack.get_gateway()
        now: list[dict[str, Any]] = (await stack.get_cloud("/api/v1/sequences"))["sequences"]
        if now != last or any(status["outbox"].values()):
            last, still_since = now, time.monotonic()
        elif time.monotonic() - still_since >= quiet_s:
            break
        await asyncio.sleep(0.2)
    return last
