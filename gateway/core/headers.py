"""What passes to a backend and back (docs/http-api.md; RFC 9110 §7.6). Bytes in, bytes out, order kept.

Ours is stripped first and added last, so that a client can neither send our headers, in any spelling (case, ``_`` or
``.`` for ``-``: P24, P25), nor make us drop our own by naming them in ``Connection`` (P29).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from urllib.parse import quote

from gateway.core.head import RawHeaders
from gateway.core.hops import PSEUDONYM
from gateway.core.identity import Identity
from gateway.core.own_cookies import cookie_set, own_taken_out

RawHeaderList = list[tuple[bytes, bytes]]
Encoding = Literal["percent", "utf8", "latin1"]
FIELDS = ("user", "username", "email", "groups", "usertype")

PRESETS: Mapping[str, Mapping[str, str]] = {
    "forwarded": {
        "user": "X-Forwarded-User",
        "username": "X-Forwarded-Preferred-Username",
        "email": "X-Forwarded-Email",
        "groups": "X-Forwarded-Groups",
        "usertype": "X-Forwarded-Usertype",
    },
    "remote": {
        "user": "Remote-User",
        "username": "Remote-Name",
        "email": "Remote-Email",
        "groups": "Remote-Groups",
        "usertype": "Remote-Usertype",
    },
    "auth-request": {
        "user": "X-Auth-Request-User",
        "username": "X-Auth-Request-Preferred-Username",
        "email": "X-Auth-Request-Email",
        "groups": "X-Auth-Request-Groups",
        "usertype": "X-Auth-Request-Usertype",
    },
}

_USUAL = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})  # names nothing that is not stripped anyway
# RFC 9110 §7.6.1 and the older lists; never passed on in either direction.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authenticate proxy-authorization".split()
)
# A client's own statement about who and where it is: ours alone to make. So is everything X-Forwarded-*.
_OURS = frozenset(
    b"forwarded x-real-ip x-original-url x-original-method x-rewrite-url x-request-id x-gateway-assertion "
    b"x-session-data x-session-update x-session-update-failed x-auth-request-access-token".split()
)
_OURS_BEGIN = b"x-forwarded-"
# Between us and the backend: never part of an answer to a client.
_SESSION_HEADERS = frozenset({b"x-session-data", b"x-session-update", b"x-session-update-failed"})
_PRESET_NAMES = frozenset(name.lower().encode() for preset in PRESETS.values() for name in preset.values())
# Read by CGI, WSGI and PHP backends as the real thing when spelled with an underscore (hazard A6). ``Proxy`` becomes
# HTTP_PROXY there (CVE-2016-5385), in every spelling.
_REAL_ONLY_WITH_DASH = frozenset({b"content-length", b"content-type"})
# One spelling for all that a backend may take for one name: PHP reads a dot as an underscore, Apache 2.2's CGI whatever is
# neither letter nor digit.
_ONE_SPELLING = bytes(
    ord(char.lower()) if (char := chr(code)).isascii() and char.isalnum() else 45 for code in range(256)
)


@dataclass(frozen=True)
class HeaderPolicy:
    """How identity and origin are told; one for all routes. ``names`` maps :data:`FIELDS` to header names."""

    names: Mapping[str, str]
    encoding: Encoding = "percent"
    via: bool = True
    forwarded: bool = False
    own_cookies: frozenset[str] = frozenset()
    own_headers: tuple[str, ...] = ()
    """More of them that are the gateway's: no backend gets them."""

    @cached_property
    def kinds(self) -> NameKinds:
        """What is to be done with a client's header of this name."""
        return NameKinds(self.stripped)

    @cached_property
    def stripped(self) -> frozenset[bytes]:
        """Names (lower case, dashes) that a client's request never brings along."""
        own = {_one_spelling(name.encode()) for name in (*self.names.values(), *self.own_headers)}
        return _HOP_BY_HOP | _OURS | _PRESET_NAMES | own | {b"proxy"}


@dataclass(slots=True)
class Origin:
    """Where the request came from: the caller's address, the site's scheme, the Host the client named."""

    address: str
    scheme: str
    host: str
    request_id: str


_OWN_SECRET = re.compile(rb" *bearer +gw[kr]_", re.IGNORECASE)  # API keys and refresh tokens: no backend's, on no route
_PASS, _DROP, _COOKIE, _HOST, _AUTHORIZATION, _CONNECTION, _SESSION = range(7)
_MAX_NAMES = 4096


class NameKinds(dict[bytes, int]):
    """By name as it was sent: the same few names come with every request. Bounded; others are judged each time."""

    def __init__(self, stripped: frozenset[bytes]) -> None:
        super().__init__()
        self._stripped = stripped

    def __missing__(self, name: bytes) -> int:
        kind = self._judge(name)
        if len(self) < _MAX_NAMES and len(name) <= 64:
            self[name] = kind
        return kind

    def _judge(self, name: bytes) -> int:
        key = _one_spelling(name)
        if name.lower() == b"connection":
            return _CONNECTION
        if key in self._stripped or key.startswith(_OURS_BEGIN):
            return _DROP
        if key in _REAL_ONLY_WITH_DASH and key != name.lower():
            return _DROP
        return {b"cookie": _COOKIE, b"host": _HOST, b"authorization": _AUTHORIZATION}.get(key, _PASS)


def request_headers(
    raw: RawHeaders, policy: HeaderPolicy, *, host: str | None, authorization: bool = True
) -> RawHeaderList:
    """The client's headers that may pass. ``host`` replaces the value of Host; ``authorization``: is that one passed on?"""
    kinds = policy.kinds
    kept: RawHeaderList = []
    has_named = False
    for pair in raw:
        name, value = pair
        kind = kinds[name]
        if kind == _PASS or (kind == _AUTHORIZATION and authorization and _OWN_SECRET.match(value) is None):
            kept.append(pair)
        elif kind == _COOKIE:
            value = own_taken_out(value, policy.own_cookies)
            if value:
                kept.append((name, value))
        elif kind == _HOST:
            kept.append(pair if host is None else (name, host.encode("latin-1")))
        elif kind == _CONNECTION and value not in _USUAL:
            has_named = True
    return _without_named(kept, connection_named(raw)) if has_named else kept


def _without_named(headers: RawHeaderList, named: set[bytes]) -> RawHeaderList:
    return [pair for pair in headers if _one_spelling(pair[0]) not in named]


def _one_spelling(name: bytes) -> bytes:
    return name.translate(_ONE_SPELLING)


def connection_named(raw: RawHeaders) -> set[bytes]:
    """Every field that ``Connection`` names (lower case): it ends here (RFC 9110 §7.6.1). Framing stays ours to judge."""
    named: set[bytes] = set()
    for name, value in raw:
        if len(name) == 10 and name.lower() == b"connection" and value not in _USUAL:
            named.update(_one_spelling(token.strip()) for token in value.split(b","))
    return named - {b"content-length", b"host"} if named else named


def identity_headers(user: Identity, policy: HeaderPolicy) -> RawHeaderList:
    """Who is asking, in the operator's spelling. Empty values are sent too: absent would let another layer fill them (P27)."""
    groups = ",".join(_encode_text(group, policy.encoding).replace(",", "%2C") for group in user.groups)
    values = {
        "user": _encode_text(user.id, policy.encoding),
        "username": _encode_text(user.username, policy.encoding),
        "email": _encode_text(user.email, policy.encoding),
        "usertype": _encode_text(user.usertype, policy.encoding),
        "groups": groups,
    }
    charset = "latin-1" if policy.encoding == "latin1" else "utf-8"
    return [(policy.names[key].encode(), values[key].encode(charset, "replace")) for key in FIELDS]


def _encode_text(text: str, encoding: Encoding) -> str:
    """UTF-8 percent-encoded outside printable ASCII; with other encodings only what a header cannot hold is lost."""
    if encoding == "percent":
        encoded = quote(text, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~", errors="replace")
        inner = encoded.strip(
            " "
        )  # blanks at the edges would be trimmed on the way: " admin" must not arrive as "admin"
        return encoded if inner == encoded else encoded.replace(" ", "%20")
    return "".join(char if char >= " " and char != "\x7f" else "?" for char in text)


def origin_headers(origin: Origin, policy: HeaderPolicy, version: tuple[int, int]) -> RawHeaderList:
    """X-Forwarded-*, X-Request-Id, and Via (behind those it came with, RFC 9110 §7.6.3) and Forwarded (RFC 7239)."""
    headers = [
        (b"X-Forwarded-For", origin.address.encode()),
        (b"X-Forwarded-Proto", origin.scheme.encode()),
        (b"X-Forwarded-Host", origin.host.encode("latin-1", "replace")),
        (b"X-Forwarded-Port", _port(origin).encode()),
        (b"X-Request-Id", origin.request_id.encode()),
    ]
    if policy.forwarded:
        headers.append((b"Forwarded", _forwarded(origin).encode("latin-1", "replace")))
    if policy.via:
        headers.append((b"Via", b"%d.%d %b" % (*version, PSEUDONYM.encode())))
    return headers


def _port(origin: Origin) -> str:
    tail = origin.host.rpartition("]")[2] if origin.host.startswith("[") else origin.host
    port = tail.partition(":")[2]
    return port or ("443" if origin.scheme == "https" else "80")


def _forwarded(origin: Origin) -> str:
    address = f'"[{origin.address}]"' if ":" in origin.address else origin.address or "unknown"
    return f'for={address};host="{origin.host}";proto={origin.scheme}'


class _AnswerKinds(dict[bytes, int]):
    """As :class:`NameKinds`, for what backends send."""

    def __missing__(self, name: bytes) -> int:
        key = _one_spelling(name)
        kind = _DROP if key in _HOP_BY_HOP and key != b"proxy-authenticate" else _PASS
        if key == b"set-cookie":
            kind = _COOKIE
        elif key in _SESSION_HEADERS:
            kind = _SESSION
        if name.lower() == b"connection":
            kind = _CONNECTION
        if len(self) < _MAX_NAMES and len(name) <= 64:
            self[name] = kind
        return kind


_ANSWER_KINDS = _AnswerKinds()


def is_session_header(name: bytes) -> bool:
    """Is it one of ``X-Session-*``, in any spelling?"""
    return _one_spelling(name) in _SESSION_HEADERS


def response_headers(raw: RawHeaders, own_cookies: frozenset[str], cache: str) -> tuple[RawHeaderList, int]:
    """What of the backend's answer passes, and how many fields were ours alone to send and are removed: cookies of our name,
    and ``X-Session-*``."""
    kinds = _ANSWER_KINDS
    kept: RawHeaderList = []
    stolen, has_named = 0, False
    for pair in raw:
        kind = kinds[pair[0]]
        if kind == _PASS:
            kept.append(pair)
        elif kind == _COOKIE:
            if cookie_set(pair[1]) in own_cookies:
                stolen += 1
            else:
                kept.append(pair)
        elif kind == _SESSION:
            stolen += 1
        elif kind == _CONNECTION and pair[1] not in _USUAL:
            has_named = True
    if has_named:
        kept = _without_named(kept, connection_named(raw))
    return (kept if cache == "as_is" else _cache(kept, cache)), stolen


def _cache(headers: RawHeaderList, cache: str) -> RawHeaderList:
    """``no-store`` replaces what the backend said; ``private`` takes the shared caches out of it (RFC 9111 §5.2.2.7).

    What is said to shared caches alone goes in both cases: a CDN obeys it before Cache-Control (RFC 9213 §2.2).
    """
    said = b",".join(value for name, value in headers if name.lower() == b"cache-control")
    rest = [
        (name, value) for name, value in headers if not name.lower().endswith((b"cache-control", b"surrogate-control"))
    ]
    if cache == "no-store":
        return [*rest, (b"Cache-Control", b"no-store")]
    words = [word.strip() for word in said.split(b",")]
    own = [w for w in words if w and w.lower() not in (b"public", b"private") and not w.lower().startswith(b"s-maxage")]
    return [*rest, (b"Cache-Control", b", ".join([b"private", *own]))]
