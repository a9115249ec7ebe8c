"""Gateways for tests that sign in a lot: the demo's accounts, with hashes that are cheap to check.

``from tests.quick import make_gateway`` in a test module replaces the fixture of that name (and so the ``gateway`` made
with it) for that module.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from gateway.core.keys import parse_ring
from gateway.core.tickets import session_tickets
from tests.conftest import MakeGateway
from tests.harness import ALICE, MANAGER, ROOT, Gateway

__all__ = ["cheap_users", "keys_are_known", "make_gateway"]
_NOBODYS_KEY = "gAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def cheap_users(path: Path) -> Path:
    """Writes the demo's accounts to a file that may be changed; the same names and passwords."""
    lines = (ROOT / "config/users.yaml").read_text().splitlines(keepends=True)
    passwords = {user["username"]: user["password"] for user in (ALICE, MANAGER)}
    name = ""
    for number, line in enumerate(lines):
        if line.startswith("- username:"):
            name = line.split()[-1]
        elif line.startswith("  password:"):
            lines[number] = f"  password: {_CHEAP.hash(passwords[name])}\n"
    path.write_text("".join(lines))
    return path


async def keys_are_known(gateway: Gateway) -> None:
    """Until a gateway has heard which keys are in use, any cookie may be of this site: 503."""
    deadline, foreign = time.monotonic() + 10, session_tickets(parse_ring(_NOBODYS_KEY)).sign(bytes(32))
    while (await gateway.get("/orders", cookie=f"gw_session={foreign}")).status != 302:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.fixture
def make_gateway(make_gateway: MakeGateway, tmp_path: Path) -> MakeGateway:
    """As the other one, but signing in costs next to nothing."""
    users = [{"source": "file", "path": str(cheap_users(tmp_path / "users.yaml"))}]
    make: Callable[..., Any] = make_gateway

    async def quickly(upstream: str, **over: Any) -> Any:
        return await make(upstream, **{"users": users, **over})

    return quickly
