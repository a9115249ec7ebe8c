"""One connection to a backend: HTTP/1.1, one exchange at a time. What comes is told to whoever began the exchange."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from gateway.errors import UpstreamError
from gateway.upstream.answer import Answer
from gateway.upstream.outbox import Sender
from gateway.upstream.sockets import address_of, keep_alive, reset_on_close
from gateway.upstream.tls import has_said_goodbye


class Listener(Protocol):
    """Whoever began the exchange."""

    def answer_news(self) -> None:
        """There is more of the answer, or an error, or both."""

    def upstream_slow(self, slow: bool) -> None:
        """The backend does not take what was written, or takes it again."""


class Connection(Sender, asyncio.Protocol):
    """Made by the pool. ``error`` is why there will be no more of an answer that is not done; ``retired``: this exchange is
    its last."""

    def __init__(self) -> None:
        super().__init__()
        self._listener: Listener | None = None
        self._closed = False
        self._paused = False
        self.answer = Answer()
        self.error: Exception | None = None
        self.is_slow = False
        self.retired = False

    # -- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        if self._listener is None:
            self.abort()  # bytes that answer nothing
            return
        try:
            self.answer.feed(data)
        except UpstreamError as error:
            self.error = error
            self.abort()
        self._listener.answer_news()

    def eof_received(self) -> bool:
        return False  # close: a backend that half-closes has nothing more to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        listener = self._listener
        if listener is None:
            return
        whole = exc is None and self._transport is not None and has_said_goodbye(self._transport)
        if not (whole and self.answer.closed()) and not self.answer.done and self.error is None:
            self.error = exc or ConnectionResetError("the backend closed the connection")
        listener.answer_news()

    def pause_writing(self) -> None:
        self.is_slow = True
        if self._listener is not None:
            self._listener.upstream_slow(True)

    def resume_writing(self) -> None:
        self.is_slow = False
        if self._listener is not None:
            self._listener.upstream_slow(False)

    # -- for the exchange
    @property
    def is_usable(self) -> bool:
        """Open, and nothing of an earlier exchange hangs on it."""
        return (
            not self._closed
            and self._listener is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def is_open(self) -> bool:
        """Has nobody closed it?"""
        return not self._closed

    @property
    def peer(self) -> str:
        """The address of the backend; empty for a unix socket."""
        return address_of(self._transport) if self._transport is not None else ""

    def ask_whether_alive(self) -> None:
        """From now on a backend that is silent is asked now and then whether it is still there."""
        if self._transport is not None:
            keep_alive(self._transport)

    def begin(self, listener: Listener, *, is_head: bool, may_switch: bool = False) -> None:
        """An exchange; the listener hears of its answer from now on. ``may_switch``: to another protocol (101)."""
        self._listener = listener
        self.answer.begin(is_head=is_head, may_switch=may_switch)

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """The connection is somebody else's from now on, with what has come behind the answer."""
        assert self._transport is not None
        self.hold(True)
        self.flush()
        transport, self._transport = self._transport, None
        self._listener, self._closed = None, True
        return transport, self.answer.rest

    def write(self, data: bytes) -> None:
        """Bytes of the request; lost when the backend has closed, which the listener hears. Mind :attr:`is_slow`."""
        self.send(data)

    def hold(self, holds: bool) -> None:
        """Stops reading the answer, or goes on."""
        if holds != self._paused and self._transport is not None and not self._closed:
            self._paused = holds
            if not self._transport.is_closing():
                (self._transport.pause_reading if holds else self._transport.resume_reading)()

    def end(self, *, reusable: bool) -> bool:
        """Ends the exchange. True: the connection can serve another one; else it is closed."""
        self._listener = None
        answer = self.answer
        if reusable and answer.done and answer.reusable and not (self._closed or self.is_slow or self.retired):
            self.hold(False)
            return True
        if not answer.done and self._transport is not None:
            reset_on_close(self._transport)  # a backend that does not read would hear of nothing less
        self.abort()
        return False

    def abort(self) -> None:
        """Closes at once; what was not sent is lost."""
        self.drop()
        if self._transport is not None:
            self._transport.abort()
