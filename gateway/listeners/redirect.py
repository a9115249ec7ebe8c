"""The listener that sends http to https (``server.redirect_http``): 308 for everything but ACME's challenges.

It is a door like the front door, and shares its limits and deadlines; the connections are the front door's.
"""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

from gateway.core.head import RequestHead, check_head, is_host
from gateway.core.hosts import Hosts
from gateway.core.refusals import Site, refuse_for
from gateway.core.request_ids import RequestIds
from gateway.errors import RequestError
from gateway.front.answers import SERVER, OwnAnswer, Refusals
from gateway.front.client import ClientConnection
from gateway.front.door import FrontDoor
from gateway.front.incoming import Incoming, KnownHeads
from gateway.front.own_words import OwnWords
from gateway.front.roles import NOBODY, Answering
from gateway.telemetry.access_log import AccessLine

ACME = "/.well-known/acme-challenge/"
_IDS = RequestIds(os.urandom)


class RedirectDoor:
    """``port``: of the listener with TLS, where the site has no URL of its own that says it."""

    def __init__(self, front: FrontDoor, site: Site, refusals: Refusals, hosts: Hosts, port: int) -> None:
        self._front = front
        self._site = site
        self._hosts = hosts
        self._port = (urlsplit(site.url).port or 443) if site.url else port
        self._words = OwnWords(refusals, front.done)
        self.limits, self.known_heads = front.limits, KnownHeads()
        self.callers = front.callers
        self.head_timeout, self.idle_timeout = front.head_timeout, front.idle_timeout

    @property
    def draining(self) -> bool:
        """As the front door."""
        return self._front.draining

    def came(self, client: ClientConnection) -> None:
        """The front door counts it."""
        self._front.came(client)

    def left(self, client: ClientConnection) -> None:
        """It is closed."""
        self._front.left(client)

    def begin(self, client: ClientConnection, request: Incoming) -> Answering:
        """Answers, or lets the front door do it."""
        head = request.head
        if head is not None and request.error is None and _target(head)[1].startswith(ACME):
            return self._front.begin(client, request)
        path = head.target.partition("?")[0][:500] if head is not None else ""
        line = AccessLine(_IDS.make(time.time()), head.method if head is not None else "", path, client.peer)
        line.started = request.started
        try:
            answer = self._redirect(request, line)
        except RequestError as error:
            line.decision = "refuse"
            refusal = refuse_for(head or RequestHead("", "", (1, 1), (), client.peer), self._site, error)
            answer = self._words.refused(head, line, refusal)
        self._words.say(client, request, line, answer)
        return NOBODY

    def _redirect(self, request: Incoming, line: AccessLine) -> OwnAnswer:
        """:raises RequestError: it is not clear where to."""
        head = request.head
        if head is None or request.error is not None:
            raise request.error or RequestError("bad_request", what="it breaks the rules of HTTP")
        check_head(head)
        host, target = _target(head)
        if not is_host(host) or not target.startswith("/"):
            raise RequestError("bad_request", what="it does not say which page of which site is meant")
        if self._hosts and not self._hosts.named_by(head, host):
            raise RequestError("unknown_host")
        name = host[: host.rindex("]") + 1] if host.startswith("[") else host.partition(":")[0]
        port = "" if self._port == 443 else f":{self._port}"
        line.decision, line.status = "redirect", 308
        location = f"https://{name}{port}{target}"
        return OwnAnswer(308, [("Location", location), ("X-Request-Id", line.request_id), ("Server", SERVER)], b"")


def _target(head: RequestHead) -> tuple[str, str]:
    """Host and path with query; an absolute target says both (RFC 9112 §3.2.2)."""
    target = head.target
    scheme, found, rest = target.partition("://")
    if not target.startswith("/") and found and scheme.lower() in ("http", "https"):
        host, slash, path = rest.partition("/")
        return (
            (host, slash + path)
            if slash or "?" not in host
            else (host.partition("?")[0], "/?" + host.partition("?")[2])
        )
    hosts = head.values(b"host")
    return (hosts[0] if hosts else ""), target
