"""JSON answers of the API, faults included."""

from typing import Any

import msgspec
from starlette.responses import Response

JSON = "application/json"


def answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=JSON, headers={"Cache-Control": "no-store"})


def problem(status: int, code: str, message: str) -> Response:
    """`error` is a stable word for programs, `message` says to a person what happened and what to do."""
    response = answer({"error": code, "message": message}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
