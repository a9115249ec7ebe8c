"""Who is connected: counted, and how many more are served.

Who comes when there are enough is told so (503) and let go: that takes a moment, in which it is not counted among those
that are served. When very many wait for that, more are reset without a word. With TLS a connection is an arrival until its
handshake is over: arrivals have a limit, too, and are reset beyond it, before they cost anything.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.front.client import ClientConnection
    from gateway.front.tunnel import Tunnel

log = logging.getLogger("gateway.connections")
_LINGERING = 256  # that are being told
_SHAKING = 16  # handshakes of one address beyond its limit: how else would it be told?
_EVERY_SECONDS = 10.0


class Crowd:
    """``most``: connections in all, ``most_from_one``: from one address, both 0 for any number; ``is_exempt``: is this
    the address of a proxy? A unix socket (no address) is one always."""

    def __init__(
        self, most: int = 0, most_from_one: int = 0, is_exempt: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._most, self._most_from_one = most, most_from_one
        self._is_exempt = is_exempt
        self._all: set[ClientConnection | Tunnel] = set()
        self._going: set[ClientConnection | Tunnel] = set()
        self._from: Counter[str] = Counter()
        self._arriving = 0
        self._arriving_from: Counter[str] = Counter()
        self._told = -_EVERY_SECONDS
        self._untold = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[ClientConnection | Tunnel]:
        return iter(self._all)

    def __contains__(self, one: object) -> bool:
        return one in self._all

    def add(self, one: ClientConnection | Tunnel) -> None:
        """It came."""
        self._all.add(one)
        if self._most_from_one:
            self._from[one.peer] += 1

    def discard(self, one: ClientConnection | Tunnel) -> None:
        """It is gone."""
        if one not in self._all:
            return
        self._all.discard(one)
        if one in self._going:
            self._going.discard(one)
        else:
            self._forget(one.peer)

    def _forget(self, peer: str) -> None:
        if self._most_from_one:
            self._from[peer] -= 1
            if not self._from[peer]:
                del self._from[peer]

    def is_one_too_many(self, one: ClientConnection) -> bool:
        """It was added: is there no place for it?"""
        peer = one.peer
        if self._most and len(self._all) - len(self._going) > self._most:
            self._tell("max_connections", self._most)
        elif self._most_from_one and self._from[peer] > self._most_from_one and peer and not self._is_exempt(peer):
            self._tell("max_connections_per_address", self._most_from_one, peer)
        else:
            return False
        self._going.add(one)
        self._forget(peer)
        return True

    @property
    def may_be_told(self) -> bool:
        """May whoever is one too many be told so? Else there are very many of them."""
        return len(self._going) <= _LINGERING

    @property
    def is_overrun(self) -> bool:
        """Are there so many that one more is not even looked at?"""
        if self._most and len(self._all) + self._arriving >= self._most + _LINGERING:
            self._tell("max_connections", self._most)
            return True
        return False

    def arrive(self, peer: str) -> bool:
        """A handshake begins, until :meth:`arrived`. False: it must not."""
        if self.is_overrun:
            return False
        if self._most_from_one and peer:
            here = self._from[peer] + self._arriving_from[peer]
            if here >= self._most_from_one + _SHAKING and not self._is_exempt(peer):
                self._tell("max_connections_per_address", self._most_from_one, peer)
                return False
            self._arriving_from[peer] += 1
        self._arriving += 1
        return True

    def arrived(self, peer: str) -> None:
        """The handshake is over, well or not."""
        self._arriving -= 1
        if self._most_from_one and peer:
            self._arriving_from[peer] -= 1
            if not self._arriving_from[peer]:
                del self._arriving_from[peer]

    def _tell(self, setting: str, limit: int, peer: str = "") -> None:
        """One line in ten seconds."""
        self._untold += 1
        now = time.monotonic()
        if now - self._told < _EVERY_SECONDS:
            return
        fields = {
            "setting": f"server.{setting}",
            "limit": limit,
            "refused": self._untold,
            **({"peer": peer} if peer else {}),
        }
        self._told, self._untold = now, 0
        log.warning("there are as many connections as may be; more are refused", extra={"fields": fields})
