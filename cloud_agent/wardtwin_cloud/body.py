"""A request's body, within a bound of bytes and time."""

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from wardtwin_cloud.errors import RefusedError

JSON = "application/json"


def announced(headers: Mapping[str, str], max_bytes: int) -> int:
    """The body's size as it comes, the bound where the sender does not say. Raise RefusedError (413) when it is beyond."""
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() else max_bytes
    if size > max_bytes:
        raise too_large(max_bytes)
    return size


async def read_json_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """The bytes as they come, still packed if they are. Raise RefusedError: 400, 408, 413, 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise RefusedError(415, "type", f"Content-Type must be {JSON}")
    chunks, size = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise RefusedError(408, "slow", f"the body did not arrive within {timeout_s:g} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the connection ended within the body") from None
    return b"".join(chunks)


def too_large(max_bytes: int) -> RefusedError:
    return RefusedError(413, "too_large", f"the body has more than {max_bytes} bytes")
