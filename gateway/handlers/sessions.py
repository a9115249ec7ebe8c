"""``/auth/sessions``: my sessions on all devices; ``DELETE`` ends one, or all the others (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.refusals import refuse
from gateway.core.sessions import Session
from gateway.errors import RequestError
from gateway.store.directory import Listed, UserSessions
from gateway.store.sessions import Sessions
from gateway.store.values import name_of
from gateway.web.answers import Answers
from gateway.web.cross_site import require_same_site
from gateway.web.endpoint import by_method, session_of
from gateway.web.session import WebSession
from gateway.web.state import STATE, head_of


class SessionList:
    """``prefix``: where it answers; what is below is a handle."""

    def __init__(self, answers: Answers, sessions: Sessions, prefix: str) -> None:
        self._answers = answers
        self._sessions = sessions
        self._prefix = prefix

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method; below the list there is nothing to get."""
        one = request[STATE].path != self._prefix
        methods = {"DELETE": self.delete} if one else {"GET": self.get, "DELETE": self.delete}
        return await by_method(request, methods)

    def _handle(self, request: web.Request) -> str | None:
        """What stands behind the list's path; None: the list itself."""
        path = request[STATE].path
        return None if path == self._prefix else path.removeprefix(self._prefix + "/")

    async def get(self, request: web.Request) -> web.Response:
        """All of them, oldest first."""
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self._refused(request, session)
        listed = await self._directory().of(session.user)
        own = name_of(session.found.id)
        rows = [_row(one, one.name == own) for one in listed]
        return self._answers.json(request, {"ret": 0, "sessions": rows})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Ends the one with the handle, or all but this one."""
        require_same_site(head_of(request), self._answers.site)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self._refused(request, session)
        request[STATE].line.user = session.user.id
        handle = self._handle(request)
        if handle is None:
            ended = await self._end_others(session.found)
        else:
            ended = await self._end_one(session, session.found, handle)
        return self._answers.json(request, {"ret": 0, "ended": ended})

    async def _end_others(self, session: Session) -> int:
        self._directory()
        return await self._sessions.end_others(session)

    async def _end_one(self, web_session: WebSession, own: Session, handle: str) -> int:
        """:raises RequestError: 404: it is nobody's, or somebody else's."""
        assert web_session.user is not None
        directory = self._directory()
        for listed in await directory.of(web_session.user):
            if not handle or listed.card.handle != handle:
                continue
            if listed.name == name_of(own.id):
                await web_session.flush()
                return 1
            return int(await directory.end(web_session.user, listed))
        raise RequestError("no_such_session")

    def _directory(self) -> UserSessions:
        """:raises RequestError: 501: the engine keeps none."""
        if self._sessions.users is None:
            raise RequestError("not_possible", what="the session engine keeps no list of a user's sessions")
        return self._sessions.users

    def _refused(self, request: web.Request, session: WebSession) -> web.Response:
        refusal = refuse(
            head_of(request), self._answers.site, session.lost or "no_session", drop_cookie=session.lost is not None
        )
        return self._answers.refusal(request, refusal)


def _row(listed: Listed, is_this: bool) -> dict[str, Any]:
    card = listed.card
    return {
        "handle": card.handle,
        "created": int(card.created),
        "last_seen": int(card.last_seen),
        "address": card.address,
        "device": card.device,
        "this": is_this,
    }
