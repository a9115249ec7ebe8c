"""Who deals with a client's connection: the door that decides, and whoever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.callers import Callers
from gateway.front.incoming import HeadLimits, Incoming, KnownHeads
from gateway.gate import Forward

if TYPE_CHECKING:
    from gateway.front.client import ClientConnection


class Answering:
    """Whoever answers the request under way; as it stands here, nobody."""

    __slots__ = ()

    def client_gone(self, reason: str) -> None:
        """The client left (``client_gone``) or is cut off (``drain_timeout``); not called after ``finish`` or ``abort``."""

    def client_slow(self, slow: bool) -> None:
        """The client does not take what was written, or takes it again."""

    def expire(self, now: float) -> None:
        """The connection's deadline, which it has set, is past."""

    def holding(self, now: float) -> Forward | None:
        """What lets the answer go on, when it takes longer than a moment (:mod:`gateway.front.keeper`)."""
        return None

    def session_ended(self, code: str) -> None:
        """That session is over, for the reason with this code."""


NOBODY = Answering()


class Door(Protocol):
    """Decides, and finds somebody to answer."""

    limits: HeadLimits
    known_heads: KnownHeads
    head_timeout: float
    idle_timeout: float
    callers: Callers

    @property
    def draining(self) -> bool:
        """Does nothing new begin?"""

    def came(self, client: ClientConnection) -> None:
        """A connection."""

    def left(self, client: ClientConnection) -> None:
        """It is closed."""

    def begin(self, client: ClientConnection, request: Incoming) -> Answering:
        """The next request, in its turn."""
