"""Templates with their strings, times and numbers. One door for Jinja2."""

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from wardtwin_cloud.agent import Agent
from wardtwin_cloud.web import times
from wardtwin_cloud.web.catalogue import catalogue

RAIL = (("twin", "/"), ("devices", "/devices"), ("warnings", "/warnings"), ("gateways", "/gateways"))


@cache
def assets_version() -> str:
    """A hash over all assets: part of their address, so that browsers may keep them for ever."""
    digest = hashlib.sha256()

    def walk(folder: Traversable) -> None:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                walk(entry)
            else:
                digest.update(entry.name.encode() + entry.read_bytes())

    walk(files("wardtwin_cloud.web") / "assets")
    return digest.hexdigest()[:12]


@cache
def environment() -> Environment:
    env = Environment(
        loader=PackageLoader("wardtwin_cloud.web", "templates"),
        autoescape=select_autoescape(("html", "svg")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["power"] = power
    env.filters["figure"] = figure
    env.filters["whole"] = whole
    env.filters["bytes"] = in_bytes
    return env


def power(value: float) -> str:
    """Watts: one decimal below 100. The same in js/format.js."""
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}".replace(",", "\u202f")


def figure(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}".replace(",", "\u202f")


def whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def in_bytes(value: int | None) -> str:
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000  # type: ignore[assignment]
    raise AssertionError


def data_block(value: Any) -> Markup:
    """JSON for a script element of type application/json: nothing in it can end the element."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def zone_of(agent: Agent) -> ZoneInfo:
    registry = agent.twin.registry
    return ZoneInfo(registry.hospital.time_zone if registry is not None else "UTC")


def clock_reader(agent: Agent) -> Callable[[float], str]:
    zone, now = zone_of(agent), agent.clock.now()
    return lambda at: times.clock(at, zone, now)


def render(request: Request, template: str, page: str, island: str, status: int = 200, **values: Any) -> Response:
    """`page` is the rail's item that is current, `island` the script of the page."""
    agent: Agent = request.app.state.agent
    strings = catalogue()
    zone = zone_of(agent)
    hospital = agent.twin.registry.hospital if agent.twin.registry is not None else None
    context = {
        "page": page,
        "language": strings.language,
        "time_zone": zone.key,
        "now": agent.clock.now(),
        "speed": agent.clock.speed,
        "last_id": agent.hub.last_id,
    }
    html = (
        environment()
        .get_template(template)
        .render(
            t=strings.text,
            word=strings.word,
            clock=clock_reader(agent),
            iso=lambda at: times.iso(at, zone),
            asset=lambda name: f"/static/{assets_version()}/{name}",
            language=strings.language,
            page=page,
            island=island,
            rail=_rail(agent),
            hospital_name=hospital.name if hospital is not None else "",
            strings_json=data_block(strings.strings),
            context_json=data_block(context),
            **values,
        )
    )
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def _rail(agent: Agent) -> list[dict[str, Any]]:
    twin, now = agent.twin, agent.clock.now()
    severities = {row["severity"] for row in twin.alarms.values()}
    silent = sum(twin.silent(id_, now) for id_ in twin.gateways)
    counts = {"twin": (0, ""), "devices": (len(twin.devices), ""), "gateways": (len(twin.gateways), "caution" if silent else "")}
    counts["warnings"] = (len(twin.alarms), "critical" if "critical" in severities else "caution" if severities else "")
    return [{"page": page, "href": href, "count": counts[page][0], "tone": counts[page][1]} for page, href in RAIL]
