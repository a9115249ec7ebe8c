"""The front door: the gate decides, somebody answers, one line is logged. It decides nothing itself.

It is also the one place that turns an unknown error into a 500 with an id.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from gateway.core.caching import may_be_shared
from gateway.core.head import RequestHead
from gateway.core.headers import RawHeaderList, response_headers
from gateway.core.hops import goes_round, remaining_hops
from gateway.core.limits import check_limits
from gateway.core.refusals import ANY_METHOD, refuse, refuse_for
from gateway.core.request_ids import RequestIds
from gateway.core.sessions import Session
from gateway.core.websockets import check_handshake, check_origin
from gateway.errors import GatewayError, RequestError, StoreUnavailable, UpstreamError
from gateway.front.answers import OwnAnswer, options_answer
from gateway.front.balanced import BalancedRelay
from gateway.front.client import ClientConnection
from gateway.front.deadlines import Deadlines
from gateway.front.incoming import HeadLimits, Incoming, KnownHeads
from gateway.front.keeper import SessionKeeper
from gateway.front.outgoing import RequestHeads
from gateway.front.own_words import OwnWords
from gateway.front.parts import OwnEndpoints, Parts, Patience
from gateway.front.relay import Relay
from gateway.front.roles import NOBODY, Answering
from gateway.front.tunnel import Tunnel, TunnelKeeper
from gateway.front.way import Way
from gateway.gate import Forward, Question, Refuse, Serve, TokenQuestion, Verdict
from gateway.telemetry.access_log import AccessLine, flush, write_access
from gateway.telemetry.failures import Failures

log = logging.getLogger("gateway.front_door")
_IDS = RequestIds(os.urandom)
Asked = Question | TokenQuestion


class FrontDoor:
    """One for a process: every connection asks it."""

    def __init__(
        self, parts: Parts, own: OwnEndpoints, limits: HeadLimits | None = None, patience: Patience | None = None
    ) -> None:
        self._gate = parts.gate
        self.callers = parts.callers
        self._sessions = parts.sessions
        self._upstreams = parts.upstreams
        self._words = OwnWords(parts.refusals, self.done)
        self._cookie_header = parts.cookie_header
        self._counts = parts.counts
        self._own = own
        self._failures = Failures()
        self._tasks: set[asyncio.Task[None]] = set()
        self._way = Way(
            parts.policy,
            RequestHeads(parts.policy, is_https=parts.gate.site.is_https),
            self._forward_failed,
            self.done,
            parts.sessions.renewal_is_due,
            self._renew,
            TunnelKeeper(self.came, self.left, self.done),
            self.spawn,
        )
        waits = patience or Patience()
        self.head_timeout, self.idle_timeout = waits.head, waits.idle
        self.limits = limits or HeadLimits()
        self.known_heads = KnownHeads()
        self.deadlines = Deadlines()
        self.draining = False
        self.clients = parts.crowd
        self._keeper = SessionKeeper(parts.sessions, self.clients, parts.bearers)
        self._left = asyncio.Event()

    # -- a request
    def begin(self, client: ClientConnection, request: Incoming) -> Answering:
        """Decides, and finds somebody to answer."""
        head = request.head
        line = _line(request, client.peer)
        try:
            if head is not None and client.is_trusted:
                head = request.head = self.callers.seen(head)
                line.peer = head.peer
            if head is None or (request.error is not None and not request.complete):
                return self._not_http(client, request, line)
            asked = self._gate.ask(head)
            if isinstance(asked, Question):
                known = self._sessions.known(asked.presented)
                if known is None:
                    return _Asking(self, client, request, line, asked)
                asked = self._gate.answer(asked, known)
            elif isinstance(asked, TokenQuestion):
                return _Asking(self, client, request, line, asked)
            return self.carry_out(client, request, line, asked)
        except RequestError as error:
            request.error = request.error or error
            return self._not_http(client, request, line)
        except Exception:  # noqa: BLE001  the one place
            return self.unexpected(client, request, line)

    async def find(self, asked: Asked) -> Verdict:
        """The store's answer to the one question that was left."""
        return await self._gate.find(asked)

    def carry_out(self, client: ClientConnection, request: Incoming, line: AccessLine, verdict: Verdict) -> Answering:
        """What the gate said."""
        line.decision = verdict.word
        if isinstance(verdict, Serve):
            line.route = verdict.endpoint.handler
            return self._own.serve(client, request, verdict, line)
        line.route = verdict.route.name if verdict.route else ""
        user = verdict.user
        line.user = user.id if user is not None else ""
        if isinstance(verdict, Refuse):
            line.detail = verdict.detail
            if verdict.error is not None:
                self._failures.note(verdict.error)
            if not (verdict.again and self._words.refuse_again(client, request, line, verdict)):
                self._words.refuse(client, request, line, verdict.refusal)
            return NOBODY
        return self._forward(client, request, line, verdict)

    def _forward(self, client: ClientConnection, request: Incoming, line: AccessLine, verdict: Forward) -> Answering:
        head = request.head
        assert head is not None
        answer = self._goes_no_further(head, request, verdict, line)
        if answer is not None:
            self._words.say(client, request, line, answer)
            return NOBODY
        if verdict.session is not None:
            self._sessions.note_activity(verdict.session)
        upstream = self._upstreams[verdict.route.upstream]
        pool = upstream.only
        if pool is not None:
            relay = Relay(self._way, client, request, verdict, pool, line)
        else:
            relay = BalancedRelay(self._way, client, request, verdict, upstream, line)
        relay.start()
        return relay

    def _goes_no_further(
        self, head: RequestHead, request: Incoming, verdict: Forward, line: AccessLine
    ) -> OwnAnswer | None:
        try:
            check_limits(head, request.head_bytes, verdict.route.limits)
            if request.websocket:
                check_handshake(head, has_body=request.has_body)
                check_origin(head, self._gate.site.origin(head), verdict.route.websocket.origins)
            if goes_round(head):
                raise RequestError("loop_detected")
            if remaining_hops(head) == 0:
                if head.method == "OPTIONS":
                    line.status = 200
                    return options_answer(ANY_METHOD, line.request_id)
                raise RequestError("method_not_allowed", method=head.method)
        except RequestError as error:
            return self._words.refused(head, line, refuse_for(head, self._gate.site, error))
        return None

    # -- what goes wrong
    def _not_http(self, client: ClientConnection, request: Incoming, line: AccessLine) -> Answering:
        error = request.error or RequestError("bad_request", what="it breaks the rules of HTTP")
        line.decision = "refuse"
        head = request.head or RequestHead("", "", (1, 1), (), client.peer)
        self._words.refuse(client, request, line, refuse_for(head, self._gate.site, error))
        return NOBODY

    def unexpected(self, client: ClientConnection, request: Incoming, line: AccessLine) -> Answering:
        """An error of ours: a 500 with an id, or a reset when an answer has begun."""
        log.exception("unexpected error", extra={"fields": {"request_id": line.request_id}})
        if client.began or request.head is None:
            client.abort()
        elif client.request is request:
            self._words.refuse(client, request, line, refuse(request.head, self._gate.site, "internal_error"))
        return NOBODY

    def _forward_failed(
        self, client: ClientConnection, line: AccessLine, verdict: Forward, error: GatewayError
    ) -> None:
        request = client.request
        assert request is not None
        assert request.head is not None
        if isinstance(error, StoreUnavailable | UpstreamError):
            self._failures.note(error, line.route)
        refusal = refuse_for(request.head, self._gate.site, error, verdict.route.refuse)
        self._words.refuse(client, request, line, refusal)

    def done(self, line: AccessLine, now: float) -> None:
        """The request is over, ``now`` on the loop's clock: it is counted, and its one line logged."""
        line.seconds = now - line.started
        self._counts.count(line)
        write_access(line)

    # -- beside the answer
    async def _renew(self, session: Session, method: str, status: int, headers: RawHeaderList) -> RawHeaderList:
        """A new cookie beside the backend's answer, unless a shared cache may store that. What fails now is tried again
        with the next request: this one was let through already."""
        is_shared = may_be_shared(method, status, headers)
        if is_shared and not self._sessions.renewal_is_urgent(session):
            return headers
        try:
            renewed = await self._sessions.renew(session)
        except GatewayError as error:
            fields = {"reason": error.reason.code, "cause": getattr(error, "cause", "")}
            log.warning("a session was not given its new cookie", extra={"fields": fields})
            return headers
        if is_shared:
            headers, _ = response_headers(headers, frozenset(), "private")
        return [*headers, (b"Set-Cookie", self._cookie_header(renewed))]

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is not forgotten while it runs."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- the end of the process
    def came(self, client: ClientConnection | Tunnel) -> None:
        """A connection."""
        self.clients.add(client)
        self.deadlines.add(client)
        self._keeper.start()
        if isinstance(client, ClientConnection):
            client.is_trusted = self.callers.trusts(client.peer)
            if self.clients.is_one_too_many(client):
                self._words.turn_away(client, self._gate.site, tells=self.clients.may_be_told)
        elif self.draining:
            asyncio.get_running_loop().call_soon(client.close_when_idle)

    def left(self, client: ClientConnection | Tunnel) -> None:
        """It is closed."""
        self.clients.discard(client)
        self.deadlines.discard(client)
        self._left.set()

    def drain(self) -> None:
        """Nothing new on any connection; what is under way may finish."""
        self.draining = True
        for client in list(self.clients):
            client.close_when_idle()

    async def close(self, seconds: float) -> None:
        """Waits until the last connection has ended; after ``seconds`` ends the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.clients:
                    self._left.clear()
                    await self._left.wait()
        for client in list(self.clients):
            client.cut()
        for task in list(self._tasks):
            task.cancel()
        self._keeper.stop()
        flush()


class _Asking(Answering):
    """The session of a request is looked up; then somebody else answers."""

    def __init__(
        self, door: FrontDoor, client: ClientConnection, request: Incoming, line: AccessLine, asked: Asked
    ) -> None:
        self._door = door
        self._client = client
        self._request = request
        self._line = line
        self._task = door.spawn(self._find(asked))

    async def _find(self, asked: Asked) -> None:
        door, client, request, line = self._door, self._client, self._request, self._line
        try:
            verdict = await door.find(asked)
            answering = door.carry_out(client, request, line, verdict)
        except Exception:  # noqa: BLE001  the one place
            answering = door.unexpected(client, request, line)
        client.answered_by(request, answering)

    def client_gone(self, reason: str) -> None:
        """Others may wait for the same look-up, so it goes on; nobody hears of it here."""
        self._task.cancel()
        self._line.status, self._line.reason = 499, reason
        self._door.done(self._line, self._client.loop.time())


def _line(request: Incoming, peer: str) -> AccessLine:
    head = request.head
    method, path = (head.method, head.target.partition("?")[0][:500]) if head is not None else ("", "")
    line = AccessLine(_IDS.make(time.time()), method, path, peer)
    line.started = request.started
    return line
