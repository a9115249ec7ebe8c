"""``GET /auth/login``: the sign-in page. ``POST /auth/login``: signing in, by form or JSON (docs/http-api.md).

The page never redirects by itself: who is signed in already sees as whom, and may go on or change. A wrong password, an
unknown user and a disabled one get the same answer after the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from gateway.core.access import Denied
from gateway.core.identity import Identity
from gateway.core.negotiation import PAGE_LOAD_DEPENDS_ON
from gateway.core.redirects import same_origin
from gateway.core.refusals import vary_on
from gateway.core.session_data import PASSWORD_KEY
from gateway.errors import REASONS, Busy, GatewayError, Language, RequestError
from gateway.identity.sign_in import Failed, SignedIn, SignIn
from gateway.pages import CookiesView, DeniedView, LoginView
from gateway.pages.words import with_wait
from gateway.web.attempts import NAME_LENGTH, Attempt, read_attempt
from gateway.web.auditing import handle_of, note, note_failure, noting_failure
from gateway.web.cookies import CookieOptions
from gateway.web.devices import Devices
from gateway.web.endpoint import Form, OwnEndpoint, session_of
from gateway.web.state import STATE, head_of
from gateway.web.tokens import Tokens

BROWSER_SESSION = 0


class Login(OwnEndpoint):
    """Both methods of the sign-in, also under the aliases of legacy front ends (POST only there).

    ``clear``: cookies of backends that must not pass from one user of a browser to the next; ``may_remember``: can
    one ask to be kept signed in? ``may_pass``: would this user be let through to that place? ``tokens``: put one into
    answers that are no pages, where the operator wants it there. ``keeps_password``: in the session, for a backend.
    """

    def __init__(
        self,
        *shared: Any,
        sign_in: SignIn,
        devices: Devices,
        clear: Sequence[CookieOptions],
        may_remember: bool,
        may_pass: Callable[[Identity, str], Denied | None],
        tokens: Tokens | None = None,
        keeps_password: bool = False,
    ) -> None:
        super().__init__(*shared)
        self._sign_in = sign_in
        self._devices = devices
        self._clear = clear
        self._may_remember = may_remember
        self._may_pass = may_pass
        self._tokens = tokens
        self._keeps_password = keeps_password

    async def get(self, request: web.Request) -> web.Response:
        """The page. Who is signed in but not welcome where he wanted to go is told so, instead of being sent back there."""
        user = (await session_of(request)).user
        there = self.safe_next(request.query.get("next"))
        if user is None:
            return self._page(request, there, was_reset=self._was_reset(request))
        account = self.own_url(request, "account")
        denied = self._may_pass(user, there)
        if denied is None:
            return self._page(request, there, user=user.shown_name, continue_url=there, account_url=account)
        if "other" in request.query:
            return self._page(request, there, user=user.shown_name, account_url=account)
        return self._denied(request, there, user, denied)

    def _was_reset(self, request: web.Request) -> bool:
        """Does a page of ours say so? A link from elsewhere must not make this page tell tales."""
        origin = self.site.origin(head_of(request))
        return request.query.get("said") == "reset" and same_origin(request.headers.get("Referer", ""), origin)

    def _denied(self, request: web.Request, there: str, user: Identity, denied: Denied) -> web.Response:
        language = self.language(request)
        view = DeniedView(
            language,
            user=user.shown_name,
            wanted=there,
            error=REASONS[denied.code].words(language, wanted=denied.wanted),
            other_url=self.own_url(request, "login", next=there, other="1"),
            start_url="/",
            account_url=self.own_url(request, "account"),
            switch_language_url=self.switch_url(request, "login", next=there),
        )
        return self.answers.page(request, self.answers.pages.render(view))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Signs in."""
        fields = await self.read_own_fields(request)
        as_page = self.wants_page(request)
        if as_page and "csrf" in fields and self.form_nonce(request) is None:
            return self._cookies_off(request, self.safe_next(fields.get("next")))
        try:
            attempt = read_attempt(fields, may_remember=self._may_remember)
            with noting_failure(request, attempt.login):
                found = await self._sign_in.attempt(attempt.login, attempt.password, self._devices.caller(request))
        except (RequestError, Busy) as error:
            if not as_page or error.reason.code not in ("bad_field", "throttled", "busy"):
                raise
            seconds = error.retry_after if isinstance(error, Busy) else None
            response = self._page_again(request, fields, error.reason.code, seconds, **error.parts)
            if seconds is not None:
                response.headers["Retry-After"] = str(seconds)
            return response
        welcome = None
        if isinstance(found, Failed):
            note_failure(request, found.user, attempt.login, "disabled" if found.disabled else "bad_credentials")
        else:
            welcome = await self._signed_in(request, found, attempt, as_page)
        if welcome is None:
            return self._page_again(request, fields, "bad_credentials") if as_page else self._wrong(request)
        return welcome

    async def _signed_in(
        self, request: web.Request, found: SignedIn, attempt: Attempt, as_page: bool
    ) -> web.StreamResponse | None:
        """None: the password was changed, or the user went, while it was checked. Those who did it ended the sessions
        they found; this one came later, so it ends itself."""
        session, user = await session_of(request), found.user
        is_same = user.is_same(session.user)
        expiry = BROWSER_SESSION if attempt.remember is False else None
        with noting_failure(request, attempt.login, user):
            own = {PASSWORD_KEY: attempt.password} if self._keeps_password else {}
            await session.sign_in(user, expiry, remember=attempt.remember is True, own=own)
        if not await self._is_confirmed(request, found, attempt):
            await session.flush()
            note_failure(request, user, attempt.login, "bad_credentials")
            return None
        note(request, "sign_in", user, session=handle_of(session.found))
        request[STATE].line.user = user.id
        response = self._welcome(request, user, self.safe_next(attempt.next), as_page)
        if self._tokens is not None and not as_page:
            self._tokens.dress(response, session.found)
        self._devices.remember(request, response, found.account)
        if not is_same:
            for cookie in self._clear:
                cookie.drop(response)
        return response

    async def _is_confirmed(self, request: web.Request, found: SignedIn, attempt: Attempt) -> bool:
        """Where nobody can say any more, nobody stays signed in."""
        try:
            with noting_failure(request, attempt.login, found.user):
                return await self._sign_in.is_confirmed(found, attempt.password)
        except GatewayError:
            await (await session_of(request)).flush()
            raise

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

    def _cookies_off(self, request: web.Request, there: str) -> web.Response:
        reason, language = REASONS["cookies_off"], self.language(request)
        request[STATE].line.reason = reason.code
        view = CookiesView(
            language,
            error=reason.words(language),
            retry_url=self.own_url(request, "login", next=there),
            switch_language_url=self.switch_url(request, "login", next=there),
        )
        return self.page(request, self.answers.pages.render(view), self.form(request), reason.status)

    def _page_again(
        self, request: web.Request, fields: dict[str, Any], code: str, seconds: int | None = None, **parts: str
    ) -> web.Response:
        """The page with what went wrong, the name still in it, the password never."""
        reason = REASONS[code]
        request[STATE].line.reason = code
        language = self.language(request)
        error = _page_words(language, code, reason.words(language, **parts), seconds)
        typed = fields.get("username")
        username = typed[:NAME_LENGTH] if isinstance(typed, str) else ""
        remember = fields.get("remember") == "1"
        there = self.safe_next(fields.get("next"))
        wrong = code in ("bad_credentials", "bad_field")
        shown = {"error": error, "fields_wrong": wrong, "username": username, "remember": remember}
        return self._page(request, there, status=reason.status, **shown)

    def _page(self, request: web.Request, there: str, status: int = 200, **shown: Any) -> web.Response:
        form: Form = self.form(request)
        view = LoginView(
            self.language(request),
            action=self.own_url(request, "login"),
            next=there,
            csrf=form.field,
            may_remember=self._may_remember,
            switch_language_url=self.switch_url(request, "login", next=there),
            **shown,
        )
        return self.page(request, self.answers.pages.render(view), form, status)


def _page_words(language: Language, code: str, words: str, seconds: int | None) -> str:
    """On the page a missing field is told in plain words, and the seconds to wait: a person reads it, not a program."""
    if code == "bad_field":
        return "请输入有效的用户名和密码" if language == "zh" else "Please enter a username and a password"
    return words if seconds is None else with_wait(words, seconds, language)
