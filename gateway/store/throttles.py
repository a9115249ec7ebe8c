"""Attempts counted in the memory of one process, for the engines without Redis.

Each process counts for itself: with several the limits are as many times as high, and a restart forgets them.
:mod:`gateway.store.redis_throttles` shares them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gateway.core.throttling import (
    Counter,
    Held,
    Kind,
    Level,
    Success,
    attempts,
    counted,
    given_back,
    level_now,
    wait_of,
)

_Key = tuple[Kind, tuple[str, ...]]


class MemoryThrottles:
    """A :class:`gateway.identity.throttle.Throttles`. Nothing here waits, so nobody sees half of a step.

    ``clock`` gives epoch seconds. At most ``most`` counters: beyond that those go that would have been forgotten first, which
    an attacker with that many addresses can make happen.
    """

    def __init__(self, clock: Callable[[], float] = time.time, most: int = 100_000) -> None:
        self._clock = clock
        self._most = most
        self._levels: dict[_Key, Level] = {}

    async def reserve(self, counters: Sequence[Counter]) -> float:
        """See the protocol."""
        now = self._now()
        levels = [level_now(self._levels.get(_key(one)), one.limit, now) for one in counters]
        wait = max(wait_of(level, one.limit, now) for level, one in zip(levels, counters, strict=True))
        if wait > 0:
            return wait / 1000
        for level, one in zip(levels, counters, strict=True):
            self._levels[_key(one)] = counted(level, one.limit, now)
        if len(self._levels) > self._most:
            self._make_room(now)
        return 0.0

    async def settle(self, counters: Sequence[Counter], *, success: bool) -> None:
        """See the protocol."""
        now, cleared = self._now(), 0
        kept = []
        for one in counters:
            if success and one.on_success is Success.CLEARS:
                level = level_now(self._levels.pop(_key(one), None), one.limit, now)
                cleared = max(cleared, attempts(level, one.limit, now))
            else:
                kept.append(one)
        for one in kept:
            lowers = success and one.on_success is Success.LOWERS
            self._give_back(one, max(cleared, 1) if lowers else 1, now)

    def _give_back(self, counter: Counter, count: int, now: int) -> None:
        if (had := self._levels.get(_key(counter))) is None:
            return
        level = given_back(had, counter.limit, count)
        if level.empty_at > now:
            self._levels[_key(counter)] = level
        else:
            del self._levels[_key(counter)]

    async def held(self, name: str | None = None) -> list[Held]:
        """What is counted: everything, or what has this account, network or device among its names."""
        now = self._now()
        return [
            Held(kind, " ".join(names), level.empty_at - now, now - level.last)
            for (kind, names), level in self._levels.items()
            if level.empty_at > now and (name is None or name in names)
        ]

    async def clear(self, name: str | None = None) -> int:
        """Forgets that; how many counters."""
        gone = [key for key in self._levels if name is None or name in key[1]]
        for key in gone:
            del self._levels[key]
        return len(gone)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _make_room(self, now: int) -> None:
        """Of what is over, and of a tenth more than has to go: so it is done rarely."""
        alive = sorted(
            (item for item in self._levels.items() if item[1].empty_at > now), key=lambda one: one[1].empty_at
        )
        self._levels = dict(alive[-(self._most - self._most // 10) :])


def _key(counter: Counter) -> _Key:
    return counter.kind, counter.names
