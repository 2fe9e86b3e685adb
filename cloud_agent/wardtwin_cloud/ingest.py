"""The door for batches: token, bounds, hash, contract; then the writer; then the ack. Contract: wardtwin_sync.batch."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import zstandard
from starlette.requests import Request
from starlette.responses import Response

from wardtwin_cloud.answers import later, problem
from wardtwin_cloud.body import announced, read_json_body
from wardtwin_cloud.errors import BusyError, RefusedError, StoreError
from wardtwin_cloud.rows import Screened, screen
from wardtwin_cloud.tokens import REGISTRAR_PREFIX, bearer, owner_of
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
        with agent.writer.room(announced(request.headers, MAX_BYTES)) as room:
            raw = await _body(request, agent.config.body_timeout_s)
            room.resize(len(raw))
            batch = check(raw, request.headers, request.path_params, agent.clock.now, agent.config.future_tolerance_s)
            outcome = await agent.writer.submit(batch)
    except RefusedError as error:
        agent.note_refusal(gateway_id, error.code)
        return problem(error.status, error.code, str(error))
    except BusyError as error:
        return later(429, "busy", str(error), error.retry_after_s)
    except StoreError as error:
        return later(503, "store", str(error), 5.0)
    ack = Ack(batch.gateway_id, batch.epoch, batch.sequence, outcome.value)
    return Response(encode(ack), media_type=CONTENT_TYPE)


def authorize(header: str, gateway_id: str, fingerprints: Mapping[str, str]) -> None:
    """Raise RefusedError: 401 without a token of ours, 403 with another gateway's or one to register tags."""
    token = bearer(header)
    owner = owner_of(token, fingerprints)
    if owner is None and (token or "").startswith(REGISTRAR_PREFIX):
        raise RefusedError(403, "gateway", "this token registers tags; sending needs the gateway's own: wardtwin-cloud gateway add")
    if owner is None:
        raise RefusedError(401, "token", "no valid gateway token; make one with: wardtwin-cloud gateway add")
    if owner != gateway_id:
        raise RefusedError(403, "gateway", f"this token belongs to another gateway than {gateway_id}")


async def _body(request: Request, timeout_s: float) -> bytes:
    """The uncompressed body, never holding more than MAX_BYTES of either form. Raise RefusedError."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("zstd", "identity"):
        raise RefusedError(415, "encoding", f"Content-Encoding {encoding[:32]} is not known here; use zstd")
    body = await read_json_body(request, MAX_BYTES, timeout_s)
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
