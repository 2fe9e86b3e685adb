"""Makes a tag known: its card to the gateway, its binding to the cloud. Never the key to the cloud, never in clear to afar."""

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx
import msgspec

from wardtwin_sync.registry import TagCard, encode
from wardtwin_tools.tag.errors import SettingsError

GATEWAY_PATH = "/api/tags"
CLOUD_PATH = "/api/v1/tags"
TIME_LIMIT_S = 10.0

Status = Literal["registered", "unreachable", "refused", "not asked"]


@dataclass(frozen=True)
class Outcome:
    """`refused`: it answered and said no, `detail` says why. `unreachable`: nobody answered; later may help."""

    status: Status
    detail: str = ""


NOT_ASKED = Outcome("not asked")


def with_gateway(url: str, token: str, card: TagCard, *, allow_plain_http: bool = False, client: httpx.Client | None = None) -> Outcome:
    """POST the card, key included. Raise SettingsError rather than send a key in clear over a network."""
    if not allow_plain_http and not _confidential(url):
        raise SettingsError(
            f"{url} would carry the tag's key in clear",
            "Run this on the gateway, or through `ssh -L 8080:127.0.0.1:8080 GATEWAY` with --gateway http://127.0.0.1:8080.",
        )
    return _post(url.rstrip("/") + GATEWAY_PATH, token, encode(card), client)


def with_cloud(url: str, token: str, card: TagCard, *, allow_plain_http: bool = False, client: httpx.Client | None = None) -> Outcome:
    """POST {"schema", "binding", "device"}: the card without its key."""
    if not allow_plain_http and not _confidential(url):
        raise SettingsError(f"{url} would carry the token in clear", "Use the cloud's https:// address.")
    body = msgspec.json.encode({"schema": card.schema, "binding": card.binding, "device": card.device})
    return _post(url.rstrip("/") + CLOUD_PATH, token, body, client)


def _post(url: str, token: str, body: bytes, client: httpx.Client | None) -> Outcome:
    try:
        with client or httpx.Client(timeout=TIME_LIMIT_S) as http:
            answer = http.post(url, content=body, headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    except httpx.InvalidURL as error:
        raise SettingsError(f"{url} is no address: {error}") from error
    except httpx.HTTPError as error:
        return Outcome("unreachable", f"{url}: {error or type(error).__name__}")
    if answer.is_success:
        return Outcome("registered", url)
    return Outcome("refused", f"{url} answered {answer.status_code}: {_words(answer)}")


def _words(answer: httpx.Response) -> str:
    """Our gateway says {"error", "advice"}, our cloud {"error": a word for programs, "message"}; a proxy in between says anything."""
    try:
        said = answer.json()
        names = ("message",) if said.get("message") else ("error", "advice")
        return "; ".join(str(said[name]) for name in names if said.get(name)) or answer.reason_phrase
    except (ValueError, TypeError, AttributeError):
        return answer.text[:200].strip() or answer.reason_phrase


def _confidential(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
