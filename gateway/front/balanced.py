"""A request to one of several servers: it takes a place on one, may wait for it, and may be repeated on another.

Repeated on another server is what has not been sent at all (no connection), and what is idempotent, has no body and got no
byte of an answer (RFC 9110 §9.2.2; hazard D17): on each server once, and as far as the upstream's retry budget goes. A
kept-alive connection that the server closed under us says nothing about the server.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.sessions import Session
from gateway.errors import GatewayError, RequestError, UpstreamError
from gateway.front.client import ClientConnection
from gateway.front.incoming import Incoming
from gateway.front.relay import IDEMPOTENT, Relay
from gateway.front.tunnel import Tunnel, TunnelKeeper
from gateway.front.way import Way
from gateway.gate import Forward
from gateway.telemetry.access_log import AccessLine
from gateway.upstream.balancer import Server
from gateway.upstream.connection import Connection
from gateway.upstream.upstream import Slot, Upstream


class BalancedRelay(Relay):
    """A :class:`Relay` that has to choose. ``key`` and ``tried``: see :class:`gateway.upstream.waiting.Waiter`."""

    __slots__ = ("_is_fresh", "_slot", "_upstream", "key", "tried")

    def __init__(
        self,
        way: Way,
        client: ClientConnection,
        request: Incoming,
        verdict: Forward,
        upstream: Upstream,
        line: AccessLine,
    ) -> None:
        super().__init__(way, client, request, verdict, upstream.servers[0].pool, line)
        self._upstream = upstream
        self._slot: Slot | None = None
        self._is_fresh = False
        self.key = who(verdict.session, self._head.peer) if upstream.is_sticky else b""
        self.tried: list[Server] = []

    # -- a server
    def start(self) -> None:
        """Takes a place on a server, or in the line."""
        if self._request.length > self._limit:
            self._fail(RequestError("too_large", limit=str(self._limit)))
            return
        self._upstream.note_request()
        self._choose()

    def _choose(self) -> None:
        try:
            slot = self._upstream.pick(self)
        except UpstreamError as error:
            self._fail(error)
            return
        if slot is not None:
            self.proceed(slot)
            return
        waits = self._client.loop.time() + self._upstream.rules.queue_timeout
        self._client.wait_until(min(waits, self._ends))

    def proceed(self, slot: Slot) -> None:
        """There is a place."""
        self._slot = slot
        self.tried.append(slot.server)
        self._pool = slot.server.pool
        self._is_fresh = False
        super().start()

    def give_up(self, error: UpstreamError) -> None:
        """There will be none."""
        if not self._over:
            self._fail(error)

    def expire(self, now: float) -> None:
        """Too slow, or nobody had room in time."""
        if self._slot is None and not self._over and now < self._ends:
            self._fail(UpstreamError("upstream_busy", f"{self._upstream.name}: no server had room in time"))
        else:
            super().expire(now)

    def _leave(self) -> None:
        super()._leave()
        if self._slot is None:
            self._upstream.leave(self)
        else:
            self._give_place_back()

    def _give_place_back(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._upstream.release(slot)

    # -- what becomes of it
    def _connect(self) -> None:
        self._is_fresh = True
        super()._connect()

    def _unreachable(self, error: UpstreamError) -> None:
        """Nothing was sent, so any request may go elsewhere."""
        self._note_failure()
        if not self._goes_elsewhere():
            super()._unreachable(error)

    def _broke(self, connection: Connection, error: Exception) -> None:
        began, nonsense = connection.answer.began, isinstance(error, UpstreamError)
        if self._repeatable and not (
            nonsense or began
        ):  # a kept connection that was closed under us: the same server again
            super()._broke(connection, error)
            return
        if not self._told and (nonsense or (connection.answer.head is None and (self._is_fresh or began))):
            self._note_reset()
        may_repeat = not (nonsense or began or self._request.has_body) and self._head.method in IDEMPOTENT
        if may_repeat and self._upstream.may_retry(self.tried):
            self._connection = None
            self._pool.give_back(connection, reusable=False)
            self._go_elsewhere()
        else:
            super()._broke(connection, error)

    def _goes_elsewhere(self) -> bool:
        may = self._upstream.may_retry(self.tried)
        if may:
            self._go_elsewhere()
        return may

    def _go_elsewhere(self) -> None:
        self._give_place_back()
        self._choose()

    def _tell(self, connection: Connection) -> None:
        if self._slot is not None and connection.answer.head is not None:
            self._upstream.answered(self._slot, connection.answer.head.status)
        super()._tell(connection)

    def _fail(self, error: GatewayError) -> None:
        if self._slot is not None and self._slot.is_trial and error.reason.code == "upstream_timeout":
            self._note_failure()  # a server that takes a request and is silent has not come back
        super()._fail(error)

    def _note_reset(self) -> None:
        """What one request does to server after server says something of the request, too: only the first one counts."""
        if self._slot is not None and (len(self.tried) == 1 or self._slot.is_trial):
            self._note_failure()

    def _note_failure(self) -> None:
        if self._slot is not None:
            self._upstream.failed(self._slot)

    def _tunnel_keeper(self) -> TunnelKeeper:
        """The place is the tunnel's until it is closed."""
        slot, self._slot = self._slot, None
        upstream, keeper = self._upstream, super()._tunnel_keeper()

        def left(tunnel: Tunnel) -> None:
            keeper.left(tunnel)
            if slot is not None:
                upstream.release(slot)

        return replace(keeper, left=left)


def who(session: Session | None, peer: str) -> bytes:
    """What a sticky session is bound by: what stays the same when its id changes; of a stranger, the address."""
    if session is None:
        return peer.encode()
    user = session.record.user
    return f"{session.record.created:.3f} {user.id if user is not None else ''}".encode()
