"""Sessions end here, whoever ends them, so that whoever must know of it is told: what else is good only with its session
(signed tokens) has to end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from gateway.errors import StoreUnavailable
from gateway.store.engine import Kept, SessionEngine
from gateway.store.values import Values, handle_without_card, pointed_name

_NOTE_SECONDS = 3600.0
_HOPS = 8

OnEnded = Callable[[Sequence[str]], Awaitable[None]]
"""Given the handles of sessions of users that were ended. It raises no :class:`StoreUnavailable`: they are over already."""


class Endings:
    """Ends sessions by the store's names. Told are handles, which a session keeps whatever id it gets; of one that has no
    user, nobody is.
    """

    def __init__(self, engine: SessionEngine, values: Values) -> None:
        self._engine = engine
        self._values = values
        self.on_ended: OnEnded | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def end(self, name: bytes, reason: str, *, spare: bytes | None = None, handle: str = "") -> list[bytes]:
        """Ends the session that is kept under a name, or that it points to; the names that were ended, empty when there was
        none. Pointers are left: whoever has to try again, because the answer was lost, finds the way again. ``spare`` is
        not ended, either. The reason is noted if it can be. With its ``handle`` it is told of also when it is over already:
        whoever ended it may not have heard of that.

        :raises StoreUnavailable: it may live on. Its end is told all the same: somebody wanted it.
        """
        handles = {handle}
        try:
            ended = await self._end(name, reason, spare, handles)
        except (StoreUnavailable, asyncio.CancelledError):
            self.tell_later(*handles)
            raise
        await self.tell(*handles)
        return ended

    async def _end(self, name: bytes, reason: str, spare: bytes | None, handles: set[str]) -> list[bytes]:
        ended: list[bytes] = []
        for _ in range(_HOPS):
            (kept,) = await self._engine.load([name])
            following = pointed_name(kept.value) if isinstance(kept, Kept) else None
            if following is None:
                if name == spare:
                    handles.clear()
                    return ended
                if isinstance(kept, Kept):
                    handles.add(self._handle(name, kept.seen))
                value = await self._engine.delete(name)
                ended += [] if value is None else [name]
                following = None if value is None else pointed_name(value)  # it was given a new id in between
            if following is None:
                break
            name = following
        with suppress(StoreUnavailable):  # the delete is what counts (hazard R9)
            await self._engine.bury(name, reason, _NOTE_SECONDS)
        return ended

    def _handle(self, name: bytes, seen: bytes | None) -> str:
        if self.on_ended is None:
            return ""
        card = self._values.open_card(name, seen)
        if card is None:
            return handle_without_card(name)
        return card.handle if card.user_id else ""

    async def tell(self, *handles: str) -> None:
        """These sessions are over; empty ones are none."""
        if self.on_ended is not None and (given := sorted(filter(None, handles))):
            await self.on_ended(given)

    def tell_later(self, *handles: str) -> None:
        """As :meth:`tell`, in the background: the store does not answer, and its time-out has been waited for once."""
        if self.on_ended is None or not any(handles):
            return
        task = asyncio.create_task(self.tell(*handles))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
