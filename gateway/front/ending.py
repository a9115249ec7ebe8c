"""How a client's connection writes, stops reading, and ends: in order, or with a reset."""

from __future__ import annotations

import asyncio

from gateway.front.deadlines import NEVER, TICK
from gateway.upstream.outbox import Sender
from gateway.upstream.sockets import reset_on_close, unsent

_LINGER = 5.0  # as nginx's lingering_timeout: an answer must not be lost to the reset that unread bytes cause
FLUSH = 60.0
"""Seconds for the client to read what was written."""
PIECES = 256
"""Of a body that came at once, from which on it was much work."""


class Ending(Sender):
    """The part of a connection that knows nothing of requests. ``deadline`` is on the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.deadline = NEVER
        self._paused = self._full = self._breathing = False
        self._ended = False
        self._patience = NEVER

    @property
    def is_over(self) -> bool:
        """Is nobody there any more, or was the last word said?"""
        return self._ended

    @property
    def is_tls(self) -> bool:
        """Then nobody can close one half only: an end of what comes is the end (asyncio does not know otherwise)."""
        return self._transport is not None and not self._transport.can_write_eof()

    def pause(self, full: bool) -> None:
        """Stops reading, or reads on."""
        self._full = full
        full = full or self._breathing
        transport = self._transport
        if full != self._paused and transport is not None and not transport.is_closing():
            self._paused = full
            (transport.pause_reading if full else transport.resume_reading)()

    def breathe(self) -> None:
        """Stops reading until others have had their turn: what came was much work (a body in chunks of one byte)."""
        if not self._breathing:
            self._breathing = True
            self.loop.call_soon(self._breathed)
            self.pause(self._full)

    def _breathed(self) -> None:
        self._breathing = False
        self.pause(self._full)

    def abort(self) -> None:
        """What was sent must not pass for a whole answer: the connection is reset."""
        self._ended = True
        self.flush()
        if self._transport is not None:
            reset_on_close(self._transport)
            self._transport.abort()

    def end(self, *, listens: bool) -> None:
        """Ends in order. ``listens``: what the client still sends is read for a while, as a reset could overtake the answer."""
        transport = self._transport
        if self._ended or transport is None:
            return
        self._ended = True
        self.flush()
        now = self.loop.time()
        self._patience = now + FLUSH
        if self.is_tls:  # it says goodbye, and reads on by itself until the other side does so, too; not all of them do
            transport.close()
            self.deadline = now + _LINGER if listens else now
            return
        if not listens:
            transport.close()
            self.deadline = self._patience
            return
        self.pause(False)
        if transport.can_write_eof():
            transport.write_eof()
        self.deadline = now + _LINGER

    def end_at_last(self) -> None:
        """There was time enough to end in order. What was not read by then must not look whole."""
        transport = self._transport
        if transport is None:
            return
        now, is_tls = self.loop.time(), self.is_tls
        on_its_way = transport.get_write_buffer_size() or (is_tls and unsent(transport))
        if is_tls and on_its_way and now < self._patience:
            self.deadline = now + TICK
            return
        if on_its_way:
            reset_on_close(transport)
        transport.abort()
