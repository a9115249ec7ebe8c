"""One request to a backend and its answer, both streamed, at the same time if need be.

A kept-alive connection that the backend closed under us is replaced by a fresh one, once, when nothing can have been lost:
no byte of an answer came, there is no body, and the method may be repeated (RFC 9110 §9.2.2; hazard D17).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.core.headers import RawHeaderList
from gateway.core.routes import Timeouts
from gateway.errors import UpstreamError
from gateway.upstream.connection import AnswerHead, Connection
from gateway.upstream.pool import Pool

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What to send. ``body`` None: there is none; ``chunked``: its length is not known (no Content-Length)."""

    method: str
    target: str
    headers: RawHeaderList
    body: AsyncIterator[bytes] | None = None
    chunked: bool = False

    def head_bytes(self) -> bytes:
        """The head on the wire, our own HTTP version in it (RFC 9112 §2.3)."""
        headers = self.headers
        if self.chunked:  # never both: the two ends of the body would be read differently (RFC 9112 §6.2)
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
            headers.append((b"Transfer-Encoding", b"chunked"))
        lines = [name + b": " + value for name, value in headers]
        start = f"{self.method} {self.target} HTTP/1.1".encode("latin-1")
        return b"\r\n".join([start, *lines, b"", b""])

    @property
    def may_repeat(self) -> bool:
        """Would sending it twice be the same as once?"""
        return self.body is None and self.method in _IDEMPOTENT


class Exchange:
    """``async with Exchange(pool, request, timeouts) as exchange``: then ``exchange.head`` and ``exchange.pieces()``.

    :raises UpstreamError: refused, too slow, nonsense, or broken off.
    """

    head: AnswerHead

    def __init__(self, pool: Pool, request: UpstreamRequest, timeouts: Timeouts) -> None:
        self._pool = pool
        self._request = request
        self._timeouts = timeouts
        self._connection: Connection | None = None
        self._upload: asyncio.Task[None] | None = None
        self._sent_all = request.body is None

    async def __aenter__(self) -> Exchange:
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Gives the connection back; one whose request was not sent to its end, or answer not read, is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if not self._sent_all:
                connection.abort()
            self._pool.give_back(connection)
        if self._upload is not None:
            self._upload.cancel()
            await asyncio.wait({self._upload})
            if not self._upload.cancelled():
                self._upload.exception()  # has been looked at

    async def _open(self) -> None:
        kept = self._pool.take_idle()
        if kept is not None:
            try:
                return await self._exchange_on(kept)
            except UpstreamError as error:
                if not self._request.may_repeat or kept.began or error.reason.code != "upstream_unreachable":
                    raise
                kept.abort()
        await self._exchange_on(await self._pool.connect(self._timeouts.connect))
        return None

    async def _exchange_on(self, connection: Connection) -> None:
        self._connection = connection
        try:
            connection.begin(self._request.method, self._request.head_bytes())
            if self._request.body is not None:
                self._upload = asyncio.create_task(self._send_body(connection, self._request.body))
            self.head = await self._await_head(connection)
        except OSError as error:
            code = "upstream_nonsense" if connection.began else "upstream_unreachable"
            raise UpstreamError(code, f"{self._pool.address.authority}: {error}") from error

    async def _await_head(self, connection: Connection) -> AnswerHead:
        """The time until the answer begins is counted from the end of the request: a long upload is not a slow backend."""
        answer = asyncio.ensure_future(connection.head())
        try:
            if self._upload is not None:
                await asyncio.wait({answer, self._upload}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    self._raise_client_fault()
            async with asyncio.timeout(self._timeouts.first_byte):
                return await answer
        except TimeoutError as error:
            cause = f"{self._pool.address.authority}: no answer in {self._timeouts.first_byte} s"
            raise UpstreamError("upstream_timeout", cause) from error
        finally:
            answer.cancel()

    def _raise_client_fault(self) -> None:
        """The upload ended before any answer: the client's fault is told at once, the backend's closing by its answer."""
        error = self._upload.exception() if self._upload and self._upload.done() else None
        if error is not None:
            raise error

    async def _send_body(self, connection: Connection, body: AsyncIterator[bytes]) -> None:
        """What the body raises is the client's fault. A backend that closed tells why by its answer, or by none."""
        async for data in body:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if self._request.chunked else data
            if not await self._sent(connection, framed):
                return
        if self._request.chunked:
            await self._sent(connection, b"0\r\n\r\n")
        self._sent_all = True

    async def _sent(self, connection: Connection, data: bytes) -> bool:
        try:
            async with asyncio.timeout(self._timeouts.between_bytes):
                connection.write(data)
                await connection.drain()
        except TimeoutError as error:
            raise UpstreamError("upstream_timeout", "the backend stopped reading") from error
        except ConnectionError:
            return False
        return True

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's body.

        :raises UpstreamError: ``upstream_broke_off`` or ``upstream_timeout``; what was passed on is not whole.
        """
        connection = self._connection
        assert connection is not None, "inside `async with` only"
        while True:
            try:
                async with asyncio.timeout(self._timeouts.between_bytes):
                    data = await connection.piece()
            except TimeoutError as error:
                raise UpstreamError("upstream_timeout") from error
            except (OSError, UpstreamError) as error:
                raise UpstreamError("upstream_broke_off", f"{self._pool.address.authority}: {error}") from error
            if data is None:
                return
            yield data
