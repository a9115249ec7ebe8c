"""aiohttp-session's storage on our store, and the middleware that applies the rules of a session (Django's, mended).

Once for each response, before its head is sent:

1. Touched → ``Vary: Cookie``.
2. Invalidated, and nothing written afterwards → record and cookie go, whatever the status.
3. Modified (or ``save_every_request``), not empty, status below 500 → saved; under a new id when rights changed.
   Deleted in parallel → ``SessionInterrupted``, which the front door answers with 400 and no cookie.
4. Written → the cookie is set, with its real age. Else it was presented under an older id, or is due for a new one → the
   cookie is set, unless the response says that shared caches may store it. A cookie came and there is no record → it is
   deleted. What carries the cookie and could be stored by a shared cache is made ``private``.

A stranger who never writes costs nothing. A handler that streams sends the head itself: :func:`save_before_head` is for
``app.on_response_prepare``. What such a handler changes later is saved after it, if the session has an id by then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp_session
from aiohttp import hdrs, web
from aiohttp.http import StreamWriter

from gateway.core.caching import may_be_shared
from gateway.core.devices import describe_device
from gateway.core.sessions import Session, Visitor, cookie_age
from gateway.core.tickets import cookies_named
from gateway.errors import GatewayError
from gateway.store.serializers import UnwritableValue
from gateway.store.sessions import Lost, Presented, Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession
from gateway.web.state import STATE

log = logging.getLogger("gateway.sessions")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LOADED = web.RequestKey("session_loaded", WebSession)
_IS_ACTIVITY = web.RequestKey("session_is_activity", bool)


@dataclass(frozen=True, slots=True)
class _Told:
    """The rules were applied; ``session`` is what the browser has a cookie of from now on."""

    session: Session | None = None


_TOLD = web.RequestKey("session_told", _Told)


class SessionStorage(aiohttp_session.AbstractStorage):
    """Loads and saves :class:`~gateway.web.session.WebSession`. ``keep_at_sign_in``: the keys of a stranger's session that
    stay when he signs in."""

    def __init__(self, sessions: Sessions, cookie: CookieOptions, *, keep_at_sign_in: Iterable[str] = ()) -> None:
        super().__init__(
            cookie_name=cookie.name,
            domain=cookie.domain,
            path=cookie.path,
            secure=cookie.secure,
            httponly=cookie.httponly,
            samesite=cookie.samesite,
        )
        self.sessions = sessions
        self._cookie = cookie
        self._keep = frozenset(keep_at_sign_in)

    # -- loading
    def _presented(self, request: web.BaseRequest) -> Presented | None:
        return self.sessions.presented(cookies_named(request.headers.getall(hdrs.COOKIE, ()), self._cookie.name))

    async def load_session(self, request: web.BaseRequest) -> WebSession:
        """An id that names nothing is dropped, never adopted (P46).

        :raises gateway.errors.StoreUnavailable: never answered with an empty session.
        """
        presented = self._presented(request)
        found = None if presented is None else await self.sessions.find(presented)
        session = WebSession(
            self.sessions,
            found if isinstance(found, Session) else None,
            lost=found.code if isinstance(found, Lost) else None,
            sent=presented is not None,
            visitor=visitor_of(request),
            keep_at_sign_in=self._keep,
        )
        session.sent_id = presented.id if presented is not None else None
        request[_LOADED] = session
        return session

    async def new_session(self) -> WebSession:
        """An empty one. When it is saved, the session that the cookie named is ended."""
        return WebSession(self.sessions, None, keep_at_sign_in=self._keep)

    # -- saving
    async def save_session(
        self, request: web.BaseRequest, response: web.StreamResponse, session: aiohttp_session.Session
    ) -> None:
        """Applies the rules to a response whose head is not sent.

        :raises SessionInterrupted, StoreUnavailable: nothing was written.
        """
        assert isinstance(session, WebSession)
        request[_TOLD] = _Told()
        if session.accessed or session.modified or session.written:
            _vary_on_cookie(response)
        if session.is_over:
            await session.flush()
        elif _has_to_be_saved(session, response.status, self.sessions.policy.save_every_request):
            session.visitor = visitor_of(request)
            await (session.cycle_key() if session.needs_new_id else session.save())
        elif not session.written:
            await self._keep_alive(request, response, session)
        if session.written:
            await self._end_replaced(request, session)
        self._tell(request, response, session)
        request[_TOLD] = _Told(session.found)

    async def _keep_alive(self, request: web.BaseRequest, response: web.StreamResponse, session: WebSession) -> None:
        """In use, but not written. What goes wrong here must not fail the request (hazard R3)."""
        found, is_activity = session.found, request.get(_IS_ACTIVITY, True)
        if found is None or session.deleted or not (is_activity or found.moved):
            return
        if is_activity:
            self.sessions.note_activity(found)
        if response.status < 500 and self.sessions.renewal_is_due(found) and self._may_tell(request, response, found):
            try:
                await session.renew()
            except GatewayError as error:
                log.warning("a session was not given its new cookie", extra={"fields": {"reason": error.reason.code}})

    def _may_tell(self, request: web.BaseRequest, response: web.StreamResponse, found: Session) -> bool:
        """A response that says itself that caches may store it is left alone, unless the cookie cannot wait."""
        says_so = hdrs.CACHE_CONTROL in response.headers and _may_be_shared(request, response)
        return not says_so or self.sessions.renewal_is_urgent(found)

    async def _end_replaced(self, request: web.BaseRequest, session: WebSession) -> None:
        """The living session in whose place ``aiohttp_session.new_session`` has put this one."""
        loaded = request.get(_LOADED)
        if loaded is session:
            return
        old: Session | Lost | None = loaded.found if loaded is not None else None
        if loaded is None and (presented := self._presented(request)) is not None:
            old = await self.sessions.find(presented)
        if isinstance(old, Session):
            await self.sessions.delete(old)

    def _tell(self, request: web.BaseRequest, response: web.StreamResponse, session: WebSession) -> None:
        if session.found is None or session.deleted:
            if session.sent and session.lost != "replaced":  # the browser has another one by now
                self._cookie.drop(response)
        elif session.written or session.renewed:
            if _may_be_shared(request, response):  # a cache would give the cookie to the next one who asks
                response.headers[hdrs.CACHE_CONTROL] = "private"
            self._cookie.set(response, *self._value_and_age(session.found))

    def cookie_header(self, session: Session) -> bytes:
        """The cookie of a session, for an answer that is passed on: the value of its ``Set-Cookie``."""
        return self._cookie.header(*self._value_and_age(session)).encode("latin-1")

    def _value_and_age(self, session: Session) -> tuple[str, int | None]:
        """The real age; a session that is over (``set_expiry`` in the past) has no cookie."""
        age = cookie_age(session.record, self.sessions.policy, time.time())
        return ("" if age == 0 else self.sessions.cookie_value(session)), age

    # -- the way of a response
    async def finish(self, request: web.Request, response: web.StreamResponse) -> None:
        """After the handler: the rules, or what is left to do when the head is sent already."""
        session = await self._session_in(request, response)
        if session is None:
            return
        if response.prepared:
            await self._save_late(request, session)
        else:
            await self.save_session(request, response, session)

    async def before_head(self, request: web.Request, response: web.StreamResponse) -> None:
        """As :func:`save_before_head`."""
        session = None if _TOLD in request else await self._session_in(request, response)
        if session is None:
            return
        try:
            await self.save_session(request, response, session)
        except BaseException:
            forget_framing(request)
            raise
        morsel = response.cookies.get(self._cookie.name)
        if morsel is not None:  # aiohttp has made headers of the cookies by now
            response.headers.add(hdrs.SET_COOKIE, morsel.OutputString())

    async def _session_in(self, request: web.Request, response: web.StreamResponse) -> WebSession | None:
        """What the handler asked for; with ``save_every_request`` also what it did not ask for."""
        session = request.get(aiohttp_session.SESSION_KEY)
        if session is None and self.sessions.policy.save_every_request and response.status < 500:
            session = await aiohttp_session.get_session(request)
        return session

    async def _save_late(self, request: web.Request, session: WebSession) -> None:
        """The client has its answer: what goes wrong now can only be noted."""
        wrong = None
        try:
            if session.is_over:
                await session.flush()
            elif session.modified and session.found is not None:
                await session.save()
            elif session.modified and not session.is_empty():
                wrong = "the session has no id, and it is too late for a cookie: it is lost"
        except (GatewayError, UnwritableValue) as error:
            wrong = f"it was not saved: {error}"
        if wrong is None and self._lacks_cookie(request.get(_TOLD, _Told()).session, session.found):
            wrong = "it has another cookie now, which came too late"
        if wrong is not None:
            log.warning("a session was changed after the head of the answer", extra={"fields": {"cause": wrong}})

    def _lacks_cookie(self, told: Session | None, now: Session | None) -> bool:
        """An old id that points to the new one will do."""
        if now is None or now.moved or now is told:
            return False
        return told is None or self.sessions.cookie_value(told) != self.sessions.cookie_value(now)


def _has_to_be_saved(session: WebSession, status: int, save_every_request: bool) -> bool:
    return status < 500 and not session.is_empty() and (session.modified or save_every_request)


def visitor_of(request: web.BaseRequest) -> Callable[[], Visitor]:
    """Where the request comes from; worked out when somebody asks."""
    state = request.get(STATE)
    address = state.head.peer if state is not None else request.remote or ""
    agent = request.headers.get(hdrs.USER_AGENT, "")
    return lambda: Visitor(address, describe_device(agent))


def forget_framing(request: web.BaseRequest) -> None:
    """aiohttp has prepared the writer for the response that will not be sent. Another one takes its place: with its own
    length and in chunks as well, a client would read the rest as the next answer (RFC 9112 §6.3)."""
    writer = request.writer
    assert isinstance(writer, StreamWriter)
    writer.chunked, writer.length, writer._compress = False, None, None


def _may_be_shared(request: web.BaseRequest, response: web.StreamResponse) -> bool:
    raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in response.headers.items()]
    return may_be_shared(request.method, response.status, raw)


def _vary_on_cookie(response: web.StreamResponse) -> None:
    said = response.headers.getall(hdrs.VARY, [])
    names = {name.strip().lower() for value in said for name in value.split(",")}
    if not names & {"cookie", "*"}:
        response.headers[hdrs.VARY] = ", ".join([*said, "Cookie"])


def with_session(storage: SessionStorage, handler: Handler, *, activity: bool = True) -> Handler:
    """``handler`` with ``await get_session(request)`` working in it, and its session saved after it. Without ``activity``
    looking at the session does not keep it alive."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[aiohttp_session.STORAGE_KEY] = storage
        request[_IS_ACTIVITY] = activity
        try:
            response = await handler(request)
            await storage.finish(request, response)
        except web.HTTPException as answer:  # a handler may raise its response
            await storage.finish(request, answer)
            raise
        finally:
            if _TOLD not in request:  # whatever answers now is not this handler's
                request[_TOLD] = _Told()
        return response

    return handle


async def save_before_head(request: web.Request, response: web.StreamResponse) -> None:
    """For ``app.on_response_prepare``: streamed and WebSocket responses get their cookie before they begin."""
    storage = request.get(aiohttp_session.STORAGE_KEY)
    if isinstance(storage, SessionStorage):
        await storage.before_head(request, response)
