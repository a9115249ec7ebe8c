"""Answers of our own on the wire: JSON with ``ret``, pages with a strict policy, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from gateway.core.refusals import CHALLENGE, Refusal, Site
from gateway.front.answers import CSP, Refusals, hardening
from gateway.pages import Pages
from gateway.web.state import STATE


@dataclass(frozen=True, slots=True)
class Answers:
    """Builds our own answers."""

    site: Site
    pages: Pages
    refusals: Refusals

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
        """The answer for a refusal."""
        state = request[STATE]
        state.line.reason = refusal.reason.code
        answer = self.refusals.answer(state.head, refusal, state.request_id)
        response = web.Response(body=answer.body, status=answer.status, headers=CIMultiDict(answer.headers))
        if answer.close:
            response.force_close()
        return response

    def _finished(self, request: web.BaseRequest, response: web.Response) -> web.Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Request-Id"] = request[STATE].request_id
        harden(response, self.site)
        return response


def harden(response: web.StreamResponse, site: Site) -> None:
    """The headers of everything that is ours (docs/http-api.md)."""
    response.headers.update(hardening(site))
