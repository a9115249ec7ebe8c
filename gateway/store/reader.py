"""Finding a session: in this process when what is kept here may be believed, else with one look-up.

Absent, invalid and unavailable stay three results (founding decision 1): a :class:`~gateway.core.sessions.Session`, a
:class:`~gateway.store.cache.Lost` with its reason, or :class:`~gateway.errors.StoreUnavailable`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.identity import Identity
from gateway.core.sessions import Card, Session, SessionPolicy, SessionRecord, needs_touch, why_over
from gateway.core.tickets import Tickets
from gateway.errors import StoreUnavailable
from gateway.store.announcements import Announcements
from gateway.store.cache import Lost, SessionCache
from gateway.store.engine import Gone, Kept, SessionEngine, version_of
from gateway.store.lookups import Lookups
from gateway.store.values import Pointer, Replaced, SealBroken, UnknownKey, Values, handle_without_card, name_of

log = logging.getLogger("gateway.sessions")
_HOPS = 3
_MOVES = 8
NOTES = frozenset({"revoked", "replaced", "expired_idle", "expired_absolute", "expired_age"})
_TEXTS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request brought: a cookie's text, authentic, and the session id in it."""

    text: str = field(repr=False)
    id: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Belief:
    """May what is kept in this process be believed now, and who is the user who signed in by now (None: disabled since, gone,
    another password)? Both are asked at each request, without awaiting."""

    in_cache: Callable[[], bool] = lambda: False
    user_now: Callable[[Identity], Identity | None] = lambda user: user


def with_user(session: Session, user: Identity) -> Session:
    """The same session with its user as he is now."""
    return replace(session, record=replace(session.record, user=user))


class SessionReader:
    """The reading half of :class:`gateway.store.sessions.Sessions`. ``clock`` gives epoch seconds."""

    def __init__(
        self,
        engine: SessionEngine,
        values: Values,
        tickets: Tickets,
        announcements: Announcements,
        policy: SessionPolicy,
        *,
        belief: Belief | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self.engine = engine
        self._values = values
        self._tickets = tickets
        self._announcements = announcements
        self._lookups = Lookups(engine.load)
        self._cache = SessionCache(0)
        self._belief = belief or Belief()
        self._clock = clock
        self._presented: dict[str, Presented] = {}

    def keep(self, size: int, belief: Belief) -> None:
        """Keep up to ``size`` sessions in this process, for when they may be believed."""
        self._cache, self._belief = SessionCache(size), belief

    # -- the cookie
    def presented(self, texts: Iterable[str]) -> Presented | None:
        """The first text that authenticates, or None: strangers cost the store nothing.

        :raises StoreUnavailable: one may be ours, but under a key that this process does not have (yet).
        """
        foreign: bytes | None = None
        for text in texts:
            known = self._presented.get(text)
            if known is not None:
                return known
            session_id = self._tickets.open(text)
            if session_id is not None:
                return self._keep_text(Presented(text, session_id))
            foreign = foreign or self._foreign_key(text)
        if foreign is not None:
            raise StoreUnavailable(f"a cookie is under key {foreign.hex()}, which is in use but not in this ring")
        return None

    def _keep_text(self, presented: Presented) -> Presented:
        if len(self._presented) >= _TEXTS_KEPT:
            self._presented.clear()
        self._presented[presented.text] = presented
        return presented

    def _foreign_key(self, text: str) -> bytes | None:
        key_id = self._tickets.unknown_key(text)
        return key_id if key_id is not None and self._announcements.may_be_ours(key_id) else None

    def cookie_value(self, session: Session) -> str:
        """The cookie for a session."""
        return self._tickets.sign(session.id)

    # -- finding
    def known(self, presented: Presented) -> Session | Lost | None:
        """What this process knows for sure, without awaiting; None: the store has to be asked."""
        if not self._belief.in_cache():
            return None
        session = self._cache.get(presented.id)
        if session is None:
            return self._cache.lost(name_of(presented.id), self._clock())
        if session.record.before:
            self._arrived(session)
        if needs_touch(session, self.policy, self._clock()):  # another process may have seen it in use since
            return None
        return self._judged(session)

    async def find(self, presented: Presented) -> Session | Lost:
        """The session that was presented.

        :raises StoreUnavailable: when the store does not answer.
        """
        known = self.known(presented)
        return known if known is not None else await self.find_id(presented.id)

    async def find_id(self, session_id: bytes) -> Session | Lost:
        """As :meth:`find`, from the store."""
        found = await self._look_up(session_id)
        if isinstance(found, Session) and found.record.before:
            self._arrived(found)
        hops = _HOPS
        while isinstance(found, Pointer) and hops:
            hops -= 1
            found = await self._look_up(found.id)
            if isinstance(found, Session):
                found = replace(found, came_from=session_id)
        if isinstance(found, Pointer):  # more of them than there can be
            return self._corrupt(session_id)
        return self._judged(found) if isinstance(found, Session) else found

    async def _look_up(self, session_id: bytes) -> Session | Pointer | Lost:
        name = name_of(session_id)
        asking = self._cache.asking(name)
        session, size = None, 0
        try:
            kept = await self._lookups.get(name)
            found = await self._open(session_id, name, kept)
            if isinstance(found, Session) and isinstance(kept, Kept):
                session, size = self._up_to_date(found), len(kept.value)
        finally:
            self._cache.asked(name, asking, session, size)
        return found

    async def _reload(self, session_id: bytes) -> Session | Lost:
        """The session as it is in the store now, after any rotation; ``came_from`` is set when there was one."""
        current = session_id
        for _ in range(_HOPS):
            name = name_of(current)
            found = await self._open(current, name, (await self.engine.load([name]))[0])
            if not isinstance(found, Pointer):
                moved = isinstance(found, Session) and current != session_id
                return replace(found, came_from=session_id) if isinstance(found, Session) and moved else found
            current = found.id
        return self._corrupt(session_id)

    async def _open(self, session_id: bytes, name: bytes, kept: Kept | Gone) -> Session | Pointer | Lost:
        if isinstance(kept, Gone):
            lost = Lost(kept.note if kept.note in NOTES else "unknown_session")
            self._cache.keep_lost(name, lost, self._clock())
            return lost
        try:
            record = self._values.open(session_id, name, kept.value)
        except SealBroken:
            return self._corrupt(session_id)
        except UnknownKey as error:
            await self._announcements.refresh()  # it may have been announced a moment ago
            if self._announcements.may_be_ours(error.key_id):
                raise StoreUnavailable(f"a session is under key {error.key_id.hex()}, not in this ring") from error
            return self._corrupt(session_id)
        if isinstance(record, Replaced):
            return Lost("replaced")
        return record if isinstance(record, Pointer) else self._session(session_id, name, record, kept)

    def _session(self, session_id: bytes, name: bytes, record: SessionRecord, kept: Kept) -> Session:
        card = self._values.open_card(name, kept.seen)
        last_seen = record.modified if card is None else max(card.last_seen, record.modified)
        if card is None:
            user = record.user
            who = {} if user is None else {"source": user.source, "user_id": user.id, "username": user.username}
            card = Card(handle_without_card(name), created=record.created, last_seen=last_seen, **who)
        return Session(session_id, record, last_seen, card, version_of(kept.value))

    # -- watching over one that is in use already (an open WebSocket)
    def watched(self, session: Session, *, asked: bool) -> Session | Lost | None:
        """As :meth:`known`, but nobody presents an id. ``asked``: the store was, within ``touch_interval``."""
        if not self._belief.in_cache():
            return None
        known = self._cache.get(session.id)
        if known is None or (needs_touch(known, self.policy, self._clock()) and not asked):
            return None
        found = self._judged(known)
        return None if found == Lost("expired_idle") else found  # another process may have seen it in use

    async def watch(self, session: Session) -> Session | Lost:
        """The same session as it is now, from the store and under whatever id: the one that is told may be an older one.

        :raises StoreUnavailable: when the store does not answer.
        """
        current = session.id
        for _ in range(_MOVES):
            found = await self._look_up(current)
            if found == Lost("replaced"):
                found = await self._replaced_by(current)
            if isinstance(found, Session):
                return self._judged(found)
            if isinstance(found, Lost):
                again = await self._found_again(session) if found.code == "unknown_session" else None
                return found if again is None else self._judged(again)
            current = found.id
        return Lost("unknown_session")

    async def _replaced_by(self, session_id: bytes) -> Pointer | Lost:
        name = name_of(session_id)
        (kept,) = await self.engine.load([name])
        if isinstance(kept, Gone):
            return Lost(kept.note if kept.note in NOTES else "unknown_session")
        try:
            found = self._values.open(session_id, name, kept.value)
        except (SealBroken, UnknownKey):
            return Lost("replaced")
        return Pointer(found.id) if isinstance(found, Replaced | Pointer) and found.id else Lost("replaced")

    async def _found_again(self, session: Session) -> Session | None:
        """It got other ids while nobody could look, and the way to them is gone: is it in its user's list?"""
        return None

    def _judged(self, session: Session) -> Session | Lost:
        over = why_over(session.record, session.last_seen, self.policy, self._clock())
        if over is not None:
            return Lost(over)
        user = session.record.user
        if user is None:
            return session
        now = self._belief.user_now(user)
        if now is user:
            return session
        return Lost("revoked") if now is None else with_user(session, now)

    def _up_to_date(self, session: Session) -> Session:
        """With its user as he is now, so that comparing them costs nothing as long as it is kept."""
        user = session.record.user
        now = None if user is None else self._belief.user_now(user)
        return session if now is None else with_user(session, now)

    def _corrupt(self, session_id: bytes) -> Lost:
        lost, now = Lost("unknown_session"), self._clock()
        name = name_of(session_id)
        if self._cache.lost(name, now) is None:
            log.error("session_corrupt", extra={"fields": {"what": "a record does not open", "name": name.decode()}})
        self._cache.keep_lost(name, lost, now)
        return lost

    def _arrived(self, session: Session) -> None:
        """Its new id was presented: the old one is needed no more."""

    # -- what others did
    def changed(self, names: Sequence[bytes]) -> None:
        """The store says that these were written or are gone."""
        self._cache.forget(names)
        for name in names:
            self._lookups.overtake(name)

    def anything_changed(self) -> None:
        """Nobody can say what was written: the link over which changes are told was lost."""
        self._cache.forget_all()
        self._lookups.overtake_all()
