"""An upstream: one server or several that do the same, and which of them gets the next request.

With one server and no limits there is nothing to choose: :attr:`Upstream.only` is its pool, and everything else stays out of
the way. Otherwise a request gets a lease on a server, waits in a bounded line until one has room, or hears that all are away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial

from gateway.errors import UpstreamError
from gateway.upstream.balancer import Balancer, EjectRules, Lease, Server, Strategy
from gateway.upstream.budget import RetryBudget
from gateway.upstream.health import HealthRules, watch
from gateway.upstream.pool import Pool
from gateway.upstream.waiting import Waiter, WaitingLine

log = logging.getLogger("gateway.upstream")
_UPKEEP = 1.0  # seconds between two looks at what idles, at names, and at who waits


@dataclass(frozen=True, slots=True)
class UpstreamRules:
    """``max_requests``: in flight on one server; more wait, ``queue_size`` at most, each ``queue_timeout`` seconds.
    ``retry_share`` and ``retry_least``: see :class:`RetryBudget`. ``health``: None for no checks."""

    balance: Strategy = "round_robin"
    max_requests: int | None = None
    queue_size: int = 100
    queue_timeout: float = 5.0
    eject: EjectRules = field(default_factory=EjectRules)
    retry_share: float = 0.2
    retry_least: float = 10.0
    health: HealthRules | None = None


class Backend(Server):
    """A server with its connections."""

    def __init__(self, pool: Pool, weight: int = 1) -> None:
        super().__init__(str(pool.address), weight)
        self.pool = pool


Slot = Lease[Backend]


class Upstream:
    """``clock``: seconds that never go back."""

    def __init__(
        self,
        name: str,
        servers: Iterable[Backend],
        rules: UpstreamRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.rules = rules = rules or UpstreamRules()
        self._clock = clock
        self._balancer = Balancer(servers, rules.balance, rules.eject, rules.max_requests)
        self._line: WaitingLine[Slot] = WaitingLine(rules.queue_size)
        self._budget = RetryBudget(rules.retry_share, rules.retry_least)
        self._tasks: dict[Backend, asyncio.Task[None]] = {}
        self._upkeep: asyncio.Task[None] | None = None
        self._waking = False
        self.only: Pool | None = None
        self._count()

    def _count(self) -> None:
        servers, rules = self.servers, self.rules
        plain = len(servers) == 1 and rules.max_requests is None and rules.health is None
        self.only = servers[0].pool if plain else None

    @property
    def servers(self) -> list[Backend]:
        """All of them."""
        return self._balancer.servers

    @property
    def is_sticky(self) -> bool:
        """Does it matter whose request it is?"""
        return self.rules.balance == "sticky"

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    # -- a request
    def note_request(self) -> None:
        """A request has come: a share of them may be repeated."""
        self._budget.note_request(self._clock())

    def pick(self, waiter: Waiter[Slot]) -> Slot | None:
        """A server; or None: the waiter hears of one, if it does not :meth:`leave`. Who waits longer goes first.

        :raises UpstreamError: ``upstream_down``: all are away; ``upstream_busy``: too many wait already.
        """
        now = self._clock()
        slot = (
            None if self._line.is_in_order and not waiter.tried else self._balancer.pick(now, waiter.key, waiter.tried)
        )
        if slot is not None:
            return slot
        if self._balancer.why_none(now, waiter.tried) != "full":
            raise self._down()
        if not self._line.join(waiter):
            raise UpstreamError("upstream_busy", f"{self.name}: {len(self._line)} requests wait already")
        return None

    def may_retry(self, tried: Collection[Server]) -> bool:
        """Is there another server for a request that these did not answer, and may it be repeated?"""
        now = self._clock()
        can = any(one.is_in(now) and one not in tried for one in self.servers)
        return can and self._budget.spend(now, sum(one.in_flight for one in self.servers))

    def leave(self, waiter: Waiter[Slot]) -> None:
        """It waits no longer."""
        self._line.leave(waiter)

    def release(self, slot: Slot) -> None:
        """The request is over on that server."""
        self._balancer.release(slot)
        self._wake()

    def answered(self, slot: Slot, status: int) -> None:
        """The head of an answer came."""
        was_out = slot.server.is_out
        if self._balancer.answered(slot, self._clock(), status):
            self._ejected(slot.server)
        elif was_out and not slot.server.is_out:
            log.info("a server answers again", extra={"fields": self._fields(slot.server)})
            self._wake()

    def failed(self, slot: Slot) -> None:
        """The server was not there for this request."""
        if self._balancer.failed(slot, self._clock()):
            self._ejected(slot.server)

    def _ejected(self, server: Backend) -> None:
        seconds = round(server.out_until - self._clock(), 1)
        log.warning("a server is ejected", extra={"fields": {**self._fields(server), "seconds": seconds}})
        self._wake()

    def _fields(self, server: Backend) -> dict[str, object]:
        return {"upstream": self.name, "server": server.name}

    def _down(self) -> UpstreamError:
        return UpstreamError("upstream_down", f"{self.name}: no server is in use")

    def _wake(self) -> None:
        """Whoever waits has a look, when what happens now is over."""
        if self._line and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._waking = False
        now = self._clock()
        self._line.serve(lambda waiter: self._balancer.pick(now, waiter.key, waiter.tried))
        if self._line and self._balancer.why_none(now) == "down":
            self._line.dissolve(self._down)

    # -- servers come and go
    def update(self, servers: Iterable[Backend]) -> None:
        """These from now on. One that is there already goes on as it is, with its new weight; what is left of one that goes is
        finished, and its connections are closed."""
        known = {one.name: one for one in self.servers}
        wanted = {one.name: one for one in servers}
        for name, one in wanted.items():
            if name in known:
                known[name].weight = one.weight
        self._balancer.servers[:] = [known.get(name, one) for name, one in wanted.items()]
        for name, one in known.items():
            if name not in wanted:
                one.pool.retire()
                self._end_checks(one)
        if len(self.servers) == 1:
            self._balancer.take_back(self.servers[0])
        self._count()
        if self._upkeep is not None:
            self._begin_checks()
        self._wake()

    # -- beside the requests
    def start(self) -> None:
        """Checks servers and keeps house from now on."""
        self._upkeep = asyncio.create_task(self._keep())
        self._begin_checks()

    def _begin_checks(self) -> None:
        health = self.rules.health
        for one in self.servers if health is not None else ():
            if health is not None and one not in self._tasks:
                self._tasks[one] = asyncio.create_task(watch(one.pool, health, partial(self._checked, one)))

    def _end_checks(self, server: Backend) -> None:
        task = self._tasks.pop(server, None)
        if task is not None:
            task.cancel()

    def _checked(self, server: Backend, is_well: bool) -> None:
        self._balancer.checked(server, self._clock(), is_well)
        level, what = (logging.INFO, "well again") if is_well else (logging.WARNING, "ill")
        log.log(level, f"checks say that a server is {what}", extra={"fields": self._fields(server)})
        self._wake()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP)
            for one in self.servers:
                one.pool.maintain()
            self._wake()

    async def close(self) -> None:
        """Ends checks and closes what idles."""
        tasks = [*self._tasks.values(), *([self._upkeep] if self._upkeep is not None else [])]
        self._tasks, self._upkeep = {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self.servers:
            one.pool.close()

    def __repr__(self) -> str:
        return f"<Upstream {self.name}, {self.servers}>"
