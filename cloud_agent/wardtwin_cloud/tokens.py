"""Tokens: shown once, stored as a hash. A token has 256 random bits, so a fast hash is enough.

Two kinds, each good for one door: a gateway's for its batches, a registrar's for making tags known.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

GATEWAY_PREFIX = "wtg_"
REGISTRAR_PREFIX = "wtr_"
"""Prefixes tell people and refusals which kind a token is; what it may do is decided by whose hash it has."""


def new_token(prefix: str = GATEWAY_PREFIX) -> str:
    return prefix + secrets.token_urlsafe(32)


def fingerprint(token: str) -> str:
    """What is stored of a token: SHA-256 as hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def bearer(header: str) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def owner_of(token: str | None, fingerprints: Mapping[str, str]) -> str | None:
    """Whose `token` is, of {name: fingerprint}. Looks at every entry, whichever matches."""
    if token is None:
        return None
    offered = fingerprint(token)
    owner = None
    for name, stored in fingerprints.items():
        if hmac.compare_digest(stored, offered):
            owner = name
    return owner
