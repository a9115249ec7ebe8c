"""Which server of an upstream gets the next request, and which gets none: decided here, with the clock passed in.

A server that fails several times in a row is ejected for a while, each time longer. Then one request is tried on it; when
that is answered the server comes back, with a weight that grows (its caches are cold, and not all load is to fall on it at
once). What an active check calls ill gets nothing either. The only server of an upstream is never ejected.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Strategy = Literal["round_robin", "least_connections", "sticky"]
_TRIAL = 3.0  # seconds in which one trial decides alone: a slow upload must not decide for everybody for minutes
_COLD = 0.1  # the share of its weight with which a server comes back


@dataclass(frozen=True, slots=True)
class EjectRules:
    """After ``failures`` in a row a server is out for ``seconds``, doubling up to ``longest``; then its weight grows for
    ``slow_start`` seconds. ``statuses``: answers that are failures, too."""

    failures: int = 3
    seconds: float = 10.0
    longest: float = 300.0
    slow_start: float = 10.0
    statuses: frozenset[int] = frozenset()


class Server:
    """What is known of one server. ``name`` tells it from the others, and is what sticky sessions are bound to."""

    def __init__(self, name: str, weight: int = 1) -> None:
        self.name = name
        self.weight = weight
        self.in_flight = 0
        self.current = 0.0  # of smooth weighted round robin
        self.failures = 0
        self.ejections = 0
        self.is_out = False
        self.out_until = 0.0
        self.trial_until = 0.0  # no other request is tried on it until then
        self.is_well = True  # says the active check
        self.is_sound = True  # well, and not ejected
        self.since = -math.inf  # when it came back

    def is_in(self, now: float) -> bool:
        """May it get a request? One that was ejected: a single one, when its time is over."""
        return self.is_well and (not self.is_out or now >= max(self.out_until, self.trial_until))

    def share(self, now: float, slow_start: float) -> float:
        """Its weight now. Where one request may be tried its turn has to come."""
        if self.is_out:
            return self.weight
        age = now - self.since
        return self.weight if age >= slow_start else self.weight * max(_COLD, age / slow_start)

    def __repr__(self) -> str:
        state = "ill" if not self.is_well else "out" if self.is_out else "in"
        return f"<Server {self.name}, {state}, {self.in_flight} in flight>"


S = TypeVar("S", bound=Server)


@dataclass(slots=True, eq=False)
class Lease(Generic[S]):
    """A request on a server. ``is_trial``: it decides whether the server comes back."""

    server: S
    is_trial: bool
    is_open: bool = True


class Balancer(Generic[S]):
    """``room``: how many requests a server takes at once; None: any number."""

    def __init__(
        self,
        servers: Iterable[S],
        strategy: Strategy = "round_robin",
        rules: EjectRules | None = None,
        room: int | None = None,
    ) -> None:
        self.servers: list[S] = list(servers)
        self._strategy = strategy
        self._rules = rules or EjectRules()
        self._room = math.inf if room is None else room

    # -- picking
    def pick(self, now: float, key: bytes = b"", avoid: Collection[Server] = ()) -> Lease[S] | None:
        """A server for a request, none of ``avoid``; None: :meth:`why_none` knows. Whoever got a lease gives it back."""
        room = self._room
        able = [
            one
            for one in self.servers
            if one.in_flight < room and (one.is_sound or one.is_in(now)) and not (avoid and one in avoid)
        ]
        if not able:
            return None
        server = able[0] if len(able) == 1 else self._choose(able, now, key)
        server.in_flight += 1
        lease = Lease(server, server.is_out)
        if lease.is_trial:
            server.trial_until = now + _TRIAL
        return lease

    def why_none(self, now: float, avoid: Collection[Server] = ()) -> Literal["full", "tried", "down"]:
        """All that may serve have no room; only those to avoid are left; or there is none."""
        able = [one for one in self.servers if one.is_in(now)]
        if any(one not in avoid for one in able):
            return "full"
        return "tried" if able else "down"

    def release(self, lease: Lease[S]) -> None:
        """The request is over. A trial that decided nothing is free for another request."""
        if lease.is_open:
            lease.is_open = False
            lease.server.in_flight -= 1
            if lease.is_trial:
                lease.server.trial_until = 0.0

    def _choose(self, able: Sequence[S], now: float, key: bytes) -> S:
        if self._strategy == "sticky":
            return self._bound(able, now, key)
        if self._strategy == "least_connections":
            able = self._least(able, now)
        return self._in_turn(able, now)

    def _in_turn(self, able: Sequence[S], now: float) -> S:
        """Smooth weighted round robin, as nginx has it: a heavy server's turns are spread, not in a row."""
        slow, total, best = self._rules.slow_start, 0.0, able[0]
        for one in able:
            share = one.weight if one.is_sound and now - one.since >= slow else one.share(now, slow)
            one.current += share
            total += share
            if one.current > best.current:
                best = one
        best.current -= total
        return best

    def _least(self, able: Sequence[S], now: float) -> Sequence[S]:
        slow = self._rules.slow_start
        loads = [(one.in_flight + 1) / one.share(now, slow) for one in able]
        least = min(loads)
        return [one for one, load in zip(able, loads, strict=True) if load == least]

    def _bound(self, able: Sequence[S], now: float, key: bytes) -> S:
        """Weighted rendezvous hashing (Thaler and Ravishankar, 1998): who comes or goes moves only its own keys."""
        slow = self._rules.slow_start
        return max(able, key=lambda one: one.share(now, slow) / -math.log(_draw(one.name, key)))

    # -- what became of it
    def answered(self, lease: Lease[S], now: float, status: int) -> bool:
        """A head came. True: the server is ejected for it (:attr:`EjectRules.statuses`)."""
        if status in self._rules.statuses:
            return self.failed(lease, now)
        server = lease.server
        if lease.is_trial:
            lease.is_trial = server.is_out = False
            server.trial_until = 0.0
            server.is_sound = server.is_well
            self._came_back(server, now)
        elif not server.is_out:
            server.failures = 0
        return False

    def failed(self, lease: Lease[S], now: float) -> bool:
        """Refused, reset before an answer, no connection in time, or nonsense. True: the server is ejected for it.

        What began before the server was ejected says nothing new.
        """
        server = lease.server
        if len(self.servers) == 1 or (server.is_out and not lease.is_trial):
            return False
        server.failures += 1
        if not lease.is_trial and server.failures < self._rules.failures:
            return False
        lease.is_trial = False  # it is decided
        self._eject(server, now)
        return True

    def checked(self, server: S, now: float, is_well: bool) -> None:
        """What active checks have found."""
        if is_well and not server.is_well:
            self._came_back(server, now)
        server.is_well = is_well
        server.is_sound = is_well and not server.is_out

    def _eject(self, server: S, now: float) -> None:
        rules = self._rules
        if not server.is_out and now - server.since > rules.longest:
            server.ejections = 0  # it was good for long enough
        server.is_out, server.is_sound, server.trial_until = True, False, 0.0
        server.out_until = now + min(rules.seconds * 2 ** min(server.ejections, 16), rules.longest)
        server.ejections += 1

    def take_back(self, server: S) -> None:
        """It is the only one now: it is never out."""
        server.is_out, server.failures, server.is_sound = False, 0, server.is_well

    def _came_back(self, server: S, now: float) -> None:
        server.failures, server.since, server.current = 0, now, 0.0


def _draw(name: str, key: bytes) -> float:
    """A number between 0 and 1, both excluded, that only this server draws for this key."""
    digest = hashlib.blake2b(key + b"\0" + name.encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
