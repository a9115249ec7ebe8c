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
        framing = [(b"Transfer-Encoding", b"chunked")] if self.chunked else []
        lines = [name + b": " + value for name, value in [*self.headers, *framing]]
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
        unfinished = self._upload is not None and not (self._upload.done() and not _failed(self._upload))
        if connection is not None:
            if unfinished:
                connection.abort()
            self._pool.give_back(connection)
        if self._upload is not None:
            self._upload.cancel()
            await asyncio.wait({self._upload})
            _failed(self._upload)  # its error, if any, has been looked at

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
            raise UpstreamError("upstream_unreachable" if not connection.began else "upstream_nonsense") from error

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
            raise UpstreamError("upstream_timeout") from error
        finally:
            answer.cancel()

    def _raise_client_fault(self) -> None:
        """The upload ended before any answer: the client's fault is told at once, the backend's closing by its answer."""
        error = self._upload.exception() if self._upload and self._upload.done() else None
        if error is not None and not isinstance(error, ConnectionError):
            raise error

    async def _send_body(self, connection: Connection, body: AsyncIterator[bytes]) -> None:
        async for data in body:
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._request.chunked else data)
            try:
                async with asyncio.timeout(self._timeouts.between_bytes):
                    await connection.drain()
            except TimeoutError as error:
                raise UpstreamError("upstream_timeout") from error
        if self._request.chunked:
            connection.write(b"0\r\n\r\n")
            await connection.drain()

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
                raise UpstreamError("upstream_broke_off") from error
            if data is None:
                return
            yield data


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
