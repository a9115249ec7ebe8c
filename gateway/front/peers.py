"""What to call the other end of a connection that has no address."""

from __future__ import annotations

import asyncio
import socket

UNKNOWN = "unknown"
"""RFC 7239 §6.2."""


def unnamed(transport: asyncio.BaseTransport) -> str:
    """Empty for a unix socket: whoever can open it may be trusted. Any other had an address, and was reset before anybody
    asked (what it sent can still be read), or came to its proxy by a unix socket: nobody to be trusted."""
    sock = transport.get_extra_info("socket")
    return "" if sock is not None and sock.family == socket.AF_UNIX else UNKNOWN
