"""Connections that begin with a PROXY header: it is read, then the connection is a client's like any other, from the address
that the header told.

Only trusted proxies may send one. Without it, broken, or later than ``head_timeout``: a reset without an answer, since nobody
knows who would read it. The operator hears of it, once in ten seconds for each cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from gateway.core.proxy_protocol import ProxyHeaderError, read_proxy_header
from gateway.front.client import ClientConnection
from gateway.front.peers import UNKNOWN, unnamed
from gateway.front.roles import Door
from gateway.upstream.sockets import address_of, reset_on_close

log = logging.getLogger("gateway.front.proxied")
_EVERY_SECONDS = 10.0
MakeClient = Callable[[Door, Callable[[asyncio.BaseTransport], str]], ClientConnection]


class ProxiedConnections:
    """Makes the protocols of a listener behind a load balancer."""

    def __init__(self, door: Door, make: MakeClient = ClientConnection) -> None:
        self.door = door
        self.make = make
        self._told: dict[str, float] = {}

    def __call__(self) -> asyncio.Protocol:
        return ProxiedConnection(self)

    def note(self, cause: str, peer: str, now: float) -> None:
        """A connection was reset, ``now`` on the loop's clock."""
        if now - self._told.get(cause, float("-inf")) >= _EVERY_SECONDS:
            self._told[cause] = now
            log.warning("a connection was reset", extra={"fields": {"cause": cause, "peer": peer}})


class ProxiedConnection(asyncio.Protocol):
    """Until its header is there. Bytes behind it are the client's."""

    def __init__(self, made_by: ProxiedConnections) -> None:
        self._made_by = made_by
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's
        self._peer = address_of(transport) or unnamed(transport)
        door = self._made_by.door
        if door.callers.trusts(self._peer):
            late = "its PROXY header did not come in time"
            self._timer = self._loop.call_later(door.head_timeout, self._refuse, late)
        elif self._peer == UNKNOWN:  # a health check that was over before we looked
            self._refuse("")
        else:
            self._refuse("it is from none of server.trusted_proxies")

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._data += data
        try:
            header = read_proxy_header(self._data)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return
        if header is not None:
            address = self._peer if header.address is None else header.address
            self._hand_over(address, self._data[header.size :], is_told=bool(header.address))

    def eof_received(self) -> bool:
        if self._data:  # else somebody looked whether the port is open
            self._refuse("it ended before its PROXY header did")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()

    def _stop(self) -> asyncio.Transport | None:
        if self._timer is not None:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        return transport

    def _hand_over(self, address: str, rest: bytes, *, is_told: bool) -> None:
        transport = self._stop()
        assert transport is not None
        client = self._made_by.make(self._made_by.door, lambda _: address)
        transport.set_protocol(client)
        client.connection_made(transport)
        if not is_told:
            client.is_trusted = False  # somebody behind the proxy whom it does not know: not the proxy
        if rest:
            client.data_received(rest)

    def _refuse(self, cause: str) -> None:
        transport = self._stop()
        if transport is not None:
            if cause:
                self._made_by.note(cause, self._peer, self._loop.time())
            reset_on_close(transport)
            transport.abort()
