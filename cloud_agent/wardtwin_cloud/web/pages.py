"""The pages. Each reads the twin or the store, and hands plain values to its template."""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from wardtwin_cloud.agent import Agent
from wardtwin_cloud.api import agent_of, number
from wardtwin_cloud.rows import LATEST_TIME
from wardtwin_cloud.web.catalogue import catalogue
from wardtwin_cloud.web.places import Places
from wardtwin_cloud.web.rendering import data_block, render
from wardtwin_sync.states import DeviceState

PAGE_ROWS = 200
STATE_ORDER = ("in_use", "standby", "charging", "off", "fault", "unknown")
RANGES = {"15m": 900.0, "1h": 3600.0, "6h": 6 * 3600.0, "24h": 86400.0, "7d": 7 * 86400.0}


class Assets(StaticFiles):
    """Their address holds a hash of their content: they never change under it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def routes() -> list[BaseRoute]:
    return [
        Route("/", twin),
        Route("/devices", devices),
        Route("/devices/{device_id}", device),
        Route("/warnings", warnings),
        Route("/gateways", gateways),
        Mount("/static/{version}", Assets(packages=[("wardtwin_cloud.web", "assets")])),
    ]


async def twin(request: Request) -> Response:
    agent = agent_of(request)
    island = "twin.js" if agent.twin.registry is not None else "refresh.js"
    return render(request, "twin.html", "twin", island, snapshot_json=data_block(agent.snapshot()))


async def devices(request: Request) -> Response:
    """All devices by name, filtered by words and state, paged by the name and id of the last row shown."""
    agent = agent_of(request)
    query = request.query_params.get("q", "")[:100].strip()
    state = request.query_params.get("state", "")
    after = request.query_params.get("after", "")
    found = [row for row in device_rows(agent) if _matches(row, query, state)]
    found.sort(key=_key)
    rest = [row for row in found if _key(row) > after] if after else found
    rows = rest[:PAGE_ROWS]
    more = len(rest) - len(rows)
    filters = {name: value for name, value in (("q", query), ("state", state)) if value}
    return render(
        request, "devices.html", "devices", "refresh.js",
        rows=rows, total=len(found), known=bool(agent.twin.devices), query=query, state_filter=state, states=STATE_ORDER, paged=bool(after),
        first_href="/devices" + (f"?{urlencode(filters)}" if filters else ""),
        next_href=f"/devices?{urlencode({**filters, 'after': _key(rows[-1])})}" if more else "", next_count=min(more, PAGE_ROWS),
    )  # fmt: skip


def _key(row: dict[str, Any]) -> str:
    return f"{row['name'].casefold()}\x1f{row['device_id']}"


def device_rows(agent: Agent) -> list[dict[str, Any]]:
    places, now = Places(agent.twin.registry), agent.clock.now()
    rows = []
    for twin in agent.twin.devices.values():
        row = twin.view(agent.twin.stale(twin, now))
        rows.append(
            {
                **row,
                "room_name": places.room_name(row["room_id"]),
                "lost": row["stale"] or (row["state"] is DeviceState.UNKNOWN and row["reason"] == "silent"),
            }
        )
    return rows


def _matches(row: dict[str, Any], query: str, state: str) -> bool:
    if state and row["state"] != state:
        return False
    kind = catalogue().word("type", row["device_type"])
    text = " ".join(filter(None, (row["name"], row["device_id"], kind, row["room_name"], row["ward"]))).casefold()
    return all(word in text for word in query.casefold().split())


async def device(request: Request) -> Response:
    agent = agent_of(request)
    device_id = request.path_params["device_id"]
    twin = agent.twin.devices.get(device_id)
    if twin is None:
        return message(request, 404, catalogue().text("error.404_title"), catalogue().text("device.unknown", id=device_id))
    range_ = request.query_params.get("range", "1h")
    if range_ not in RANGES:
        range_ = "1h"
    places = Places(agent.twin.registry)
    view = twin.view(agent.twin.stale(twin, agent.clock.now()))
    data = {**view, "range_s": RANGES[range_], "range": range_, "stale_after_s": agent.limits.stale_after_s}
    return render(
        request, "device.html", "devices", "device.js",
        device=view, ranges=tuple(RANGES), range=range_, device_json=data_block(data),
        room_name=places.room_name(view["room_id"]), home_room_name=places.room_name(view["home_room_id"]),
        room_href=f"/?place=room:{quote(view['room_id'])}" if places.room_name(view["room_id"]) else "",
        crumbs=places.crumbs(view["room_id"]),
    )  # fmt: skip


async def warnings(request: Request) -> Response:
    agent = agent_of(request)
    places = Places(agent.twin.registry)
    before = number(request, "before", LATEST_TIME)
    stored = await agent.read(agent.store.alarms, before, PAGE_ROWS)
    earlier = [_warning(agent, places, row) for row in stored if row["cleared_at"] is not None]
    return render(
        request, "warnings.html", "warnings", "refresh.js",
        open=[_warning(agent, places, row) for row in agent.twin.open_alarms()], earlier=earlier,
        older_href=f"/warnings?before={stored[-1]['raised_at']}" if len(stored) == PAGE_ROWS else "",
    )  # fmt: skip


def _warning(agent: Agent, places: Places, row: dict[str, Any]) -> dict[str, Any]:
    """`where` and `href` of the subject: device:<id>, room:<id>, tag:<id> or gateway:<id>."""
    noun, _, id_ = row["subject"].partition(":")
    if noun == "tag":
        owner = agent.twin.owner_of_tag(id_)
        noun, id_ = owner if owner is not None else (noun, id_)
    if noun == "device" and id_ in agent.twin.devices:
        return {**row, "where": agent.twin.devices[id_].device.name, "href": f"/devices/{quote(id_)}"}
    if noun == "room" and places.room_name(id_):
        return {**row, "where": places.room_name(id_), "href": f"/?place=room:{quote(id_)}"}
    return {**row, "where": id_ or row["subject"], "href": "/gateways" if noun == "gateway" else ""}


async def gateways(request: Request) -> Response:
    agent = agent_of(request)
    now = agent.clock.now()
    views = []
    for id_, gateway in sorted(agent.twin.gateways.items()):
        view = gateway.view(agent.twin.silent(id_, now))
        views.append({**view, "let_go": [(name, count) for name, count in view["dropped"].items() if count]})
    return render(
        request, "gateways.html", "gateways", "refresh.js",
        gateways=views, quarantine=await agent.read(agent.store.quarantine, PAGE_ROWS),
        quarantine_count=await agent.read(agent.store.quarantine_count), unknown=agent.twin.strangers.view(),
    )  # fmt: skip


def missing(request: Request, status: int) -> Response:
    strings = catalogue()
    family = "error.404_" if status == 404 else "error."
    return message(request, status, strings.text(f"{family}title"), strings.text(f"{family}text"))


def message(request: Request, status: int, title: str, text: str) -> Response:
    return render(request, "message.html", "", "refresh.js", status, title=title, text=text)
