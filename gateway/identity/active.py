"""Users of sources that do not tell when something changes: who is active is looked up again now and then.

Never on the path of a request: :meth:`ActiveUsers.as_now` answers from memory, and what it is asked about is what the
next round looks up.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.identity import Identity
from gateway.errors import Busy, SourceUnavailable
from gateway.identity.outages import Outages
from gateway.identity.source import UserSource

_MOST = 100_000
_AT_ONCE = 8
_ROUNDS = 20.0
"""Looks for who is due in one ``recheck``."""
_AGAIN = 1.0
"""Seconds until those who were never looked up are asked about again, when their source was away."""
_SURELY_GONE = 2


@dataclass(slots=True)
class _Seen:
    """``now`` None: gone or disabled, ``gone`` times in a row. ``due``: when to look again, on the monotonic clock.
    ``is_known`` False: never looked up, so every session goes by what it remembers. ``differs``: sessions remember
    something else, which must not come back when their user was away for a while."""

    user: Identity
    now: Identity | None
    due: float
    in_use: bool = True
    is_known: bool = True
    differs: bool = False
    gone: int = 0


class ActiveUsers:
    """The users of one source whose sessions were in use of late, up to ``most`` of them."""

    def __init__(self, source: UserSource, outages: Outages, most: int = _MOST) -> None:
        self._source = source
        self._outages = outages
        self._most = most
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._new: dict[str, None] = {}
        self._wake = asyncio.Event()
        self.on_gone: Callable[[Identity], None] = lambda user: None
        """Told of each user who was not there twice in a row: a table that is filled anew is empty for a moment."""

    def as_now(self, user: Identity) -> Identity | None:
        """The user as he was found last; who was never looked up is who he was at sign-in, and is looked up at once."""
        if not self._source.recheck:
            return user
        seen = self._seen.get(user.id)
        if seen is None:
            self._note(user.id, _Seen(user, user, 0.0, is_known=False))
            self._new[user.id] = None
            self._wake.set()
            return user
        seen.in_use = True
        return seen.now if seen.is_known else user

    def is_known(self, user: Identity) -> bool:
        """Was he looked up, so that :meth:`as_now` does not go by what it is given? Never, where nobody is."""
        seen = self._seen.get(user.id)
        return seen is not None and seen.is_known

    async def learn(self, user: Identity) -> None:
        """Looks him up at once, for who must not go by what he remembers (API keys).

        :raises SourceUnavailable: his source is away, or has no time.
        """
        if user.id not in self._seen:
            self.as_now(user)
        if not self.is_known(user) and not await self._look_up(user.id):
            raise SourceUnavailable(f"{self._source.name} has not said who a user is")

    def signed_in(self, user: Identity) -> None:
        """His source says who he is, at this moment; what was learned meanwhile about a newer password stays."""
        before = self._seen.get(user.id)
        if before is not None and before.now is not None and before.now.generation > user.generation:
            return
        differs = before is not None and (before.differs or before.now != user)
        self._note(user.id, _Seen(user, user, time.monotonic() + self._source.recheck, differs=differs))

    def _note(self, user_id: str, seen: _Seen) -> None:
        if user_id not in self._seen and len(self._seen) >= self._most:
            forgotten, _ = self._seen.popitem(last=False)
            self._new.pop(forgotten, None)
        self._seen[user_id] = seen

    async def watch(self) -> None:
        """Looks up who is new and who is due, until it is cancelled."""
        if self._source.recheck:
            await asyncio.gather(self._watch_due(), self._watch_new())

    async def _watch_due(self) -> None:
        pause = self._source.recheck / _ROUNDS
        while True:
            begun = time.monotonic()
            await self._look_up_all(self._due(begun))
            await asyncio.sleep(max(begun + pause - time.monotonic(), 0))

    async def _watch_new(self) -> None:
        """Beside the rounds, which may be long: until he is looked up, a process that was just started lets a user through
        who was disabled meanwhile."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            new, self._new = self._new, {}
            if not await self._look_up_all([one for one in new if self._is_new(one)]):
                self._new = {one: None for one in new if self._is_new(one)} | self._new
                await asyncio.sleep(_AGAIN)
                self._wake.set()

    def _is_new(self, user_id: str) -> bool:
        seen = self._seen.get(user_id)
        return seen is not None and not seen.is_known

    def _due(self, now: float) -> list[str]:
        """Who was not seen since the last look is not asked about, and forgotten unless that would undo something."""
        due = [(user_id, seen) for user_id, seen in self._seen.items() if seen.due <= now and seen.is_known]
        for user_id in [user_id for user_id, seen in due if not (seen.in_use or seen.differs)]:
            del self._seen[user_id]
        return [user_id for user_id, seen in due if seen.in_use]

    async def _look_up_all(self, waiting: list[str]) -> bool:
        """False: the source is away. Then all stay who they were."""
        for at in range(0, len(waiting), _AT_ONCE):
            part = waiting[at : at + _AT_ONCE]
            if not all(await asyncio.gather(*map(self._look_up, part))):
                return False
        return True

    async def _look_up(self, user_id: str) -> bool:
        """False: the source is away."""
        asked = self._seen.get(user_id)
        try:
            found = await self._outages.noted(self._source.name, self._source.get(user_id), is_asked=True)
        except (SourceUnavailable, Busy):
            return False
        if asked is not None and self._seen.get(user_id) is asked:  # else: signed in meanwhile
            same = asked.now == found
            known = asked.now if same else found  # the same object as long as nothing changes
            gone = asked.gone + 1 if found is None else 0
            due = time.monotonic() + self._source.recheck
            differs = asked.differs or not same
            self._seen[user_id] = _Seen(found or asked.user, known, due, gone == 1, differs=differs, gone=gone)
            if gone == _SURELY_GONE:
                self.on_gone(asked.user)
        return True
