"""Kept-alive connections to one backend, newest first: the coldest ones idle out.

Its name is looked up again and again; connections to an address that it no longer has are not used again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from gateway.errors import UpstreamError
from gateway.upstream.address import Address
from gateway.upstream.connection import Connection
from gateway.upstream.names import Names, Resolve, first_of, is_address, resolve

_LOOK = 0.5  # seconds for a look-up after a refusal


class Pool:
    """Connections to one address. ``keep``: how many idle ones; ``idle_seconds``: how long each. ``tls``: for https;
    ``server_name``: whom the certificate has to name, where that is not the host. ``resolve_seconds``: how long what its
    name stands for is believed.
    """

    def __init__(
        self,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        keep: int = 1024,
        idle_seconds: float = 55.0,
        resolve_seconds: float = 30.0,
        resolve: Resolve = resolve,
    ) -> None:
        self.address = address
        self._is_retired = False
        self._idle: deque[tuple[float, Connection]] = deque()
        self._keep = keep
        self._clock: Callable[[], float] | None = None
        self._idle_seconds = idle_seconds
        if (address.scheme == "https") != (tls is not None):
            raise ValueError("TLS goes with https, and https with TLS")
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "server_hostname": server_name or address.tls_name}
        self._names: Names | None = None
        if address.scheme != "unix" and not is_address(address.host):
            self._names = Names(address.host, address.port, seconds=resolve_seconds, resolve=resolve)
        self._made: WeakSet[Connection] = WeakSet()
        self._renewing: asyncio.Task[None] | None = None

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
        where, names = self.address, self._names
        if where.scheme == "unix":
            _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, where.path)
            return self._made_one(connection)
        if names is None:
            return await self._dial(where.host, timeout)
        known = await names.addresses()
        try:
            return await first_of(lambda one: self._dial(one, timeout), known)
        except OSError:
            with suppress(TimeoutError):  # a name server that hangs must not hold up who would go elsewhere
                async with asyncio.timeout(min(_LOOK, timeout / 4)):
                    await self._renew(names)
            moved = [one for one in names.known if one not in known]
            if not moved:
                raise
            return await first_of(lambda one: self._dial(one, timeout), moved)

    async def _dial(self, host: str, timeout: float) -> Connection:
        tls = {**self._tls, "ssl_handshake_timeout": timeout} if self._tls else {}
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, host, self.address.port, **tls)
        return self._made_one(connection)

    def _made_one(self, connection: Connection) -> Connection:
        connection.retired = self._is_retired
        self._made.add(connection)
        return connection

    async def _renew(self, names: Names) -> None:
        before = names.known
        found = await names.renew()
        if set(before) != set(found):
            self._retire(lambda one: one.peer not in found)

    def give_back(self, connection: Connection, *, reusable: bool = True) -> None:
        """Ends the exchange; the connection is kept when it can serve another one."""
        if not connection.end(reusable=reusable):
            return
        idle, now = self._idle, self._now()
        idle.append((now, connection))
        while len(idle) > self._keep or now - idle[0][0] > self._idle_seconds:
            idle.popleft()[1].abort()

    def maintain(self) -> None:
        """Called now and then: closes what has idled for too long, and looks up the name when it is time."""
        idle, now = self._idle, self._now()
        while idle and now - idle[0][0] > self._idle_seconds:
            idle.popleft()[1].abort()
        if self._names is not None and self._names.is_due() and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._names))
            self._renewing.add_done_callback(self._renewed)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        with suppress(asyncio.CancelledError):
            task.result()

    def retire(self) -> None:
        """No connection is used again: idle ones are closed, the others when their exchange is over."""
        self._is_retired = True
        self._retire(lambda _: True)

    def _retire(self, whom: Callable[[Connection], bool]) -> None:
        gone = {one for one in self._made if whom(one)}
        for one in gone:
            one.retired = True
        kept = [entry for entry in self._idle if entry[1] not in gone]
        for _, one in self._idle:
            if one in gone:
                one.abort()
        self._idle = deque(kept)

    def close(self) -> None:
        """Closes what idles."""
        if self._renewing is not None:
            self._renewing.cancel()
        while self._idle:
            self._idle.pop()[1].abort()

    def __repr__(self) -> str:
        return f"<Pool {self.address.scheme}://{self.address.authority}, {len(self._idle)} idle>"
