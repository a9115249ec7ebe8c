"""Errors as OAuth clients expect them (RFC 6749 §5.2): ``error`` and ``error_description`` beside what all our errors say.

Always JSON, whoever asks: these endpoints have no pages.
"""

from __future__ import annotations

import re

from aiohttp import web

from gateway.core.refusals import Refusal, Site, refuse_for
from gateway.errors import GatewayError, StoreUnavailable
from gateway.telemetry.failures import Failures
from gateway.web.answers import Answers
from gateway.web.endpoint import MethodNotAllowed
from gateway.web.own_door import Handler
from gateway.web.state import STATE

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749 §5.1."""
_CODES = {
    "bad_credentials": "invalid_grant",
    "bad_grant": "invalid_grant",
    "invalid_client": "invalid_client",
    "unsupported_grant_type": "unsupported_grant_type",
    "cross_site": "access_denied",
    "too_many_sessions": "access_denied",
    "throttled": "slow_down",  # RFC 8628 §3.5
}
_NOT_ALLOWED = re.compile(r"[^ !#-\[\]-~]")
"""RFC 6749 §5.2: what no description may hold. So it is in English, whatever ``msg`` is in."""
_CLIENT = 'Basic realm="gateway"'
"""RFC 6749 §5.2. Only programs ask there, so that no browser opens a dialog."""


def error_code(refusal: Refusal) -> str:
    """Of RFC 6749 §4.1.2.1 and §5.2, where there is one."""
    if refusal.reason.code in _CODES:
        return _CODES[refusal.reason.code]
    if refusal.status in (429, 503):
        return "temporarily_unavailable"
    return "invalid_request" if refusal.status < 500 else "server_error"


class OAuthErrors:
    """Puts itself around a handler: its errors become answers."""

    def __init__(self, answers: Answers, site: Site) -> None:
        self._answers = answers
        self._site = site
        self._failures = Failures()

    def around(self, handler: Handler) -> Handler:
        """The same handler, which raises no error of ours any more."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except GatewayError as error:
                return self._answer(request, error)

        return handle

    def _answer(self, request: web.Request, error: GatewayError) -> web.Response:
        state = request[STATE]
        if isinstance(error, StoreUnavailable):
            self._failures.note(error, state.line.route)
        refusal = refuse_for(state.head, self._site, error)
        state.line.reason = refusal.reason.code
        body = refusal.body(state.request_id)
        status = refusal.status
        if refusal.reason.code == "bad_credentials":
            status, body["ret"] = 400, 1
        words = _NOT_ALLOWED.sub("?", error.reason.words("en", **error.parts))
        body |= {"error": error_code(refusal), "error_description": words}
        response = self._answers.json(request, body, status, refusal.headers["Vary"])
        response.headers.update({name: value for name, value in refusal.headers.items() if name != "WWW-Authenticate"})
        response.headers.update(NO_STORE)
        if refusal.reason.code == "invalid_client":
            response.headers["WWW-Authenticate"] = _CLIENT
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = error.allow
        if refusal.close:
            response.force_close()
        return response
