"""The sessions of each user: list, end one, the others or all of them, and never more than so many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.core.identity import Identity
from gateway.core.sessions import Card, Session, SessionPolicy, absolute_end
from gateway.errors import StoreUnavailable, TooManySessions
from gateway.store.endings import Endings
from gateway.store.engine import Entry, SessionDirectory, SessionEngine
from gateway.store.values import Values, name_of

_ROUNDS = 3
_AT_ONCE = 100
_POINTS = b""
"""What is seen of a pointer to a session's new id: nothing, whereas a session has a card."""


@dataclass(frozen=True, slots=True)
class Cap:
    """How many sessions a user may have (None: any number), and whether one more ends the oldest or is refused."""

    most: int | None = None
    evict: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """A session in a list. ``card`` is empty when it could not be opened."""

    name: bytes = field(repr=False)
    card: Card


def _is_of(user: Identity, card: Card) -> bool:
    """Whoever can write to the store must not show one user's sessions to another. A lost card is nobody else's."""
    return not card.user_id or (card.source, card.user_id) == (user.source, user.id)


class UserSessions:
    """On an engine that has a directory."""

    def __init__(
        self, engine: SessionEngine, directory: SessionDirectory, values: Values, policy: SessionPolicy, cap: Cap
    ) -> None:
        self.endings = Endings(engine, values)
        self._directory = directory
        self._values = values
        self._policy = policy
        self._cap = cap

    async def admit(self, user: Identity, session: Session) -> None:
        """A new session of the user, which is in the store already.

        :raises TooManySessions: he has as many as he may, and one more is refused.
        """
        ttl = self._ttl(session)
        owners, cap = self._values.owners(user), self._cap
        if cap.most is not None and cap.evict:
            await self._make_room(owners, cap.most)
        over = await self._directory.add(owners, name_of(session.id), ttl, limit=cap.most, evict=cap.evict)
        if over is None:
            raise TooManySessions(cap.most or 0)
        for name in over:
            await self.endings.end(name, "revoked")

    async def _make_room(self, owners: list[bytes], most: int) -> None:
        """The oldest are ended before they are taken out: of one that is not listed any more its user could not be rid."""
        entries = await self._directory.entries(owners)
        names: dict[str, bytes] = {}  # in the middle of a change of id a session is listed twice
        for entry in entries:
            if entry.seen != _POINTS:
                card = self._listed(entry).card
                names.setdefault(card.handle or entry.name.decode(), entry.name)
        for name in list(names.values())[: max(len(names) + 1 - most, 0)]:
            await self.endings.end(name, "revoked")

    async def note(self, user: Identity, session: Session) -> None:
        """A session that was admitted already has another name now, or is under another key."""
        await self._directory.add(self._values.owners(user), name_of(session.id), self._ttl(session))

    def _ttl(self, session: Session) -> float:
        left = absolute_end(session.record, self._policy) - session.last_seen
        return max(left, 0) + self._policy.touch_interval

    async def forget(self, user: Identity, name: bytes) -> None:
        """Its session is over. Failing is no harm: who lists looks."""
        with suppress(StoreUnavailable):
            await self._directory.remove(self._values.owners(user), name)

    async def of(self, user: Identity) -> list[Listed]:
        """The user's living sessions, oldest first."""
        found: list[Listed] = []
        for number, entry in enumerate(await self._entries(user)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # a robot's thousands must not hold up everybody else
            listed = self._listed(entry)
            if entry.seen != _POINTS and _is_of(user, listed.card):
                found.append(listed)
        return found

    async def _entries(self, user: Identity) -> list[Entry]:
        return await self._directory.entries(self._values.owners(user))

    def _listed(self, entry: Entry) -> Listed:
        return Listed(entry.name, self._values.open_card(entry.name, entry.seen) or Card())

    async def everything(self) -> AsyncIterator[Listed]:
        """All sessions, in no order; for commands."""
        async for entry in self._directory.everything():
            if entry.seen != _POINTS:
                yield self._listed(entry)

    async def end(self, user: Identity | None, listed: Listed, *, spare: bytes | None = None) -> bool:
        """Ends one (unless it is ``spare``); False when it was over already."""
        ended = bool(await self.endings.end(listed.name, "revoked", spare=spare, handle=listed.card.handle))
        who = user or Identity(listed.card.user_id, listed.card.username, source=listed.card.source)
        await self.forget(who, listed.name)
        return ended

    async def end_others(self, user: Identity, keep: Session) -> int:
        """Ends all sessions of the user but this one, which may be getting a new id just now; how many."""
        return await self._end_but(user, name_of(keep.id), keep.card.handle)

    async def end_all(self, user: Identity) -> int:
        """As :meth:`end_others`, and none is kept."""
        return await self._end_but(user, None, "")

    async def _end_but(self, user: Identity, own: bytes | None, handle: str) -> int:
        """It looks again when it has ended some: they, too, may have got a new id meanwhile."""
        ended = 0
        for _ in range(_ROUNDS):
            there = [self._listed(entry) for entry in await self._entries(user)]
            others = [one for one in there if one.name != own and not (handle and one.card.handle == handle)]
            for listed in others:
                ended += await self.end(user, listed, spare=own)
            if not others:
                break
        return ended
