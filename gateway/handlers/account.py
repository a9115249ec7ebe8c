"""``GET /auth/account``: who I am and where I am signed in. ``POST``: ends one of my sessions, the others or all
(docs/http-api.md)."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from gateway.core.redirects import path_of_same_origin
from gateway.core.sessions import Card
from gateway.errors import Language, RequestError
from gateway.identity.users import Users
from gateway.pages import AccountView, Said, SessionRow
from gateway.pages.words import ago, device
from gateway.store.api_key_book import ApiKeyBook
from gateway.web.auditing import handle_of, note
from gateway.web.bodies import text_field
from gateway.web.endpoint import OwnEndpoint, session_of
from gateway.web.leaving import Leaving
from gateway.web.own_sessions import OwnSession, OwnSessions
from gateway.web.session import WebSession
from gateway.web.state import STATE, head_of

_SHOWN = 100
_HANDLE_LENGTH = 100
_SAID: dict[str, Said] = {"revoked": "revoked", "others": "others", "password": "password"}


class Account(OwnEndpoint):
    """Both methods."""

    def __init__(
        self, *shared: Any, users: Users, sessions: OwnSessions, leaving: Leaving, book: ApiKeyBook | None = None
    ) -> None:
        super().__init__(*shared)
        self._users = users
        self._sessions = sessions
        self._leaving = leaving
        self._book = book

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The page. A stranger is refused as everywhere; the way back leads here."""
        session = await session_of(request)
        user = session.user
        if session.found is None or user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = user.id
        form, language = self.form(request), self.language(request)
        rows = await self._rows(session, language)
        view = AccountView(
            language,
            action=self.own_url(request, "account"),
            csrf=form.field,
            name=user.shown_name,
            username=user.username,
            email=user.email,
            logout_url=self.own_url(request, "logout"),
            password_url=self.own_url(request, "password") if self._users.can_change_password(user) else None,
            keys_url=self.own_url(request, "keys") if self._book is not None and self._book.may_make(user) else None,
            sessions=rows if rows is None else rows[:_SHOWN],
            more=max(len(rows or ()) - _SHOWN, 0),
            said=self._said(request),
            switch_language_url=self.switch_url(request, "account"),
        )
        return self.page(request, self.answers.pages.render(view), form)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Ends sessions; then the page again, or the way out if its own was among them."""
        fields = await self.read_own_fields(request)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = session.user.id
        action = fields.get("action")
        if action == "revoke":
            ended, said = await self._revoke(request, session, text_field(fields, "handle", _HANDLE_LENGTH))
        elif action in ("revoke_others", "revoke_all"):
            user, handle = session.user, handle_of(session.found)
            ended, said = await self._sessions.end_others(session.found), "others"
            note(request, "sessions_revoked", user, session=handle, count=ended)
            if action == "revoke_all":
                await session.flush()
                note(request, "sign_out", user, session=handle)
                ended += 1
        else:
            raise RequestError("bad_field", field="action", what="must be revoke, revoke_others or revoke_all")
        return self._done(request, ended, said) if session.user is not None else self._left(request, ended)

    async def _revoke(self, request: web.Request, session: WebSession, handle: str) -> tuple[int, str]:
        """Who presses the button of a session that is over already gets the page as it is now."""
        user = session.user
        try:
            ended = await self._sessions.end_one(session, handle)
            note(request, "session_revoked", user, session=handle, count=ended)
            return ended, "revoked"
        except RequestError as error:
            if error.reason.code != "no_such_session" or not self.wants_page(request):
                raise
            return 0, ""

    def _done(self, request: web.Request, ended: int, said: str) -> web.Response:
        if self.wants_page(request):
            query = {"said": said} if said else {}
            return self.answers.see_other(request, self.own_url(request, "account", **query))
        return self.answers.json(request, {"ret": 0, "ended": ended})

    def _left(self, request: web.Request, ended: int) -> web.Response:
        there = self._leaving.redirect
        if self.wants_page(request):
            response = self.answers.see_other(request, there)
        else:
            response = self.answers.json(request, {"ret": 0, "ended": ended, "redirect": there})
        self._leaving.dress(response)
        return response

    async def _rows(self, session: WebSession, language: Language) -> tuple[SessionRow, ...] | None:
        """This one first, then those that were in use last."""
        if not self._sessions.are_listed:
            return None
        listed = sorted(await self._sessions.all(session), key=lambda one: (not one.is_this, -one.card.last_seen))
        now = time.time()
        return tuple(_row(one, now, language) for one in listed)

    def _said(self, request: web.Request) -> Said:
        """What was just done, if it is a page of ours that says so: nobody's link makes this page tell tales."""
        referer = request.headers.get("Referer", "")
        came_from = (path_of_same_origin(referer, self.site.origin(head_of(request))) or "").partition("?")[0]
        ours = came_from in (f"{self.site.prefix}/account", f"{self.site.prefix}/password")
        return _SAID.get(request.query.get("said", ""), "") if ours else ""


def _row(one: OwnSession, now: float, language: Language) -> SessionRow:
    card: Card = one.card
    return SessionRow(
        handle=card.handle,
        device=device(card.device, language),
        address=card.address,
        created=ago(now - card.created, language),
        last_seen=ago(now - card.last_seen, language),
        is_this=one.is_this,
    )
