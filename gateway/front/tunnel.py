"""An open WebSocket: bytes pass both ways as they came, with back-pressure; frames are followed, payloads never kept.

It lives as long as both ends and the session that opened it. A close frame of ours goes in where a frame ends; what stays
unfinished for ``_UNFINISHED`` seconds is aborted.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.websockets import CLOSE_GOING_AWAY, CLOSE_SESSION_ENDED, FrameFollower, close_frame
from gateway.front.deadlines import NEVER
from gateway.front.ending import FLUSH
from gateway.front.tunnel_end import End
from gateway.gate import Forward
from gateway.telemetry.access_log import AccessLine
from gateway.upstream.sockets import Tcp

_UNFINISHED = 1.0  # seconds for a frame under way, once the connection has to end
_GOODBYE = 5.0  # seconds for the other side to close, too
_MANY = 256  # frames at once, from which on they were much work


@dataclass(frozen=True, slots=True)
class TunnelKeeper:
    """Whoever made the tunnel: ``came`` and ``left`` count it, ``done`` logs its line."""

    came: Callable[[Tunnel], None]
    left: Callable[[Tunnel], None]
    done: Callable[[AccessLine, float], None]


class Tunnel:
    """``session``: whose it is, if anybody's; ``idle``: seconds without a byte after which it ends; ``patience``: seconds that
    one side has to take what the other sent; ``active``: does what the client sends count as activity?"""

    def __init__(
        self,
        keeper: TunnelKeeper,
        line: AccessLine,
        verdict: Forward,
        *,
        idle: float,
        patience: float,
        active: bool,
    ) -> None:
        self._keeper = keeper
        self._line = line
        self._verdict = verdict
        self.peer = line.peer
        self._idle, self._patience = idle, patience
        self._counts = active
        self._was_active = False
        self._loop = asyncio.get_running_loop()
        self._ends: tuple[End, End] | None = None
        self._over = False
        self._closing: tuple[int, str] | None = None
        self.deadline = NEVER

    def begin(
        self,
        client: asyncio.Transport,
        backend: asyncio.Transport,
        *,
        early: bytes,
        late: bytes,
        slow: tuple[bool, bool] = (False, False),
    ) -> None:
        """``early``: what the client has sent already, ``late``: the backend; ``slow``: does one of them take nothing?"""
        self._started = self._loop.time()
        self._ends = one, other = End(self, client), End(self, backend)
        self._keeper.came(self)
        self.deadline = self._started + self._idle
        for end, data, is_slow in ((one, early, slow[0]), (other, late, slow[1])):
            if is_slow:
                self.slow(end, True)
            if data:
                self.pass_on(end, data)
        one.hold(other.takes_until != NEVER)
        other.hold(one.takes_until != NEVER)

    # -- bytes
    def pass_on(self, source: End, data: bytes) -> None:
        """What one side sends goes to the other."""
        if self._over or self._ends is None:
            return
        client, backend = self._ends
        other = backend if source is client else client
        try:
            cut = other.frames.feed(data)
        except ValueError:
            self.abort()
            return
        if other.frames.ended > _MANY:
            source.breathe()
        if other.is_ending:  # behind the last frame: only the answer to our Close counts
            if other.frames.has_close and other.frames.at_boundary:
                source.close()
            return
        if self._closing is not None and cut >= 0:
            other.send(data[:cut])
            self._say_goodbye(other)
            return
        self._count(source is client, len(data), other.frames)
        other.send(data)

    def _count(self, from_client: bool, size: int, frames: FrameFollower) -> None:
        self.deadline = self._loop.time() + self._idle if self._closing is None else self.deadline
        if from_client:
            self._was_active = self._was_active or frames.has_data  # a pong is sent by no person
            frames.has_data = False
            self._line.received += size
        else:
            self._line.sent += size

    def slow(self, end: End, slow: bool) -> None:
        """This side does not take what was written: the other is not read."""
        if self._ends is not None:
            client, backend = self._ends
            end.takes_until = self._loop.time() + self._patience if slow else NEVER
            (backend if end is client else client).hold(slow)

    # -- the session
    def holding(self, now: float) -> Forward | None:
        """The session and the rule that it hangs on."""
        return None if self._over or self._closing is not None else self._verdict

    def was_active(self) -> bool:
        """Did the client send anything since the last time?"""
        was, self._was_active = self._was_active, False
        return was and self._counts

    def session_ended(self, code: str) -> None:
        """A close frame to both sides, as soon as a frame has ended."""
        self._line.reason = code
        self._end(CLOSE_SESSION_ENDED, code)

    # -- the end
    def close_when_idle(self) -> None:
        """The process ends."""
        self._end(CLOSE_GOING_AWAY, "drain")

    def _end(self, code: int, words: str) -> None:
        if self._closing is None and not self._over and self._ends is not None:
            self._closing = code, words
            self.deadline = self._loop.time() + _UNFINISHED
            for end in self._ends:
                if end.frames.at_boundary:
                    self._say_goodbye(end)

    def _say_goodbye(self, end: End) -> None:
        assert self._closing is not None
        assert self._ends is not None
        mask = os.urandom(4) if end is self._ends[1] else b""  # RFC 6455 §5.3: a client's frames are masked
        end.send(close_frame(*self._closing, mask=mask))
        end.is_ending = True
        if all(one.is_ending for one in self._ends):
            self.deadline = self._loop.time() + _GOODBYE
            for one in self._ends:
                one.hold(False)  # what still comes is read and forgotten, until the other side closes

    def over(self, end: End | None = None) -> None:
        """One side has ended: what it sent last is still delivered. A backend has less time to take it than a client."""
        if not self._over and self._ends is not None:
            self._finish()
            self.deadline = self._loop.time() + (_GOODBYE if end is self._ends[0] else FLUSH)
            for one in self._ends:
                one.close()

    def lost(self, end: End) -> None:
        """One side is closed."""
        self.over(end)
        if self._ends is not None and not any(end.is_open for end in self._ends):
            self.deadline = NEVER
            self._keeper.left(self)

    def abort(self) -> None:
        """Both sides are reset."""
        if self._ends is not None:
            self._finish()
            for one in self._ends:
                one.abort()

    def cut(self) -> None:
        """There is no more time."""
        self._line.reason = self._line.reason or "drain_timeout"
        self.abort()

    def _finish(self) -> None:
        now = self._loop.time()
        self.deadline = now + FLUSH
        if not self._over:
            self._over = True
            self._line.upstream_seconds = now - self._line.started
            self._keeper.done(self._line, now)

    # -- deadlines
    @property
    def is_deaf(self) -> bool:
        """Is one side not read?"""
        return (
            not self._over
            and self._ends is not None
            and any(end.is_paused or end.takes_until != NEVER for end in self._ends)
        )

    def look(self, now: float) -> None:
        """Who was reset while it was not read, and who takes nothing for too long."""
        if self._ends is None:
            return
        stuck = [end for end in self._ends if end.takes_until <= now]
        if stuck:
            self._line.reason = "client_gone" if stuck[0] is self._ends[0] else "upstream_timeout"
        if stuck or any(end.is_paused and end.tcp is Tcp.GONE for end in self._ends):
            self.abort()

    def expire(self, now: float) -> None:
        """Nothing came for too long, or the goodbye takes too long."""
        if self._over:
            self.abort()
        elif self._closing is None:
            self._line.reason = "websocket_idle"
            self._end(CLOSE_GOING_AWAY, "websocket_idle")
        elif self._ends is not None and all(end.is_ending for end in self._ends):
            self.over()
        else:
            self.abort()
