"""Batches to the cloud: made, persisted, sent, forgotten on ack; alarms first, raw readings last. The only door to httpx.

A batch gets its key and hash and is on the disk before it is first sent, so whatever happens the cloud sees the same bytes
under the same key. Reads the store by a connection of its own; everything that writes goes through the committer.
"""

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
import zstandard

from wardtwin_edge import outbox
from wardtwin_edge.clock import Clock
from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Cloud
from wardtwin_edge.database import connect, counters
from wardtwin_edge.errors import StoreError
from wardtwin_edge.store import Store
from wardtwin_sync import batch as sync
from wardtwin_sync.batch import CONTENT_TYPE, HASH_HEADER, MAX_ROWS, Ack, Batch, BatchKind, Command, StorageClass
from wardtwin_sync.errors import SyncError

_log = logging.getLogger(__name__)
RAW_EVERY_S = 0.6
RAW_PATIENCE_S = 8.0
RAW_ROWS = min(2_000, MAX_ROWS)
"""Of a batch of readings: 2,000 compress as well as 5,000 and take less memory while they are put together."""
_SOON_S = 0.05
"""Changes that come together go together."""
_BACK_OFF_S = (0.5, 60.0)
_LONGEST_WAIT_S = 600.0
_MAX_ANSWER_BYTES = 64 * 1024
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
URGENT = (BatchKind.ALARMS, BatchKind.STATES, BatchKind.PLACEMENTS)
ORDER = (*URGENT, BatchKind.SUMMARIES, BatchKind.READINGS, BatchKind.HEALTH)
_DROPPED = {f"dropped_{storage_class.value}": storage_class for storage_class in StorageClass}


@dataclass(frozen=True)
class Outcome:
    """What came of one POST. wait_s: what the cloud asked for, None when it did not."""

    kind: str  # stored, refused, denied, retry
    note: str = ""
    wait_s: float | None = None
    commands: tuple[Command, ...] = ()


class Uplink:
    def __init__(self, config: Cloud, gateway_id: str, store: Store, committer: Committer, clock: Clock) -> None:
        self._config = config
        self._gateway_id = gateway_id
        self._store = store
        self._committer = committer
        self._clock = clock
        self._urgent = asyncio.Event()
        self._reader: sqlite3.Connection
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._failures = 0
        self.state = "no cloud configured" if not config.url else "not yet reached"
        self.is_reached = False
        self.acked_rows = 0
        self.acked_batches = 0
        self.last_ack_at: float | None = None
        self.on_command: Callable[[Command], None] = lambda command: None

    def hurry(self) -> None:
        """Something urgent was committed. Call in the event loop's thread."""
        self._urgent.set()

    async def run(self) -> None:
        """Until cancelled. Without a cloud there is nothing to do: rows wait in the outbox, up to the disk's bound."""
        if not self._config.url:
            return
        self._reader = connect(self._store.path)
        headers = {"Authorization": f"Bearer {self._config.token}", "Accept-Encoding": "identity"}
        verify: Any = self._config.ca_file or True
        try:
            async with httpx.AsyncClient(
                base_url=self._config.url, headers=headers, timeout=_TIMEOUT, verify=verify, trust_env=False, follow_redirects=False
            ) as client:
                raw_at = 0.0
                while True:
                    now = time.monotonic()
                    # a burst is taken in first: readings wait for it, though not for ever
                    raw = now >= raw_at and (not self._committer.is_busy or now >= raw_at + RAW_PATIENCE_S)
                    wait = await self._round(client, raw) if raw or self._urgent.is_set() else None
                    if raw:
                        raw_at = time.monotonic() + RAW_EVERY_S
                    pause = max(RAW_EVERY_S / 4, raw_at - time.monotonic())
                    await self._wait(wait if wait is not None else pause, interruptible=wait is None)
        finally:
            self._reader.close()

    async def _wait(self, seconds: float, interruptible: bool) -> None:
        if not interruptible:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
            await asyncio.sleep(_SOON_S)

    async def _round(self, client: httpx.AsyncClient, raw: bool) -> float | None:
        """Send until nothing is left; return how long to wait after a failure, None after none."""
        self._urgent.clear()
        try:
            while True:
                made = await self._make(ORDER if raw else URGENT)
                waiting = await asyncio.to_thread(outbox.batches_to_send, self._reader, 8)
                if not waiting:
                    return None
                for sequence, digest, blob, rows in waiting:
                    wait = await self._deliver(client, sequence, digest, blob, rows)
                    if wait is not None:
                        return wait
                    if self._urgent.is_set() or (raw and self._committer.is_busy):
                        break  # alarms overtake a backlog
                if not made and not raw:
                    return None
                self._urgent.clear()
        except (StoreError, sqlite3.Error) as error:
            self.state = f"cannot use the outbox: {error}"
            return 1.0

    # -- making

    async def _make(self, kinds: tuple[BatchKind, ...]) -> int:
        """Turn what waits into persisted batches, one a kind at most; not while older ones still wait to be sent."""
        made = 0
        held = await asyncio.to_thread(outbox.kinds_waiting, self._reader)
        for kind in kinds:
            if kind in held:
                continue
            built = await asyncio.to_thread(self._build, kind)
            if built is not None:
                await asyncio.wrap_future(self._committer.submit(built))
                made += 1
        return made

    def _build(self, kind: BatchKind) -> Callable[[], None] | None:
        """Return the job that persists the next batch of `kind`. A job is done before the next is built, so sequences do not collide."""
        store, reader = self._store, self._reader
        if kind is BatchKind.READINGS:
            found = outbox.readings_to_send(reader, RAW_ROWS)
            row_ids = [row[0] for row in found]
            columns = _reading_columns(found)
        else:
            rest = outbox.rows_to_send(reader, kind, MAX_ROWS)
            row_ids = [row_id for row_id, _ in rest]
            columns = sync.columns_of([row for _, row in rest], kind)
        if not row_ids:
            return None
        counted = counters(reader)
        dropped = {storage_class: counted[name] for name, storage_class in _DROPPED.items() if name in counted}
        sequence = outbox.next_sequence(reader)
        now = self._clock.now()
        raw = sync.encode(Batch(sync.SCHEMA, self._gateway_id, store.epoch, sequence, kind, now, columns, dropped))
        digest, blob = sync.digest(raw), self._compressor.compress(raw)
        return lambda: outbox.keep_batch(store.db, sequence, kind, row_ids, digest, now, blob)

    # -- sending

    async def _deliver(self, client: httpx.AsyncClient, sequence: int, digest: str, blob: bytes, rows: int) -> float | None:
        outcome = await self._post(client, sequence, digest, blob)
        if outcome.kind == "stored":
            self._failures = 0
            self.is_reached, self.state = True, "connected"
            self.acked_batches += 1
            self.acked_rows += rows
            self.last_ack_at = self._clock.now()
            counted = {"cloud_quarantined": 1} if outcome.note == "quarantined" else None
            await asyncio.wrap_future(self._committer.submit(lambda: outbox.forget_batch(self._store.db, sequence, counted)))
            for command in outcome.commands:
                self.on_command(command)
            return None
        if outcome.kind == "refused":
            self.state = f"the cloud refused batch {sequence}: {outcome.note}"
            _log.error("%s; it is kept aside", self.state)
            await asyncio.wrap_future(self._committer.submit(lambda: outbox.refuse_batch(self._store.db, sequence, outcome.note)))
            return None
        self._failures += 1
        self.is_reached = False
        if self.state != outcome.note:
            self.state = outcome.note
            _log.warning("cloud: %s", outcome.note)
        return back_off_s(self._failures, outcome.wait_s, random.random())

    async def _post(self, client: httpx.AsyncClient, sequence: int, digest: str, blob: bytes) -> Outcome:
        url = f"/api/v1/gateways/{self._gateway_id}/batches/{self._store.epoch}/{sequence}"
        headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "zstd", HASH_HEADER: digest}
        try:
            async with client.stream("POST", url, content=blob, headers=headers) as response:
                body = b""
                async for chunk in response.aiter_raw():  # raw: an answer is never unpacked, so it cannot be a bomb
                    body += chunk
                    if len(body) > _MAX_ANSWER_BYTES:
                        return Outcome("retry", f"the cloud's answer is longer than {_MAX_ANSWER_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Outcome("retry", f"cannot reach the cloud: {type(error).__name__} {error}".strip())
        return judge(response.status_code, response.headers.get("Retry-After"), body, (self._gateway_id, self._store.epoch, sequence))


def judge(status: int, retry_after: str | None, body: bytes, key: tuple[str, str, int]) -> Outcome:
    """What an answer means for the batch `key`. Pure."""
    wait_s = retry_after_s(retry_after, time.time())
    if status == 200:
        try:
            ack: Ack = sync.decode_ack(body)
        except SyncError as error:
            return Outcome("retry", f"the cloud's ack cannot be read: {error}")
        if (ack.gateway_id, ack.epoch, ack.sequence) != key:
            return Outcome("retry", "the cloud acked another batch than the one sent")
        return Outcome("stored", ack.status, commands=ack.commands)
    said = body[:200].decode("utf-8", "replace").strip()
    if status in (400, 413, 422):
        return Outcome("refused", f"{status} {said}")
    if status in (401, 403):
        return Outcome("denied", f"the cloud does not accept this gateway's token ({status}); everything is kept", wait_s)
    return Outcome("retry", f"the cloud answered {status} {said}".strip(), wait_s)


def retry_after_s(text: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, in either of its forms; None when it is absent or nonsense."""
    if not text:
        return None
    try:
        return min(max(0.0, float(text)), _LONGEST_WAIT_S)
    except ValueError:
        pass
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), _LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):
        return None


def back_off_s(failures: int, asked_s: float | None, chance: float) -> float:
    """Full jitter over a doubling ceiling, so that a ward's gateways do not come back all at once; never less than was asked for."""
    low, high = _BACK_OFF_S
    ceiling = min(high, low * 2 ** min(failures, 10))
    return (asked_s or 0.0) + low / 2 + float(chance * ceiling)


def _reading_columns(found: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    measures = [msgspec.json.decode(row[7]) for row in found]
    columns: dict[str, list[Any]] = {name: [row[i] for row in found] for i, name in enumerate(sync.COLUMNS[BatchKind.READINGS], start=1)}
    for name in sorted({name for values in measures for name in values}):
        columns[name] = [values.get(name) for values in measures]
    return columns
