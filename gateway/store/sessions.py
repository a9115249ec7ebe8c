"""Sessions as the rest of the gateway knows them: found (``reader``), written (``writer``), ended, and given new ids."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.identity import Identity
from gateway.core.keys import b64url
from gateway.core.sessions import Session, SessionRecord, Visitor, merged, rotation_is_due, time_to_live
from gateway.errors import SessionInterrupted, StoreUnavailable
from gateway.store.cache import Lost
from gateway.store.endings import OnEnded
from gateway.store.engine import Capabilities, Kept, Write, version_of
from gateway.store.reader import Presented
from gateway.store.values import name_of
from gateway.store.writer import SessionWriter, handle_of_user

_WRITES_TRIED = 100
_REPLACED_SECONDS = 60.0
_NOTHING = name_of(b"no session has this id")

__all__ = ["Lost", "Presented", "Sessions"]


class Sessions(SessionWriter):
    """Finds, writes and ends sessions."""

    @property
    def capabilities(self) -> Capabilities:
        """What sessions on this engine can do (docs/sessions.md)."""
        return self.engine.capabilities

    # -- ends
    @property
    def on_ended(self) -> OnEnded | None:
        """Who is told of each session that is ended before its time, here; it keeps its handle when it only gets a new id."""
        return self._endings.on_ended

    @on_ended.setter
    def on_ended(self, on_ended: OnEnded | None) -> None:
        self._endings.on_ended = on_ended

    async def delete(self, session: Session, reason: str = "revoked") -> bool:
        """Ends it, for every gateway on this store, whatever id it has meanwhile; False when it was over already."""
        name = name_of(session.id)
        ended = await self._endings.end(name, reason, handle=handle_of_user(session))
        self.changed([name, *ended])
        await self._unlist(session)
        return bool(ended)

    async def end_for_sure(self, session_id: bytes) -> None:
        """Ends what is lost already: if an earlier attempt ended it without being told so, this one is (``wait_replicas``)."""
        name = name_of(session_id)
        self.changed([name, *await self._endings.end(name, "revoked")])

    async def end_others(self, session: Session) -> int:
        """All others of its user; 0 as well where the engine keeps no directory."""
        user = session.record.user
        if user is None or self.users is None:
            return 0
        return await self._for_sure(await self.users.end_others(user, session))

    async def end_all(self, user: Identity) -> int:
        """Every one of the user's; 0 as well where the engine keeps no directory."""
        return 0 if self.users is None else await self._for_sure(await self.users.end_all(user))

    async def _for_sure(self, ended: int) -> int:
        """Waits for the replicas, should an earlier attempt not have heard of them."""
        if not ended:
            await self.engine.delete(_NOTHING)
        return ended

    async def reload(self, session: Session) -> Session | Lost:
        """A session that was found, as it is in the store now. Unlike :meth:`find_id` it does not say that the browser has
        the present id.

        :raises StoreUnavailable: when the store does not answer.
        """
        found = await self._reload(session.id)
        if isinstance(found, Lost):
            return found
        return self._judged(found if found.moved else replace(found, came_from=session.came_from))

    async def _found_again(self, session: Session) -> Session | None:
        if session.record.user is None or self.users is None or not session.card.handle:
            return None
        for listed in await self.users.of(session.record.user):
            if listed.card.handle == session.card.handle:
                return replace(session, last_seen=listed.card.last_seen)
        return None

    async def exists(self, session_id: bytes) -> bool:
        """Is there a living session with this id?"""
        return isinstance(await self.find_id(session_id), Session)

    # -- new ids
    async def replace(self, session: Session, record: SessionRecord, visitor: Visitor | None = None) -> Session:
        """The session under a new id; the old one is dead when this returns, and what others wrote meanwhile is kept. Another
        user, or somebody where nobody was, gets a session of his own.

        :raises SessionInterrupted: it was ended meanwhile.
        :raises TooManySessions: another user has as many as he may; the old session lives on.
        """
        user, old_user = record.user, session.record.user
        if user is not None and not user.is_same(old_user):
            new = await self.create(record, visitor or Visitor(session.card.address, session.card.device))
            try:
                await self._give_up(session, None)
            except SessionInterrupted:
                pass  # what was ended is not what he signed in to
            except StoreUnavailable:
                await self._undo(new)
                raise
            await self._endings.tell(handle_of_user(session))
            return new
        current, wanted = session, record
        for attempt in range(_WRITES_TRIED):
            new = await self._successor(current, wanted)
            try:
                is_done = await self._give_up(current, new)
            except BaseException:
                await self._undo(new)
                raise
            if is_done:
                await self._endings.tell("" if user is not None else handle_of_user(session))
                return new
            await self._undo(new)
            current = await self._again(session, attempt)
            wanted = replace(record, data=merged(session.record, record, current.record).data)
        raise StoreUnavailable("too many writers at once")

    async def _successor(self, session: Session, record: SessionRecord) -> Session:
        """The same session in the user's list, beside the old one until that is given up."""
        now, user = self._clock(), record.user
        card = replace(session.card, created=record.created, last_seen=now)
        if user is not None:
            card = replace(card, source=user.source, user_id=user.id, username=user.username)
        new = await self._create(replace(record, issued=now, before=""), card)
        try:
            await self._list(new)
        except StoreUnavailable:
            await self._undo(new)
            raise
        return new

    async def _give_up(self, session: Session, new: Session | None) -> bool:
        """Kills an id, so that whoever has to end the session finds ``new`` by it; False when ``session`` is not what is
        there. With nobody to lead to, whatever is there is given up.

        :raises SessionInterrupted: nothing is there.
        """
        name = name_of(session.id)
        value = self._values.replaced(session.id, name, new.id if new else None)
        for attempt in range(_WRITES_TRIED):
            outcome = await self.engine.update(name, value, b"", _REPLACED_SECONDS, session.version)
            self.changed([name])
            if outcome is Write.DONE or await self._is_there(name, value):
                await self._unlist(session)
                return True
            if outcome is Write.GONE:
                raise SessionInterrupted
            if new is not None:
                return False
            session = await self._again(session, attempt)
            name = name_of(session.id)
            value = self._values.replaced(session.id, name, None)
        raise StoreUnavailable("too many writers at once")

    def renewal_is_due(self, session: Session) -> bool:
        """Should the next answer carry a new cookie? After ``rotate_interval``, and as long as the last one has not arrived."""
        if session.moved:
            return True
        return not session.record.before and rotation_is_due(session, self.policy, self._clock())

    def renewal_is_urgent(self, session: Session) -> bool:
        """Is it worth keeping the answer out of shared caches? A new id can wait."""
        return False

    async def renew(self, session: Session) -> Session:
        """The session whose cookie the answer gets.

        :raises SessionInterrupted: it was ended meanwhile.
        """
        return session if session.moved else await self.rotate(session)

    async def rotate(self, session: Session) -> Session:
        """A new id now and then; the old one points to it until the new one was presented, and ``rotate_grace`` longer, so
        that parallel requests and lost answers survive.

        :raises SessionInterrupted: it was ended meanwhile.
        """
        old, now = name_of(session.id), self._clock()
        new = await self._create(replace(session.record, issued=now, before=old.decode()), session.card)
        try:
            await self._list(new)
        except StoreUnavailable:
            await self._undo(new)
            raise
        pointer = self._values.pointer(session.id, old, new.id)
        ttl = time_to_live(session.record, session.last_seen, self.policy, now)
        outcome = await self.engine.update(old, pointer, b"", ttl, session.version)
        self.changed([old])
        if outcome is not Write.DONE and not await self._is_there(old, pointer):
            await self._undo(new)
            return await self._again(session, 0)
        await self._unlist(session)
        return replace(new, came_from=session.id)

    async def _is_there(self, name: bytes, value: bytes) -> bool:
        """Was it written after all, and only the answer lost?"""
        kept = (await self.engine.load([name]))[0]
        return isinstance(kept, Kept) and version_of(kept.value) == version_of(value)

    def _arrived(self, session: Session) -> None:
        self._in_background(b"a" + name_of(session.id), self._confirm(session))

    async def _confirm(self, session: Session) -> None:
        """The new id has been presented: the old one ends after ``rotate_grace``."""
        name, record = name_of(session.id), replace(session.record, before="")
        try:
            await self.engine.shorten(session.record.before.encode(), self.policy.rotate_grace)
            value, seen = self._values.record(session.id, name, record), session.seen_at(self._clock())
            ttl = time_to_live(record, seen.last_seen, self.policy, seen.last_seen)
            await self.engine.update(name, value, self._values.card(name, seen.card), ttl, session.version)
        except StoreUnavailable as error:
            self._warn("an old session id could not be ended yet", error)

    # -- Django's encode and decode
    def encode(self, data: Mapping[str, Any]) -> str:
        """A session's data as a sealed text."""
        return b64url(self._values.encode(dict(data)))

    def decode(self, text: str) -> dict[str, Any]:
        """What :meth:`encode` made; anything else is empty, as Django says it."""
        return self._values.decode(text)

    # -- for commands
    async def announced(self) -> frozenset[str]:
        """The key ids (hex) that are in use somewhere."""
        return await self.engine.announced()

    async def withdraw(self, key_id: str) -> None:
        """A key is used no more."""
        await self.engine.withdraw(key_id)

    async def clear_expired(self) -> int:
        """Deletes what is over, where the engine does not do so by itself; how many."""
        return await self.engine.clear_expired()

    async def ping(self) -> None:
        """Returns when the store answers."""
        await self.engine.ping()

    async def close(self) -> None:
        """Finishes what runs in the background, and lets go of the engine."""
        if tasks := [*self._tasks.values(), *self._endings.tasks]:
            await asyncio.wait(tasks, timeout=2)
        await self.engine.close()
