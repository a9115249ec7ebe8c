"""Users of sources that do not tell when something changes: who is active is looked up again now and then.

Never on the path of a request: :meth:`ActiveUsers.as_now` answers from memory, and what it is asked about is what the
next round looks up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.identity import Identity
from gateway.errors import Busy, SourceUnavailable
from gateway.identity.source import UserSource

log = logging.getLogger("gateway.identity")
_MOST = 100_000
_AT_ONCE = 8
_ROUNDS = 20.0
"""Looks for who is due in one ``recheck``."""


@dataclass(slots=True)
class _Seen:
    """``now`` None: gone or disabled. ``due``: when to look again, on the monotonic clock."""

    now: Identity | None
    due: float
    in_use: bool = True


class ActiveUsers:
    """The users of one source whose sessions were in use of late, up to ``most`` of them."""

    def __init__(self, source: UserSource, most: int = _MOST) -> None:
        self._source = source
        self._most = most
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._is_away = False

    def as_now(self, user: Identity) -> Identity | None:
        """The user as he was found last; who was never looked up is who he was at sign-in, and is looked up soon."""
        seen = self._seen.get(user.id)
        if seen is None:
            self._note(user.id, _Seen(user, 0.0))
            return user
        seen.in_use = True
        return seen.now

    def signed_in(self, user: Identity) -> None:
        """His source says who he is, at this moment."""
        self._note(user.id, _Seen(user, time.monotonic() + self._source.recheck))

    def _note(self, user_id: str, seen: _Seen) -> None:
        if user_id not in self._seen and len(self._seen) >= self._most:
            self._seen.popitem(last=False)
        self._seen[user_id] = seen

    async def watch(self) -> None:
        """Looks up who is due, until it is cancelled."""
        if not self._source.recheck:
            return
        while True:
            await asyncio.sleep(self._source.recheck / _ROUNDS)
            await self._round(time.monotonic())

    async def _round(self, now: float) -> None:
        """Who was not seen since the last look is forgotten; while the source is away, all stay who they were."""
        due = [user_id for user_id, seen in self._seen.items() if seen.due <= now]
        for user_id in [one for one in due if not self._seen[one].in_use]:
            del self._seen[user_id]
        waiting = [user_id for user_id in due if user_id in self._seen]
        for at in range(0, len(waiting), _AT_ONCE):
            part = waiting[at : at + _AT_ONCE]
            if not all(await asyncio.gather(*map(self._look_up, part))):
                break

    async def _look_up(self, user_id: str) -> bool:
        """False: the source is away."""
        asked = self._seen.get(user_id)
        try:
            found = await self._source.get(user_id)
        except (SourceUnavailable, Busy) as error:
            if not self._is_away:
                cause = error.cause if isinstance(error, SourceUnavailable) else "too many wait"
                log.warning(
                    "users cannot be looked up again", extra={"fields": {"source": self._source.name, "cause": cause}}
                )
            self._is_away = True
            return False
        self._is_away = False
        if self._seen.get(user_id) is asked is not None:  # else: signed in meanwhile
            known = asked.now if asked.now == found else found  # the same object as long as nothing changes
            self._seen[user_id] = _Seen(known, time.monotonic() + self._source.recheck, in_use=False)
        return True
