"""Kept-alive connections to one backend, newest first: the coldest ones idle out."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.errors import UpstreamError
from gateway.upstream.address import Address
from gateway.upstream.connection import Connection


class Pool:
    """Connections to one address. ``keep``: how many idle ones; ``idle_seconds``: how long each. ``tls``: for https;
    ``server_name``: whom the certificate has to name, where that is not the host.
    """

    def __init__(
        self,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        keep: int = 1024,
        idle_seconds: float = 55.0,
    ) -> None:
        self.address = address
        self._idle: deque[tuple[float, Connection]] = deque()
        self._keep = keep
        self._clock: Callable[[], float] | None = None
        self._idle_seconds = idle_seconds
        if (address.scheme == "https") != (tls is not None):
            raise ValueError("TLS goes with https, and https with TLS")
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "server_hostname": server_name or address.tls_name}

    def take_idle(self) -> Connection | None:
        """A kept connection that is still open, or None."""
        idle = self._idle
        if not idle:
            return None
        now = self._now()
        while idle:
            since, connection = idle.pop()
            if connection.is_usable and now - since < self._idle_seconds:
                return connection
            connection.abort()
        return None

    def _now(self) -> float:
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        return self._clock()

    async def connect(self, timeout: float) -> Connection:
        """A new connection, in ``timeout`` seconds.

        :raises UpstreamError: ``upstream_unreachable`` or ``upstream_timeout``.
        """
        where = self.address
        try:
            async with asyncio.timeout(timeout):
                return await self._open(timeout)
        except TimeoutError as error:
            raise UpstreamError("upstream_timeout", f"{where}: no connection in {timeout} s") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamError("upstream_unreachable", f"{where}: {error}") from error

    async def _open(self, timeout: float) -> Connection:
        loop = asyncio.get_running_loop()
        where = self.address
        if where.scheme == "unix":
            _, connection = await loop.create_unix_connection(Connection, where.path)
        else:
            tls = {**self._tls, "ssl_handshake_timeout": timeout} if self._tls else {}
            _, connection = await loop.create_connection(Connection, where.host, where.port, **tls)
        return connection

    def give_back(self, connection: Connection, *, reusable: bool = True) -> None:
        """Ends the exchange; the connection is kept when it can serve another one."""
        if not connection.end(reusable=reusable):
            return
        idle, now = self._idle, self._now()
        idle.append((now, connection))
        while len(idle) > self._keep or now - idle[0][0] > self._idle_seconds:
            idle.popleft()[1].abort()

    def close(self) -> None:
        """Closes what idles."""
        while self._idle:
            self._idle.pop()[1].abort()

    def __repr__(self) -> str:
        return f"<Pool {self.address.scheme}://{self.address.authority}, {len(self._idle)} idle>"
