"""``GET /auth/password``: a page for a new password. ``POST``: a new one for who is signed in; it ends all other sessions
(docs/http-api.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.identity import Identity
from gateway.core.passwords import MAX_LENGTH, PasswordPolicy
from gateway.core.session_data import PASSWORD_KEY
from gateway.errors import REASONS, Busy, GatewayError, Language, RequestError
from gateway.identity.sign_in import SignIn
from gateway.identity.source import NotChanged
from gateway.identity.users import Users
from gateway.pages import PasswordView
from gateway.store.sessions import Sessions
from gateway.web.auditing import handle_of, note, noting_refusal
from gateway.web.bodies import text_field
from gateway.web.devices import Devices
from gateway.web.endpoint import OwnEndpoint, session_of
from gateway.web.new_passwords import read_new_password, told
from gateway.web.state import STATE

_WRONG: dict[Language, str] = {"en": "That is not your current password", "zh": "当前密码错误"}
"""Of ``bad_credentials`` here: who is signed in has given no username that could be wrong."""

_ELSEWHERE = "the passwords of this account are changed elsewhere"
_NOT_WRITTEN = "the password cannot be written; the operator finds the cause in the log"


class ChangePassword(OwnEndpoint):
    """Both methods. What is not done leaves everything as it was; what is done ends every other session, also when the store
    goes away in the middle: their generation is older, and the gate asks for it."""

    def __init__(
        self,
        *shared: Any,
        sign_in: SignIn,
        devices: Devices,
        users: Users,
        sessions: Sessions,
        policy: PasswordPolicy,
        keeps_password: bool = False,
    ) -> None:
        super().__init__(*shared)
        self._sign_in = sign_in
        self._devices = devices
        self._users = users
        self._sessions = sessions
        self._policy = policy
        self._keeps_password = keeps_password

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The page. A stranger is refused as everywhere; the way back leads here."""
        session = await session_of(request)
        if session.user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = session.user.id
        return self._page(request, session.user, possible=self._users.can_change_password(session.user))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Changes it. A page load gets the page again with what is wrong, or my account."""
        fields, as_page = await self.read_own_fields(request), self.wants_page(request)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self.refused(request, session.lost)
        user = session.user
        request[STATE].line.user = user.id
        try:
            changed = await self._changed(request, user, fields)
        except (RequestError, Busy) as error:
            if not as_page:
                raise
            return self._page_again(request, user, error)
        if changed is None:
            return self._wrong(request, user, as_page)
        note(request, "password_changed", changed, session=handle_of(session.found))
        ended = await self._sessions.end_others(session.found)
        new = text_field(fields, "new_password", MAX_LENGTH)
        session.set_user(changed, {PASSWORD_KEY: new} if self._keeps_password else None)
        await session.cycle_key()
        if as_page:
            return self.answers.see_other(request, self.own_url(request, "account", said="password"))
        return self.answers.json(request, {"ret": 0, "ended": ended})

    async def _changed(self, request: web.Request, user: Identity, fields: dict[str, Any]) -> Identity | None:
        """None: the old one is wrong.

        :raises RequestError: 400 ``bad_field`` naming the field; 501: passwords cannot be changed here, or not now.
        """
        old = text_field(fields, "old_password", MAX_LENGTH)
        if not old:
            raise RequestError("bad_field", field="old_password", what="is missing")
        new = read_new_password(fields, self._policy, user)
        await self._sessions.ping()  # or 503: before anything is changed
        with noting_refusal(request, user):
            changed = await self._sign_in.change_password(user, old, new, self._devices.caller(request))
        if changed is NotChanged.WRONG:
            note(request, "password_refused", user, reason="bad_credentials")
            return None
        if changed is NotChanged.IMPOSSIBLE:
            note(request, "password_refused", user, reason="not_possible")
            is_ours = self._users.can_change_password(user)
            raise RequestError("not_possible", what=_NOT_WRITTEN if is_ours else _ELSEWHERE)
        return changed

    def _wrong(self, request: web.Request, user: Identity, as_page: bool) -> web.Response:
        state, language = request[STATE], self.language(request)
        reason = REASONS["bad_credentials"]
        state.line.reason = reason.code
        if as_page:
            return self._page(request, user, reason.status, error=_WRONG[language], wrong="old_password")
        body = {"ret": 1, "msg": _WRONG[language], "reason": reason.code, "request_id": state.request_id}
        return self.answers.json(request, body, reason.status)

    # -- the page
    def _page_again(self, request: web.Request, user: Identity, error: GatewayError) -> web.Response:
        reason = error.reason
        request[STATE].line.reason = reason.code
        if reason.code == "not_possible":
            return self._page(request, user, reason.status, possible=False)
        response = self._page(request, user, reason.status, **told(error, self.language(request)))
        if isinstance(error, Busy):
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    def _page(self, request: web.Request, user: Identity, status: int = 200, **shown: Any) -> web.Response:
        form, language = self.form(request), self.language(request)
        view = PasswordView(
            language,
            action=self.own_url(request, "password"),
            csrf=form.field,
            username=user.username,
            account_url=self.own_url(request, "account"),
            rules=self._policy.rules(language),
            switch_language_url=self.switch_url(request, "password"),
            **shown,
        )
        return self.page(request, self.answers.pages.render(view), form, status)
