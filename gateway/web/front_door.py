"""The front door on aiohttp: a request becomes a head, the gate decides, somebody answers, one line is logged.

It decides nothing itself. It is also the one place that turns an unknown error into a 500 with an id.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.core.head import RequestHead
from gateway.core.refusals import refuse, refuse_for
from gateway.core.request_ids import request_id
from gateway.errors import Busy, GatewayError, StoreUnavailable, UpstreamError
from gateway.gate import Forward, Gate, Refuse, Serve, Verdict
from gateway.telemetry.failures import Failures
from gateway.telemetry.logs import AccessLine, write_access
from gateway.web.answers import Answers
from gateway.web.endpoint import MethodNotAllowed
from gateway.web.state import STATE, RequestState

log = logging.getLogger("gateway.front_door")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ForwardTo = Callable[[web.BaseRequest, Forward], Awaitable[web.StreamResponse]]


class FrontDoor:
    """The one handler of the application."""

    def __init__(self, gate: Gate, handlers: Mapping[str, Handler], forward: ForwardTo, answers: Answers) -> None:
        self._gate = gate
        self._handlers = handlers
        self._forward = forward
        self._answers = answers
        self._failures = Failures()
        self._own: set[asyncio.Future[web.StreamResponse]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers, and logs one line."""
        started = time.perf_counter()
        state = request[STATE] = _state(request)
        line = state.line
        try:
            response = await self._answer(request, state)
            line.status = response.status
            if state.ends_connection:
                response.force_close()
            return response
        except ConnectionError:
            line.status, line.reason = 499, "client_gone"
            return _nobody_there()
        except asyncio.CancelledError:
            line.status, line.reason = 499, "client_gone"
            raise
        finally:
            line.seconds = time.perf_counter() - started
            write_access(line)

    async def _answer(self, request: web.Request, state: RequestState) -> web.StreamResponse:
        try:
            return await self._carry_out(request, state, await self._gate.decide(state.head))
        except GatewayError as error:
            return self._failed(request, state, error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("unexpected error", extra={"fields": {"request_id": state.request_id}})
            return self._answers.refusal(request, refuse(state.head, self._gate.site, "internal_error"))

    async def _carry_out(self, request: web.Request, state: RequestState, verdict: Verdict) -> web.StreamResponse:
        line = state.line
        line.decision = type(verdict).__name__.lower()
        if isinstance(verdict, Serve):
            state.endpoint, state.path = verdict.endpoint, verdict.target.path
            line.route = verdict.endpoint.handler
            return await self._to_the_end(self._handlers[verdict.endpoint.handler](request))
        line.route = verdict.route.name if verdict.route else ""
        line.user = verdict.user.id if verdict.user else ""
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client went away")
        if isinstance(verdict, Refuse):
            if verdict.error is not None:
                self._failures.note(verdict.error)
            return self._answers.refusal(request, verdict.refusal)
        return await self._forward(request, verdict)

    async def _to_the_end(self, answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        """Our own endpoints are not cancelled: a sign-out is carried out, also when the tab is closed meanwhile (P53)."""
        task = asyncio.ensure_future(answer)
        self._own.add(task)
        task.add_done_callback(self._own.discard)
        return await asyncio.shield(task)

    def _failed(self, request: web.Request, state: RequestState, error: GatewayError) -> web.Response:
        if isinstance(error, StoreUnavailable | UpstreamError):
            self._failures.note(error, state.line.route)
        response = self._answers.refusal(request, refuse_for(state.head, self._gate.site, error))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = error.allow
        if isinstance(error, Busy):
            response.headers["Retry-After"] = str(error.retry_after)
        return response


def _nobody_there() -> web.Response:
    response = web.Response(status=499)
    response.force_close()
    return response


def _state(request: web.BaseRequest) -> RequestState:
    version = (request.version.major, request.version.minor)
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    head = RequestHead(request.method, request.raw_path, version, request.headers, request.raw_headers, address)
    path = request.raw_path.partition("?")[0][:500]
    line = AccessLine(request_id(time.time(), os.urandom(10)), request.method, path, address)
    return RequestState(head, line)


class AnyTarget(web.PlainResource):
    """The router's one resource: every method on every form of target comes to the front door (hazard A7)."""

    def __init__(self) -> None:
        super().__init__("/")

    def _match(self, path: str) -> dict[str, str]:
        return {}


def unroutable_to(door: FrontDoor) -> Middleware:
    """A middleware for what aiohttp's router gives up on before any resource is asked (``CONNECT``: no path at all)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        lost = request.match_info.http_exception is not None
        return await (door.handle(request) if lost else handler(request))

    return middleware


async def answer_expect_later(request: web.Request) -> None:
    """``Expect: 100-continue`` is answered after the verdict: a stranger is not invited to send his body (D13)."""
