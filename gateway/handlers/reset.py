"""``GET /auth/reset?token=…``: the page behind a link that sets a new password, once. ``POST``: sets it, and ends every
session of the user (docs/http-api.md).

Whatever is wrong with a link gets one answer. Its token is in an address, so the page tells nobody where it was: not the
address, that is; ``no-referrer`` would make browsers send ``Origin: null`` with its form (Fetch §3.2), which is refused.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from gateway.core.identity import Identity
from gateway.core.passwords import PasswordPolicy
from gateway.errors import REASONS, RequestError, StoreUnavailable
from gateway.identity.reset_links import Opened, ResetLinks
from gateway.identity.sign_in import account_of
from gateway.identity.source import NotChanged
from gateway.pages import ResetView
from gateway.store.sessions import Sessions
from gateway.web.auditing import note
from gateway.web.devices import Devices
from gateway.web.endpoint import OwnEndpoint, session_of
from gateway.web.new_passwords import read_new_password, told
from gateway.web.session import WebSession
from gateway.web.state import STATE

log = logging.getLogger("gateway.identity")


class ResetPassword(OwnEndpoint):
    """Both methods."""

    def __init__(
        self, *shared: Any, links: ResetLinks, devices: Devices, sessions: Sessions, policy: PasswordPolicy
    ) -> None:
        super().__init__(*shared)
        self._links = links
        self._devices = devices
        self._sessions = sessions
        self._policy = policy

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The page; looking at it spends nothing, as programs that read mail do so."""
        token = request.query.get("token", "")
        opened = await self._links.open(token)
        if opened is None:
            return self._over(request)
        if not self.wants_page(request):
            return self.answers.json(request, {"ret": 0, "username": opened.user.username})
        return self._page(request, token, opened.user)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Sets it. What is wrong with the new password leaves the link as it is."""
        fields, as_page = await self.read_own_fields(request), self.wants_page(request)
        token = fields.get("token")
        opened = await self._links.open(token) if isinstance(token, str) else None
        if opened is None or not isinstance(token, str):
            return self._over(request)
        try:
            new = read_new_password(fields, self._policy, opened.user)
        except RequestError as error:
            if not as_page:
                raise
            return self._page(request, token, opened.user, error)
        session = await session_of(request)
        await self._sessions.ping()  # or 503: before anything is changed
        user = await self._used(opened, new)
        if user is None:
            return self._over(request)
        request[STATE].line.user = user.id
        note(request, "password_reset", user)
        ended = await self._end_sessions(user, session)
        if as_page:
            response = _quiet(self.answers.see_other(request, self.own_url(request, "login", said="reset")))
        else:
            response = self.answers.json(request, {"ret": 0, "ended": ended, "redirect": self.site.login_url})
        self._devices.remember(request, response, account_of(user))  # who has tried in vain for long may sign in now
        return response

    async def _used(self, opened: Opened, new: str) -> Identity | None:
        """None: somebody else was faster.

        :raises RequestError: 501: passwords cannot be written there, or not now.
        """
        changed = await self._links.use(opened, new)
        if changed is NotChanged.IMPOSSIBLE:
            raise RequestError(
                "not_possible", what="the password cannot be written; the operator finds the cause in the log"
            )
        return changed if isinstance(changed, Identity) else None

    async def _end_sessions(self, user: Identity, session: WebSession) -> int:
        """How many. A store that went away in the meantime does no harm: they are older than the password."""
        try:
            ended = await self._sessions.end_all(user)
            if user.is_same(session.user):
                await session.flush()
        except StoreUnavailable as error:
            log.warning("sessions could not be ended yet", extra={"fields": {"cause": error.cause}})
            return 0
        return ended

    # -- pages
    def _page(
        self, request: web.Request, token: str, user: Identity, error: RequestError | None = None
    ) -> web.Response:
        form, language = self.form(request), self.language(request)
        shown: dict[str, Any] = {}
        if error is not None:
            request[STATE].line.reason = error.reason.code
            shown = {**told(error, language)}
        view = ResetView(
            language,
            action=self.own_url(request, "reset"),
            csrf=form.field,
            token=token,
            login_url=self.own_url(request, "login"),
            username=user.username,
            rules=self._policy.rules(language),
            switch_language_url=self.switch_url(request, "reset", token=token),
            **shown,
        )
        return _quiet(self.page(request, self.answers.pages.render(view), form, 400 if error else 200))

    def _over(self, request: web.Request) -> web.Response:
        """:raises RequestError: the same for whom it is JSON."""
        if not self.wants_page(request):
            raise RequestError("bad_reset_link")
        reason = REASONS["bad_reset_link"]
        request[STATE].line.reason = reason.code
        view = ResetView(
            self.language(request),
            action="",
            csrf="",
            token="",
            login_url=self.own_url(request, "login"),
            valid=False,
            switch_language_url=self.switch_url(request, "reset"),
        )
        return _quiet(self.answers.page(request, self.answers.pages.render(view), reason.status))


def _quiet(response: web.Response) -> web.Response:
    response.headers["Referrer-Policy"] = "strict-origin"
    return response
