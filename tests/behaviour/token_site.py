"""Gateways that issue tokens, and how scripts ask for them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Protocol

from aiohttp import ClientResponse

from gateway.core.signing_keys import dump_signing_keys, new_signing_key
from tests.harness import ALICE, Gateway

CLIENT = ("orders", "orders-secret-0123456789")
Body = dict[str, Any]


class MakeSite(Protocol):
    """``await make_site(lifetime=60, …)``: a gateway with tokens; ``over``: other sections of the settings."""

    async def __call__(self, over: dict[str, Any] | None = None, **tokens: Any) -> Gateway: ...


def write_keys(folder: Path) -> Path:
    """A file with one signing key, as ``gateway secrets`` makes it."""
    path = folder / "signing-keys.json"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(dump_signing_keys([new_signing_key("EdDSA", "active", "2026-01-01T00:00:00Z")]))
    return path


def token_settings(folder: Path, **tokens: Any) -> dict[str, Any]:
    """Everything on."""
    clients = [{"id": CLIENT[0], "secret": CLIENT[1]}]
    return {"keys_file": str(write_keys(folder)), "password_grant": True, "clients": clients, **tokens}


async def grant(gateway: Gateway, user: Body = ALICE, **kwargs: Any) -> Body:
    """What a script gets for a username and password."""
    answer = await gateway.post("/auth/token", json={"grant_type": "password", **user}, **kwargs)
    assert answer.status == 200, await answer.text()
    body: Body = await answer.json()
    return body


async def refresh(gateway: Gateway, token: str) -> ClientResponse:
    """Asks for the next pair."""
    return await gateway.post("/auth/token/refresh", data={"refresh_token": token})


def basic(name: str, secret: str) -> dict[str, str]:
    """The header of a client."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


async def introspect(gateway: Gateway, token: str) -> Body:
    """What a token is worth there."""
    answer = await gateway.post("/auth/token/introspect", data={"token": token}, headers=basic(*CLIENT))
    assert answer.status == 200, await answer.text()
    body: Body = await answer.json()
    return body


async def oauth_error(answer: ClientResponse) -> tuple[int, str, str]:
    """Status, ``error``, ``reason`` of an answer that has all that our errors have."""
    body = await answer.json()
    assert {"ret", "msg", "reason", "request_id", "error", "error_description"} <= body.keys(), body
    assert body["ret"] == (1 if body["reason"] == "bad_credentials" else answer.status)
    assert answer.headers["Cache-Control"] == "no-store"
    assert body["error_description"].isascii()
    assert "Set-Cookie" not in answer.headers
    return answer.status, body["error"], body["reason"]
