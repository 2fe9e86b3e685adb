"""placeholder"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route


def routes() -> list[Route]:
    return [Route("/", twin)]


async def twin(request: Request) -> Response:
    return HTMLResponse("<h1>twin</h1>")


def missing(request: Request, status: int) -> Response:
    return HTMLResponse("missing", status)
