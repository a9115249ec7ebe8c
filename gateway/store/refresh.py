"""Refreshing: the sessions that a sign-in without a cookie opened, and the tokens that keep them going.

The session is the family (:mod:`gateway.core.refresh_tokens`), so its ends are the tokens' ends: idle, absolute, revoked, its
user disabled. A rotation is a compare-and-set of the session's record: two that refresh at once see each other.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing
from gateway.core.refresh_tokens import (
    FAMILY,
    SECRET_BYTES,
    Again,
    Fresh,
    NoFamily,
    RefreshTickets,
    RefreshToken,
    Reused,
    is_present,
    judge,
    new_family,
)
from gateway.core.sessions import Session, SessionRecord, Visitor
from gateway.errors import SessionInterrupted, StoreUnavailable
from gateway.store.announcements import Announcements
from gateway.store.cache import Lost
from gateway.store.sessions import Sessions

log = logging.getLogger("gateway.tokens")


@dataclass(frozen=True, slots=True)
class Opened:
    """A session and the refresh token that is good for it now."""

    session: Session
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotRefreshed:
    """``code`` says why, for the log. ``ended``: the session that was ended, as a token of it was used twice."""

    code: str
    ended: Session | None = None


class _Unchanged(Exception):
    """There is nothing to write."""

    def __init__(self, found: Again | Reused | NoFamily) -> None:
        self.found = found


class Refreshing:
    """``grace`` in seconds; ``clock`` gives epoch seconds, ``entropy`` random bytes."""

    def __init__(
        self,
        sessions: Sessions,
        ring: KeyRing,
        announcements: Announcements,
        *,
        grace: float,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sessions = sessions
        self._tickets = RefreshTickets(ring)
        self._announcements = announcements
        self._grace = grace
        self._clock = clock
        self._entropy = entropy

    def is_one(self, text: str) -> bool:
        """Does it have the form of a refresh token of ours? Authentic or not."""
        return self._tickets.read(text) is not None or self._tickets.key_of(text) is not None

    async def open(self, user: Identity, visitor: Visitor) -> Opened:
        """A new session of this user, with its first refresh token.

        :raises StoreUnavailable, TooManySessions: there is none.
        """
        now, secret = self._clock(), self._entropy(SECRET_BYTES)
        family = new_family(self._entropy(SECRET_BYTES), secret)
        session = await self._sessions.create(SessionRecord(now, now, user, data={FAMILY: family}), visitor)
        return Opened(session, self._tickets.write(RefreshToken(session.id, secret)))

    async def find(self, text: str) -> Session | None:
        """The living session of an authentic token, whether that is the present one or not.

        :raises StoreUnavailable: nobody can say.
        """
        token = self._read(text)
        found = await self._sessions.find_id(token.session_id) if token is not None else None
        return found if isinstance(found, Session) and found.record.user is not None else None

    async def find_present(self, text: str) -> Session | None:
        """The living session of a token that is good now; it is not used by this.

        :raises StoreUnavailable: nobody can say.
        """
        token, session = self._read(text), await self.find(text)
        return session if session and token and is_present(session.record.data, token.secret) else None

    async def refresh(self, text: str) -> Opened | NotRefreshed:
        """The session and the next token. One that was used before ends its session: somebody has a copy.

        :raises StoreUnavailable: nobody can say, or it may be used already: the same one gives the same answer again.
        """
        token = self._read(text)
        if token is None:
            return NotRefreshed("refresh_unknown")
        found = await self._sessions.find_id(token.session_id)
        if isinstance(found, Lost):
            return NotRefreshed(f"refresh_{found.code}")
        if found.record.user is None:
            return NotRefreshed("refresh_nobody")
        try:
            return await self._rotate(found, token)
        except SessionInterrupted:
            return NotRefreshed("refresh_revoked")

    async def _rotate(self, session: Session, token: RefreshToken) -> Opened | NotRefreshed:
        secret = b""

        def rotated(record: SessionRecord) -> SessionRecord:
            nonlocal secret
            found = judge(record.data, token.secret, self._clock(), self._grace)
            if not isinstance(found, Fresh):
                raise _Unchanged(found)
            secret = found.secret
            return replace(record, data={**record.data, FAMILY: found.family})

        try:
            session = await self._sessions.change(session, rotated)
        except _Unchanged as unchanged:
            if isinstance(unchanged.found, Reused):
                await self._sessions.delete(session)
                return NotRefreshed("refresh_reused", session)
            if isinstance(unchanged.found, NoFamily):
                return NotRefreshed("refresh_unknown")
            secret = unchanged.found.secret
        return Opened(session, self._tickets.write(RefreshToken(session.id, secret)))

    def _read(self, text: str) -> RefreshToken | None:
        """:raises StoreUnavailable: it may be ours, but under a key that this process does not have (yet)."""
        token = self._tickets.read(text)
        key = self._tickets.key_of(text) if token is None else None
        if key is not None and self._announcements.may_be_ours(key):
            raise StoreUnavailable(f"a refresh token is under key {key.hex()}, which is in use but not in this ring")
        return token
