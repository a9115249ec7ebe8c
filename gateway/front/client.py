"""One connection of a client: requests in, one answer at a time out, in order (RFC 9112 §9).

A request is handed on when its head is there; its body comes while it is answered. Nothing is read ahead without bound: a
pipelined request, or a body that nobody takes, stops the reading. Whoever answers calls :meth:`ClientConnection.write`, then
:meth:`ClientConnection.finish` or :meth:`ClientConnection.abort`.

A FIN behind a whole request is not yet a goodbye (hazard A2): ``nc`` and others close their half and wait. It counts as
one when no answer has begun ``_HALF_CLOSED`` seconds later; a backend's work for nobody is ended then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import cast

from gateway.errors import RequestError
from gateway.front.deadlines import NEVER
from gateway.front.incoming import Incoming
from gateway.front.parser import RequestParser
from gateway.front.roles import NOBODY, Answering, Door
from gateway.upstream.outbox import Sender

_HIGH_WATER = 64 * 1024  # bytes of a body that wait here at most
_SMALL_REST = 64 * 1024  # bytes of a refused body that are read to keep the connection
_TURNS = 16  # pipelined requests that are begun before other connections have their turn
_HALF_CLOSED = 1.0
_LINGER = 5.0  # as nginx's lingering_timeout: an answer must not be lost to the reset that unread bytes cause
_FLUSH = 60.0  # for the client to read the last that was written
_RESET = struct.pack("ii", 1, 0)


class ClientConnection(Sender, asyncio.Protocol):
    """Made by the listener for each connection."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door
        self._answering: Answering = NOBODY
        self._parser: RequestParser | None = None
        self._paused = False
        self._ended = False
        self._half_closed = False
        self._gone_at = NEVER
        self._stays = True
        self._in_head = False
        self.request: Incoming | None = None
        self.began = False  # the answer to the request under way
        self.is_slow = False
        self.deadline = NEVER
        self.peer = ""
        self.loop = asyncio.get_running_loop()

    # -- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) and name else ""
        self._parser = RequestParser(self.peer, self._door.limits, self._door.known_heads)
        self.deadline = self.loop.time() + self._door.idle_timeout
        self._door.came(self)

    def data_received(self, data: bytes) -> None:
        parser, request = self._parser, self.request
        if parser is None or self._ended:
            return  # what comes behind our last word is read and forgotten, until the client has read it
        parser.feed(data)
        if request is None:
            self._next()
        else:
            if request.listen is not None and (request.pieces or request.complete):
                request.listen()
            if parser.ready or request.waiting or parser.has_more:
                self._read_or_pause()

    def eof_received(self) -> bool:
        request = self.request
        if self._ended or request is None or not request.complete:
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

    def resume_writing(self) -> None:
        self.is_slow = False
        self._answering.client_slow(False)

    # -- requests in turn
    def _next(self) -> None:
        """Begins the next request that is there, or waits for one. Some at a time: others have their turn, too."""
        parser = self._parser
        assert parser is not None
        turns = _TURNS
        while self.request is None and not self._ended:
            if not parser.ready and parser.has_more:
                parser.feed(b"")
            if not parser.ready:
                self._await_request(parser.in_head)
                break
            if not turns:
                self.loop.call_soon(self._next)
                break
            turns -= 1
            self._begin(parser.ready.popleft())
        if self._paused or parser.ready or (self.request is not None and self.request.waiting):
            self._read_or_pause()

    def _begin(self, request: Incoming) -> None:
        self.request, self.began, self._stays = request, False, request.keep_alive
        request.started = self.loop.time()
        self.deadline, self._in_head = NEVER, False
        if self._half_closed:
            self._gone_at = request.started + _HALF_CLOSED
        answering = self._door.begin(self, request)
        if self.request is request:
            self._answering = answering

    def _await_request(self, in_head: bool) -> None:
        if self._half_closed or (self._door.draining and not in_head):
            self._close()
        elif not in_head:
            self.deadline = self.loop.time() + self._door.idle_timeout
        elif not self._in_head:  # once: a head that comes byte by byte has no more time than another (hazard A9)
            self.deadline = self.loop.time() + self._door.head_timeout
        self._in_head = in_head

    def _read_or_pause(self) -> None:
        """Reads on unless somebody has too much to do: a body that nobody takes, or requests that wait for their turn."""
        parser, request, transport = self._parser, self.request, self._transport
        if transport is None or parser is None:
            return
        full = self._has_more or (request is not None and request.waiting > _HIGH_WATER)
        if full != self._paused and not transport.is_closing():
            self._paused = full
            (transport.pause_reading if full else transport.resume_reading)()

    def take_body(self) -> bytes:
        """What there is of the body; more may come then."""
        assert self.request is not None
        data = self.request.take()
        if self._paused:
            self._read_or_pause()
        return data

    # -- for whoever answers
    @property
    def stays(self) -> bool:
        """May the connection serve another request after this one? Settled before the head of an answer is written."""
        return self._stays and not self._door.draining and (not self._half_closed or self._has_more)

    @property
    def _has_more(self) -> bool:
        """Have more requests come already?"""
        return self._parser is not None and (bool(self._parser.ready) or self._parser.has_more)

    def answered_by(self, request: Incoming, answering: Answering) -> None:
        """Somebody else answers this request from now on."""
        if self.request is request and not self._ended:
            self._answering = answering

    @property
    def is_over(self) -> bool:
        """Is nobody there any more, or was the last word said?"""
        return self._ended

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

    def interim(self, data: bytes) -> None:
        """An interim answer (1xx); the real one has not begun with it."""
        self.send(data)

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
            self.loop.call_soon(self._next)
        else:
            self._next()

    def _drop_rest(self, request: Incoming) -> None:
        """Reads the small rest of a body nobody wanted, then goes on."""
        self.request = request
        self._answering = NOBODY
        self.deadline = self.loop.time() + _LINGER

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
        """What was sent must not pass for a whole answer: the connection is reset."""
        self._ended = True
        self.flush()
        self._answering = NOBODY
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def close_when_idle(self) -> None:
        """For the end of the process: at once when nothing is under way."""
        if self.request is None and not self._ended:
            self._close()

    def _close(self, *, unread: bool = False) -> None:
        """Ends in order. Bytes the client still sends are read for a while: a reset could overtake the answer."""
        transport = self._transport
        if self._ended or transport is None:
            return
        self._ended = True
        self.flush()
        if not (unread or self._paused or (self._parser is not None and self._parser.broken)) or self._half_closed:
            transport.close()
            self.deadline = self.loop.time() + _FLUSH
            return
        if self._paused and not transport.is_closing():
            self._paused = False
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        self.deadline = self.loop.time() + _LINGER

    def _gone(self) -> None:
        """Nobody is there any more."""
        answering, self._answering = self._answering, NOBODY
        if not self._ended:
            self._ended = True
            answering.client_gone()
        if self._transport is not None and not self._transport.is_closing():
            self.flush()
            self._transport.close()

    # -- deadlines
    def expire(self, now: float) -> None:
        """Called past :attr:`deadline`."""
        self.deadline = NEVER
        parser = self._parser
        if self._transport is None or parser is None:
            return
        if self._ended:
            self._transport.abort()
        elif now >= self._gone_at and not self.began:
            self._gone()
        elif self.request is not None and self._answering is not NOBODY:
            self._answering.expire(now)
        elif self.request is None and parser.in_head:
            parser.cut(RequestError("slow_request"))
            self._next()
        else:
            self._close()
