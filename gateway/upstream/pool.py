"""Kept-alive connections to one backend, newest first: the coldest ones idle out."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.errors import UpstreamError
from gateway.upstream.connection import Connection


@dataclass(frozen=True, slots=True)
class Address:
    """Where a backend listens. ``authority`` is what its own Host header would say."""

    scheme: str
    host: str
    port: int
    authority: str


def parse_upstream_url(url: str) -> Address:
    """``http://host[:port]`` or ``https://…``, without path, query or user.

    :raises ValueError: saying what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an upstream is http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an upstream has no path, query or user name: requests keep their own path")
    return Address(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), parts.netloc)


class Pool:
    """Connections to one address. ``keep``: how many idle ones; ``idle_seconds``: how long each."""

    def __init__(self, address: Address, *, keep: int = 64, idle_seconds: float = 55.0) -> None:
        self.address = address
        self._idle: deque[tuple[float, Connection]] = deque()
        self._keep = keep
        self._idle_seconds = idle_seconds
        self._tls = ssl.create_default_context() if address.scheme == "https" else None

    def take_idle(self) -> Connection | None:
        """A kept connection that is still open, or None."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, connection = self._idle.pop()
            if connection.is_usable and now - since < self._idle_seconds:
                return connection
            connection.abort()
        return None

    async def connect(self, timeout: float) -> Connection:
        """A new connection.

        :raises UpstreamError: ``upstream_unreachable`` or, after ``timeout`` seconds, ``upstream_timeout``.
        """
        loop = asyncio.get_running_loop()
        where = self.address
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(Connection, where.host, where.port, ssl=self._tls)
        except TimeoutError as error:
            raise UpstreamError("upstream_timeout", f"{where.authority}: no connection in {timeout} s") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamError("upstream_unreachable", f"{where.authority}: {error}") from error
        return connection

    def give_back(self, connection: Connection) -> None:
        """Ends the exchange; the connection is kept when it can serve another one."""
        if not connection.finish():
            return
        self._idle.append((asyncio.get_running_loop().time(), connection))
        if len(self._idle) > self._keep:
            self._idle.popleft()[1].abort()

    def close(self) -> None:
        """Closes what idles."""
        while self._idle:
            self._idle.pop()[1].abort()

    def __repr__(self) -> str:
        return f"<Pool {self.address.scheme}://{self.address.authority}, {len(self._idle)} idle>"
