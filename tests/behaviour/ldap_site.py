"""Gateways in front of a directory, and how to sign in there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientResponse

from tests.harness import ROOT, Gateway
from tests.identity.ldap_lab import PASSWORD

ALICE = {"username": "alice", "password": PASSWORD}
BOB = {"username": "bob", "password": PASSWORD}
CAROL = {"username": "carol", "password": PASSWORD}
FILE = {"source": "file", "path": str(ROOT / "config/users.yaml")}
DISABLED = {"disabled_filter": "(employeeType=disabled)"}
Make = Callable[..., Awaitable[Gateway]]


async def sign_in(gateway: Gateway, user: dict[str, Any]) -> ClientResponse:
    return await gateway.post("/auth/login", json=user)


async def user_of(gateway: Gateway, user: dict[str, Any]) -> dict[str, Any]:
    """Who signed in."""
    response = await sign_in(gateway, user)
    answer = await response.json()
    assert response.status == 200, answer
    found: dict[str, Any] = answer["user"]
    return found


async def is_away(gateway: Gateway, user: dict[str, Any] = ALICE) -> bool:
    """Does the gateway say that it cannot know, and when to come back?"""
    response = await sign_in(gateway, user)
    answer = await response.json()
    if response.status == 503:
        assert answer["reason"] == "users_unavailable"
        assert "Retry-After" in response.headers
        return True
    assert response.status == 200, answer
    return False


async def becomes(question: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not await question():
        assert time.monotonic() < deadline, "it did not become so"
        await asyncio.sleep(0.05)
