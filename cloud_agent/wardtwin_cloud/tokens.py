"""Gateway tokens: shown once, stored as a hash. A token has 256 random bits, so a fast hash is enough."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

PREFIX = "wtg_"


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def fingerprint(token: str) -> str:
    """What is stored of a token: SHA-256 as hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def owner_of(token: str, fingerprints: Mapping[str, str]) -> str | None:
    """The gateway `token` belongs to, of {gateway_id: fingerprint}. Looks at every entry, whichever matches."""
    offered = fingerprint(token)
    owner = None
    for gateway_id, stored in fingerprints.items():
        if hmac.compare_digest(stored, offered):
            owner = gateway_id
    return owner
