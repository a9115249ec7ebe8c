"""From a host's name to a connection: looked up again and again, IPv6 and IPv4, whichever answers first.

A look-up that fails changes nothing: what was known stays known. uvloop has no happy eyeballs, so they are here (RFC 8305).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any, Protocol, TypeVar

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_DELAY = 0.25  # RFC 8305 §5: Connection Attempt Delay
_MOMENT = 1.0  # seconds in which a second look-up would say the same


class Abortable(Protocol):
    """A connection."""

    def abort(self) -> None:
        """Closes it."""


C = TypeVar("C", bound=Abortable)


def is_address(host: str) -> bool:
    """Is there nothing to look up?"""
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer.

    :raises OSError, UnicodeError: there is none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Names:
    """The addresses of one host, at most ``seconds`` old while anybody asks :meth:`is_due`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        seconds: float = 30.0,
        resolve: Resolve = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._seconds = seconds
        self._resolve = resolve
        self._clock = clock
        self._asked = 0.0
        self._looking: asyncio.Task[Sequence[str]] | None = None
        self.known: Sequence[str] = ()

    def is_due(self) -> bool:
        """Is what is known too old, and nobody is looking?"""
        return bool(self.known) and self._looking is None and self._clock() - self._asked >= self._seconds

    async def addresses(self) -> Sequence[str]:
        """What is known; looked up only when nothing is.

        :raises OSError, UnicodeError: no such host.
        """
        return self.known or await self._look()

    async def renew(self) -> Sequence[str]:
        """What is true now, as far as can be found out."""
        if self.known and self._clock() - self._asked < _MOMENT:
            return self.known
        with suppress(OSError, UnicodeError):
            return await self._look()
        return self.known

    async def _look(self) -> Sequence[str]:
        """Many who ask at once share one answer."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._find())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    async def _find(self) -> Sequence[str]:
        self._asked = self._clock()
        found = by_turns(await self._resolve(self._host, self._port))
        if not found:
            raise OSError(f"{self._host} has no address")
        self.known = found
        return found

    def _looked(self, task: asyncio.Task[Sequence[str]]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # told to those who still wait


def by_turns(found: Sequence[str]) -> Sequence[str]:
    """The system's order, the two families in turns (RFC 8305 §4): a network without one of them costs one try."""
    first = [one for one in found if (":" in one) == (":" in found[0])]
    second = [one for one in found if one not in first]
    return [one for pair in zip_longest(first, second) for one in pair if one is not None]


async def first_of(dial: Callable[[str], Coroutine[Any, Any, C]], addresses: Sequence[str], delay: float = _DELAY) -> C:
    """The first connection there is; the next address is tried after ``delay`` seconds, or when one fails.

    :raises OSError: the first one's error, when all fail.
    """
    if len(addresses) == 1:
        return await dial(addresses[0])
    trying: list[asyncio.Task[C]] = []
    won: asyncio.Task[C] | None = None
    try:
        for address in addresses:
            trying.append(asyncio.create_task(dial(address)))
            if (won := await _winner(trying, delay)) is not None:
                return won.result()
        while not all(task.done() for task in trying):
            if (won := await _winner(trying, None)) is not None:
                return won.result()
        return trying[0].result()  # raises
    finally:
        for task in trying:
            if task is not won:
                task.cancel()
                task.add_done_callback(_forget)


async def _winner(trying: Sequence[asyncio.Task[C]], seconds: float | None) -> asyncio.Task[C] | None:
    """Waits for one more to end; the connection, if that was one."""
    await asyncio.wait(
        [task for task in trying if not task.done()], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
    )
    return next((task for task in trying if task.done() and not _has_failed(task)), None)


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _forget(task: asyncio.Task[Any]) -> None:
    """A connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
