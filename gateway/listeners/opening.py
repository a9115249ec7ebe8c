"""Opens the bound sockets for clients, and closes them: at the end nothing new comes in on any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.front.crowd import Crowd
from gateway.listeners.arrivals import MakeProtocol, TlsAcceptor
from gateway.listeners.certificates import Certificates
from gateway.listeners.sockets import BACKLOG, Bound


class _Open(Protocol):
    def close(self) -> None:
        """Nothing new."""


class Listeners:
    """``make``: the protocol for a connection, by whether http is sent to https there; ``patience``: seconds for a
    handshake."""

    def __init__(
        self, bound: Sequence[Bound], make: Mapping[bool, MakeProtocol], crowd: Crowd, patience: float
    ) -> None:
        self._bound = bound
        self._make = make
        self._crowd = crowd
        self._patience = patience
        self._open: list[_Open] = []
        self._watch: asyncio.Task[None] | None = None

    async def open(self, certificates: Certificates | None) -> None:
        """Clients may come."""
        if certificates is not None:
            certificates.catch_up()
        for one in self._bound:
            make = self._make[one.place.redirects]
            if one.place.tls:
                assert certificates is not None
                self._open.append(TlsAcceptor(one.sock, make, certificates.context, self._crowd, self._patience))
            else:
                self._open.append(await _plain(one, make))
        if certificates is not None:
            self._watch = asyncio.create_task(certificates.watch())

    def close(self) -> None:
        """Nothing new."""
        for one in self._open:
            one.close()
        if self._watch is not None:
            self._watch.cancel()


async def _plain(one: Bound, make: MakeProtocol) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    if one.place.unix is not None:
        return await loop.create_unix_server(make, sock=one.sock, backlog=BACKLOG)
    return await loop.create_server(make, sock=one.sock, backlog=BACKLOG)
