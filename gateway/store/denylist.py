"""What was revoked before its time: ids of sessions (``s:`` and the handle) and of single tokens (``j:`` and the ``jti``).

A signed token proves itself, so nobody has to be asked about it, and therefore nobody can take it back, unless whoever
checks it also knows what was revoked. An id is kept only as long as any token that names it can still be good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.errors import StoreUnavailable

log = logging.getLogger("gateway.tokens")
_SWEPT = 4
"""Looked at for each id that comes in: more than one, so that it shrinks again after a wave."""
_WARN_SECONDS = 1.0


def session_key(handle: str) -> str:
    """The id of all tokens of a session; ``handle`` is their ``sid``."""
    return "s:" + handle


def token_key(jti: str) -> str:
    """The id of one token."""
    return "j:" + jti


class Denylist(Protocol):
    """Asked at every request that brings a token; ids are texts."""

    def known(self, ids: Sequence[str]) -> bool | None:
        """Is one of them revoked, as far as can be said without awaiting? None: :meth:`ask`."""

    async def ask(self, ids: Sequence[str]) -> bool:
        """As :meth:`known`, for sure.

        :raises StoreUnavailable: nobody can say; the token must not pass.
        """

    async def revoke(self, ids: Sequence[str], seconds: float) -> None:
        """Refused from now on, everywhere, for so long. Refused by this process even when it raises.

        :raises StoreUnavailable: others may not know.
        """

    def start(self) -> None:
        """Needs a running loop."""

    async def close(self) -> None:
        """Lets go of everything."""


class Revoked:
    """Ids and until when; what is over is forgotten on the way. ``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._until: dict[str, float] = {}  # in the order in which they came in
        self._clock = clock

    def __len__(self) -> int:
        return len(self._until)

    def add(self, ids: Iterable[str], seconds: float) -> None:
        """Never shortens."""
        until = self._clock() + seconds
        for one in ids:
            self._until[one] = max(until, self._until.pop(one, until))
            self._sweep()

    def has(self, ids: Sequence[str]) -> bool:
        """Is one of them in it?"""
        for one in ids:
            until = self._until.get(one)
            if until is not None and until > self._clock():
                return True
        return False

    def _sweep(self) -> None:
        """The first are the oldest. One that stays long holds up those behind it, for as long as any id is kept at most."""
        now = self._clock()
        for _ in range(_SWEPT):
            first = next(iter(self._until), None)
            if first is None or self._until[first] > now:
                break
            del self._until[first]


class MemoryDenylist:
    """For one process: it knows everything for sure."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._revoked = Revoked(clock)

    def known(self, ids: Sequence[str]) -> bool | None:
        """Never None."""
        return self._revoked.has(ids)

    async def ask(self, ids: Sequence[str]) -> bool:
        """At once."""
        return self._revoked.has(ids)

    async def revoke(self, ids: Sequence[str], seconds: float) -> None:
        """At once."""
        self._revoked.add(ids, seconds)

    def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


class TokenEnds:
    """For ``Sessions.on_ended``: the tokens of a session end with it. ``seconds``: the longest a token can be good, the
    leeway of its verification included.

    The session is over already and stays so: that others cannot be told is logged, and nobody's sign-out fails for it.
    """

    def __init__(self, denylist: Denylist, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._denylist, self._seconds, self._clock = denylist, seconds, clock
        self._warned_at = -float("inf")

    async def __call__(self, handles: Sequence[str]) -> None:
        """:param handles: of sessions that were ended."""
        try:
            await self._denylist.revoke([session_key(handle) for handle in handles], self._seconds)
        except StoreUnavailable as error:
            self._warn(error)

    def _warn(self, error: StoreUnavailable) -> None:
        now = self._clock()
        if now - self._warned_at >= _WARN_SECONDS:
            self._warned_at = now
            words = f"tokens of an ended session may be accepted elsewhere for up to {self._seconds:g} s"
            log.warning(words, extra={"fields": {"cause": error.cause}})
