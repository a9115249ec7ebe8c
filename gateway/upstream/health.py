"""Active checks: a GET now and then on a fresh connection. An endpoint that hangs, lies or flaps is bounded.

A check has ``timeout`` seconds in all, for an answer that drips, too. Its body is thrown away, and read no further than
64 KiB. It takes several verdicts in a row to change what is believed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import UpstreamError
from gateway.upstream.connection import Connection
from gateway.upstream.pool import Pool

MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class HealthRules:
    """``path`` is asked for every ``interval`` seconds. ``healthy`` good checks in a row bring a server back, ``unhealthy`` bad
    ones take it out; ``statuses``: from, to, both good."""

    path: str
    interval: float = 5.0
    timeout: float = 2.0
    healthy: int = 2
    unhealthy: int = 3
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)


class Opinion:
    """What is believed of a server: it is well until checks have said otherwise."""

    def __init__(self, rules: HealthRules) -> None:
        self._needed = {True: rules.healthy, False: rules.unhealthy}
        self._contrary = 0
        self.is_well = True

    def note(self, is_good: bool) -> bool:
        """A check. Has it changed the opinion?"""
        self._contrary = self._contrary + 1 if is_good != self.is_well else 0
        if self._contrary < self._needed[is_good]:
            return False
        self.is_well, self._contrary = is_good, 0
        return True


class _Check:
    """Listens to one answer; ``over`` gets its status, or 0."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._size = 0
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def answer_news(self) -> None:
        """What has come is counted and forgotten."""
        answer, error = self._connection.answer, self._connection.error
        answer.interim = []
        self._size += len(answer.take())
        if self.over.done():
            return
        if answer.head is not None and (answer.done or self._size > MAX_BODY):
            self.over.set_result(answer.head.status)
        elif error is not None:
            self.over.set_result(0)

    def upstream_slow(self, slow: bool) -> None:
        """A request of one line is never too much."""


async def check(pool: Pool, rules: HealthRules) -> bool:
    """One check: is the server well?"""
    try:
        async with asyncio.timeout(rules.timeout):
            status = await _ask(await pool.connect(rules.timeout), pool.address.authority, rules.path)
    except (TimeoutError, UpstreamError):
        return False
    return any(low <= status <= high for low, high in rules.statuses)


async def _ask(connection: Connection, host: str, path: str) -> int:
    listener = _Check(connection)
    connection.begin(listener, is_head=False)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: auth-gateway-health\r\nAccept: */*\r\nConnection: close"
    try:
        connection.write(f"{head}\r\n\r\n".encode())
        return await listener.over
    finally:
        connection.end(reusable=False)


async def watch(pool: Pool, rules: HealthRules, tell: Callable[[bool], None]) -> None:
    """Checks for as long as it is not cancelled, the first time at once; ``tell`` hears of changes."""
    opinion = Opinion(rules)
    while True:
        started = time.monotonic()
        if opinion.note(await check(pool, rules)):
            tell(opinion.is_well)
        await asyncio.sleep(max(0.0, started + rules.interval - time.monotonic()))
