"""The session that handlers see: aiohttp-session's mapping with Django's vocabulary on top.

It is loaded at first access and written by the middleware. What aiohttp-session does wrong is mended here (founding
decision 10): ``created`` never moves, the id can be changed (:meth:`WebSession.cycle_key`), ending it ends its record.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import aiohttp_session

from gateway.core.identity import Identity
from gateway.core.keys import b64url
from gateway.core.sessions import Session, SessionRecord
from gateway.store.sessions import Sessions


class WebSession(aiohttp_session.Session):
    """One request's view of a session. Reading sets ``accessed``; writing, also deep inside a value, ``modified``."""

    def __init__(
        self,
        sessions: Sessions,
        found: Session | None,
        *,
        lost: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(None, data=None, new=found is None)
        self._sessions = sessions
        self._found = found
        self._clock = clock
        self._user = found.record.user if found else None
        self._expiry = found.record.expiry if found else None
        self._mapping = copy.deepcopy(dict(found.record.data)) if found else {}
        self.lost = lost
        """The code of the reason why the cookie that came names no living session; None: there was none, or it lives."""
        self.accessed = False
        self.written = False
        """Was a record written in this request? Then the cookie has to follow."""

    # -- the mapping
    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        return self._mapping[key]

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return key in self._mapping

    def __setitem__(self, key: str, value: Any) -> None:
        self.accessed = self._changed = True
        self._mapping[key] = value

    def __delitem__(self, key: str) -> None:
        self.accessed = True
        del self._mapping[key]
        self._changed = True

    def invalidate(self) -> None:
        """aiohttp-session's word for "empty it": the middleware then ends it."""
        super().invalidate()
        self._user = None

    # -- Django's vocabulary
    @property
    def found(self) -> Session | None:
        """The session in the store behind this view."""
        return self._found

    @property
    def session_key(self) -> str | None:
        """The id, or None for a session that was never written. Never log it."""
        return b64url(self._found.id) if self._found else None

    @property
    def user(self) -> Identity | None:
        """Who signed in, or None."""
        return self._user

    @property
    def modified(self) -> bool:
        """Has anything to be written? Notices a change inside a value too, unlike Django."""
        return self._changed or (self._found is not None and self._mapping != self._found.record.data)

    @property
    def holds_nothing(self) -> bool:
        """No data and no user: nothing worth a record."""
        return not self._mapping and self._user is None

    async def save(self) -> Session:
        """Writes it: creates the record, or updates it if it is still there.

        :raises gateway.errors.SessionInterrupted: deleted meanwhile; nothing was written.
        """
        if self._found is None:
            return await self.create()
        return self._now_is(await self._sessions.save(self._found, self._record(self._found.record.created)))

    async def create(self) -> Session:
        """A new id, written at once."""
        return self._now_is(await self._sessions.create(self._record(self._clock())))

    async def flush(self) -> None:
        """Data, record and id gone."""
        if self._found is not None:
            await self._sessions.delete(self._found.id)
        self._found = None
        self.invalidate()
        self._changed = self.written = False
        self._expiry = None

    async def cycle_key(self) -> Session:
        """A new id, the same data, ``created`` kept; the old id is dead when this returns."""
        return await self._replace(self._found.record.created if self._found else self._clock())

    async def sign_in(self, user: Identity, expiry: int | None) -> Session:
        """Another user, or nobody, was in it: its data go. The id changes, and the absolute timeout starts anew (P50)."""
        if not user.is_same(self._user):
            self._mapping.clear()
        self._user = user
        self._expiry = expiry
        return await self._replace(self._clock())

    async def _replace(self, created: float) -> Session:
        old = self._found
        new = self._now_is(await self._sessions.create(self._record(created)))
        if old is not None:
            await self._sessions.delete(old.id)
        return new

    def _now_is(self, session: Session) -> Session:
        self._found = session
        self._changed = False
        self.written = True
        return session

    def _record(self, created: float) -> SessionRecord:
        return SessionRecord(created, self._clock(), self._user, self._expiry, copy.deepcopy(self._mapping))

    def __repr__(self) -> str:
        return f"<WebSession user={self._user.username if self._user else None!r} keys={sorted(self._mapping)}>"
