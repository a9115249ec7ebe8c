"""``GET /auth/session``: who I am and how long I have; not activity. ``POST /auth/session/extend``: the same, and it is
(docs/http-api.md)."""

from __future__ import annotations

import time

from aiohttp import web

from gateway.core.identity import Identity
from gateway.core.refusals import refuse
from gateway.core.sessions import Session, SessionPolicy, absolute_end, limits_of
from gateway.errors import RequestError
from gateway.web.answers import Answers
from gateway.web.bodies import may_be_foreign_form
from gateway.web.cross_site import require_same_site
from gateway.web.endpoint import by_method, session_of
from gateway.web.state import STATE, head_of


class SessionInfo:
    """A stranger gets the refusal that every route gives."""

    def __init__(self, answers: Answers, policy: SessionPolicy) -> None:
        self._answers = answers
        self._policy = policy

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"GET": self.get})

    async def get(self, request: web.Request) -> web.Response:
        """The session as JSON; times in epoch seconds, durations in seconds."""
        session = await session_of(request)
        if session.found is None or session.user is None:
            code = session.lost or "no_session"
            refusal = refuse(head_of(request), self._answers.site, code, drop_cookie=session.lost is not None)
            return self._answers.refusal(request, refusal)
        return self._told(request, session.user, session.found)

    def _told(self, request: web.Request, user: Identity, found: Session) -> web.Response:
        request[STATE].line.user = user.id
        body = {"ret": 0, "user": user.public(), **times_left(found, self._policy, time.time())}
        return self._answers.json(request, body)


class SessionExtension(SessionInfo):
    """POST only: counts as activity."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def post(self, request: web.Request) -> web.Response:
        """:raises RequestError: 403: another site's page sent it."""
        if not require_same_site(head_of(request), self._answers.site) and may_be_foreign_form(request):
            raise RequestError("cross_site")
        session = await session_of(request)
        if session.found is not None and session.user is not None:
            await session.touch()
        return await self.get(request)


def times_left(session: Session, policy: SessionPolicy, now: float) -> dict[str, int]:
    """What a front end needs to warn in time."""
    return {
        "created": int(session.record.created),
        "last_seen": int(session.last_seen),
        "idle_left": max(int(session.last_seen + limits_of(session.record, policy).idle_timeout - now), 0),
        "absolute_left": max(int(absolute_end(session.record, policy) - now), 0),
    }
