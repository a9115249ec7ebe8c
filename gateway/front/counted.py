"""Connections that serve so many requests, and end then (``server.keepalive_requests``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.front.client import ClientConnection
from gateway.front.incoming import Incoming
from gateway.front.roles import Door
from gateway.upstream.sockets import address_of


class CountedConnection(ClientConnection):
    """Its last answer says ``Connection: close``."""

    def __init__(
        self, door: Door, address: Callable[[asyncio.BaseTransport], str] = address_of, *, requests: int
    ) -> None:
        super().__init__(door, address)
        self._left = requests

    def _begin(self, request: Incoming) -> None:
        self._left -= 1
        if self._left <= 0:
            request.keep_alive = False
        super()._begin(request)
