"""What a front door is made of, as plain parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.callers import Callers
from gateway.core.headers import HeaderPolicy
from gateway.core.sessions import Session
from gateway.front.answers import Refusals
from gateway.front.client import ClientConnection
from gateway.front.crowd import Crowd
from gateway.front.incoming import Incoming
from gateway.front.roles import Answering
from gateway.gate import Gate, Serve
from gateway.store.bearers import Bearers
from gateway.store.sessions import Sessions
from gateway.telemetry.access_log import AccessLine
from gateway.telemetry.metrics import RequestCounts
from gateway.upstream.upstream import Upstream


class OwnEndpoints(Protocol):
    """Whoever hosts what we serve ourselves."""

    def serve(self, client: ClientConnection, request: Incoming, verdict: Serve, line: AccessLine) -> Answering:
        """Answers in its own time; then it calls ``client.finish`` and logs."""


class CookieHeader(Protocol):
    """The value of ``Set-Cookie`` for a session."""

    def __call__(self, session: Session) -> bytes:
        """In bytes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a whole head, and for the next request on a connection."""

    head: float = 15.0
    idle: float = 75.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a door is made of."""

    gate: Gate
    sessions: Sessions
    upstreams: Mapping[str, Upstream]
    policy: HeaderPolicy
    refusals: Refusals
    cookie_header: CookieHeader
    counts: RequestCounts
    callers: Callers
    crowd: Crowd = field(default_factory=Crowd)
    bearers: Bearers | None = None
