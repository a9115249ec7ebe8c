"""What the gateway says itself: written, logged, and the client's turn ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gateway.core.head import RequestHead
from gateway.core.refusals import Refusal, Site, refuse
from gateway.core.request_ids import RequestIds
from gateway.front.answers import OwnAnswer, Refusals, Template, on_the_wire
from gateway.front.client import ClientConnection
from gateway.front.incoming import Incoming
from gateway.gate import Refuse
from gateway.telemetry.access_log import AccessLine

_TEMPLATES = 4096
_IDS = RequestIds(os.urandom)


class OwnWords:
    """``refusals`` makes the answers; ``done`` hears of a request that is over, with the time on the loop's clock."""

    def __init__(self, refusals: Refusals, done: Callable[[AccessLine, float], None]) -> None:
        self._refusals = refusals
        self._done = done
        self._templates: dict[int, tuple[Refuse, Template]] = {}

    def refuse(self, client: ClientConnection, request: Incoming, line: AccessLine, refusal: Refusal) -> None:
        """A refusal, in JSON or as a page."""
        self.say(client, request, line, self.refused(request.head, line, refusal))

    def refused(self, head: RequestHead | None, line: AccessLine, refusal: Refusal) -> OwnAnswer:
        """Its answer; the line has the reason."""
        line.reason, line.status = refusal.reason.code, refusal.status
        return self._refusals.answer(head, refusal, line.request_id)

    def say(self, client: ClientConnection, request: Incoming, line: AccessLine, answer: OwnAnswer) -> None:
        """The whole answer."""
        if answer.close or request.expects_continue:  # without its 100, a client sends a body or a request next
            client.no_more()
        stays = client.settle(reads_body=False)
        head = request.head
        is_head, version = (head.method == "HEAD", head.version) if head is not None else (False, (1, 1))
        client.write(on_the_wire(answer, is_head=is_head, version=version, stays=stays))
        line.sent = 0 if is_head else len(answer.body)
        self._done(line, client.loop.time())
        client.finish()

    def turn_away(self, client: ClientConnection, site: Site, *, tells: bool) -> None:
        """No place for this connection: it is told before it asks, and nothing of it is read; or it is reset."""
        if not tells:
            client.abort()
            return
        refusal = refuse(RequestHead("", "", (1, 1), (), client.peer), site, "too_many_connections")
        answer = self._refusals.answer(None, refusal, _IDS.make(time.time()))
        client.send(on_the_wire(answer, is_head=False, version=(1, 1), stays=False))
        client.end(listens=True)

    def refuse_again(self, client: ClientConnection, request: Incoming, line: AccessLine, verdict: Refuse) -> bool:
        """A refusal that was given before, without making it anew; False: it cannot be."""
        head = request.head
        assert head is not None
        known = self._templates.get(id(verdict))
        if known is None or known[0] is not verdict:
            answer = self._refusals.answer(head, verdict.refusal, Template.ID)
            try:
                known = verdict, Template(answer)
            except ValueError:
                return False
            if len(self._templates) >= _TEMPLATES:
                self._templates.clear()
            self._templates[id(verdict)] = known
        if head.version != (1, 1) or verdict.refusal.close or request.expects_continue:
            return False
        template = known[1]
        stays = client.settle(reads_body=False)
        is_head = head.method == "HEAD"
        client.write(template.fill(line.request_id, is_head=is_head, stays=stays))
        line.reason, line.status = verdict.refusal.reason.code, template.status
        line.sent = 0 if is_head else template.size
        self._done(line, client.loop.time())
        client.finish()
        return True
