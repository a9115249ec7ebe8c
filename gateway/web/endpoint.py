"""What the gateway's own endpoints have in common: methods, the language of pages, the form ticket, cross-site checks."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp_session import get_session

from gateway.core.negotiation import is_form_page_load, is_page_load, pick_language
from gateway.core.redirects import safe_next
from gateway.core.refusals import refuse
from gateway.core.tickets import NONCE_BYTES, FormTickets, cookies_named
from gateway.errors import Language, RequestError
from gateway.web.answers import Answers
from gateway.web.bodies import is_form, may_be_foreign_form, read_fields
from gateway.web.cookies import CookieOptions
from gateway.web.cross_site import require_same_site
from gateway.web.session import WebSession
from gateway.web.state import STATE, head_of

Method = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Form:
    """A page's form: the nonce in its cookie, the hidden field, and whether the cookie has to be set."""

    nonce: bytes
    field: str
    is_new: bool


class OwnEndpoint(ABC):
    """Base of the endpoints that have pages."""

    def __init__(self, answers: Answers, tickets: FormTickets, form_cookie: CookieOptions) -> None:
        self.answers = answers
        self.site = answers.site
        self._tickets = tickets
        self._form_cookie = form_cookie

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method; under an alias POST only."""
        endpoint = request[STATE].endpoint
        alias = endpoint is not None and endpoint.alias
        return await by_method(request, {"POST": self.post} if alias else {"GET": self.get, "POST": self.post})

    @abstractmethod
    async def get(self, request: web.Request) -> web.StreamResponse:
        """The page."""

    @abstractmethod
    async def post(self, request: web.Request) -> web.StreamResponse:
        """What the page's form does."""

    def language(self, request: web.BaseRequest) -> Language:
        """``?lang=`` of our own pages, else as the site and the browser say."""
        asked = request.query.get("lang")
        if self.site.language == "auto" and asked in ("en", "zh"):
            return "zh" if asked == "zh" else "en"
        return pick_language(self.site.language, request.headers)

    def own_url(self, request: web.BaseRequest, name: str, **query: str) -> str:
        """The address of a page of ours; a language that was asked for goes with it."""
        if self.site.language == "auto" and "lang" in request.query:
            query = {"lang": self.language(request), **query}
        return f"{self.site.prefix}/{name}" + (f"?{urlencode(query)}" if query else "")

    def switch_url(self, request: web.BaseRequest, name: str, **query: str) -> str | None:
        """The same page in the other language, if the site has two."""
        if self.site.language != "auto":
            return None
        other = "en" if self.language(request) == "zh" else "zh"
        return f"{self.site.prefix}/{name}?{urlencode({'lang': other, **query})}"

    def wants_page(self, request: web.BaseRequest) -> bool:
        """A page or 303 for a page load, JSON otherwise."""
        head = head_of(request)
        return is_form_page_load(head) if head.method == "POST" and is_form(request) else is_page_load(head)

    def safe_next(self, value: object) -> str:
        """The place on this site to go on to; ``/`` for anything else."""
        return (safe_next(value, self.site.prefix) if isinstance(value, str) else None) or "/"

    # -- the form ticket: "does this browser keep cookies?" and the token against cross-site forms in one
    def form(self, request: web.BaseRequest) -> Form:
        """The form for a page: under the cookie the browser has already (other tabs), else a new one."""
        nonce = self.form_nonce(request)
        known = nonce if nonce is not None else os.urandom(NONCE_BYTES)
        return Form(known, self._tickets.field(known), nonce is None)

    def form_nonce(self, request: web.BaseRequest) -> bytes | None:
        """The nonce in the form cookie that came back, or None."""
        return self._tickets.first(cookies_named(request.headers.getall("Cookie", ()), self._form_cookie.name))

    def page(self, request: web.BaseRequest, html: str, form: Form, status: int = 200) -> web.Response:
        """A page with this form on it."""
        response = self.answers.page(request, html, status)
        if form.is_new:
            self._form_cookie.set(response, self._tickets.sign(form.nonce), None)
        return response

    def refused(self, request: web.Request, lost: str | None) -> web.Response:
        """As every route refuses a stranger; ``lost``: why the cookie that came opens nothing."""
        refusal = refuse(head_of(request), self.site, lost or "no_session", drop_cookie=lost is not None)
        return self.answers.refusal(request, refusal)

    async def read_own_fields(self, request: web.Request) -> dict[str, Any]:
        """The fields of a request that another site did not send; its origin is judged before its body is read.

        :raises RequestError: 403 ``cross_site``, or what :func:`~gateway.web.bodies.read_fields` raises.
        """
        needs_token = not require_same_site(head_of(request), self.site) and may_be_foreign_form(request)
        fields = await read_fields(request)
        if needs_token and not self._token_fits(request, fields.get("csrf")):
            raise RequestError("cross_site")
        return fields

    def _token_fits(self, request: web.BaseRequest, token: object) -> bool:
        nonce = self.form_nonce(request)
        return nonce is not None and isinstance(token, str) and self._tickets.field_fits(nonce, token)


async def session_of(request: web.Request) -> WebSession:
    """The request's session, loaded at first use."""
    session = await get_session(request)
    assert isinstance(session, WebSession)
    return session


async def by_method(request: web.Request, methods: Mapping[str, Method]) -> web.StreamResponse:
    """The method's answer; HEAD is answered as GET (aiohttp leaves the body out).

    :raises RequestError: 405 with ``allow``.
    """
    name = "GET" if request.method == "HEAD" and "GET" in methods else request.method
    method = methods.get(name)
    if method is None:
        raise MethodNotAllowed(request.method, [*methods, *(["HEAD"] if "GET" in methods else [])])
    return await method(request)


class MethodNotAllowed(RequestError):
    """405; ``allow`` names what is possible (RFC 9110 §15.5.6)."""

    def __init__(self, method: str, allow: list[str]) -> None:
        super().__init__("method_not_allowed", method=method)
        self.allow = ", ".join(sorted(allow))
