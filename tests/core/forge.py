"""Tokens as an attacker or a careless issuer would make them: any header, any claims, signed with any key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import serialization

from gateway.core.access_tokens import AccessTokens
from gateway.core.identity import Identity
from gateway.core.jwk import key_from_jwk
from gateway.core.jwt import ALGORITHMS, Algorithm, BadToken, sign
from gateway.core.keys import b64url
from gateway.core.signing_keys import SigningKey, SigningKeys, State, new_signing_key

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://site.test", "backends"
ALICE = Identity("u-1", "alice", "Alice 李", "alice@site.test", "mgr", ("staff", "a,b"), "file", 3)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "u-1",
    "preferred_username": "alice",
    "name": "Alice 李",
    "email": "alice@site.test",
    "usertype": "mgr",
    "groups": ["staff", "a,b"],
    "src": "file",
    "gen": 3,
    "client_id": "page",
    "scope": "read write",
    "sid": "s-1",
    "jti": "j-1",
    "iat": NOW - 60,
    "exp": NOW + 240,
}
_numbers = count(1)


@cache
def key(algorithm: Algorithm, state: State = "active", number: int = 0) -> SigningKey:
    """The same for the same question; made once, as RSA takes its time."""
    return new_signing_key(algorithm, state, "2026-11-20T12:00:00Z")


@cache
def ring(active: Algorithm = "EdDSA") -> SigningKeys:
    """One key of each algorithm; this one signs, the others are old."""
    others = (key(algorithm, "old") for algorithm in ALGORITHMS if algorithm != active)
    return SigningKeys([key(active), *others])


def header_of(signer: SigningKey, **changes: Any) -> dict[str, Any]:
    """As ours, with changes."""
    return {"typ": "at+jwt", "alg": signer.algorithm, "kid": signer.kid, **changes}


def part(content: Any) -> str:
    """Bytes and texts as they are, anything else as JSON; base64url."""
    if isinstance(content, bytes):
        return b64url(content)
    return b64url(content.encode() if isinstance(content, str) else json.dumps(content).encode())


def forged(header: Any, claims: Any, signature: bytes | Callable[[bytes], bytes]) -> str:
    """A token of these parts; ``signature`` may be what makes one."""
    message = f"{part(header)}.{part(claims)}"
    return f"{message}.{b64url(signature(message.encode()) if callable(signature) else signature)}"


def token(signer: SigningKey | None = None, **changes: Any) -> str:
    """A good one, with claims changed; ``...`` leaves a claim out."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return sign(claims, signer or key("EdDSA"), "at+jwt")


def entropy(size: int) -> bytes:
    """Never the same twice."""
    return next(_numbers).to_bytes(size, "big")


class Clock:
    """Stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tokens(keys: SigningKeys | None = None, clock: Clock | None = None, **options: Any) -> AccessTokens:
    """Ours, over a ring that has every algorithm."""
    made = keys or ring()
    options = {"clock": clock or Clock(), "entropy": entropy, **options}
    return AccessTokens(lambda: made, ISSUER, AUDIENCE, **options)


def event_of(ask: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Why this is refused; a test fails where it is not."""
    try:
        found = ask(*arguments, **options)
    except BadToken as error:
        return error.event
    raise AssertionError(f"not refused: {found}")


def public_pem(signer: SigningKey) -> bytes:
    """The public key as it stands in files: what somebody would sign with HS256 (P74)."""
    jwk: Mapping[str, Any] | None = signer.public_jwk()
    assert jwk
    public = key_from_jwk(jwk, signer.algorithm)
    found: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found
