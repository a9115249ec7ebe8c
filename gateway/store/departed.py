"""Users who are gone: their sessions end in the store, so that nobody who gets the same id later finds them open."""

from __future__ import annotations

import asyncio
import logging

from gateway.core.identity import Identity
from gateway.errors import StoreUnavailable
from gateway.store.sessions import Sessions

log = logging.getLogger("gateway.sessions")


class Departed:
    """Called with each of them, on the event loop. Until the store has done it they are refused from memory."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, user: Identity) -> None:
        """Ends them in the background."""
        task = asyncio.create_task(self._end(user))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, user: Identity) -> None:
        fields: dict[str, object] = {"user": user.id, "source": user.source}
        try:
            fields["ended"] = await self._sessions.end_all(user)
        except StoreUnavailable as error:
            fields["cause"] = error.cause
            log.warning("the sessions of a user who is gone could not be ended", extra={"fields": fields})
            return
        log.info("a user is gone or disabled", extra={"fields": fields})
