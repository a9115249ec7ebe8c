"""The session that handlers see: aiohttp-session's mapping with Django's vocabulary on top.

It is loaded at first access and written by the middleware (:mod:`gateway.web.storage`). What aiohttp-session does wrong is
mended here (founding decision 10): ``created`` never moves, the id can be changed (:meth:`WebSession.cycle_key`), ending a
session ends its record. Method by method beside Django's: docs/sessions-for-django-users.md.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.identity import Identity
from gateway.core.keys import from_b64url
from gateway.core.session_data import PASSWORD_KEY
from gateway.core.sessions import Session, SessionRecord, Visitor
from gateway.core.tickets import SESSION_ID_BYTES
from gateway.errors import SessionInterrupted
from gateway.store.sessions import Lost, Sessions
from gateway.web.expiry import Expiry, checked_expiry
from gateway.web.mapping import SessionMapping, copied


def _nobody() -> Visitor | None:
    return None


def _awaitable(name: str) -> Callable[..., Awaitable[Any]]:
    async def call(session: WebSession, *args: Any, **kwargs: Any) -> Any:
        return getattr(session, name)(*args, **kwargs)

    return call


class WebSession(SessionMapping):
    """One request's view of a session, and what it does in the store.

    ``sent``: a cookie that authenticates came with the request. ``visitor`` is asked only when a record is made;
    ``keep_at_sign_in`` names the keys of a stranger's session that stay when he signs in; ``clock`` gives epoch seconds.
    """

    def __init__(
        self,
        sessions: Sessions,
        found: Session | None,
        *,
        lost: str | None = None,
        sent: bool = False,
        visitor: Callable[[], Visitor | None] = _nobody,
        keep_at_sign_in: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sessions.policy, found, clock=clock)
        self._sessions = sessions
        self._keep_at_sign_in = keep_at_sign_in
        self.visitor = visitor
        self.sent = sent
        self.sent_id: bytes | None = None
        """The authentic id that came, whether it named a session or not."""
        self.lost = lost
        """The code of the reason why the cookie that came names no living session; None: there was none, or it lives."""
        self.written = False
        """Was a record written in this request? Then the cookie has to follow."""
        self.renewed = False
        """Has the cookie to follow although nothing was written?"""
        self.deleted = False
        """Was its record deleted by :meth:`delete`? Then its cookie goes."""

    @classmethod
    def for_key(cls, sessions: Sessions, key: str | None = None) -> WebSession:
        """Outside any request: ``await session.load()`` comes first. A key that cannot be one is dropped at once."""
        session = cls(sessions, None)
        session._unread = _id_of(key)
        return session

    # -- the store
    async def load(self) -> dict[str, Any]:
        """What is in the store now; changes that were not saved are lost. Unknown or over: empty, and the key is dropped.

        :raises gateway.errors.StoreUnavailable: never answered with an empty session; nothing is changed.
        """
        found: Session | Lost | None = None
        if self._found is not None:
            found = await self._sessions.reload(self._found)
        elif self._unread is not None:
            found = await self._sessions.find_id(self._unread)
        self.lost = found.code if isinstance(found, Lost) else None
        self._read(found if isinstance(found, Session) else None)
        self.deleted = False
        return dict(self._data)

    async def save(self, must_create: bool = False) -> Session:
        """Writes it: creates the record, or updates it if it is still there. What others wrote meanwhile is merged in.

        :raises gateway.errors.SessionInterrupted: deleted meanwhile; nothing was written.
        :raises gateway.store.serializers.UnwritableValue: naming the key; nothing was written.
        """
        found = self._found
        if found is None or must_create:
            return await self.create()
        return await self._write(self._snapshot(), lambda record: self._sessions.save(found, record))

    async def create(self) -> Session:
        """A new id, written at once. A record that it had stays, under its own id."""
        before = self._snapshot()
        fresh = replace(before, created=before.modified)
        return await self._write(before, lambda _: self._sessions.create(fresh, self.visitor()))

    async def delete(self, key: str | None = None) -> None:
        """Ends the session with this key, by default its own: then what is in memory stays, but cannot be saved any more."""
        if self._found is not None and key in (None, self.session_key):
            await self._sessions.delete(self._found)
            self.deleted = True
            return
        if key is None and self._found is None and self.sent_id is not None:
            await self._sessions.end_for_sure(self.sent_id)
            return
        session_id = _id_of(key or self.session_key)
        found = await self._sessions.find_id(session_id) if session_id else None
        if isinstance(found, Session):
            await self._sessions.delete(found)

    async def exists(self, key: str) -> bool:
        """Is there a living session with this key?"""
        if self._found is not None and key == self.session_key:
            return isinstance(await self._sessions.reload(self._found), Session)
        session_id = _id_of(key)
        return session_id is not None and await self._sessions.exists(session_id)

    async def flush(self) -> None:
        """Data, record and id gone; the middleware deletes the cookie."""
        await self.delete()
        self._read(None)
        self.accessed = True
        self.written = self.renewed = self.deleted = False

    async def cycle_key(self) -> Session:
        """A new id, the same data, ``created`` kept; the old id is dead when this returns.

        :raises gateway.errors.SessionInterrupted: deleted meanwhile; nothing was written.
        """
        before = self._snapshot()
        record = replace(before, created=before.modified) if self.ending else before
        return await self._replace(before, record)

    async def touch(self) -> None:
        """Notes that it is in use now. Failing is no harm: the next request tries again."""
        if self._found is not None:
            self._renewed_as(await self._sessions.touch(self._found))

    async def renew(self) -> None:
        """The cookie is due for a new value (a new id, now and then); the middleware sets it.

        :raises gateway.errors.SessionInterrupted: deleted meanwhile.
        """
        if self._found is not None:
            self.renewed = True
            self._renewed_as(await self._sessions.renew(self._found))

    def _renewed_as(self, session: Session) -> None:
        assert self._found is not None
        self.renewed = self.renewed or session.version != self._found.version
        self._found = session

    def encode(self, data: Mapping[str, Any]) -> str:
        """The data as a sealed text."""
        return self._sessions.encode(data)

    def decode(self, text: str) -> dict[str, Any]:
        """What :meth:`encode` made; of anything else nothing: ``{}``."""
        return self._sessions.decode(text)

    # -- the user
    async def sign_in(
        self, user: Identity, expiry: Expiry = None, *, remember: bool = False, own: Mapping[str, str] | None = None
    ) -> Session:
        """Somebody else's data go, his own stay; of a stranger's session the keys of the allow-list. The id changes, and the
        absolute timeout starts anew (P50). When this fails nothing has changed. ``remember``: by ``session.remember``; ``own``:
        what only the gateway itself sees, under reserved keys.

        :raises gateway.errors.TooManySessions: he has as many as he may.
        """
        before = self._snapshot()
        now = before.modified
        seconds, until = checked_expiry(expiry, now)
        data = self._kept_for(user, before.data) | dict(own or {})
        record = SessionRecord(now, now, user, seconds, data, until, remembered=remember)
        try:
            return await self._replace(before, record)
        except SessionInterrupted:  # what was in it has been ended meanwhile, but he did prove who he is
            fresh = replace(record, data=dict(own or {}))
            return await self._write(before, lambda _: self._sessions.create(fresh, self.visitor()))

    def _kept_for(self, user: Identity, data: Mapping[str, Any]) -> dict[str, Any]:
        if self._user is None:
            return {key: value for key, value in data.items() if key in self._keep_at_sign_in}
        kept = data if user.is_same(self._user) else {}
        return {
            key: value for key, value in kept.items() if key != PASSWORD_KEY
        }  # he has just said another one, perhaps

    def set_user(self, user: Identity, own: Mapping[str, str] | None = None) -> None:
        """The same user, with other rights; ``await session.cycle_key()`` comes next, else the middleware does it. ``own``: as
        :meth:`sign_in`.

        :raises ValueError: it is not the same user: that is :meth:`sign_in`.
        """
        self._require_loaded()
        if not user.is_same(self._user):
            raise ValueError("another user cannot be put into a session: sign_in")
        self._user = user
        self._reserved = {**self._reserved, **(own or {})}
        self._touched = True

    @property
    def is_over(self) -> bool:
        """Was it invalidated, and nothing written since?"""
        return self.ending and not self._mapping and self._user is None

    @property
    def needs_new_id(self) -> bool:
        """Did its rights change, or did it end and begin again, and nothing was written since?"""
        is_other = self._found is not None and self._user != self._found.record.user
        return self.ending or (is_other and self._user is not None)

    # -- inside
    def _snapshot(self) -> SessionRecord:
        record = self._record(self._clock())
        return replace(record, data=copied(record.data))

    async def _replace(self, before: SessionRecord, record: SessionRecord) -> Session:
        old = self._found
        if old is None:
            return await self._write(before, lambda _: self._sessions.create(record, self.visitor()))
        return await self._write(before, lambda _: self._sessions.replace(old, record, self.visitor()))

    async def _write(self, before: SessionRecord, write: Callable[[SessionRecord], Awaitable[Session]]) -> Session:
        """``before`` is what was in memory when the write began: a handler may go on writing in the meantime."""
        touched, self._touched = self._touched, False
        try:
            session = await write(before)
        except BaseException:
            self._touched = touched
            raise
        self._wrote(before, session)
        self.written = True
        self.ending = self.deleted = False
        return session

    # -- Django's names for asynchronous code: what is in memory needs no await, but may have one
    acreate, asave, aload, adelete, aexists, aflush, acycle_key = create, save, load, delete, exists, flush, cycle_key
    aget, aset, aupdate = _awaitable("get"), _awaitable("__setitem__"), _awaitable("update")
    apop, asetdefault, ahas_key = _awaitable("pop"), _awaitable("setdefault"), _awaitable("has_key")
    akeys, avalues, aitems = _awaitable("keys"), _awaitable("values"), _awaitable("items")
    aset_expiry, aget_expiry_age = _awaitable("set_expiry"), _awaitable("get_expiry_age")
    aget_expiry_date, aget_expire_at_browser_close = (
        _awaitable("get_expiry_date"),
        _awaitable("get_expire_at_browser_close"),
    )
    aset_test_cookie, atest_cookie_worked = _awaitable("set_test_cookie"), _awaitable("test_cookie_worked")
    adelete_test_cookie = _awaitable("delete_test_cookie")


def _id_of(key: str | None) -> bytes | None:
    """None for what no key can be; keys come from anywhere."""
    session_id = from_b64url(key) if key and key.isascii() else None
    return session_id if session_id is not None and len(session_id) == SESSION_ID_BYTES else None
