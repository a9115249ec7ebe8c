"""One of the two ends of a tunnel."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.core.websockets import FrameFollower
from gateway.front.deadlines import NEVER
from gateway.upstream.outbox import Sender
from gateway.upstream.sockets import Tcp, keep_alive, reset_on_close, tcp_state


class Middle(Protocol):
    """What lies between two ends."""

    def pass_on(self, source: End, data: bytes) -> None:
        """What one side sends goes to the other."""

    def slow(self, end: End, slow: bool) -> None:
        """This side does not take what was written, or takes it again."""

    def over(self, end: End) -> None:
        """This side sends no more."""

    def lost(self, end: End) -> None:
        """This side is closed."""


class End(Sender, asyncio.Protocol):
    """One side. ``frames`` follows what is written to it."""

    def __init__(self, tunnel: Middle, transport: asyncio.Transport) -> None:
        super().__init__()
        self._tunnel = tunnel
        self._transport: asyncio.Transport | None = transport
        self._paused = self._full = True
        self._breathing = False
        self.takes_until = NEVER
        """When it has to take what was written, on the loop's clock."""
        self.frames = FrameFollower()
        self.is_ending = False
        transport.set_protocol(self)
        keep_alive(transport)

    @property
    def is_open(self) -> bool:
        """Until it is closed."""
        return self._transport is not None

    @property
    def is_paused(self) -> bool:
        """Is nothing read from it, as the other side takes nothing?"""
        return self._full

    @property
    def tcp(self) -> Tcp:
        """What the kernel knows."""
        return tcp_state(self._transport)

    def data_received(self, data: bytes) -> None:
        self._tunnel.pass_on(self, data)

    def eof_received(self) -> bool:
        self._tunnel.over(self)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._tunnel.lost(self)

    def pause_writing(self) -> None:
        self._tunnel.slow(self, True)

    def resume_writing(self) -> None:
        self._tunnel.slow(self, False)

    def hold(self, holds: bool) -> None:
        """Stops reading, or goes on."""
        self._full = holds
        self._pause(holds or self._breathing)

    def breathe(self) -> None:
        """Reads no more until others have had their turn: what came was much work (thousands of tiny frames)."""
        if not self._breathing:
            self._breathing = True
            self._pause(True)
            asyncio.get_running_loop().call_soon(self._breathed)

    def _breathed(self) -> None:
        self._breathing = False
        self._pause(self._full)

    def _pause(self, pauses: bool) -> None:
        transport = self._transport
        if pauses != self._paused and transport is not None and not transport.is_closing():
            self._paused = pauses
            (transport.pause_reading if pauses else transport.resume_reading)()

    def close(self) -> None:
        """What was written goes out first."""
        self.flush()
        self.hold(False)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Resets it."""
        if self._transport is not None:
            reset_on_close(self._transport)
            self._transport.abort()
