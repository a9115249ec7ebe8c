"""aiohttp-session's storage on our store, and the middleware that applies the rules of a session (Django's, mended).

After the handler: a cookie was sent and nothing is in the session → record and cookie go. Modified, not empty and the
status below 500 → saved, and the cookie set with its real age. Deleted in parallel → 400 ``session_interrupted``, no
cookie. Touched → ``Vary: Cookie``. A stranger who never writes costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import aiohttp_session
from aiohttp import web

from gateway.core.sessions import Session, cookie_age
from gateway.core.tickets import Tickets, cookies_named
from gateway.store.sessions import Lost, Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SessionStorage(aiohttp_session.AbstractStorage):
    """Loads and saves :class:`~gateway.web.session.WebSession`."""

    def __init__(self, sessions: Sessions, tickets: Tickets, cookie: CookieOptions) -> None:
        super().__init__(cookie_name=cookie.name, domain=cookie.domain, path=cookie.path, secure=cookie.secure)
        self._sessions = sessions
        self._tickets = tickets
        self._cookie = cookie

    def _presented(self, request: web.BaseRequest) -> bytes | None:
        return self._tickets.first(cookies_named(request.headers.getall("Cookie", ()), self._cookie.name))

    async def load_session(self, request: web.BaseRequest) -> WebSession:
        """An id that names nothing is dropped, never adopted (P46).

        :raises gateway.errors.StoreUnavailable: never answered with an empty session.
        """
        session_id = self._presented(request)
        if session_id is None:
            return WebSession(self._sessions, None)
        found = await self._sessions.find(session_id)
        if isinstance(found, Lost):
            return WebSession(self._sessions, None, lost=found.code)
        return WebSession(self._sessions, found)

    async def new_session(self) -> WebSession:
        """An empty one."""
        return WebSession(self._sessions, None)

    async def save_session(
        self, request: web.BaseRequest, response: web.StreamResponse, session: aiohttp_session.Session
    ) -> None:
        """Applies the rules to a response that has not begun."""
        assert isinstance(session, WebSession)
        if session.accessed or session.modified:
            _vary_cookie(response)
        if session.holds_nothing:
            await self._end(request, response, session)
            return
        if response.status < 500 and session.modified:
            await session.save()
        if session.written and session.found is not None:
            self.set_cookie(response, session.found)

    async def _end(self, request: web.BaseRequest, response: web.StreamResponse, session: WebSession) -> None:
        if session.found is not None and session.modified:
            await session.flush()
        if session.found is None and self._presented(request) is not None:
            self._cookie.drop(response)

    def set_cookie(self, response: web.StreamResponse, session: Session) -> None:
        """The cookie of a session that was just written."""
        age = cookie_age(session.record, self._sessions.policy, time.time())
        self._cookie.set(response, self._tickets.sign(session.id), age)


def _vary_cookie(response: web.StreamResponse) -> None:
    named = response.headers.get("Vary", "")
    if "cookie" not in named.lower():
        response.headers["Vary"] = f"{named}, Cookie" if named else "Cookie"


def with_session(storage: SessionStorage, handler: Handler) -> Handler:
    """``handler`` with ``await get_session(request)`` working in it, and its session saved after it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[aiohttp_session.STORAGE_KEY] = storage
        response = await handler(request)
        session = request.get(aiohttp_session.SESSION_KEY)
        if session is not None and not response.prepared:
            await storage.save_session(request, response, session)
        return response

    return handle
