"""The ASGI application: routes, security headers, faults as answers."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wardtwin_cloud import api
from wardtwin_cloud.agent import Agent
from wardtwin_cloud.answers import problem
from wardtwin_cloud.errors import RefusedError
from wardtwin_cloud.web import pages
from wardtwin_cloud.web.security import SecurityHeaders

log = logging.getLogger("wardtwin.cloud")


def create_app(make_agent: Callable[[], Agent], on_ready: Callable[[Agent], None] = lambda agent: None) -> Starlette:
    """`make_agent` opens the store when the server starts; it is closed when the server stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        agent = make_agent()
        app.state.agent = agent
        await agent.start()
        on_ready(agent)
        try:
            yield
        finally:
            await agent.stop()

    app = Starlette(
        routes=[*api.routes(), *pages.routes()],
        lifespan=lifespan,
        exception_handlers={RefusedError: _refused, HTTPException: _http, Exception: _failed},
    )
    app.add_middleware(SecurityHeaders)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return problem(error.status, error.code, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours. Starlette raises it again after the answer; it is logged here, with its place."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    if request.url.path.startswith("/api/"):
        return problem(500, "internal", "this is a fault of the cloud agent; its log says more")
    return pages.missing(request, 500)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/api/"):
        return problem(error.status_code, "http", error.detail)
    return pages.missing(request, error.status_code)
