"""Refusals on the wire: JSON, or a small page for a page load that is sent nowhere (docs/http-api.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.head import RequestHead
from gateway.core.refusals import Refusal, Site
from gateway.front.dates import CLOCK
from gateway.front.notices import notice
from gateway.pages import Pages

SERVER = "auth-gateway"
CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_PHRASES = {
    200: "OK",
    302: "Found",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer of ours. ``close``: the connection serves no other request after it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    close: bool = False


class Refusals:
    """Makes answers of refusals. ``drop_cookie`` gives the ``Set-Cookie`` that deletes the session's cookie."""

    def __init__(self, site: Site, pages: Pages, drop_cookie: Callable[[], str]) -> None:
        self._site = site
        self._pages = pages
        self._drop_cookie = drop_cookie
        self._hardening = list(hardening(site).items())

    def answer(self, head: RequestHead | None, refusal: Refusal, request_id: str) -> OwnAnswer:
        """The whole answer but for ``Date``, the length and what concerns the connection."""
        if head is not None and refusal.page_load and refusal.redirect is None:
            kind, body = (
                "text/html; charset=utf-8",
                self._pages.render(notice(head, refusal, request_id)).encode("utf-8", "replace"),
            )
        else:
            kind, body = "application/json; charset=utf-8", _json(refusal, request_id)
        headers = [("Content-Type", kind), *refusal.headers.items(), ("X-Request-Id", request_id), *self._hardening]
        if kind.startswith("text/html"):
            headers.append(("Content-Security-Policy", CSP))
        if refusal.location is not None:
            headers.append(("Location", refusal.location))
        if refusal.drop_cookie:
            headers.append(("Set-Cookie", self._drop_cookie()))
        return OwnAnswer(refusal.status, headers, body, refusal.close)


def _json(refusal: Refusal, request_id: str) -> bytes:
    text = json.dumps(refusal.body(request_id), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def hardening(site: Site) -> dict[str, str]:
    """The headers of everything that is ours (docs/http-api.md)."""
    headers = {"Server": SERVER, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
    if site.is_https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def on_the_wire(answer: OwnAnswer, *, is_head: bool, version: tuple[int, int], stays: bool) -> bytes:
    """The whole answer in bytes. HEAD gets the headers of GET and no body."""
    lines = [f"{name}: {value}\r\n" for name, value in answer.headers]
    text = (
        f"HTTP/1.{0 if version == (1, 0) else 1} {answer.status} {_PHRASES.get(answer.status, '')}\r\n{''.join(lines)}"
    )
    end = b"\r\n" if stays else b"Connection: close\r\n\r\n"
    body = b"" if is_head else answer.body
    head = text.encode("utf-8", "surrogateescape")
    return b"%bContent-Length: %d\r\nDate: %b\r\n%b%b" % (head, len(answer.body), CLOCK.date(), end, body)


class Template:
    """A refusal that is given again and again: all but the request id and the date are bytes already."""

    ID = "Z" * 26
    """Stands for the id while the template is made; no ULID is as large."""

    def __init__(self, answer: OwnAnswer) -> None:
        """:raises ValueError: the id stands somewhere else, too."""
        mark = self.ID.encode()
        whole = on_the_wire(answer, is_head=False, version=(1, 1), stays=True)
        head, _, body = whole.partition(b"\r\nDate: ")
        self._head, self._head_rest = head.split(mark)
        self._body, self._body_rest = body.partition(b"\r\n\r\n")[2].split(mark)
        self.status = answer.status
        self.size = len(answer.body)

    def fill(self, request_id: str, *, is_head: bool, stays: bool) -> bytes:
        """The whole answer."""
        told = request_id.encode()
        end = b"\r\n\r\n" if stays else b"\r\nConnection: close\r\n\r\n"
        parts = [self._head, told, self._head_rest, b"\r\nDate: ", CLOCK.date(), end]
        if not is_head:
            parts += [self._body, told, self._body_rest]
        return b"".join(parts)


def options_answer(allow: str, request_id: str) -> OwnAnswer:
    """For ``OPTIONS`` that goes no further (RFC 9110 §7.6.2)."""
    return OwnAnswer(200, [("Allow", allow), ("X-Request-Id", request_id), ("Server", SERVER)], b"")
