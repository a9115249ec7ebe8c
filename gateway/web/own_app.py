"""Sessions in an application that is not the gateway: all that the gateway's own handlers have, put around every handler.

:class:`gateway.scripting.Store` calls it with what the settings say; docs/sessions-for-django-users.md shows how.
"""

from __future__ import annotations

import json

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.core.negotiation import pick_language
from gateway.core.refusals import RETRY_AFTER, Site, vary_on
from gateway.errors import Busy, GatewayError, StoreUnavailable
from gateway.telemetry.failures import Failures
from gateway.web.signed_cookies import SignedCookies, with_signed_cookies
from gateway.web.storage import Handler, SessionStorage, forget_framing, save_before_head, with_session


def install(app: web.Application, storage: SessionStorage, cookies: SignedCookies, site: Site) -> None:
    """Puts sessions, signed cookies and the answers to our errors around all handlers and middlewares of ``app``, those of
    its sub-applications included.

    :raises RuntimeError: the application runs already.
    """
    app.middlewares.insert(0, _dressed(storage, cookies))
    app.middlewares.insert(0, _answering(site))
    app.on_response_prepare.append(save_before_head)


def _dressed(storage: SessionStorage, cookies: SignedCookies) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await with_session(storage, with_signed_cookies(cookies, handler))(request)

    return middleware


def _answering(site: Site) -> Middleware:
    """Our errors become answers: fresh ones, so that no cookie of the answer that failed is on them."""
    failures = Failures()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except GatewayError as error:
            if isinstance(error, StoreUnavailable):
                failures.note(error)
            if request.writer.output_size:  # the head of another answer is out: nothing but the end can follow
                raise
            forget_framing(request)
            return _answer(request, site, error)

    return middleware


def _answer(request: web.Request, site: Site, error: GatewayError) -> web.Response:
    status = error.reason.status
    message = error.reason.words(pick_language(site.language, request.headers), **error.parts)
    body = {"ret": status, "msg": message, "reason": error.reason.code}
    headers = {"Cache-Control": "no-store", "Vary": vary_on(site)}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(error.retry_after)
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
