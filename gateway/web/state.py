"""What we know about a request while it runs: one record, under one typed key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.core.head import RequestHead
from gateway.gate import Endpoint
from gateway.telemetry.access_log import AccessLine


@dataclass(slots=True)
class RequestState:
    """Written by the front door; ``line`` is completed on the way."""

    head: RequestHead
    line: AccessLine
    endpoint: Endpoint | None = None
    path: str = ""
    """What rules match: decoded, without query, whatever form the target had. For our own endpoints."""

    @property
    def request_id(self) -> str:
        """The id that stands in answers, in the log and in ``X-Request-Id``."""
        return self.line.request_id


STATE = web.RequestKey("state", RequestState)


def head_of(request: web.BaseRequest) -> RequestHead:
    """The head of this request."""
    return request[STATE].head
