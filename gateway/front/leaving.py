"""Clients that leave while nothing is read from them: asyncio does not hear it, the kernel does."""

from __future__ import annotations

import asyncio

from gateway.front.incoming import Incoming
from gateway.upstream.sockets import Tcp, tcp_state, unread


def departure(transport: asyncio.BaseTransport | None, request: Incoming | None) -> Tcp:
    """``GONE``: by a reset, or in the middle of a request, which will never be whole. ``FIN``: with its half of the connection
    closed behind a whole request. Else ``OPEN``: somebody may be there."""
    state = tcp_state(transport)
    if state is not Tcp.FIN or request is None:
        return state if state is Tcp.GONE else Tcp.OPEN
    if request.complete:
        return Tcp.FIN
    return Tcp.GONE if request.received + unread(transport) < request.length else Tcp.OPEN
