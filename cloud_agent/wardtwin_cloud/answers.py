"""JSON answers of the API, faults included."""

import random
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


def later(status: int, code: str, message: str, retry_after_s: float) -> Response:
    """Spread over 1 to 2 times the wait: a ward full of gateways must not come back in one second."""
    response = problem(status, code, message)
    response.headers["Retry-After"] = str(round(retry_after_s * (1 + random.random())))
    return response
