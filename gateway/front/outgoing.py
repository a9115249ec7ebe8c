"""Heads on the wire: a request for a backend, an answer for a client."""

from __future__ import annotations

from gateway.core.head import RequestHead
from gateway.core.headers import (
    HeaderPolicy,
    Origin,
    RawHeaderList,
    identity_headers,
    origin_headers,
    request_headers,
    response_headers,
)
from gateway.core.hops import remaining_hops
from gateway.core.identity import Identity
from gateway.core.routes import Route
from gateway.front.dates import CLOCK
from gateway.front.incoming import Incoming
from gateway.gate import Forward
from gateway.upstream.answer import AnswerHead

_BODILESS = frozenset({204, 304})
_REMEMBERED, _LONGEST_HOST = 2048, 256
_WITH_HOPS = frozenset({"OPTIONS", "TRACE"})
_DATE = len("date")
_END = b"\r\n"
_UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def fields(headers: RawHeaderList) -> bytes:
    """Header lines."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


class RequestHeads:
    """What is the same for every request of a user is made once."""

    def __init__(self, policy: HeaderPolicy, *, is_https: bool) -> None:
        self._policy = policy
        self._scheme = "https" if is_https else "http"
        self._identities: dict[int, tuple[Identity, bytes]] = {}
        self._known: dict[int, tuple[RequestHead, Route, bytes, bytes, bytes]] = {}
        self._origins: dict[tuple[str, str, str, tuple[int, int]], tuple[bytes, bytes]] = {}

    def make(self, request: Incoming, verdict: Forward, authority: str, request_id: str) -> bytes:
        """The head for the backend, our own HTTP version in it (RFC 9112 §2.3); ``authority`` is the upstream's own Host."""
        head = request.head
        assert head is not None
        known = self._known.get(id(head)) if head.is_shared else None
        if known is not None and known[0] is head and known[1] is verdict.route:
            lines, before, behind = [known[2]], known[3], known[4]
        else:
            lines, before, behind = self._lines(request, head, verdict, authority)
        user = verdict.user
        if user is not None:
            lines.append(self._identity(user))
        told = verdict.route.told
        if told is not None:
            lines.append(told.lines(user, verdict.session, sid_of(verdict)))
        lines += (before, request_id.encode(), behind)
        if request.websocket:
            lines.append(_UPGRADE)
        lines.append(b"Transfer-Encoding: chunked\r\n\r\n" if request.chunked else _END)
        return b"".join(lines)

    def _lines(
        self, request: Incoming, head: RequestHead, verdict: Forward, authority: str
    ) -> tuple[list[bytes], bytes, bytes]:
        """The request line and what passes of the client's; and what stands around the request id."""
        route, target = verdict.route, verdict.target
        sent = head.by_name.get(b"host")
        host = target.host or ("" if sent is None else sent.decode("latin-1"))
        told = host if route.preserve_host and host else authority
        is_ours = route.authorization == "gateway" and route.identity != "none"
        is_ours = is_ours or (route.told is not None and route.told.has_authorization)
        changed = None if told == host and target.host is None else told
        headers = request_headers(head.raw, self._policy, host=changed, authorization=not is_ours)
        if sent is None:
            headers.insert(0, (b"Host", told.encode("latin-1")))
        if request.expects_continue or head.method in _WITH_HOPS or head.version != (1, 1):
            self._adapt(request, head, headers)
        before, behind = self._origins.get((head.peer, head.scheme, host, head.version)) or self._origin(head, host)
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        lines.insert(0, f"{head.method} {target.forward} HTTP/1.1\r\n".encode("latin-1"))
        if head.is_shared:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[id(head)] = head, route, b"".join(lines), before, behind
        return lines, before, behind

    def _origin(self, head: RequestHead, host: str) -> tuple[bytes, bytes]:
        """What tells where requests of one address to one host come from: before and behind the request id."""
        origin = Origin(head.peer, head.scheme or self._scheme, host, "\0")
        made = fields(origin_headers(origin, self._policy, head.version))
        before, _, behind = made.partition(b"\0")
        if len(self._origins) >= _REMEMBERED:
            self._origins.clear()
        if len(host) <= _LONGEST_HOST:
            self._origins[head.peer, head.scheme, host, head.version] = before, behind
        return before, behind

    def _adapt(self, request: Incoming, head: RequestHead, headers: RawHeaderList) -> None:
        """What is neither passed on as it is nor dropped always."""
        if head.has(b"expect") and not (request.expects_continue and request.has_body):
            headers[:] = [pair for pair in headers if pair[0].lower() != b"expect"]
        hops = remaining_hops(head)
        if hops is not None:
            spent = b"%d" % max(hops - 1, 0)
            headers[:] = [(name, spent if name.lower() == b"max-forwards" else value) for name, value in headers]

    def _identity(self, user: Identity) -> bytes:
        known = self._identities.get(id(user))
        if known is not None and known[0] is user:
            return known[1]
        made = fields(identity_headers(user, self._policy))
        if len(self._identities) >= _REMEMBERED:
            self._identities.clear()
        self._identities[id(user)] = (user, made)
        return made


def sid_of(verdict: Forward) -> str:
    """What names the session in public: its handle, or what the token says; of an API key, nothing."""
    if verdict.session is not None:
        return verdict.session.card.handle
    claims = verdict.bearer.claims if verdict.bearer is not None else None
    return claims.sid if claims is not None and not claims.is_foreign else ""


def interim_head(answer: AnswerHead, own_cookies: frozenset[str]) -> bytes:
    """An interim answer, passed on (RFC 9110 §15.2)."""
    headers, _ = response_headers(answer.headers, own_cookies, "as_is")
    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]  # RFC 9110 §8.6
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.reason, fields(headers))


def switch_head(headers: RawHeaderList) -> bytes:
    """``101``: both ends speak WebSocket behind it (RFC 6455 §4.2.2)."""
    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]  # RFC 9110 §8.6
    return b"HTTP/1.1 101 Switching Protocols\r\n%b%b\r\n" % (_UPGRADE, fields(headers))


def is_bodiless(method: str, status: int) -> bool:
    """Does no body follow, whatever the head says (RFC 9112 §6.3)?"""
    return method == "HEAD" or status in _BODILESS


def answer_start(
    head: RequestHead, answer: AnswerHead, headers: RawHeaderList, *, stays: bool
) -> tuple[bytes, bool, bool]:
    """The head for the client, whether its body goes in chunks, and whether it ends with the connection (RFC 9112 §6.3)."""
    status = answer.status
    if status == 204:  # RFC 9110 §8.6: no length there
        headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
    parts = [b"HTTP/1.1 %d %b\r\n" % (status, answer.reason), fields(headers)]
    chunked = until_close = False
    if answer.length is None and not is_bodiless(head.method, status):
        chunked = head.version == (1, 1)
        until_close = not chunked
    if not any(len(name) == _DATE and name.lower() == b"date" for name, _ in headers):
        parts.append(b"Date: %b\r\n" % CLOCK.date())  # RFC 9110 §6.6.1: who has a clock adds it before passing it on
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    parts.append(_END if stays and not until_close else b"Connection: close\r\n\r\n")
    return b"".join(parts), chunked, until_close
