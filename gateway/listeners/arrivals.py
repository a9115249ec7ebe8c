"""What becomes of a connection that comes: a client's connection, or nothing when there are too many."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gateway.front.client import ClientConnection
from gateway.front.counted import CountedConnection
from gateway.front.crowd import Crowd
from gateway.front.ending import FLUSH
from gateway.front.proxied import MakeClient, ProxiedConnections
from gateway.front.roles import Door
from gateway.upstream.sockets import RESET, reset_on_close

log = logging.getLogger("gateway.listeners")
_AT_ONCE = 64  # accepted before others have their turn
_PAUSE = 1.0  # seconds, when there are no more file descriptors
MakeProtocol = Callable[[], asyncio.BaseProtocol]


class _Overrun(asyncio.Protocol):
    """Too many are here to say even that."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        reset_on_close(transport)
        transport.abort()  # type: ignore[attr-defined]  # every transport of a stream has it


def connections_for(door: Door, crowd: Crowd, *, requests: int, proxied: bool) -> MakeProtocol:
    """Makes the protocol of a connection to ``door``. ``requests``: so many each may serve, 0 for any number;
    ``proxied``: each begins with a PROXY header."""
    kind: MakeClient = partial(CountedConnection, requests=requests) if requests else ClientConnection
    make: MakeProtocol = ProxiedConnections(door, kind) if proxied else partial(kind, door)

    def arrived() -> asyncio.BaseProtocol:
        return _Overrun() if crowd.is_overrun else make()

    return arrived


class TlsAcceptor:
    """Accepts on ``sock``, which listens. A connection counts from its first packet: handshakes that nobody finishes have
    their limit, too (P88). asyncio's own servers do not tell of them."""

    def __init__(
        self, sock: socket.socket, make: MakeProtocol, context: ssl.SSLContext, crowd: Crowd, patience: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._make = make
        self._context = context
        self._crowd = crowd
        self._patience = patience
        self._shaking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._start()

    def _start(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Nobody comes in any more; handshakes under way end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        for task in self._shaking:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # as asyncio does: no file descriptors, or no memory
                log.error("no connection can be accepted just now: %s", error.strerror)
                self._loop.remove_reader(self._sock.fileno())
                self._timer = self._loop.call_later(_PAUSE, self._start)
                return
            self._begin(sock, str(address[0]) if isinstance(address, tuple) else "")

    def _begin(self, sock: socket.socket, peer: str) -> None:
        if not self._crowd.arrive(peer):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._shake_hands(sock))
        self._shaking.add(task)
        task.add_done_callback(partial(self._done, peer))

    def _done(self, peer: str, task: asyncio.Task[None]) -> None:
        self._shaking.discard(task)
        self._crowd.arrived(peer)

    async def _shake_hands(self, sock: socket.socket) -> None:
        with suppress(OSError):  # ssl's errors are some, too: who fails here is not heard of
            await self._loop.connect_accepted_socket(
                self._make,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._patience,
                ssl_shutdown_timeout=FLUSH,
            )
