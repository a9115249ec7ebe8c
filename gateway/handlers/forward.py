"""Passes a request on to its upstream and the answer back, both streamed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.core.caching import may_be_shared
from gateway.core.headers import (
    HeaderPolicy,
    Origin,
    RawHeaderList,
    identity_headers,
    origin_headers,
    request_headers,
    response_headers,
)
from gateway.core.refusals import Site
from gateway.core.sessions import Session
from gateway.errors import GatewayError, RequestError, UpstreamError
from gateway.gate import Forward
from gateway.store.sessions import Sessions
from gateway.upstream.exchange import Exchange, UpstreamRequest
from gateway.upstream.pool import Pool
from gateway.web.bodies import invite_body
from gateway.web.proxied import ProxiedResponse
from gateway.web.state import STATE, RequestState
from gateway.web.storage import SessionStorage

log = logging.getLogger("gateway.forward")


class ForwardHandler:
    """Carries out the verdict ``Forward``."""

    def __init__(
        self, pools: Mapping[str, Pool], policy: HeaderPolicy, site: Site, sessions: Sessions, storage: SessionStorage
    ) -> None:
        self._pools = pools
        self._policy = policy
        self._site = site
        self._sessions = sessions
        self._storage = storage

    async def __call__(self, request: web.BaseRequest, verdict: Forward) -> web.StreamResponse:
        """:raises UpstreamError: before the answer began; afterwards the client's connection is aborted."""
        state = request[STATE]
        if verdict.session is not None:
            self._sessions.note_activity(verdict.session)
        pool = self._pools[verdict.route.upstream]
        started = time.perf_counter()
        try:
            async with Exchange(pool, self._outgoing(request, verdict, pool), verdict.route.timeouts) as exchange:
                return await self._pass_back(request, exchange, verdict)
        finally:
            state.line.upstream_seconds = time.perf_counter() - started

    def _outgoing(self, request: web.BaseRequest, verdict: Forward, pool: Pool) -> UpstreamRequest:
        state = request[STATE]
        has_body = request.body_exists
        chunked = has_body and "Transfer-Encoding" in request.headers
        return UpstreamRequest(
            request.method,
            verdict.target.forward,
            self._headers(state, verdict, pool),
            self._body(request, state, verdict.route.timeouts.between_bytes) if has_body else None,
            chunked,
        )

    def _headers(self, state: RequestState, verdict: Forward, pool: Pool) -> RawHeaderList:
        head, route = state.head, verdict.route
        sent_host = verdict.target.host or str(head.headers.get("Host", ""))
        drop = [b"authorization"] if route.authorization == "gateway" and route.identity != "none" else []
        host = sent_host if route.preserve_host and sent_host else pool.address.authority
        origin = Origin(head.peer, "https" if self._site.is_https else "http", sent_host, state.request_id)
        headers = request_headers(head.raw, self._policy, host=host, drop=drop)
        if "Host" not in head.headers:
            headers.insert(0, (b"Host", host.encode("latin-1")))
        if verdict.user is not None:
            headers += identity_headers(verdict.user, self._policy)
        return headers + origin_headers(origin, self._policy, head.version)

    async def _body(self, request: web.BaseRequest, state: RequestState, timeout: float) -> AsyncIterator[bytes]:
        """The client's body in pieces. Whoever waits for ``100 Continue`` gets it now: the verdict was to forward (D13)."""
        invite_body(request)
        try:
            while True:
                async with asyncio.timeout(timeout):
                    piece = await request.content.readany()
                if not piece:
                    return
                state.line.received += len(piece)
                yield piece
        except TimeoutError as error:
            raise RequestError("slow_request") from error
        except (HttpProcessingError, web.RequestPayloadError, ClientPayloadError) as error:
            raise RequestError("bad_request", what="its body is not framed as HTTP says") from error

    async def _pass_back(self, request: web.BaseRequest, exchange: Exchange, verdict: Forward) -> web.StreamResponse:
        line, route = request[STATE].line, verdict.route
        line.upstream_status = line.status = exchange.head.status
        headers, stolen = response_headers(exchange.head.headers, self._policy.own_cookies, route.cache)
        if stolen:
            log.warning("a backend tried to set the gateway's own cookie", extra={"fields": {"route": route.name}})
        if verdict.session is not None and self._sessions.renewal_is_due(verdict.session):
            headers = await self._renew(verdict.session, request.method, exchange.head.status, headers)
        head, closes = exchange.head, request[STATE].ends_connection
        response = ProxiedResponse(head.status, head.reason, headers, closes=closes)
        await response.prepare(request)
        try:
            async for piece in exchange.pieces():
                await response.write(piece)
            await response.write_eof()
        except UpstreamError as error:
            self._break_off(request, error)
        finally:
            line.sent = response.sent
        return response

    async def _renew(self, session: Session, method: str, status: int, headers: RawHeaderList) -> RawHeaderList:
        """A new cookie beside the backend's answer, unless a shared cache may store that. What fails now is tried again
        with the next request: this one was let through already."""
        is_shared = may_be_shared(method, status, headers)
        if is_shared and not self._sessions.renewal_is_urgent(session):
            return headers
        try:
            renewed = await self._sessions.renew(session)
        except GatewayError as error:
            fields = {"reason": error.reason.code, "cause": getattr(error, "cause", "")}
            log.warning("a session was not given its new cookie", extra={"fields": fields})
            return headers
        if is_shared:
            headers, _ = response_headers(headers, frozenset(), "private")
        return [*headers, (b"Set-Cookie", self._storage.cookie_header(renewed))]

    @staticmethod
    def _break_off(request: web.BaseRequest, error: UpstreamError) -> None:
        """A cut answer must not pass for a whole one: the connection is reset (docs/http-api.md)."""
        line = request[STATE].line
        line.reason = error.reason.code
        log.warning("an answer broke off", extra={"fields": {"route": line.route, "cause": error.cause}})
        if request.transport is not None:
            request.transport.abort()
