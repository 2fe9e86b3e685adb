"""Making a tag known, against servers that behave well and badly."""

import json

import httpx
import pytest

from wardtwin_tools.tag import provision, registration
from wardtwin_tools.tag.errors import SettingsError


def client(answer: httpx.Response | Exception, seen: list[httpx.Request]) -> httpx.Client:
    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(transport=httpx.MockTransport(serve))


def test_the_gateway_gets_the_card_and_the_cloud_all_but_the_key(made: provision.Made) -> None:
    seen: list[httpx.Request] = []
    outcome = registration.with_gateway("http://127.0.0.1:8080/", "t1", made.card, client=client(httpx.Response(201), seen))
    assert outcome.status == "registered"
    outcome = registration.with_cloud("https://twin.example", "t2", made.card, client=client(httpx.Response(200), seen))
    assert outcome.status == "registered"
    to_gateway, to_cloud = seen
    assert (to_gateway.method, str(to_gateway.url), to_gateway.headers["authorization"]) == (
        "POST",
        "http://127.0.0.1:8080/api/tags",
        "Bearer t1",
    )
    assert to_gateway.content == (made.folder.path / "card.json").read_bytes()
    assert (str(to_cloud.url), to_cloud.headers["authorization"]) == ("https://twin.example/api/v1/tags", "Bearer t2")
    assert made.card.key_hex.encode() not in to_cloud.content
    assert set(json.loads(to_cloud.content)) == {"schema", "binding", "device"}


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b"<html>", b"{}", b"\xff"])
def test_any_body_of_a_refusal_is_told_in_some_words(made: provision.Made, body: bytes) -> None:
    refused = registration.with_gateway("http://localhost:1", "t", made.card, client=client(httpx.Response(502, content=body), []))
    assert refused.status == "refused"
    assert not refused.detail.endswith(": ")


def test_a_no_is_refused_with_its_words_and_silence_is_unreachable(made: provision.Made) -> None:
    no = registration.with_gateway("http://localhost:1", "t", made.card, client=client(httpx.Response(401, text="token?"), []))
    assert (no.status, "401" in no.detail, "token?" in no.detail) == ("refused", True, True)
    advised = httpx.Response(400, json={"error": "another tag sits on PUMP-07", "advice": "take it off first"})
    no = registration.with_gateway("http://localhost:1", "t", made.card, client=client(advised, []))
    assert no.detail.endswith("answered 400: another tag sits on PUMP-07; take it off first")
    cloud = httpx.Response(400, json={"error": "registry", "message": "tag 240ac4e29526: room w9 is not in the hospital"})
    no = registration.with_cloud("http://localhost:1", "t", made.card, client=client(cloud, []))
    assert no.detail.endswith("answered 400: tag 240ac4e29526: room w9 is not in the hospital")
    for fault in (httpx.ConnectError("refused"), httpx.ReadTimeout("slow")):
        assert registration.with_gateway("http://[::1]:1", "t", made.card, client=client(fault, [])).status == "unreachable"


def test_a_redirect_is_not_followed_and_no_success(made: provision.Made) -> None:
    seen: list[httpx.Request] = []
    moved = httpx.Response(307, headers={"location": "http://elsewhere.example/"})
    assert registration.with_cloud("https://twin.example", "t", made.card, client=client(moved, seen)).status == "refused"
    assert len(seen) == 1


@pytest.mark.parametrize(
    "url", ["http://gateway.local", "http://10.0.0.5:8080", "http://localhost.evil.example", "http://127.0.0.1@evil.example", "gateway"]
)
def test_no_key_or_token_leaves_in_clear_over_a_network(made: provision.Made, url: str) -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(SettingsError, match="in clear"):
        registration.with_gateway(url, "t", made.card, client=client(httpx.Response(200), seen))
    with pytest.raises(SettingsError, match="in clear"):
        registration.with_cloud(url, "t", made.card, client=client(httpx.Response(200), seen))
    assert seen == []


def test_a_bench_may_say_that_its_network_is_its_own(made: provision.Made) -> None:
    outcome = registration.with_gateway("http://10.0.0.5", "t", made.card, allow_plain_http=True, client=client(httpx.Response(200), []))
    assert outcome.status == "registered"
