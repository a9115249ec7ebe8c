"""The life of one request that goes to a backend: how long it may take, what it hangs on, and its ends."""

from __future__ import annotations

import asyncio
import logging

from gateway.errors import GatewayError, RequestError, UpstreamError
from gateway.front.client import ClientConnection
from gateway.front.deadlines import NEVER
from gateway.front.incoming import Incoming
from gateway.front.roles import Answering
from gateway.front.way import Way
from gateway.gate import Forward
from gateway.telemetry.access_log import AccessLine
from gateway.upstream.connection import Connection
from gateway.upstream.pool import Pool

log = logging.getLogger("gateway.forward")
_MOMENT = 0.5  # seconds: an answer that takes longer hangs on its session


class Exchange(Answering):
    """``told``: the head of the answer has been written; ``over``: nothing more is done."""

    __slots__ = (
        "_chunked", "_client", "_connection", "_ends", "_head", "_holding", "_limit", "_line", "_over", "_pool", "_repeatable",
        "_request", "_sent", "_started", "_task", "_told", "_verdict", "_way",
    )  # fmt: skip

    def __init__(
        self, way: Way, client: ClientConnection, request: Incoming, verdict: Forward, pool: Pool, line: AccessLine
    ) -> None:
        assert request.head is not None
        self._head = request.head
        self._way = way
        self._client = client
        self._request = request
        self._verdict = verdict
        self._pool = pool
        self._line = line
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._sent = not request.has_body
        self._told = self._chunked = self._holding = self._over = False
        self._repeatable = False
        self._started = client.loop.time()
        total = verdict.route.timeouts.total
        self._ends = NEVER if total is None else self._started + total
        self._limit = verdict.route.limits.body

    # -- the end
    def _finish(self, connection: Connection) -> None:
        self._leave()
        self._pool.give_back(connection, reusable=self._sent)
        self._way.done(self._line, self._client.loop.time())
        self._client.finish()

    def _leave(self) -> None:
        self._over = True
        self._line.upstream_seconds = self._client.loop.time() - self._started
        self._connection = None
        self._request.listen = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _fail(self, error: GatewayError) -> None:
        connection, told = self._connection, self._told
        self._leave()
        if connection is not None:
            self._pool.give_back(connection, reusable=False)
        if not told:
            self._way.fail(self._client, self._line, self._verdict, error)
            return
        cause = getattr(error, "cause", "")
        self._line.reason = error.reason.code
        log.warning("an answer broke off", extra={"fields": {"route": self._line.route, "cause": cause}})
        self._client.abort()
        self._way.done(self._line, self._client.loop.time())

    def client_gone(self, reason: str) -> None:
        """Nobody waits any more: the backend's request ends, too."""
        connection = self._connection
        self._leave()
        if connection is not None:
            self._pool.give_back(connection, reusable=False)
        self._line.status, self._line.reason = 499, reason
        self._way.done(self._line, self._client.loop.time())

    # -- the session
    def holding(self, now: float) -> Forward | None:
        """Once it takes longer than a moment."""
        return self._verdict if now - self._started > _MOMENT and not self._over else None

    def session_ended(self, code: str) -> None:
        """Before the answer has begun that is a refusal; a stream of events ends; anything else breaks off."""
        connection = self._connection
        self._line.reason = code
        if connection is None or not self._told or not (self._chunked and is_event_stream(connection)):
            self._fail(RequestError(code))
            return
        self._leave()
        self._pool.give_back(connection, reusable=False)
        self._client.no_more()
        self._client.write(b"0\r\n\r\n")
        self._way.done(self._line, self._client.loop.time())
        self._client.finish()

    # -- patience
    def _patience(self) -> None:
        """The connection's deadline, from now on."""
        waits = self._verdict.route.timeouts
        waiting = self._sent and not self._told
        seconds = waits.first_byte if waiting else waits.between_bytes
        deadline = self._client.loop.time() + seconds
        self._client.wait_until(deadline if deadline < self._ends else self._ends)

    def expire(self, now: float) -> None:
        """Too slow: the client that owes a body or does not read, or the backend."""
        connection, route = self._connection, self._verdict.route
        where = self._pool.address
        if now >= self._ends:
            self._fail(UpstreamError("upstream_timeout", f"{where}: no whole answer in {route.timeouts.total:g} s"))
        elif self._told and self._client.is_slow:
            self.client_gone("client_gone")
            self._client.abort()
        elif self._told and connection is not None and is_event_stream(connection):
            connection.ask_whether_alive()  # silence is no end of it
            self._client.wait_until(self._ends)
        elif self._sent or connection is None or connection.is_slow:
            self._fail(UpstreamError("upstream_timeout", f"{where}: no answer in time"))
        else:
            self._fail(RequestError("slow_request"))


def is_event_stream(connection: Connection) -> bool:
    """Does the backend send events as they happen (HTML, §9.2: ``text/event-stream``)?"""
    head = connection.answer.head
    return head is not None and any(
        name.lower() == b"content-type" and value.partition(b";")[0].strip().lower() == b"text/event-stream"
        for name, value in head.headers
    )
