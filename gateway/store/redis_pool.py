"""Connections to one Redis server: made, lent to one pipeline at a time, and given up when in doubt.

redis-py's connections and parser are used, its clients and pools are not: a pipeline over one server, over the master
that Sentinel names and over the nodes of a Cluster is the same exchange here, and one rule keeps answers with those who
asked (hazard R2): **a connection goes back to the pool only when every answer it owes has been read**; whatever else
happens to an exchange (an error, a time-out, a cancellation) closes it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import StartError
from gateway.store.redis_options import Address, RedisOptions

Argument = bytes | str | int | float
Command = Sequence[Argument]
Connect = Callable[[], AbstractConnection]
Greet = Callable[[AbstractConnection], Awaitable[None]]


def pack(commands: Sequence[Command]) -> bytes:
    """The commands as they go over the wire.

    :raises TypeError: an argument that is not of :data:`Argument`.
    """
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if type(argument) is bytes else encode(argument)
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def encode(argument: object) -> bytes:
    """One argument as it is sent.

    :raises TypeError: it is none.
    """
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        return repr(argument).encode()
    raise TypeError(f"no argument of a Redis command: {type(argument).__name__}")


class Dialer:
    """Makes connections (not yet connected ones) as the options say.

    :raises StartError: a certificate or key file cannot be used.
    """

    def __init__(self, options: RedisOptions) -> None:
        given: dict[str, Any] = {**parse_url(options.url)}
        self._class: type[AbstractConnection] = given.pop("connection_class", Connection)
        self._place = {name: given[name] for name in ("host", "port", "path") if name in given}
        self._login: dict[str, Any] = {
            "username": options.username or given.get("username"),
            "password": options.password or given.get("password"),
        }
        self._database: dict[str, Any] = {"db": given.get("db", 0)}
        self._sentinel = {"username": options.sentinel_username, "password": options.sentinel_password}
        is_tls = options.tls or self._class is SSLConnection
        self._context = _tls_context(options, given) if is_tls else None

    @property
    def address(self) -> Address:
        """Host and port in the URL."""
        return self._place.get("host", "localhost"), self._place.get("port", 6379)

    def server(self) -> AbstractConnection:
        """To the server of the URL."""
        if self._class is UnixDomainSocketConnection:
            return UnixDomainSocketConnection(**self._place, **self._login, **self._database, **_SETTINGS)
        return self.node(self.address)

    def node(self, address: Address) -> AbstractConnection:
        """To the master of Sentinel or to a node of a Cluster."""
        return self._tcp(address, {**self._login, **self._database})

    def sentinel(self, address: Address) -> AbstractConnection:
        """To a Sentinel."""
        return self._tcp(address, self._sentinel)

    def _tcp(self, address: Address, more: dict[str, Any]) -> AbstractConnection:
        host, port = address
        if self._context is None:
            return Connection(host=host, port=port, **more, **_SETTINGS)
        made = SSLConnection(host=host, port=port, **more, **_SETTINGS)
        made.ssl_context.context = self._context  # made once: reading the authorities takes milliseconds
        return made


_SETTINGS: dict[str, Any] = {
    # RESP2: one command less to allow in an ACL (HELLO), and invalidations can be had in it (hazard R8).
    "protocol": 2,
    "driver_info": None,
    # No time-outs and no repeating by the driver: on Python 3.11 its wait_for() can swallow a cancellation that comes when
    # the reply does, and a client's going away would go unnoticed. One budget covers connecting, waiting and repeating.
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "retry": Retry(NoBackoff(), 0),
}


def _tls_context(options: RedisOptions, url: dict[str, Any]) -> ssl.SSLContext:
    ca_file = options.ca_file or url.get("ssl_ca_certs")
    cert_file = options.cert_file or url.get("ssl_certfile")
    key_file = options.key_file or url.get("ssl_keyfile")
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:
        raise StartError(f"redis: {ca_file or ''} {cert_file or ''} {key_file or ''}: {error}") from error
    context.check_hostname = options.check_hostname and url.get("ssl_check_hostname") is not False
    if (wanted := url.get("ssl_cert_reqs", "required")) != "required":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE if wanted == "none" else ssl.CERT_OPTIONAL
    return context


def hang_up(connection: AbstractConnection) -> None:
    """Closes at once, without the farewells of TLS and without sending what is left: the other end may be frozen."""
    writer = connection._writer
    connection._parser.on_disconnect()  # type: ignore[no-untyped-call]
    connection._reader = connection._writer = None
    if writer is not None:
        writer.transport.abort()


async def read_answer(connection: AbstractConnection) -> Any:
    """One answer; an error answer is returned, not raised, so that those behind it can be read.

    :raises redis.exceptions.RedisError: the connection is of no more use (some error answers say so, too).
    :raises OSError: the same.
    """
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except ResponseError as error:
        return error
    except ValueError as error:  # a line without end, a length that is no number
        raise InvalidResponse("what answers is no Redis") from error


async def converse(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Sends the commands and reads their answers. The caller hangs up when this does not return."""
    if (writer := connection._writer) is None:
        raise RedisConnectionError("the connection is closed")
    writer.write(pack(commands))
    await writer.drain()
    return [await read_answer(connection) for _ in commands]


class Pool:
    """At most ``size`` connections to one server, the one used last lent first.

    ``greet`` speaks first on every new connection. An exchange that was given up after ``patience`` seconds makes the
    idle connections suspect as well.
    """

    def __init__(self, name: str, connect: Connect, size: int, *, patience: float, greet: Greet | None = None) -> None:
        self.name = name
        self._connect = connect
        self._greet = greet
        self._patience = patience
        self._free = asyncio.Semaphore(size)
        self._idle: list[AbstractConnection] = []
        self._is_closed = False

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; error answers stand among them as exceptions.

        :raises redis.exceptions.RedisError: no connection, or it broke.
        :raises OSError: the same.
        """
        async with self._free:
            started = time.monotonic()
            try:
                return await self._exchange(commands)
            except asyncio.CancelledError:
                if time.monotonic() - started >= self._patience:
                    self.drop_idle()
                raise
            except (RedisError, OSError):
                self.drop_idle()  # one connection proved dead, so all idle ones may be (hazard R5)
                raise

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._take() or await self.dial()
        is_clean = False
        try:
            answers = await converse(connection, commands)
            is_clean = True
        finally:
            if is_clean and not self._is_closed:
                self._idle.append(connection)
            else:
                hang_up(connection)
        return answers

    def _take(self) -> AbstractConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if is_quiet(connection):
                return connection
            hang_up(connection)
        return None

    async def dial(self) -> AbstractConnection:
        """A new connection, ready for commands; the caller hangs up.

        :raises redis.exceptions.RedisError: there is none to be had.
        :raises OSError: the same.
        """
        connection = self._connect()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            if self._greet is not None:
                await self._greet(connection)
        except BaseException:
            hang_up(connection)
            raise
        return connection

    def drop_idle(self) -> None:
        """Closes what nobody uses just now."""
        idle, self._idle = self._idle, []
        for connection in idle:
            hang_up(connection)

    def close(self) -> None:
        """Closes what is idle, and the rest when it comes back."""
        self._is_closed = True
        self.drop_idle()


def is_quiet(connection: AbstractConnection) -> bool:
    """Open as far as we know, and nothing has come that nobody asked for."""
    reader: Any = connection._reader  # its buffer is private; redis-py looks at it in the same way
    return reader is not None and not reader._buffer and not reader.at_eof() and reader.exception() is None


def is_broken(error: BaseException) -> bool:
    """Did the connection fail, rather than the command?"""
    return isinstance(error, RedisConnectionError | RedisTimeoutError | OSError)
