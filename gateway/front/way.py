"""What every relay needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.core.headers import HeaderPolicy, RawHeaderList
from gateway.core.sessions import Session
from gateway.errors import GatewayError
from gateway.front.client import ClientConnection
from gateway.front.outgoing import RequestHeads
from gateway.front.tunnel import TunnelKeeper
from gateway.gate import Forward
from gateway.telemetry.access_log import AccessLine

Renew = Callable[[Session, str, int, RawHeaderList], Awaitable[RawHeaderList]]


@dataclass(frozen=True, slots=True)
class Way:
    """What every relay needs. ``fail`` answers for it before an answer has begun, ``done`` logs; ``renewal_is_due`` and
    ``renew``: the session's new cookie, beside the backend's answer; ``tunnels`` keeps WebSockets."""

    policy: HeaderPolicy
    heads: RequestHeads
    fail: Callable[[ClientConnection, AccessLine, Forward, GatewayError], None]
    done: Callable[[AccessLine, float], None]
    renewal_is_due: Callable[[Session], bool]
    renew: Renew
    tunnels: TunnelKeeper
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
