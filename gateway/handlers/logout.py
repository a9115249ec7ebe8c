"""``POST /auth/logout`` ends the session, everywhere; ``GET`` shows a button and changes nothing (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.pages import LogoutView
from gateway.web.auditing import handle_of, note
from gateway.web.endpoint import OwnEndpoint, session_of
from gateway.web.leaving import Leaving
from gateway.web.state import STATE


class Logout(OwnEndpoint):
    """Both methods."""

    def __init__(self, *shared: Any, leaving: Leaving) -> None:
        super().__init__(*shared)
        self._leaving = leaving

    async def get(self, request: web.Request) -> web.Response:
        """The button."""
        session = await session_of(request)
        user = session.user.shown_name if session.user else None
        form = self.form(request)
        view = LogoutView(
            self.language(request),
            self.own_url(request, "logout"),
            form.field,
            user,
            self.own_url(request, "login"),
            self.switch_url(request, "logout"),
        )
        return self.page(request, self.answers.pages.render(view), form)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Signs out. A stranger gets the same answer."""
        await self.read_own_fields(request)
        session = await session_of(request)
        if session.user is not None:
            request[STATE].line.user = session.user.id
        user, handle = session.user, handle_of(session.found)
        await session.flush()
        if user is not None:
            note(request, "sign_out", user, session=handle)
        response = self._answer(request)
        self._leaving.dress(response)
        return response

    def _answer(self, request: web.Request) -> web.Response:
        if self.wants_page(request):
            return self.answers.see_other(request, self._leaving.redirect)
        return self.answers.json(request, {"ret": 0, "redirect": self._leaving.redirect})
