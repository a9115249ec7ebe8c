"""``GET /auth/login``: the sign-in page. ``POST /auth/login``: signing in, by form or JSON (docs/http-api.md).

The page never redirects by itself: who is signed in already sees as whom, and may go on or change. A wrong password, an
unknown user and a disabled one get the same answer after the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from gateway.core.access import Denied
from gateway.core.identity import Identity
from gateway.core.negotiation import PAGE_LOAD_DEPENDS_ON
from gateway.core.refusals import vary_on
from gateway.errors import REASONS, Busy, Language, RequestError
from gateway.identity.passwords import MAX_LENGTH
from gateway.identity.users import Users
from gateway.pages import LoginView
from gateway.web.bodies import flag_field, text_field
from gateway.web.cookies import CookieOptions
from gateway.web.endpoint import Form, OwnEndpoint, session_of
from gateway.web.state import STATE

_NAME_LENGTH = 254  # RFC 5321 §4.5.3.1.3: the longest e-mail address
BROWSER_SESSION = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody typed; ``remember`` None: as the policy says."""

    login: str
    password: str
    remember: bool | None
    next: str

    def __repr__(self) -> str:
        return f"Attempt(login={self.login!r})"


def read_attempt(fields: dict[str, Any]) -> Attempt:
    """:raises RequestError: 400 ``bad_field`` naming the field."""
    login = text_field(fields, "username", _NAME_LENGTH) or text_field(fields, "email", _NAME_LENGTH)
    password = text_field(fields, "password", MAX_LENGTH)
    for name, value in (("username", login.strip()), ("password", password)):
        if not value:
            raise RequestError("bad_field", field=name, what="is missing")
    wanted = fields.get("next")
    return Attempt(login, password, flag_field(fields, "remember"), wanted if isinstance(wanted, str) else "")


class Login(OwnEndpoint):
    """Both methods of the sign-in, also under the aliases of legacy front ends (POST only there).

    ``clear``: cookies of backends that must not pass from one user of a browser to the next; ``age``: of a session
    that is to be remembered, in seconds; ``may_pass``: would this user be let through to that place?
    """

    def __init__(
        self,
        *shared: Any,
        users: Users,
        clear: Sequence[CookieOptions],
        age: int,
        may_pass: Callable[[Identity, str], Denied | None],
    ) -> None:
        super().__init__(*shared)
        self._users = users
        self._clear = clear
        self._age = age
        self._may_pass = may_pass

    async def get(self, request: web.Request) -> web.Response:
        """The page. Who is signed in but not welcome where he wanted to go is told so, instead of being sent back there."""
        user = (await session_of(request)).user
        there = self.safe_next(request.query.get("next"))
        if user is None:
            return self._page(request, there)
        denied = self._may_pass(user, there)
        if denied is None:
            return self._page(request, there, user=user.shown_name, continue_url=there)
        error = REASONS[denied.code].words(self.language(request), wanted=denied.wanted)
        return self._page(request, there, user=user.shown_name, error=error, fields_wrong=False)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Signs in."""
        fields = await self.read_own_fields(request)
        as_page = self.wants_page(request)
        if as_page and "csrf" in fields and self.form_nonce(request) is None:
            return self._page_again(request, fields, "cookies_off")
        try:
            attempt = read_attempt(fields)
            user = await self._users.sign_in(attempt.login, attempt.password)
        except (RequestError, Busy) as error:
            if not as_page or error.reason.code not in ("bad_field", "throttled"):
                raise
            response = self._page_again(request, fields, error.reason.code, **error.parts)
            if isinstance(error, Busy):
                response.headers["Retry-After"] = str(error.retry_after)
            return response
        welcome = await self._signed_in(request, user, attempt, as_page) if user is not None else None
        if welcome is None:
            return self._page_again(request, fields, "bad_credentials") if as_page else self._wrong(request)
        return welcome

    async def _signed_in(
        self, request: web.Request, user: Identity, attempt: Attempt, as_page: bool
    ) -> web.StreamResponse | None:
        """None: the password was changed, or the user went, while it was checked. Those who did it ended the sessions
        they found; this one came later, so it ends itself."""
        session = await session_of(request)
        is_same = user.is_same(session.user)
        await session.sign_in(user, {True: self._age, False: BROWSER_SESSION, None: None}[attempt.remember])
        if await self._users.get(user) is None:
            await session.flush()
            return None
        request[STATE].line.user = user.id
        response = self._welcome(request, user, self.safe_next(attempt.next), as_page)
        if not is_same:
            for cookie in self._clear:
                cookie.drop(response)
        return response

    def _welcome(self, request: web.Request, user: Identity, target: str, as_page: bool) -> web.Response:
        if as_page:
            return self.answers.see_other(request, target)
        return self.answers.json(request, {"ret": 0, "user": user.public(), "redirect": target})

    def _wrong(self, request: web.Request) -> web.Response:
        state = request[STATE]
        reason = REASONS["bad_credentials"]
        state.line.reason = reason.code
        body = {"ret": 1, "msg": reason.words(self.language(request)), "reason": reason.code}
        status = state.endpoint.wrong_status if state.endpoint else reason.status
        vary = vary_on(self.site, *PAGE_LOAD_DEPENDS_ON)
        return self.answers.json(request, {**body, "request_id": state.request_id}, status, vary)

    def _page_again(self, request: web.Request, fields: dict[str, Any], code: str, **parts: str) -> web.Response:
        """The page with what went wrong, the name still in it, the password never."""
        reason = REASONS[code]
        request[STATE].line.reason = code
        error = _page_words(self.language(request), code, reason.words(self.language(request), **parts))
        typed = fields.get("username")
        username = typed[:_NAME_LENGTH] if isinstance(typed, str) else ""
        remember = fields.get("remember") == "1"
        there = self.safe_next(fields.get("next"))
        wrong = code in ("bad_credentials", "bad_field")
        shown = {"error": error, "fields_wrong": wrong, "username": username, "remember": remember}
        return self._page(request, there, status=reason.status, **shown)

    def _page(self, request: web.Request, there: str, status: int = 200, **shown: Any) -> web.Response:
        form: Form = self.form(request)
        language = self.language(request)
        view = LoginView(
            language,
            action=self._url(request, language, None),
            next=there,
            csrf=form.field,
            switch_language_url=self._switch(request, language, there),
            **shown,
        )
        return self.page(request, self.answers.pages.login(view), form, status)

    def _url(self, request: web.Request, language: Language, there: str | None) -> str:
        query: dict[str, str] = {"lang": language} if self.site.language == "auto" and "lang" in request.query else {}
        if there is not None:
            query["next"] = there
        return self.site.login_url + (f"?{urlencode(query)}" if query else "")

    def _switch(self, request: web.Request, language: Language, there: str) -> str | None:
        if self.site.language != "auto":
            return None
        other = {"lang": "en" if language == "zh" else "zh", "next": there}
        return f"{self.site.login_url}?{urlencode(other)}"


def _page_words(language: Language, code: str, words: str) -> str:
    """On the page a missing field is told in plain words: a person reads it, not a program."""
    if code == "bad_field":
        return "请输入有效的用户名和密码" if language == "zh" else "Please enter a username and a password"
    return words
