"""``POST /auth/password``: a new password for who is signed in; it ends all other sessions (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.refusals import refuse
from gateway.errors import REASONS, RequestError
from gateway.identity.passwords import MAX_LENGTH, what_is_wrong_with
from gateway.identity.source import NotChanged
from gateway.identity.users import Users
from gateway.store.sessions import Sessions
from gateway.web.bodies import text_field
from gateway.web.endpoint import MethodNotAllowed, OwnEndpoint, by_method, session_of
from gateway.web.state import STATE, head_of


def read_passwords(fields: dict[str, Any]) -> tuple[str, str]:
    """The old and the new one.

    :raises RequestError: 400 ``bad_field`` naming the field.
    """
    old, new = (text_field(fields, name, MAX_LENGTH) for name in ("old_password", "new_password"))
    for name, value in (("old_password", old), ("new_password", new)):
        if not value:
            raise RequestError("bad_field", field=name, what="is missing")
    wrong = what_is_wrong_with(new)
    if wrong is not None:
        raise RequestError("bad_field", field="new_password", what=wrong)
    return old, new


class ChangePassword(OwnEndpoint):
    """POST only. What is not done leaves everything as it was; what is done ends every other session, also when the store
    goes away in the middle: their generation is older, and the gate asks for it."""

    def __init__(self, *shared: Any, users: Users, sessions: Sessions) -> None:
        super().__init__(*shared)
        self._users = users
        self._sessions = sessions

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """There is no page."""
        raise MethodNotAllowed(request.method, ["POST"])

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Changes it."""
        fields = await self.read_own_fields(request)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self._refused(request, session.lost)
        request[STATE].line.user = session.user.id
        old, new = read_passwords(fields)
        await self._sessions.ping()  # or 503: before anything is changed
        changed = await self._users.change_password(session.user, old, new)
        if changed is NotChanged.WRONG:
            return self._wrong(request)
        if changed is NotChanged.IMPOSSIBLE:
            raise RequestError("not_possible", what="the passwords of this account are changed elsewhere")
        ended = await self._sessions.end_others(session.found)
        session.set_user(changed)
        await session.cycle_key()
        return self.answers.json(request, {"ret": 0, "ended": ended})

    def _refused(self, request: web.Request, lost: str | None) -> web.Response:
        """As every route refuses a stranger; ``lost``: why the cookie that came opens nothing."""
        refusal = refuse(head_of(request), self.site, lost or "no_session", drop_cookie=lost is not None)
        return self.answers.refusal(request, refusal)

    def _wrong(self, request: web.Request) -> web.Response:
        state = request[STATE]
        reason = REASONS["bad_credentials"]
        state.line.reason = reason.code
        body = {"ret": 1, "msg": reason.words(self.language(request)), "reason": reason.code}
        return self.answers.json(request, {**body, "request_id": state.request_id}, reason.status)
