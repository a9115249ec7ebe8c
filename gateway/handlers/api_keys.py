"""``/auth/keys``: my API keys. ``GET`` lists them, ``POST`` makes one, which is shown once, ``DELETE`` below it ends one
(docs/api-keys.md). For all of it a session is needed: a key makes no keys, so that one which was lost cannot multiply."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.core.access import Access, check_access
from gateway.core.api_keys import NAME_LENGTH, ApiKey
from gateway.core.identity import Identity
from gateway.core.redirects import path_of_same_origin
from gateway.errors import Language, RequestError
from gateway.pages import KeyRow, KeysView
from gateway.pages.words import ago
from gateway.store.api_key_book import ApiKeyBook
from gateway.web.auditing import handle_of, note
from gateway.web.bodies import text_field
from gateway.web.cross_site import require_same_site
from gateway.web.endpoint import OwnEndpoint, by_method, session_of
from gateway.web.new_passwords import told
from gateway.web.session import WebSession
from gateway.web.state import STATE, head_of

_DAY = 86400
_USUAL_DAYS = 30
_ID_LENGTH = 100
_CHECKBOX = "route:"


@dataclass(frozen=True, slots=True)
class KeyRules:
    """``longest``: days that a key may live, 0: for ever. ``routes``: by name, who may pass; keys can be made for these."""

    longest: int
    routes: Mapping[str, Sequence[Access]]

    @property
    def usual_days(self) -> int:
        """When nothing is said."""
        return min(_USUAL_DAYS, self.longest or _USUAL_DAYS)

    def routes_of(self, user: Identity) -> list[str]:
        """Those that he may use: nobody learns here what others there are."""
        return [name for name, every in self.routes.items() if any(check_access(one, user) is None for one in every)]


class ApiKeyEndpoint(OwnEndpoint):
    """The list, and what is below it."""

    def __init__(self, *shared: Any, book: ApiKeyBook, rules: KeyRules) -> None:
        super().__init__(*shared)
        self._book = book
        self._rules = rules
        self._prefix = f"{self.site.prefix}/keys"

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method; below the list there is nothing to get."""
        if request[STATE].path != self._prefix:
            return await by_method(request, {"DELETE": self.delete})
        return await by_method(request, {"GET": self.get, "POST": self.post})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Page or list. A stranger is refused as everywhere."""
        session = await session_of(request)
        if session.user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = session.user.id
        if self.wants_page(request):
            return await self._page(request, session.user, said=self._said(request))
        keys = [self._shown(key) for key in await self._book.of(session.user)]
        return self.answers.json(request, {"ret": 0, "keys": keys})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Makes a key; a form of our page may end one, too. A page load gets the page again."""
        fields, as_page = await self.read_own_fields(request), self.wants_page(request)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = session.user.id
        action = fields.get("action", "create")
        if action == "revoke":
            return await self._revoke_by_form(request, session, fields, as_page)
        if action != "create":
            raise RequestError("bad_field", field="action", what="must be create or revoke")
        try:
            key, text = await self._made(session.user, fields)
        except RequestError as error:
            if not as_page:
                raise
            request[STATE].line.reason = error.reason.code
            known = _typed(fields)
            wrong = told(error, self.language(request))
            return await self._page(request, session.user, error.reason.status, **known, **wrong)
        note(request, "api_key_created", session.user, session=handle_of(session.found), key=key.id)
        if as_page:
            return await self._page(request, session.user, made=text, made_name=key.name)
        return self.answers.json(request, {"ret": 0, "api_key": text, "key": self._shown(key)})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Ends the one with this id."""
        require_same_site(head_of(request), self.site)
        session = await session_of(request)
        if session.found is None or session.user is None:
            return self.refused(request, session.lost)
        request[STATE].line.user = session.user.id
        await self._revoke(request, session, request[STATE].path.removeprefix(self._prefix + "/"))
        return self.answers.json(request, {"ret": 0, "revoked": 1})

    # -- what is done
    async def _made(self, user: Identity, fields: dict[str, Any]) -> tuple[ApiKey, str]:
        name = text_field(fields, "name", NAME_LENGTH).strip()
        if not name:
            raise RequestError("bad_field", field="name", what="is missing")
        days = self._days(fields.get("expires_in"))
        routes = _routes(fields)
        if not routes <= set(self._rules.routes_of(user)):
            raise RequestError("bad_field", field="routes", what="is no route that you may use")
        expires = time.time() + days * _DAY if days else None
        return await self._book.make(user, name, routes, expires)

    def _days(self, value: object) -> int:
        """0: for ever.

        :raises RequestError: 400 ``bad_field``: no such number, or a longer time than a key may live.
        """
        if value is None:
            return self._rules.usual_days
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 4:
            value = int(value)
        longest = self._rules.longest
        least, most = (1, longest) if longest else (0, 3650)
        if type(value) is not int or not least <= value <= most:
            what = f"must be a whole number of days, from {least} to {most}"
            raise RequestError("bad_field", field="expires_in", what=what)
        return value

    async def _revoke_by_form(
        self, request: web.Request, session: WebSession, fields: dict[str, Any], as_page: bool
    ) -> web.StreamResponse:
        """Who presses the button of a key that is gone already gets the page as it is now."""
        query = {"said": "revoked"}
        try:
            await self._revoke(request, session, text_field(fields, "id", _ID_LENGTH))
        except RequestError as error:
            if error.reason.code != "no_such_key" or not as_page:
                raise
            query = {}
        if as_page:
            return self.answers.see_other(request, self.own_url(request, "keys", **query))
        return self.answers.json(request, {"ret": 0, "revoked": 1})

    async def _revoke(self, request: web.Request, session: WebSession, key_id: str) -> None:
        if await self._book.revoke(key_id, session.user) is None:
            raise RequestError("no_such_key")
        note(request, "api_key_revoked", session.user, session=handle_of(session.found), key=key_id)

    # -- what is shown
    @staticmethod
    def _shown(key: ApiKey) -> dict[str, Any]:
        """Never the secret, which nobody has any more."""
        return {
            "id": key.id,
            "name": key.name,
            "routes": sorted(key.routes),
            "created": int(key.created),
            "expires": None if key.expires is None else int(key.expires),
            "last_used": None if key.last_used is None else int(key.last_used),
            "expired": key.is_over(time.time()),
        }

    async def _page(self, request: web.Request, user: Identity, status: int = 200, **shown: Any) -> web.Response:
        form, language, now = self.form(request), self.language(request), time.time()
        chosen, routes = shown.pop("chosen", ()), self._rules.routes_of(user)
        view = KeysView(
            language,
            action=self.own_url(request, "keys"),
            csrf=form.field,
            account_url=self.own_url(request, "account"),
            keys=tuple(_row(key, now, language) for key in await self._book.of(user)),
            may_make=self._book.may_make(user),
            routes=tuple((name, name in chosen) for name in routes) if len(routes) > 1 else (),
            longest=self._rules.longest,
            switch_language_url=self.switch_url(request, "keys"),
            **{"days": str(self._rules.usual_days), **shown},
        )
        return self.page(request, self.answers.pages.render(view), form, status)

    def _said(self, request: web.Request) -> bool:
        """Was a key just revoked? Only if our own page says so: nobody's link makes this one tell tales."""
        referer = request.headers.get("Referer", "")
        came_from = (path_of_same_origin(referer, self.site.origin(head_of(request))) or "").partition("?")[0]
        return request.query.get("said") == "revoked" and came_from == self._prefix


def _typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the form when it is shown again."""
    texts = {
        shown: str(fields.get(name, ""))[:NAME_LENGTH] for shown, name in (("name", "name"), ("days", "expires_in"))
    }
    return {**texts, "chosen": {name.removeprefix(_CHECKBOX) for name in fields if name.startswith(_CHECKBOX)}}


def _routes(fields: Mapping[str, Any]) -> frozenset[str]:
    """``routes`` as a list, or a form's boxes.

    :raises RequestError: 400 ``bad_field``.
    """
    given = fields.get("routes")
    listed = [] if given is None else given
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise RequestError("bad_field", field="routes", what="must be a list of names")
    return frozenset([*listed, *(name.removeprefix(_CHECKBOX) for name in fields if name.startswith(_CHECKBOX))])


def _row(key: ApiKey, now: float, language: Language) -> KeyRow:
    until = datetime.fromtimestamp(key.expires, UTC).date().isoformat() if key.expires is not None else ""
    used = ago(now - key.last_used, language) if key.last_used is not None else ""
    return KeyRow(key.id, key.name, until, used, tuple(sorted(key.routes)), key.is_over(now))
