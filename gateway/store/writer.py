"""Writing sessions: new ones, changes, activity.

Writes cannot resurrect (founding decision 4): a record is created only where none is, and replaced only as the version that
was read; who finds another version there merges by key and tries again, who finds none is told (``SessionInterrupted``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from gateway.core.keys import b64url
from gateway.core.sessions import Card, Session, SessionRecord, Visitor, merged, needs_touch, time_to_live
from gateway.core.tickets import SESSION_ID_BYTES
from gateway.errors import SessionInterrupted, StoreUnavailable, TooManySessions
from gateway.store.cache import Lost
from gateway.store.directory import UserSessions
from gateway.store.endings import Endings
from gateway.store.engine import Write, version_of
from gateway.store.reader import SessionReader
from gateway.store.values import name_of

log = logging.getLogger("gateway.sessions")
_NAMES_TRIED = 3
_WRITES_TRIED = 100
_HANDLE_BYTES = 9
_WARN_SECONDS = 1.0


def handle_of_user(session: Session) -> str:
    """Empty when it has none: then nothing depends on it."""
    return "" if session.record.user is None else session.card.handle


class SessionWriter(SessionReader):
    """The writing half of :class:`gateway.store.sessions.Sessions`. ``users``: the directory, where the engine has one;
    ``entropy`` gives random bytes."""

    def __init__(
        self,
        *parts: Any,
        users: UserSessions | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        **options: Any,
    ) -> None:
        super().__init__(*parts, **options)
        self.users = users
        self._endings = users.endings if users is not None else Endings(self.engine, self._values)
        self._entropy = entropy
        self._warned_at = 0.0
        self._tasks: dict[bytes, asyncio.Task[object]] = {}

    # -- new ones
    async def create(self, record: SessionRecord, visitor: Visitor | None = None) -> Session:
        """A session under a new id.

        :raises StoreUnavailable: nothing was created that anybody could use.
        :raises TooManySessions: by ``session.max_per_user``.
        :raises gateway.store.serializers.UnwritableValue: naming the key.
        """
        now, user = self._clock(), record.user
        visitor = visitor or Visitor()
        card = Card(
            b64url(self._entropy(_HANDLE_BYTES)), "", "", "", visitor.address, visitor.device, record.created, now
        )
        if user is not None:
            card = replace(card, source=user.source, user_id=user.id, username=user.username)
        session = await self._create(replace(record, issued=now, before=""), card)
        if user is not None and self.users is not None:
            try:
                await self.users.admit(user, session)
            except (TooManySessions, StoreUnavailable):
                await self._undo(session)
                raise
        return session

    async def _create(self, record: SessionRecord, card: Card) -> Session:
        ttl = time_to_live(record, card.last_seen, self.policy, self._clock())
        for _ in range(_NAMES_TRIED):
            session_id = self._entropy(SESSION_ID_BYTES)
            name = name_of(session_id)
            value = self._values.record(session_id, name, record)
            if await self.engine.create(name, value, self._values.card(name, card), ttl):
                return Session(session_id, record, card.last_seen, card, version_of(value))
        raise StoreUnavailable("no new session could be written")

    async def _undo(self, session: Session) -> None:
        """Nobody was told its id; if this fails it is over by itself."""
        try:
            await self.engine.delete(name_of(session.id))
        except StoreUnavailable as error:
            self._warn("a session that nobody has could not be removed", error)

    # -- writes
    async def save(self, session: Session, record: SessionRecord) -> Session:
        """Writes ``record``, merged with what others wrote since ``session`` was read.

        :raises SessionInterrupted: it was ended meanwhile; nothing was written.
        """
        base = session.record
        return await self.change(session, lambda now: record if now is base else merged(base, record, now))

    async def change(self, session: Session, make: Callable[[SessionRecord], SessionRecord]) -> Session:
        """Writes what ``make`` says of the record; it is asked again about each version that others wrote meanwhile.

        :raises SessionInterrupted: it was ended meanwhile; nothing was written.
        """
        current, tried = session, set()
        for attempt in range(_WRITES_TRIED):
            name = name_of(current.id)
            wanted = replace(make(current.record), issued=current.record.issued, before=current.record.before)
            value = self._values.record(current.id, name, wanted)
            tried.add(version_of(value))
            seen = current.seen_at(self._clock())
            ttl = time_to_live(wanted, seen.last_seen, self.policy, seen.last_seen)
            outcome = await self.engine.update(name, value, self._values.card(name, seen.card), ttl, current.version)
            self.changed([name])
            if outcome is Write.DONE:
                saved = replace(seen, record=wanted, version=version_of(value))
                if not self._values.is_under_active_key(current.version):
                    await self._list(saved)  # under the new key, too
                if wanted.user is None:
                    await self._unlist(session)
                    await self._endings.tell(handle_of_user(session))
                return saved
            current = await self._again(session, attempt)
            if current.version in tried:  # it was ours; only the answer had been lost
                return current
        raise StoreUnavailable("too many writers at once")

    async def _again(self, session: Session, attempt: int) -> Session:
        """What is there now, for the next attempt of a write; a rotation is followed."""
        if attempt > 1:
            await asyncio.sleep(random.random() * 0.002 * attempt)  # noqa: S311 - only to get out of each other's way
        found = await self._reload(session.id)
        if isinstance(found, Lost):
            raise SessionInterrupted
        return found if found.came_from is not None else replace(found, came_from=session.came_from)

    async def _list(self, session: Session) -> None:
        user = session.record.user
        if user is not None and self.users is not None:
            await self.users.note(user, session)

    async def _unlist(self, session: Session) -> None:
        user = session.record.user
        if user is not None and self.users is not None:
            await self.users.forget(user, name_of(session.id))

    def note_activity(self, session: Session) -> None:
        """The session is in use: written at most every ``touch_interval``, in the background (hazard R3)."""
        if needs_touch(session, self.policy, self._clock()):
            self._in_background(b"t" + name_of(session.id), self.touch(session))

    async def touch(self, session: Session) -> Session:
        """The session, noted as in use now. Failing is no harm: the next request tries again."""
        seen, name = session.seen_at(self._clock()), name_of(session.id)
        ttl = time_to_live(session.record, seen.last_seen, self.policy, seen.last_seen)
        self._cache.seen(replace(seen, came_from=None))
        try:
            await self.engine.touch(name, self._values.card(name, seen.card), ttl)
            # a client that never takes its new cookie is not signed out for it; one that has taken it needs no old one
            if session.came_from is not None and session.record.before.encode() == name_of(session.came_from):
                await self.engine.touch(name_of(session.came_from), b"", ttl)
        except StoreUnavailable as error:
            self._cache.seen(replace(session, came_from=None))
            self._warn("a session's activity could not be noted", error)
            return session
        return seen

    # -- beside requests
    def _warn(self, what: str, error: StoreUnavailable) -> None:
        """At most once a second: in an outage every request could."""
        now = self._clock()
        if abs(now - self._warned_at) >= _WARN_SECONDS:
            self._warned_at = now
            log.warning(what, extra={"fields": {"cause": error.cause}})

    def _in_background(self, key: bytes, work: Coroutine[Any, Any, object]) -> None:
        """Once at a time for each key: it must neither delay nor fail a request."""
        if key in self._tasks:
            work.close()
            return
        task = self._tasks[key] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
