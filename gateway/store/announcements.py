"""Which keys are in use anywhere: their ids, not the keys (founding decision 3).

What is under an id that somebody announced but that is not in this process's ring cannot be judged here: *unavailable*,
never *invalid*. A replica one step behind in a rotation signs nobody out. An id that nobody announced is not ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from gateway.core.keys import KeyRing
from gateway.errors import StoreUnavailable
from gateway.store.engine import SessionEngine

log = logging.getLogger("gateway.keys")
_AGAIN_SECONDS = 1.0


class Announcements:
    """Tells the ids of this ring, and knows the others': asks every ``poll`` seconds, unless changes ``are_told`` to
    :meth:`changed`."""

    def __init__(
        self, engine: SessionEngine, ring: KeyRing, *, poll: float, are_told: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine = engine
        self._own = frozenset(key.id.hex() for key in ring)
        self._active = ring.active.id.hex()
        self._known: frozenset[str] | None = None
        self._poll = poll
        self.are_told = are_told
        self._due = asyncio.Event()

    @property
    def missing(self) -> frozenset[str]:
        """Announced, but not in this process's ring: the operator has to hand out the ring."""
        return (self._known or frozenset()) - self._own

    def may_be_ours(self, key_id: bytes) -> bool:
        """Could a process of this site have used this key? While the announcements are not known: yes."""
        return self._known is None or key_id.hex() in self._known

    def changed(self) -> None:
        """The store says that there is news."""
        self._due.set()

    async def run(self) -> None:
        """Announces and listens until it is cancelled."""
        await self._until_done(lambda: self._engine.announce(sorted(self._own)))
        while True:
            self._due.clear()
            await self._until_done(self.refresh)
            if self._active not in (self._known or ()):  # the store has lost its data
                await self._until_done(lambda: self._engine.announce([self._active]))
            await self._until_due()

    async def _until_due(self) -> None:
        while not self._due.is_set():
            try:
                async with asyncio.timeout(self._poll):
                    await self._due.wait()
            except TimeoutError:
                if not self.are_told():
                    return

    async def begin(self) -> None:
        """Once before anybody is served, if the store answers: nobody shall meet a key that was not announced."""
        with suppress(StoreUnavailable):
            await self._engine.announce(sorted(self._own))
            await self.refresh()

    async def refresh(self) -> None:
        """Reads what is announced.

        :raises StoreUnavailable: the store does not answer.
        """
        before, self._known = self.missing, await self._engine.announced()
        if self.missing - before:
            log.error(
                "keys are in use that are not in this process's ring: what is under them is answered 503 until it has them",
                extra={"fields": {"key_ids": _words(self.missing)}},
            )

    @staticmethod
    async def _until_done(step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return


def _words(key_ids: Sequence[str] | frozenset[str]) -> str:
    return " ".join(sorted(key_ids))
