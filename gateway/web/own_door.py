"""Our own endpoints, which are handlers of aiohttp: found by name, their errors become answers.

With the front door it is the place that turns an unknown error into a 500 with an id.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gateway.core.refusals import refuse, refuse_for
from gateway.errors import GatewayError, StoreUnavailable, UpstreamError
from gateway.telemetry.failures import Failures
from gateway.web.answers import Answers
from gateway.web.endpoint import MethodNotAllowed
from gateway.web.state import STATE, RequestState

log = logging.getLogger("gateway.front_door")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OwnDoor:
    """The one handler of the application."""

    def __init__(self, handlers: Mapping[str, Handler], answers: Answers) -> None:
        self._handlers = handlers
        self._answers = answers
        self._failures = Failures()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The endpoint's answer, or what its error stands for."""
        state = request[STATE]
        assert state.endpoint is not None
        try:
            return await self._handlers[state.endpoint.handler](request)
        except GatewayError as error:
            return self._failed(request, state, error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("unexpected error", extra={"fields": {"request_id": state.request_id}})
            return self._answers.refusal(request, refuse(state.head, self._answers.site, "internal_error"))

    def _failed(self, request: web.Request, state: RequestState, error: GatewayError) -> web.Response:
        if isinstance(error, StoreUnavailable | UpstreamError):
            self._failures.note(error, state.line.route)
        response = self._answers.refusal(request, refuse_for(state.head, self._answers.site, error))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = error.allow
        return response


class AnyTarget(web.PlainResource):
    """The router's one resource: what comes here was routed by the gate (hazard A7)."""

    def __init__(self) -> None:
        super().__init__("/")

    def _match(self, path: str) -> dict[str, str]:
        return {}


async def answer_expect_later(request: web.Request) -> None:
    """``Expect: 100-continue`` is answered when somebody wants the body (D13)."""
