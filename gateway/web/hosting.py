"""Runs aiohttp's handlers on a connection of the front door: a request that is parsed already becomes one of aiohttp's, and
what its response writes goes to the client.

A handler is never cancelled: a sign-out is carried out, also when the tab is closed meanwhile (P53).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientPayloadError, HttpVersion, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.front.client import ClientConnection
from gateway.front.deadlines import NEVER
from gateway.front.ending import FLUSH
from gateway.front.incoming import Incoming
from gateway.front.roles import Answering
from gateway.gate import Serve
from gateway.telemetry.access_log import AccessLine
from gateway.web.state import STATE, RequestState

_BUFFER = 64 * 1024
Run = Callable[[web.Request], Awaitable[web.StreamResponse]]
Done = Callable[[AccessLine, float], None]


class Hosting:
    """The application's side of the front door. ``done`` logs a request's line."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: Done = lambda line, now: None

    def serve(self, client: ClientConnection, request: Incoming, verdict: Serve, line: AccessLine) -> Answering:
        """Answers in its own time."""
        hosted = _Hosted(client, request)
        task = asyncio.create_task(self._run(hosted, verdict, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return hosted

    async def _run(self, hosted: _Hosted, verdict: Serve, line: AccessLine) -> None:
        client, incoming = hosted.client, hosted.incoming
        is_whole = False
        try:
            response = await self._respond(hosted, verdict, line)
            is_whole = True
        except ConnectionError:
            pass
        finally:
            if not is_whole:
                line.status, line.reason = 499, hosted.gone or "client_gone"
            self.done(line, client.loop.time())
            if client.request is incoming and not is_whole:
                client.abort()
        if client.request is incoming and is_whole:
            if not response.keep_alive:
                client.no_more()
            client.finish()

    async def _respond(self, hosted: _Hosted, verdict: Serve, line: AccessLine) -> web.StreamResponse:
        client = hosted.client
        request = self._make(hosted, verdict, line)
        response = await self._app._handle(request)
        line.status = response.status
        if client.request is hosted.incoming and not client.settle(reads_body=False):
            response.force_close()
        await response.prepare(request)
        await response.write_eof()
        line.sent = response.body_length
        request._finish()
        return response

    def _make(self, hosted: _Hosted, verdict: Serve, line: AccessLine) -> web.Request:
        head, incoming, loop = hosted.incoming.head, hosted.incoming, hosted.client.loop
        assert head is not None
        path, _, query = verdict.target.forward.partition("?")
        message = RawRequestMessage(
            head.method,
            head.target,
            HttpVersion(*head.version),
            CIMultiDictProxy(head.headers) if not isinstance(head.headers, CIMultiDictProxy) else head.headers,
            tuple(head.raw),
            not incoming.keep_alive,
            None,
            False,
            incoming.chunked,
            URL.build(path=path if path.startswith("/") else "/", query_string=query, encoded=True),
        )
        task: Any = asyncio.current_task(loop)
        writer: Any = StreamWriter(hosted, loop)
        request = self._app._make_request(message, hosted.payload(), hosted, writer, task)  # type: ignore[arg-type]
        request[STATE] = RequestState(head, line, verdict.endpoint, verdict.target.path)
        return request


class _Hosted(BaseProtocol, Answering):
    """One request: aiohttp's idea of a connection."""

    __slots__ = ("_body", "client", "gone", "incoming")

    def __init__(self, client: ClientConnection, incoming: Incoming) -> None:
        super().__init__(client.loop)
        self.client = client
        self.incoming = incoming
        self.transport = _Wire(client)
        self._body: StreamReader | None = None
        self.gone = ""

    @property
    def ssl_context(self) -> None:
        """aiohttp wants to know."""

    @property
    def sockname(self) -> None:
        """aiohttp wants to know."""

    @property
    def peername(self) -> tuple[str, int]:
        """aiohttp wants to know."""
        head = self.incoming.head
        return (self.client.peer if head is None else head.peer, 0)

    def payload(self) -> StreamReader:
        """The body, as it comes."""
        if not self.incoming.has_body:
            return EMPTY_PAYLOAD
        self._body = StreamReader(self, _BUFFER, loop=self.client.loop)
        self.incoming.listen = self._feed
        self._feed()
        return self._body

    def _feed(self) -> None:
        body, incoming = self._body, self.incoming
        if body is None or self._reading_paused or body.is_eof():
            return
        if incoming.pieces:
            body.feed_data(self.client.take_body())
        if incoming.error is not None:
            body.set_exception(ClientPayloadError("the body is not framed as HTTP says"))
        elif incoming.complete and not incoming.pieces:
            body.feed_eof()

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False
        self._feed()

    # -- as whoever answers
    def client_gone(self, reason: str) -> None:
        """The handler goes on; its answer goes nowhere."""
        self.gone = reason
        self.connection_lost(ConnectionResetError("the client went away"))
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(ClientPayloadError("the client went away"))

    def client_slow(self, slow: bool) -> None:
        """The client does not take what was written, or takes it again."""
        if slow != self._paused:
            (self.pause_writing if slow else self.resume_writing)()
        self.client.wait_until(self.client.loop.time() + FLUSH if slow else NEVER)

    def expire(self, now: float) -> None:
        """Handlers have deadlines of their own, but not for a client that takes nothing of the answer."""
        if self.client.is_slow:
            self.client_gone("client_gone")
            self.client.abort()


class _Wire(asyncio.Transport):
    """What aiohttp writes to."""

    def __init__(self, client: ClientConnection) -> None:
        super().__init__()
        self._client = client

    def write(self, data: Any) -> None:
        """Bytes of the answer, or ``100 Continue``."""
        self._client.write(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """In one go."""
        self._client.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        """Is the client gone?"""
        return self._client.is_over

    def close(self) -> None:
        """The front door closes connections."""
