"""One connection of a client: requests in, one answer at a time out, in order (RFC 9112 §9).

A request is handed on when its head is there; its body comes while it is answered. Requests that wait, or a body that nobody
takes, stop the reading. Whoever answers calls :meth:`ClientConnection.write`, then ``finish`` or ``abort``.

A FIN behind a whole request is not yet a goodbye (hazard A2): ``nc`` and others close their half and wait. It counts as
one when no answer has begun ``_HALF_CLOSED`` seconds later; a backend's work for nobody is ended then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.errors import RequestError
from gateway.front.deadlines import NEVER
from gateway.front.ending import FLUSH, PIECES
from gateway.front.incoming import Incoming
from gateway.front.leaving import departure
from gateway.front.parser import RequestParser
from gateway.front.peers import unnamed
from gateway.front.reading import Reading
from gateway.front.roles import NOBODY, Answering, Door
from gateway.gate import Forward
from gateway.upstream.sockets import Tcp, address_of

_SMALL_REST = 64 * 1024  # bytes of a refused body that are read to keep the connection
_TURNS = 16  # pipelined requests that are begun before other connections have their turn
_HALF_CLOSED = 1.0
_REST = 5.0  # seconds for that


class ClientConnection(Reading, asyncio.Protocol):
    """Made by the listener for each connection."""

    def __init__(self, door: Door, address: Callable[[asyncio.BaseTransport], str] = address_of) -> None:
        super().__init__()
        self._door = door
        self._answering: Answering = NOBODY
        self._half_closed, self._gone_at, self._stays = False, NEVER, True
        self._in_head = self._is_idle = self._turning = self._due = False
        self._address, self.peer, self.is_trusted = address, "", False  # is_trusted: a proxy's, says the door
        self.began = False  # the answer to the request under way

    # -- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's
        self.peer = self._address(transport) or unnamed(transport)
        self._parser = RequestParser(self.peer, self._door.limits, self._door.known_heads)
        self._await_request(False)
        self._door.came(self)

    def data_received(self, data: bytes) -> None:
        parser, request = self._parser, self.request
        if parser is None or self._ended:
            return  # what comes behind our last word is read and forgotten, until the client has read it
        parser.feed(data)
        if request is None:
            self._next()
        else:
            if len(request.pieces) > PIECES:
                self.breathe()
            if request.listen is not None and (request.pieces or request.complete):
                request.listen()
            if parser.ready or request.waiting or parser.has_more:
                self._read_or_pause()

    def eof_received(self) -> bool:
        request = self.request
        if self._ended or self.is_tls or (not request.complete if request is not None else not self._has_more):
            self._gone()
            return False
        self._half_closed = True
        self._gone_at = self.loop.time() + _HALF_CLOSED
        self.wait_until(self.deadline)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self._transport = None
        self._door.left(self)

    def pause_writing(self) -> None:
        self.is_slow = True
        self._answering.client_slow(True)
        if self.request is None and not self._ended:
            self.deadline = self.loop.time() + FLUSH
            self._read_or_pause()

    def resume_writing(self) -> None:
        self.is_slow = self._is_idle = False
        self._answering.client_slow(False)
        if self.request is None and not self._ended:
            self._soon()

    # -- requests in turn
    def _soon(self) -> None:  # _next, when others have had their turn
        if not self._due and not self._turning:
            self._due = True
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        """Begins the next request that is there, or waits for one: some at a time, and none while the client does not read
        the answers that it has got."""
        self._due, self._turning = False, True
        turns = _TURNS
        parser = self._parser
        assert parser is not None
        while self.request is None and not (self._ended or self.is_slow) and turns:
            if not parser.ready and parser.has_more:
                parser.feed(b"")
            if not parser.ready:
                self._await_request(parser.in_head)
                break
            turns -= 1
            self._begin(parser.ready.popleft())
        self._turning = False
        if not turns and self.request is None:
            self._soon()
        if self.is_slow and self.request is None:
            self.deadline = min(self.deadline, self.loop.time() + FLUSH)
        if self._paused or self.is_slow or self._has_more or (self.request is not None and self.request.waiting):
            self._read_or_pause()

    def _begin(self, request: Incoming) -> None:
        self.request, self.began, self._stays = request, False, request.keep_alive
        request.started = self.loop.time()
        self.deadline, self._in_head, self._is_idle = NEVER, False, False
        self._gone_at = request.started + _HALF_CLOSED if self._half_closed else NEVER
        answering = self._door.begin(self, request)
        if self.request is request:
            self._answering = answering

    def _await_request(self, in_head: bool) -> None:
        now = self.loop.time()
        if self._half_closed or (self._door.draining and not in_head):
            self._close()
        elif in_head and not self._in_head:  # once: a head that comes byte by byte has no more time (hazard A9)
            self.deadline = now + self._door.head_timeout
        elif not in_head and not self._is_idle:  # once: empty lines are no request
            self.deadline = now + self._door.idle_timeout
        self._in_head, self._is_idle = in_head, not in_head

    # -- for whoever answers
    @property
    def stays(self) -> bool:
        """May the connection serve another request after this one? Settled before the head of an answer is written."""
        return self._stays and not self._door.draining and (not self._half_closed or self._has_more)

    def answered_by(self, request: Incoming, answering: Answering) -> None:
        """Somebody else answers this request from now on."""
        if self.request is request and not self._ended:
            self._answering = answering

    def no_more(self) -> None:
        """This answer is the last one here."""
        self._stays = False

    def settle(self, *, reads_body: bool) -> bool:
        """:attr:`stays`, for an answer that may come before the whole request (RFC 9112 §9.3)."""
        request = self.request
        assert request is not None
        small = 0 < request.length - request.received <= _SMALL_REST and not request.expects_continue and not reads_body
        if request.upgrade or request.error is not None or not (request.complete or small):
            self._stays = False
        return self.stays

    def write(self, data: bytes) -> None:
        """Bytes of the answer. Mind :attr:`is_slow`."""
        self.began = True
        self.send(data)

    def wait_until(self, deadline: float) -> None:
        """Sets :attr:`deadline` for whoever answers."""
        self.deadline = deadline if self.began or deadline < self._gone_at else self._gone_at

    def finish(self) -> None:
        """The answer is whole."""
        request, self.request = self.request, None
        self._answering = NOBODY
        assert request is not None
        request.listen = None
        request.take()
        if not self.stays:
            self._close(unread=not request.complete)
        elif not request.complete:
            self._drop_rest(request)
        elif self._has_more:
            self._soon()
        elif not self._turning:
            self._next()

    def _drop_rest(self, request: Incoming) -> None:
        """Reads the small rest of a body nobody wanted, then goes on."""
        self.request = request
        self._answering = NOBODY
        self.deadline = self.loop.time() + _REST

        def dropped() -> None:
            request.take()
            if request.error is not None:
                self._close()
            elif request.complete:
                request.listen, self.request = None, None
                self._next()

        request.listen = dropped
        self._read_or_pause()

    def abort(self) -> None:
        """The connection is reset."""
        self._answering = NOBODY
        super().abort()

    def close_when_idle(self) -> None:
        """For the end of the process: at once when nothing is under way."""
        if self.request is None and not self._ended:
            self._close()

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """The connection is somebody else's from now on, with what has come behind the request."""
        assert self._transport is not None
        assert self._parser is not None
        self.pause(True)
        self.flush()
        transport, self._transport = self._transport, None
        self._ended, self._answering, self.request = True, NOBODY, None
        self._door.left(self)
        return transport, self._parser.rest()

    def holding(self, now: float) -> Forward | None:
        """See :class:`gateway.front.keeper.Guest`."""
        return self._answering.holding(now)

    def was_active(self) -> bool:
        """Requests count when they come."""
        return False

    def session_ended(self, code: str) -> None:
        """For whoever answers."""
        self._answering.session_ended(code)

    def cut(self) -> None:
        """There is no more time: whoever answers hears it, and the connection is reset."""
        answering, self._answering = self._answering, NOBODY
        if not self._ended:
            answering.client_gone("drain_timeout")
        self.abort()

    def _close(self, *, unread: bool = False) -> None:
        """The last word was said."""
        broken = self._parser is not None and self._parser.broken
        self.end(listens=(unread or self._paused or broken) and not self._half_closed)

    def _gone(self) -> None:
        """Nobody is there any more."""
        answering, self._answering = self._answering, NOBODY
        if not self._ended:
            self._ended = True
            answering.client_gone("client_gone")
        if self._transport is not None and not self._transport.is_closing():
            self.flush()
            self._transport.close()
            self.deadline = self.loop.time() + FLUSH

    # -- deadlines
    @property
    def is_deaf(self) -> bool:
        """Is reading stopped while somebody answers?"""
        return self._paused and self.request is not None and not self._ended

    def look(self, now: float) -> None:
        """Who left while nothing is read."""
        left = departure(self._transport, self.request)
        if left is Tcp.GONE:
            self._gone()
        elif left is Tcp.FIN and self._gone_at == NEVER:
            self._gone_at = now + _HALF_CLOSED
            self.wait_until(self.deadline)

    def expire(self, now: float) -> None:
        """Called past :attr:`deadline`."""
        self.deadline = NEVER
        parser = self._parser
        if self._transport is None or parser is None:
            return
        if self._ended:
            self.end_at_last()
        elif now >= self._gone_at and not self.began:
            self._gone()
        elif self.request is not None and self._answering is not NOBODY:
            self._answering.expire(now)
        elif self.request is None and self.is_slow:
            self.abort()
        elif self.request is None and parser.in_head:
            parser.cut(RequestError("slow_request"))
            self._next()
        else:
            self._close()
