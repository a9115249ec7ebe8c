"""What we know about a request while it runs: one record, under one typed key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import HttpVersion10, HttpVersion11, web

from gateway.core.head import RequestHead
from gateway.gate import Endpoint
from gateway.telemetry.logs import AccessLine


@dataclass(slots=True)
class RequestState:
    """Written by the front door; ``line`` is completed on the way."""

    head: RequestHead
    line: AccessLine
    endpoint: Endpoint | None = None
    path: str = ""
    """What rules match: decoded, without query, whatever form the target had. For our own endpoints."""
    invited: bool = False
    """Has a client that waits for ``100 Continue`` been told to send its body?"""

    @property
    def ends_connection(self) -> bool:
        """Bytes may follow that are no request: a body announced but never asked for, or what an Upgrade would begin."""
        return ("Expect" in self.head.headers and not self.invited) or "Upgrade" in self.head.headers

    @property
    def request_id(self) -> str:
        """The id that stands in answers, in the log and in ``X-Request-Id``."""
        return self.line.request_id


STATE = web.RequestKey("state", RequestState)


def head_of(request: web.BaseRequest) -> RequestHead:
    """The head of this request."""
    return request[STATE].head


def answer_in_own_version(request: web.BaseRequest) -> None:
    """No status line of ours says HTTP/2.0 or 0.9 because a request did (RFC 9112 §2.3); aiohttp repeats what it read."""
    if request.version not in (HttpVersion10, HttpVersion11):
        request._cache["version"] = HttpVersion11
