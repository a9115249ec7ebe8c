"""``/auth/sessions``: my sessions on all devices; ``DELETE`` ends one, or all the others (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.refusals import refuse
from gateway.web.answers import Answers
from gateway.web.auditing import handle_of, note
from gateway.web.cross_site import require_same_site
from gateway.web.endpoint import by_method, session_of
from gateway.web.own_sessions import OwnSession, OwnSessions
from gateway.web.session import WebSession
from gateway.web.state import STATE, head_of


class SessionList:
    """``prefix``: where it answers; what is below is a handle."""

    def __init__(self, answers: Answers, sessions: OwnSessions, prefix: str) -> None:
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
        rows = [_row(one) for one in await self._sessions.all(session)]
        return self._answers.json(request, {"ret": 0, "sessions": rows})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Ends the one with the handle, or all but this one."""
        require_same_site(head_of(request), self._answers.site)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self._refused(request, session)
        request[STATE].line.user = session.user.id
        user, own = session.user, handle_of(session.found)
        handle = self._handle(request)
        if handle is None:
            ended = await self._sessions.end_others(session.found)
            note(request, "sessions_revoked", user, session=own, count=ended)
        else:
            ended = await self._sessions.end_one(session, handle)
            note(request, "session_revoked", user, session=handle, count=ended)
        return self._answers.json(request, {"ret": 0, "ended": ended})

    def _refused(self, request: web.Request, session: WebSession) -> web.Response:
        refusal = refuse(
            head_of(request), self._answers.site, session.lost or "no_session", drop_cookie=session.lost is not None
        )
        return self._answers.refusal(request, refusal)


def _row(one: OwnSession) -> dict[str, Any]:
    card = one.card
    return {
        "handle": card.handle,
        "created": int(card.created),
        "last_seen": int(card.last_seen),
        "address": card.address,
        "device": card.device,
        "this": one.is_this,
    }
