"""The door for batches: token, bounds, hash, contract; then the writer; then the ack. Contract: wardtwin_sync.batch."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import zstandard
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wardtwin_cloud.answers import problem
from wardtwin_cloud.errors import BusyError, RefusedError, StoreError
from wardtwin_cloud.rows import Screened, screen
from wardtwin_cloud.tokens import owner_of
from wardtwin_sync.batch import CONTENT_TYPE, HASH_HEADER, MAX_BYTES, Ack, decode_batch, digest, encode
from wardtwin_sync.errors import SyncError

if TYPE_CHECKING:
    from wardtwin_cloud.agent import Agent

MAX_WINDOW = MAX_BYTES
"""zstd frames may ask for a window this large at most; the decoder's memory is bounded by it."""


async def post_batch(request: Request) -> Response:
    agent: Agent = request.app.state.agent
    gateway_id = request.path_params["gateway_id"]
    try:
        authorize(request.headers.get("authorization", ""), gateway_id, agent.fingerprints)
    except RefusedError as error:
        return problem(error.status, error.code, str(error))
    try:
        with agent.writer.room(_announced(request.headers)) as room:
            raw = await _body(request, agent.config.body_timeout_s)
            room.resize(len(raw))
            batch = check(raw, request.headers, request.path_params, agent.clock.now, agent.config.future_tolerance_s)
            outcome = await agent.writer.submit(batch)
    except RefusedError as error:
        agent.note_refusal(gateway_id, error.code)
        return problem(error.status, error.code, str(error))
    except BusyError as error:
        return _later(429, "busy", str(error), error.retry_after_s)
    except StoreError as error:
        return _later(503, "store", str(error), 5.0)
    ack = Ack(batch.gateway_id, batch.epoch, batch.sequence, outcome.value)
    return Response(encode(ack), media_type=CONTENT_TYPE)


def authorize(header: str, gateway_id: str, fingerprints: Mapping[str, str]) -> None:
    """Raise RefusedError: 401 without a token of ours, 403 with another gateway's."""
    scheme, _, token = header.partition(" ")
    owner = owner_of(token.strip(), fingerprints) if scheme.lower() == "bearer" else None
    if owner is None:
        raise RefusedError(401, "token", "no valid gateway token; make one with: wardtwin-cloud gateway add")
    if owner != gateway_id:
        raise RefusedError(403, "gateway", f"this token belongs to another gateway than {gateway_id}")


def _announced(headers: Mapping[str, str]) -> int:
    """The body's size as it comes, the bound where the sender does not say. Raise RefusedError when it is beyond."""
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() else MAX_BYTES
    if size > MAX_BYTES:
        raise RefusedError(413, "too_large", f"a batch has at most {MAX_BYTES} bytes")
    return size


async def _body(request: Request, timeout_s: float) -> bytes:
    """The uncompressed body, never holding more than MAX_BYTES of either form. Raise RefusedError."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("zstd", "identity"):
        raise RefusedError(415, "encoding", f"Content-Encoding {encoding[:32]} is not known here; use zstd")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise RefusedError(415, "type", f"Content-Type must be {CONTENT_TYPE}")
    chunks, size = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise RefusedError(413, "too_large", f"a batch has at most {MAX_BYTES} bytes")
                chunks.append(chunk)
    except TimeoutError:
        raise RefusedError(408, "slow", f"the body did not arrive within {timeout_s:g} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the connection ended within the body") from None
    body = b"".join(chunks)
    return unpack(body) if encoding == "zstd" else body


def unpack(body: bytes) -> bytes:
    """One zstd frame. A frame that says it is larger than MAX_BYTES is refused unread, one that lies is cut short."""
    try:
        announced = zstandard.frame_content_size(body)
        if announced > MAX_BYTES:
            raise RefusedError(413, "too_large", f"unpacked, the batch would have {announced} bytes; the bound is {MAX_BYTES}")
        if zstandard.get_frame_parameters(body).window_size > MAX_WINDOW:
            raise RefusedError(413, "too_large", f"the zstd window is larger than {MAX_WINDOW} bytes")
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(body) as reader:
            raw: bytes = reader.read(MAX_BYTES + 1)
    except zstandard.ZstdError as error:
        raise RefusedError(400, "zstd", f"not a zstd frame: {error}") from error
    if len(raw) > MAX_BYTES:
        raise RefusedError(413, "too_large", f"unpacked, the batch has more than {MAX_BYTES} bytes")
    return raw


def check(
    raw: bytes, headers: Mapping[str, str], path: Mapping[str, object], now: Callable[[], float], future_tolerance_s: float
) -> Screened:
    """The batch in `raw`, proven to be what its header and path say. Raise RefusedError."""
    fingerprint = digest(raw)
    if headers.get(HASH_HEADER, "").lower() != fingerprint:
        raise RefusedError(400, "hash", f"{HASH_HEADER} is not the SHA-256 of the body: it changed on the way, or is missing")
    try:
        batch = decode_batch(raw)
    except SyncError as error:
        raise RefusedError(400, "content", str(error)) from error
    except RecursionError:
        raise RefusedError(400, "content", "the body is nested too deeply") from None
    if (batch.gateway_id, batch.epoch, str(batch.sequence)) != (path["gateway_id"], path["epoch"], str(path["sequence"])):
        raise RefusedError(400, "key", "gateway, epoch and sequence of the path are not those of the batch")
    try:
        return screen(batch, raw, fingerprint, now(), future_tolerance_s)
    except RecursionError:
        raise RefusedError(400, "content", "the body is nested too deeply") from None


def _later(status: int, code: str, message: str, retry_after_s: float) -> Response:
    """Spread over 1 to 2 times the wait: a ward full of gateways must not come back in one second."""
    response = problem(status, code, message)
    response.headers["Retry-After"] = str(round(retry_after_s * (1 + random.random())))
    return response
