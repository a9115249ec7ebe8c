"""``POST /auth/token``: an access token, from the session whose cookie comes, from a username and password, or from a refresh
token (docs/tokens.md). With a credential in the body no cookie of a session is read or set.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.refusals import Refusal, refuse
from gateway.errors import GatewayError, RequestError
from gateway.identity.sign_in import Failed, SignedIn, SignIn
from gateway.store.refresh import Opened, Refreshing
from gateway.store.sessions import Sessions
from gateway.web.answers import Answers
from gateway.web.attempts import Attempt, read_attempt
from gateway.web.auditing import handle_of, note, note_failure, noting_failure
from gateway.web.bodies import may_be_foreign_form, read_fields, text_field
from gateway.web.cross_site import require_same_site
from gateway.web.devices import Devices
from gateway.web.endpoint import by_method, session_of
from gateway.web.own_door import Handler
from gateway.web.state import head_of
from gateway.web.storage import visitor_of
from gateway.web.tokens import FOR_PASSWORD, FOR_SESSION, Tokens

_CREDENTIALS = ("username", "email", "password", "refresh_token")


class PasswordGrant:
    """RFC 6749 §4.3: signs in as ``POST /auth/login`` does, but into a session of its own that no cookie names."""

    def __init__(
        self, sign_in: SignIn, devices: Devices, sessions: Sessions, refreshing: Refreshing, tokens: Tokens
    ) -> None:
        self._sign_in = sign_in
        self._devices = devices
        self._sessions = sessions
        self._refreshing = refreshing
        self._tokens = tokens

    async def __call__(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        """:raises GatewayError: nobody signs in."""
        attempt = read_attempt(fields, may_remember=False)
        with noting_failure(request, attempt.login):
            found = await self._sign_in.attempt(attempt.login, attempt.password, self._devices.caller(request))
        if isinstance(found, Failed):
            note_failure(request, found.user, attempt.login, "disabled" if found.disabled else "bad_credentials")
            raise RequestError("bad_credentials")
        with noting_failure(request, attempt.login, found.user):
            opened = await self._refreshing.open(found.user, visitor_of(request)())
        await self._confirm(request, found, attempt, opened)
        note(request, "sign_in", found.user, session=handle_of(opened.session))
        return self._tokens.answer(request, opened.session, FOR_PASSWORD, opened.text)

    async def _confirm(self, request: web.Request, found: SignedIn, attempt: Attempt, opened: Opened) -> None:
        """Was the password changed, or the account shut, while it was checked? Then, and where nobody can say any more, the
        session ends."""
        try:
            with noting_failure(request, attempt.login, found.user):
                is_confirmed = await self._sign_in.is_confirmed(found, attempt.password)
        except GatewayError:
            await self._sessions.delete(opened.session)
            raise
        if not is_confirmed:
            await self._sessions.delete(opened.session)
            note_failure(request, found.user, attempt.login, "bad_credentials")
            raise RequestError("bad_credentials")


class SessionGrant:
    """The page of somebody who is signed in gets a token for its calls, and asks again when that ends."""

    def __init__(self, answers: Answers, tokens: Tokens) -> None:
        self._answers = answers
        self._tokens = tokens

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """:raises RequestError: 403: another site's page sent it."""
        if not require_same_site(head_of(request), self._answers.site) and may_be_foreign_form(request):
            raise RequestError("cross_site")
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self._answers.refusal(request, self._refusal(request, session.lost))
        return self._tokens.answer(request, session.found, FOR_SESSION)

    def _refusal(self, request: web.Request, lost: str | None) -> Refusal:
        return refuse(head_of(request), self._answers.site, lost or "no_session", drop_cookie=lost is not None)


class Token:
    """``by_session``: a :class:`SessionGrant` with a session around it; ``by_password`` None: that is not possible here."""

    def __init__(self, tokens: Tokens, by_session: Handler, by_password: PasswordGrant | None) -> None:
        self._tokens = tokens
        self._by_session = by_session
        self._by_password = by_password

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """:raises GatewayError: there is no token."""
        fields = await read_fields(request, once=True)
        kind = text_field(fields, "grant_type", 100)
        if not kind:
            if any(fields.get(name) is not None for name in _CREDENTIALS):
                raise RequestError("bad_field", field="grant_type", what="is missing")
            return await self._by_session(request)
        if kind == "refresh_token":
            return await self._tokens.refresh(request, fields)
        if kind == "password" and self._by_password is not None:
            if may_be_foreign_form(request):  # no page elsewhere may guess through its visitors
                require_same_site(head_of(request), self._tokens.site)
            return await self._by_password(request, fields)
        raise RequestError("unsupported_grant_type")
