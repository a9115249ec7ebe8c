"""Answers of our own on the wire: JSON with ``ret``, pages with a strict policy, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.core.redirects import safe_next
from gateway.core.refusals import CHALLENGE, Refusal, Site
from gateway.errors import Language
from gateway.pages import NoticeView, Pages
from gateway.web.cookies import CookieOptions
from gateway.web.state import STATE, answer_in_own_version

SERVER = "auth-gateway"
CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADINGS: dict[Language, dict[int, str]] = {
    "en": {
        400: "That request cannot be read",
        403: "Not allowed",
        404: "Nothing here",
        405: "Not possible here",
        413: "Too large",
        429: "One moment, please",
        502: "The application does not answer",
        503: "One moment, please",
        504: "The application is too slow",
    },
    "zh": {
        400: "无法理解该请求",
        403: "不允许",
        404: "页面不存在",
        405: "不支持此操作",
        413: "请求过大",
        429: "请稍候",
        502: "后端应用无响应",
        503: "请稍候",
        504: "后端应用响应超时",
    },
}
_LINK_WORDS: dict[Language, tuple[str, str]] = {"en": ("Start page", "Try again"), "zh": ("返回首页", "重试")}
_OTHER: dict[Language, str] = {"en": "Something went wrong", "zh": "出错了"}


@dataclass(frozen=True, slots=True)
class Answers:
    """Builds our own answers. ``cookie``: the session's, for refusals that end it."""

    site: Site
    pages: Pages
    cookie: CookieOptions

    def json(
        self, request: web.BaseRequest, body: Mapping[str, Any], status: int = 200, vary: str = "Cookie"
    ) -> web.Response:
        """A JSON answer that no cache keeps."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        response = web.Response(text=text, status=status, content_type="application/json", charset="utf-8")
        response.headers["Vary"] = vary
        if status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE
        return self._finished(request, response)

    def page(self, request: web.BaseRequest, html: str, status: int = 200) -> web.Response:
        """An HTML page that no cache keeps and that runs no script."""
        response = web.Response(
            body=html.encode("utf-8", "replace"), status=status, content_type="text/html", charset="utf-8"
        )
        response.headers["Content-Security-Policy"] = CSP
        response.headers["Vary"] = "Accept-Language, Cookie"
        if status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE
        return self._finished(request, response)

    def see_other(self, request: web.BaseRequest, location: str) -> web.Response:
        """303: go on with GET (RFC 9110 §15.4.4)."""
        return self._finished(request, web.Response(status=303, headers={"Location": location, "Vary": "Cookie"}))

    def refusal(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """The answer for a refusal: JSON, or a small page for a page load that is sent nowhere."""
        state = request[STATE]
        state.line.reason = refusal.reason.code
        as_page = refusal.page_load and refusal.redirect is None
        if as_page:
            response = self.page(request, self._notice(request, refusal), refusal.status)
        else:
            response = self.json(request, refusal.body(state.request_id), refusal.status)
        response.headers.update(refusal.headers)
        if refusal.location is not None:
            response.headers["Location"] = refusal.location
        if refusal.drop_cookie:
            self.cookie.drop(response)
        if refusal.close:
            response.force_close()
        answer_in_own_version(request)
        return response

    def _notice(self, request: web.BaseRequest, refusal: Refusal) -> str:
        """A page with a way on: the same page again when something behind us failed, else the site's root."""
        language, state = refusal.language, request[STATE]
        heading = _HEADINGS[language].get(refusal.status, _OTHER[language])
        again = refusal.status >= 500 and request.method == "GET"
        link = (safe_next(state.head.target) if again else None) or "/"
        words = _LINK_WORDS[language][again]
        return self.pages.notice(
            NoticeView(language, refusal.status, heading, refusal.message, state.request_id, link, words)
        )

    def _finished(self, request: web.BaseRequest, response: web.Response) -> web.Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Request-Id"] = request[STATE].request_id
        harden(response, self.site)
        return response


def harden(response: web.StreamResponse, site: Site) -> None:
    """The headers of everything that is ours (docs/http-api.md)."""
    response.headers["Server"] = SERVER
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if site.is_https:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
