"""Deadlines of many connections: looked at a few times a second, so that setting one costs an attribute."""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK = 0.25
"""Seconds between two looks: as late may a deadline be told."""
NEVER = float("inf")


class Expiring(Protocol):
    """What has a deadline, in the loop's time."""

    deadline: float

    @property
    def is_deaf(self) -> bool:
        """Is nothing read from it, so that it cannot hear who leaves?"""

    def look(self, now: float) -> None:
        """At whether somebody is still there."""

    def expire(self, now: float) -> None:
        """It is past its deadline; it sets another one or ends."""


class Deadlines:
    """Runs from the first :meth:`add` until nothing is left."""

    def __init__(self) -> None:
        self._watched: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Expiring) -> None:
        """Looked at from now on."""
        self._watched.add(one)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def discard(self, one: Expiring) -> None:
        """No longer looked at."""
        self._watched.discard(one)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(TICK, self._tick) if self._watched else None
        for one in self._watched:
            if one.deadline <= now or one.is_deaf:
                loop.call_soon(self._attend, one, now)  # each for itself: an error of one delays no other

    def _attend(self, one: Expiring, now: float) -> None:
        if one in self._watched and one.is_deaf:
            one.look(now)
        if one in self._watched and one.deadline <= now:
            one.expire(now)
