"""Reading: the twin, its live events, and the history of a device. docs/cloud.md describes each answer."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from wardtwin_cloud.answers import answer, problem
from wardtwin_cloud.errors import BusyError, RefusedError
from wardtwin_cloud.ingest import post_batch
from wardtwin_cloud.registration import post_tag
from wardtwin_cloud.rows import LATEST_TIME

if TYPE_CHECKING:
    from wardtwin_cloud.agent import Agent

MAX_ROWS = 10_000
MAX_POINTS = 4_000
_OURS = {"id", "epoch_number", "batch_sequence"}
"""Columns that order rows in the store."""


def routes() -> list[Route]:
    return [
        Route("/healthz", healthz),
        Route("/api/v1/gateways/{gateway_id}/batches/{epoch}/{sequence:int}", post_batch, methods=["POST"]),
        Route("/api/v1/tags", post_tag, methods=["POST"]),
        Route("/api/v1/twin", twin),
        Route("/api/v1/events", events),
        Route("/api/v1/sequences", sequences),
        Route("/api/v1/alarms", alarms),
        Route("/api/v1/quarantine", quarantine),
        Route("/api/v1/devices/{device_id}/states", device_states),
        Route("/api/v1/devices/{device_id}/readings", device_readings),
        Route("/api/v1/devices/{device_id}/summaries", device_summaries),
    ]


def agent_of(request: Request) -> "Agent":
    agent: Agent = request.app.state.agent
    return agent


def number(request: Request, name: str, default: float, *, low: float = 0.0, high: float = LATEST_TIME) -> float:
    """A query parameter as a number. Raise RefusedError (400) when it is none or out of range."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise RefusedError(400, "parameter", f"{name} must be a number between {low:g} and {high:g}")
    return value


async def healthz(request: Request) -> Response:
    agent = agent_of(request)
    return answer({"status": "ok", "now": agent.clock.now(), "pending_batches": agent.writer.pending, "live_clients": agent.hub.clients})


async def twin(request: Request) -> Response:
    return answer(agent_of(request).snapshot())


async def events(request: Request) -> Response:
    """Server-sent events. `Last-Event-ID`, or `?after=` on a page's first connection, resumes."""
    last_id = request.headers.get("last-event-id") or request.query_params.get("after")
    try:
        stream = agent_of(request).hub.stream(last_id)
    except BusyError as error:
        response = problem(503, "busy", str(error))
        response.headers["Retry-After"] = str(round(error.retry_after_s))
        return response
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def sequences(request: Request) -> Response:
    agent = agent_of(request)
    return answer({"sequences": await agent.read(agent.store.sequences, request.query_params.get("tag_id"))})


async def alarms(request: Request) -> Response:
    """Open and cleared, newest first; page on with `before` = the last row's `raised_at`."""
    agent = agent_of(request)
    before = number(request, "before", LATEST_TIME)
    limit = int(number(request, "limit", 200, low=1, high=MAX_ROWS))
    return answer({"alarms": [unpacked(row) for row in await agent.read(agent.store.alarms, before, limit)]})


async def quarantine(request: Request) -> Response:
    agent = agent_of(request)
    limit = int(number(request, "limit", 200, low=1, high=MAX_ROWS))
    return answer({"quarantine": await agent.read(agent.store.quarantine, limit)})


async def device_states(request: Request) -> Response:
    agent = agent_of(request)
    device_id = request.path_params["device_id"]
    start, end = span(request)
    rows = await agent.read(agent.store.states, device_id, start, end, MAX_ROWS)
    names = ("state", "since", "reason", "tag_id", "gateway_id")
    states = [{name: row[name] for name in names} for row in rows]
    for earlier, later in pairwise(states):
        earlier["until"] = later["since"]
    if states:
        states[-1]["until"] = None
    return answer({"device_id": device_id, "from": start, "to": end, "truncated": len(rows) >= MAX_ROWS, "states": states})


async def device_readings(request: Request) -> Response:
    """Rows as they came; with `points`, at most so many buckets of active_power_w (mean, min, max) for a chart."""
    agent = agent_of(request)
    device_id = request.path_params["device_id"]
    start, end = span(request)
    spans = await agent.read(agent.store.spans, f"device:{device_id}", start, end)
    tag_ids = sorted({tag.tag_id for tag in spans})
    points = int(number(request, "points", 0, low=0, high=MAX_POINTS))
    shown: dict[str, Any] = {"device_id": device_id, "tag_ids": tag_ids, "from": start, "to": end}
    if points:
        bucket_s = max((end - start) / points, 1.0)
        rows = await agent.read(agent.store.reading_buckets, spans, start, bucket_s)
        return answer({**shown, "bucket_s": bucket_s, "buckets": rows})
    limit = int(number(request, "limit", MAX_ROWS, low=1, high=MAX_ROWS))
    rows = await agent.read(agent.store.readings, spans, limit)
    return answer({**shown, "truncated": len(rows) >= limit, "readings": [unpacked(row) for row in rows]})


async def device_summaries(request: Request) -> Response:
    """A row a minute as it came; with `points`, buckets as in `device_readings`."""
    agent = agent_of(request)
    device_id = request.path_params["device_id"]
    start, end = span(request)
    subject = f"device:{device_id}"
    points = int(number(request, "points", 0, low=0, high=MAX_POINTS))
    if points:
        bucket_s = max((end - start) / points, 60.0)
        rows = await agent.read(agent.store.summary_buckets, subject, start, end, bucket_s)
        return answer({"device_id": device_id, "from": start, "to": end, "bucket_s": bucket_s, "buckets": rows})
    rows = await agent.read(agent.store.summaries, subject, start, end, MAX_ROWS)
    summaries = [unpacked(row) for row in rows]
    return answer({"device_id": device_id, "from": start, "to": end, "truncated": len(rows) >= MAX_ROWS, "summaries": summaries})


def span(request: Request) -> tuple[float, float]:
    """`from` and `to` as UTC seconds; everything when absent."""
    return number(request, "from", 0.0), number(request, "to", LATEST_TIME)


def unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the store as the API shows it: no internal id, no empty cells, JSON cells as objects."""
    shown = {name: cell for name, cell in row.items() if cell is not None and name not in _OURS}
    for name in ("detail", "seconds_by_state"):
        if name in shown:
            shown[name] = msgspec.json.decode(shown[name])
    return shown
