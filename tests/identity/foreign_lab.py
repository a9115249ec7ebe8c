"""A foreign issuer on a real socket, and what knows it: fixtures of the tests of foreign tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.core.foreign_tokens import ForeignIssuer
from gateway.core.jwt import BadToken
from gateway.identity.foreign_keys import ForeignKeys, Pace
from gateway.identity.foreign_tokens import ForeignTokens, Trusted
from gateway.store.bearers import Bearer
from tests.identity.token_issuer import AUDIENCE, TokenIssuer

ALL = frozenset({"EdDSA", "ES256", "RS256"})
QUICK = Pace(every=0.05, again=0.05)
SELDOM = Pace(every=600, again=600)


@pytest.fixture
async def issuer() -> AsyncIterator[TokenIssuer]:
    running = await TokenIssuer().start()
    yield running
    await running.stop()


class Lab:
    """What knows one issuer; ``watched`` runs the task that the gateway runs."""

    def __init__(self, issuer: TokenIssuer, pace: Pace, algorithms: frozenset[str] = ALL, **more: Any) -> None:
        self.keys = ForeignKeys(issuer.url, algorithms, pace)
        self.now = 0.0
        reading = ForeignIssuer(issuer.issuer, AUDIENCE, algorithms, **more)
        self.tokens = ForeignTokens([Trusted(reading, self.keys)], clock=lambda: time.time() + self.now)
        self._task: asyncio.Task[None] | None = None

    def watch(self) -> None:
        self._task = asyncio.create_task(self.tokens.watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.tokens.close()

    async def verdict(self, token: str) -> str:
        """As the gate asks: first without awaiting. The user's name, or what is wrong."""
        found = self.tokens.known(token)
        return told(await self.tokens.find(token) if found is None else found)


def told(found: Bearer | BadToken | None) -> str:
    if found is None:
        return "has to be asked"
    return found.event if isinstance(found, BadToken) else found.user.username


MakeLab = Callable[..., Awaitable[Lab]]


@pytest.fixture
async def lab(issuer: TokenIssuer) -> AsyncIterator[MakeLab]:
    made: list[Lab] = []

    async def make(pace: Pace = SELDOM, *args: Any, is_watched: bool = True, **more: Any) -> Lab:
        one = Lab(issuer, pace, *args, **more)
        made.append(one)
        if is_watched:
            one.watch()
            await until(lambda: one.keys.are_believed() or one.keys.is_away)
        return one

    yield make
    for one in made:
        await one.close()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
