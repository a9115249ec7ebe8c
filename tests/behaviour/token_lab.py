"""Gateways that issue tokens, for tests: keys in a file, a token of whoever is signed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.core.signing_keys import Algorithm, SigningKey, dump_signing_keys, new_signing_key
from tests.harness import ALICE, Gateway

AT = "2026-01-01T00:00:00Z"


def write_keys(folder: Path, *keys: SigningKey, algorithm: Algorithm = "EdDSA") -> Path:
    """The file of signing keys, private as it has to be; without ``keys`` one that is active."""
    path = folder / "signing_keys.json"
    path.touch(0o600)
    path.write_text(dump_signing_keys(keys or (new_signing_key(algorithm, "active", AT),)), encoding="utf-8")
    return path


def with_tokens(folder: Path, **over: Any) -> dict[str, Any]:
    """The section ``tokens``."""
    path = folder / "signing_keys.json"
    return {"keys_file": str(path if path.exists() else write_keys(folder)), **over}


async def token_of(gateway: Gateway, cookie: str) -> str:
    """An access token from a session."""
    response = await gateway.post("/auth/token", cookie=cookie, json={})
    assert response.status == 200, await response.text()
    return str((await response.json())["access_token"])


async def new_token(gateway: Gateway, user: dict[str, Any] = ALICE) -> tuple[str, str]:
    """The Cookie header of a new session, and an access token from it."""
    cookie = await gateway.sign_in(user)
    return cookie, await token_of(gateway, cookie)


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}
