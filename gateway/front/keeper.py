"""What is open longer than a moment hangs on its session: a WebSocket, an event stream, a long poll, a large download.

A few times a second all of them are gone through. A session that this process knows for sure costs no look-up; others share
one. An outage ends nothing: whoever was let through stays so until the store says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from gateway.core.sessions import Session
from gateway.errors import StoreUnavailable
from gateway.front.token_keeper import TokenKeeper
from gateway.gate import Forward
from gateway.store.bearers import Bearers
from gateway.store.sessions import Lost, Sessions

TICK = 0.25
"""Seconds between two looks: a session that has ended is promised to end everything within one."""
_AT_ONCE = 256


class Guest(Protocol):
    """A connection."""

    def holding(self, now: float) -> Forward | None:
        """What let through what is under way, with its session, when that has lasted longer than a moment; ``now`` on the
        loop's clock."""

    def was_active(self) -> bool:
        """Does what came since the last time count as activity of its user?"""

    def session_ended(self, code: str) -> None:
        """It is over, for the reason with this code."""


class SessionKeeper:
    """Runs while there are ``guests``."""

    def __init__(self, sessions: Sessions, guests: Collection[Guest], bearers: Bearers | None = None) -> None:
        self._sessions = sessions
        self._tokens = TokenKeeper(bearers) if bearers is not None else None
        self._guests = guests
        self._now: dict[bytes, Session] = {}
        """Under the id that it was presented with: the session as it was found last."""
        self._asked: dict[bytes, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Somebody came."""
        if self._timer is None and self._work is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def stop(self) -> None:
        """At the end of the process."""
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
        if self._tokens is not None:
            self._tokens.stop()

    def _tick(self) -> None:
        self._timer = None
        try:
            self._go_through()
        finally:
            if self._work is None and self._guests:
                self.start()

    def _go_through(self) -> None:
        held = self._held(asyncio.get_running_loop().time())
        for known in (self._now, self._asked):
            for session_id in known.keys() - held.keys():
                del known[session_id]
        unknown = {session_id: guests for session_id, guests in held.items() if not self._is_known(session_id, guests)}
        if unknown:
            self._work = asyncio.create_task(self._ask(unknown))

    def _held(self, now: float) -> dict[bytes, list[Guest]]:
        held: dict[bytes, list[Guest]] = {}
        for guest in self._guests:
            verdict = guest.holding(now)
            if verdict is None:
                continue
            if (session := verdict.session) is not None:
                held.setdefault(session.id, []).append(guest)
                self._now.setdefault(session.id, session)
            elif self._tokens is not None and (bearer := verdict.bearer) is not None:
                code = self._tokens.why_over(verdict, bearer, now)
                if code is not None:
                    asyncio.get_running_loop().call_soon(guest.session_ended, code)
        if self._tokens is not None:
            self._tokens.end_of_round(now)
        return held

    def _is_known(self, session_id: bytes, guests: list[Guest]) -> bool:
        now = asyncio.get_running_loop().time()
        asked = now - self._asked.get(session_id, float("-inf")) < self._sessions.policy.touch_interval
        found = self._sessions.watched(self._now[session_id], asked=asked)
        if found is not None:
            self._found(session_id, guests, found)
        return found is not None

    async def _ask(self, unknown: dict[bytes, list[Guest]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            waiting = list(unknown)
            for at in range(0, len(waiting), _AT_ONCE):
                part = waiting[at : at + _AT_ONCE]
                await asyncio.gather(
                    *[self._look_up(session_id, unknown[session_id], loop.time()) for session_id in part]
                )
        finally:
            self._work = None
            if self._guests:
                self.start()

    async def _look_up(self, session_id: bytes, guests: list[Guest], now: float) -> None:
        try:
            found = await self._sessions.watch(self._now[session_id])
        except StoreUnavailable:
            return
        self._asked[session_id] = now
        self._found(session_id, guests, found)

    def _found(self, session_id: bytes, guests: list[Guest], found: Session | Lost) -> None:
        """Of the guests those that still hang on it: a connection may be busy with somebody else's request by now."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        held = [(one, verdict) for one in guests if (verdict := _hanging(one, now, session_id)) is not None]
        if isinstance(found, Session):
            self._now[session_id] = found
            out = [guest for guest, verdict in held if not verdict.still_lets(found.record.user)]
            active = [guest for guest, _ in held if guest.was_active()]  # each is asked: it begins to count anew
            if active:
                self._sessions.note_activity(found)
        else:
            out = [guest for guest, _ in held]
        code = "rights_changed" if isinstance(found, Session) else found.code
        for guest in out:
            loop.call_soon(guest.session_ended, code)  # each for itself: an error of one keeps no other open


def _hanging(guest: Guest, now: float, session_id: bytes) -> Forward | None:
    verdict = guest.holding(now)
    session = verdict.session if verdict else None
    return verdict if session is not None and session.id == session_id else None
