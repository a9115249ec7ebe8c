"""``POST /auth/logout`` ends the session, everywhere; ``GET`` shows a button and changes nothing (docs/http-api.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from gateway.pages import LogoutView
from gateway.web.cookies import CookieOptions
from gateway.web.endpoint import OwnEndpoint, session_of
from gateway.web.state import STATE


class Logout(OwnEndpoint):
    """Both methods; ``redirect``: where a page load goes afterwards; ``clear``: cookies of backends that go too;
    ``forget``: what else the browser forgets (Clear-Site-Data)."""

    def __init__(self, *shared: Any, redirect: str, clear: Sequence[CookieOptions], forget: Sequence[str]) -> None:
        super().__init__(*shared)
        self._redirect = redirect
        self._clear = clear
        self._forget = ", ".join(f'"{what}"' for what in forget)

    async def get(self, request: web.Request) -> web.Response:
        """The button."""
        session = await session_of(request)
        user = session.user.shown_name if session.user else None
        form = self.form(request)
        action = f"{self.site.prefix}/logout"
        view = LogoutView(self.language(request), action, form.field, user, self.site.login_url)
        return self.page(request, self.answers.pages.logout(view), form)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Signs out. A stranger gets the same answer."""
        await self.read_own_fields(request)
        session = await session_of(request)
        if session.user is not None:
            request[STATE].line.user = session.user.id
        await session.flush()
        response = self._answer(request)
        for cookie in self._clear:
            cookie.drop(response)
        if self._forget:
            response.headers["Clear-Site-Data"] = self._forget
        return response

    def _answer(self, request: web.Request) -> web.Response:
        if self.wants_page(request):
            return self.answers.see_other(request, self._redirect)
        return self.answers.json(request, {"ret": 0, "redirect": self._redirect})
