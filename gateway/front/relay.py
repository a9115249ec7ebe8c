"""One request to a backend and its answer, both streamed, at the same time if need be.

Nothing is collected: what cannot be written stops the reading on the other side. A kept-alive connection that the backend
closed under us is replaced by a fresh one, once, when nothing can have been lost: no byte of an answer came, there is no
body, and the method may be repeated (RFC 9110 §9.2.2; hazard D17).
"""

from __future__ import annotations

import logging

from gateway.core.headers import RawHeaderList, response_headers
from gateway.core.sessions import Session
from gateway.core.websockets import is_accepted
from gateway.errors import RequestError, UpstreamError
from gateway.front.exchange import Exchange
from gateway.front.outgoing import answer_start, interim_head, switch_head
from gateway.front.session_data import updates_in
from gateway.front.tunnel import Tunnel, TunnelKeeper
from gateway.upstream.answer import AnswerHead
from gateway.upstream.connection import Connection

log = logging.getLogger("gateway.forward")
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class Relay(Exchange):
    """Answers one request; made, then :meth:`start`."""

    __slots__ = ()

    # -- the request
    def start(self) -> None:
        """Contacts the backend."""
        if self._request.length > self._limit:
            self._fail(RequestError("too_large", limit=str(self._limit)))
            return
        kept = self._pool.take_idle()
        if kept is None:
            self._connect()
        else:
            self._repeatable = self._sent and self._head.method in IDEMPOTENT
            self._begin(kept)

    def _connect(self) -> None:
        self._repeatable = False
        self._client.wait_until(self._ends)
        self._task = self._way.spawn(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._pool.connect(self._verdict.route.timeouts.connect)
        except UpstreamError as error:
            self._task = None
            self._unreachable(error)
            return
        self._task = None
        if self._over:
            connection.abort()
        else:
            self._begin(connection)

    def _unreachable(self, error: UpstreamError) -> None:
        self._fail(error)

    def _begin(self, connection: Connection) -> None:
        """The head, and what of the body is there already, in one write."""
        self._connection = connection
        connection.begin(self, is_head=self._head.method == "HEAD", may_switch=self._request.websocket)
        data = self._way.heads.make(self._request, self._verdict, self._pool.address.authority, self._line.request_id)
        if self._sent:
            connection.write(data)
            self._patience()
            return
        self._request.listen = self._pass_body
        self._pass_body(data)

    def _pass_body(self, head: bytes = b"") -> None:
        """What has come of the body goes on, unless the backend has enough for now."""
        request, connection = self._request, self._connection
        if connection is None or self._over:
            return
        data = head
        if not (connection.is_slow or self._sent):
            body = self._client.take_body()
            self._line.received += len(body)
            if self._line.received > self._limit:
                self._fail(RequestError("too_large", limit=str(self._limit)))
                return
            if body:
                data += b"%x\r\n%b\r\n" % (len(body), body) if request.chunked else body
            if request.complete and not request.pieces:
                self._sent = True
                data += b"0\r\n\r\n" if request.chunked else b""
        if data:
            connection.write(data)
        if request.error is not None and not self._sent:
            self._fail(request.error)
        else:
            self._patience()

    def upstream_slow(self, slow: bool) -> None:
        """The backend has enough of the body, or wants more."""
        if not slow and not self._sent:
            self._pass_body()

    # -- the answer
    def answer_news(self) -> None:
        """Passes on what has come of the answer."""
        connection = self._connection
        if connection is None or self._over:
            return
        answer = connection.answer
        if answer.interim:
            self._pass_interim(connection)
        if connection.error is not None and not (self._told and answer.pieces):
            self._broke(connection, connection.error)
            return
        if answer.head is None or self._holding:
            return
        if self._told:
            self._pass_on(connection, b"")
        else:
            self._tell(connection)

    def _pass_interim(self, connection: Connection) -> None:
        answers, connection.answer.interim = connection.answer.interim, []
        if self._head.version == (1, 1) and not self._told:
            for answer in answers:
                self._client.send(interim_head(answer, self._way.policy.own_cookies))  # no beginning of the answer
        self._patience()

    def _tell(self, connection: Connection) -> None:
        answer = connection.answer.head
        session = self._verdict.session
        assert answer is not None
        route, line = self._verdict.route, self._line
        line.upstream_status = line.status = answer.status
        headers, stolen = response_headers(answer.headers, self._way.policy.own_cookies, route.cache)
        updates = updates_in(answer.headers, stolen, route) if stolen else []
        if not updates and (session is None or not self._way.renewal_is_due(session)):
            self._tell_with(connection, headers)
            return
        self._holding = True
        connection.hold(True)
        self._task = self._way.spawn(self._tell_later(connection, session, headers, updates))

    async def _tell_later(
        self, connection: Connection, session: Session | None, headers: RawHeaderList, updates: list[bytes]
    ) -> None:
        """Once what the backend says of the session is stored, and with the session's new cookie when one is due."""
        told = self._verdict.route.told
        if updates and told is not None:
            session, failed = await told.update(session, updates)
            if failed is not None:
                headers.append((b"X-Session-Update-Failed", failed.encode()))
        if session is not None and self._way.renewal_is_due(session):
            headers = await self._way.renew(session, self._head.method, self._line.status, headers)
        self._holding, self._task = False, None
        if self._over:
            return
        connection.hold(False)
        if connection.error is not None and not connection.answer.done:
            self._broke(connection, connection.error)
        else:
            self._tell_with(connection, headers)

    def _tell_with(self, connection: Connection, headers: RawHeaderList) -> None:
        answer, client = connection.answer.head, self._client
        assert answer is not None
        if answer.status == 101:
            self._switch(connection, answer, headers)
            return
        stays = client.settle(reads_body=not self._sent)
        start, self._chunked, until_close = answer_start(self._head, answer, headers, stays=stays)
        if until_close:
            client.no_more()
        self._told = True
        self._pass_on(connection, start)

    def _switch(self, connection: Connection, answer: AnswerHead, headers: RawHeaderList) -> None:
        """Both ends speak WebSocket from now on."""
        if not connection.is_open or not is_accepted(self._head, answer.headers):
            self._fail(
                UpstreamError("upstream_nonsense", f"{self._pool.address}: its 101 does not answer the handshake")
            )
            return
        route = self._verdict.route
        tunnel = Tunnel(
            self._tunnel_keeper(),
            self._line,
            self._verdict,
            idle=route.websocket.idle_timeout,
            patience=route.timeouts.between_bytes,
            active=route.websocket.activity,
        )
        self._client.send(switch_head(headers))
        self._leave()
        (client, early), (backend, late) = self._client.hand_over(), connection.hand_over()
        tunnel.begin(client, backend, early=early, late=late, slow=(self._client.is_slow, connection.is_slow))

    def _tunnel_keeper(self) -> TunnelKeeper:
        return self._way.tunnels

    def _pass_on(self, connection: Connection, start: bytes) -> None:
        """What there is of the body, with the head before it and the end behind it, in one write."""
        answer, client = connection.answer, self._client
        body = answer.take()
        self._line.sent += len(body)
        data = start + (b"%x\r\n%b\r\n" % (len(body), body) if self._chunked and body else body)
        if answer.done:
            client.write(data + b"0\r\n\r\n" if self._chunked else data)
            self._finish(connection)
            return
        if data:
            client.write(data)
        if connection.error is not None:
            self._broke(connection, connection.error)
            return
        if client.is_slow:
            connection.hold(True)
        self._patience()

    def client_slow(self, slow: bool) -> None:
        """The client has enough of the answer, or wants more."""
        if self._connection is not None and not self._holding and not self._over:
            self._connection.hold(slow)
            self._patience()

    def _broke(self, connection: Connection, error: Exception) -> None:
        """The backend closed, or spoke nonsense."""
        nonsense = isinstance(error, UpstreamError)
        if self._repeatable and not nonsense and not connection.answer.began:
            self._connection = None
            self._pool.give_back(connection, reusable=False)
            self._connect()
        elif self._told:
            self._fail(UpstreamError("upstream_broke_off", f"{self._pool.address}: {error}"))
        elif isinstance(error, UpstreamError):
            self._fail(error)
        else:
            code = "upstream_nonsense" if connection.answer.began else "upstream_unreachable"
            self._fail(UpstreamError(code, f"{self._pool.address}: {error}"))
