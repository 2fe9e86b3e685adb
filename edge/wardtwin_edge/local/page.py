"""The local page, /metrics and /api/status, and the two doors by which tags and the registry come in. One embedded server."""

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from wardtwin_edge import status
from wardtwin_edge.errors import ConfigError
from wardtwin_edge.local import metrics, words

if TYPE_CHECKING:
    from wardtwin_edge.gateway import Gateway

_log = logging.getLogger(__name__)
_MAX_BODY_BYTES = 4 * 1024 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TOKEN_FILE = "admin.token"
URL_FILE = "local.url"


class Page:
    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._token = admin_token(gateway.config.data_dir)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._templates = Environment(loader=PackageLoader("wardtwin_edge.local"), autoescape=True, undefined=StrictUndefined)
        self._templates.filters |= words.FILTERS

    async def start(self) -> None:
        """Serve; a port that is taken costs the page, not the gateway."""
        local = self._gateway.config.local
        try:
            sock = socket.create_server((local.host, local.port))
        except OSError as error:
            self._gateway.roster_faults.append(f"the local page cannot listen on {local.host}:{local.port}: {error.strerror}")
            _log.error("the local page cannot listen on %s:%s: %s", local.host, local.port, error)
            return
        url = f"http://{local.host}:{sock.getsockname()[1]}"
        (self._gateway.config.data_dir / URL_FILE).write_text(url + "\n", encoding="ascii")
        _log.info("local page at %s", url)
        settings = uvicorn.Config(self._app(), log_level="warning", access_log=False, lifespan="off", ws="none")
        settings.timeout_graceful_shutdown = 2
        self._server = _Server(settings)
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]))

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/metrics", self._metrics),
                Route("/api/status", self._status),
                Route("/api/tags", self._add_tag, methods=["POST"]),
                Route("/api/registry", self._put_registry, methods=["PUT"]),
                Mount("/static", StaticFiles(packages=[("wardtwin_edge.local", "static")])),
            ]
        )

    async def _index(self, request: Request) -> Response:
        facts = await status.collect(self._gateway)
        template = "facts.html" if "part" in request.query_params else "index.html"
        return HTMLResponse(self._templates.get_template(template).render(facts=facts), headers=_HEADERS)

    async def _status(self, request: Request) -> Response:
        return _json(await status.collect(self._gateway))

    async def _metrics(self, request: Request) -> Response:
        facts = await status.collect(self._gateway)
        return Response(metrics.exposition(facts), media_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def _add_tag(self, request: Request) -> Response:
        raw = await self._admitted(request)
        if isinstance(raw, Response):
            return raw
        try:
            card = await asyncio.to_thread(self._gateway.files.add_card, raw)
        except ConfigError as error:
            return _json({"error": str(error), "advice": error.advice}, 400)
        await self._gateway.reload_roster()
        return _json({"tag_id": card.binding.tag_id}, 201)

    async def _put_registry(self, request: Request) -> Response:
        raw = await self._admitted(request)
        if isinstance(raw, Response):
            return raw
        try:
            known = await asyncio.to_thread(self._gateway.files.put_registry, raw)
        except ConfigError as error:
            return _json({"error": str(error), "advice": error.advice}, 400)
        await self._gateway.reload_roster()
        return _json({"rooms": len(known.rooms()), "devices": len(known.devices), "tags": len(known.tags)})

    async def _admitted(self, request: Request) -> bytes | Response:
        """The body of a request that carries the admin token, or the answer to one that does not."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._token.encode()):
            return _json({"error": "not admitted", "advice": f"send the token in {TOKEN_FILE} of the data directory as Bearer"}, 401)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                return _json({"error": "too large"}, 413)
        return body


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the gateway."""
        yield


def admin_token(data_dir: Path) -> str:
    """Made once, readable by the owner alone."""
    path = data_dir / TOKEN_FILE
    with contextlib.suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    return path.read_text(encoding="ascii").strip()


def _json(value: Any, code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=code, media_type="application/json", headers=_HEADERS)
