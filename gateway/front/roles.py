"""Who deals with a client's connection: the door that decides, and whoever answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.front.incoming import HeadLimits, Incoming, KnownHeads

if TYPE_CHECKING:
    from gateway.front.client import ClientConnection


class Answering(Protocol):
    """Whoever answers the request under way."""

    def client_gone(self, reason: str) -> None:
        """The client left (``client_gone``) or is cut off (``drain_timeout``); not called after ``finish`` or ``abort``."""

    def client_slow(self, slow: bool) -> None:
        """The client does not take what was written, or takes it again."""

    def expire(self, now: float) -> None:
        """The connection's deadline, which it has set, is past."""


class Door(Protocol):
    """Decides, and finds somebody to answer."""

    limits: HeadLimits
    known_heads: KnownHeads
    head_timeout: float
    idle_timeout: float
    draining: bool

    def came(self, client: ClientConnection) -> None:
        """A connection."""

    def left(self, client: ClientConnection) -> None:
        """It is closed."""

    def begin(self, client: ClientConnection, request: Incoming) -> Answering:
        """The next request, in its turn."""


@dataclass(slots=True, eq=False)
class _Waiting(Answering):
    """Nobody answers now."""

    def client_gone(self, reason: str) -> None:
        """Nothing to end."""

    def client_slow(self, slow: bool) -> None:
        """Nothing to slow down."""

    def expire(self, now: float) -> None:
        """The connection itself ends."""


NOBODY = _Waiting()
