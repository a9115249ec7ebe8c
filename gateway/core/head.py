"""The head of a request as plain data: what every front door hands to the gate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import RequestError

Headers = CIMultiDict[str] | CIMultiDictProxy[str]
RawHeaders = Sequence[tuple[bytes, bytes]]

# RFC 9110 §7.2 and RFC 3986 §3.2.2: a reg-name, an IPv4 address or a bracketed IPv6 address, and a port.
_SHORT = 256  # hosts that are remembered
_VERSIONS = frozenset({(1, 0), (1, 1)})
_REG_NAME = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_IPV6_CHARS = frozenset("0123456789abcdefABCDEF:.")  # no zone: %eth0 is nobody's business but the sender's


@dataclass(slots=True)
class RequestHead:
    """Method, target as received, version, headers in order as bytes, address of the caller, and the scheme when somebody
    who knows has told it. Nothing of that changes, so one object may stand for all requests that are equal byte for byte
    (``is_shared``)."""

    method: str
    target: str
    version: tuple[int, int]
    raw: RawHeaders = field(repr=False)
    peer: str
    scheme: str = ""
    is_shared: bool = field(default=False, compare=False)
    is_checked: bool = field(default=False, repr=False, compare=False)
    """Has :func:`check_head` found nothing?"""
    _by_name: dict[bytes, bytes] | None = field(default=None, repr=False, compare=False)
    _headers: Headers | None = field(default=None, repr=False, compare=False)

    @property
    def headers(self) -> Headers:
        """The headers as text, found without regard to case; made when first asked for."""
        if self._headers is None:
            self._headers = CIMultiDict(
                [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in self.raw]
            )
        return self._headers

    @property
    def by_name(self) -> dict[bytes, bytes]:
        """One value for each name in lower case; when a header is repeated there are fewer names than headers."""
        if self._by_name is None:
            self._by_name = {name.lower(): value for name, value in self.raw}
        return self._by_name

    def seen_as(self, peer: str, scheme: str) -> RequestHead:
        """The same request, as coming from somebody else."""
        told = RequestHead(self.method, self.target, self.version, self.raw, peer, scheme, self.is_shared)
        told._by_name = self.by_name
        return told

    def has(self, name: bytes) -> bool:
        """Is there a header of this name (lower case)?"""
        return name in self.by_name

    def values(self, name: bytes) -> list[str]:
        """All values of a header (its name in lower case), in order."""
        by_name = self._by_name or self.by_name
        value = by_name.get(name)
        if value is None:
            return []
        if len(by_name) == len(self.raw):
            return [value.decode("utf-8", "surrogateescape")]
        return [value.decode("utf-8", "surrogateescape") for key, value in self.raw if key.lower() == name]


def check_head(head: RequestHead) -> None:
    """Refuses what no route may see.

    :raises RequestError: 505 (hazard A3), 400 (RFC 9112 §3.2: Host; §6.1: Transfer-Encoding on 1.0), 405 (CONNECT, P84).
    """
    if head.is_checked:
        return
    if head.version not in _VERSIONS:
        raise RequestError("bad_version")
    if head.method == "CONNECT":
        raise RequestError("method_not_allowed", method="CONNECT")
    if head.target == "*" and head.method != "OPTIONS":  # RFC 9112 §3.2.4
        raise RequestError("bad_request", what="its target is no path")
    by_name = head.by_name
    if b"transfer-encoding" in by_name:
        _check_framing(head)
    hosts = head.values(b"host")
    if len(hosts) > 1 or (not hosts and head.version == (1, 1)):
        raise RequestError("bad_request", what="exactly one Host header is needed")
    if hosts and not is_host(hosts[0]):
        raise RequestError("bad_request", what="the Host header is not a host")
    if b"expect" in by_name and any(value.lower() != "100-continue" for value in head.values(b"expect")):
        raise RequestError("expectation_failed")
    head.is_checked = True


def _check_framing(head: RequestHead) -> None:
    """One way only to find the end of the body, for us and for every backend (RFC 9112 §6.1, §6.3; D3, D6).

    An empty Transfer-Encoding is none to the parser, which then goes by Content-Length: passed on as chunked with that
    length still there, it would let a stranger put requests of his own on a backend's connection.
    """
    codings = head.values(b"transfer-encoding")
    if head.version == (1, 0):
        raise RequestError("bad_request", what="Transfer-Encoding in an HTTP/1.0 request")
    if head.has(b"content-length") or len(codings) > 1 or not codings[0].strip():
        raise RequestError("bad_request", what="its body is not framed as HTTP says")
    if codings[0].strip().lower() != "chunked":
        raise RequestError("unknown_coding")


def is_host(value: str) -> bool:
    """Is this ``uri-host [":" port]``, not empty?"""
    return _known_host(value) if len(value) <= _SHORT else _is_host(value)


def _is_host(value: str) -> bool:
    if value.startswith("["):
        address, bracket, rest = value[1:].partition("]")
        return bool(bracket) and _is_ipv6(address) and (not rest or (rest[0] == ":" and _is_port(rest[1:])))
    host, colon, port = value.partition(":")
    return _REG_NAME.fullmatch(host) is not None and (not colon or _is_port(port))


_known_host = lru_cache(1024)(_is_host)


def _is_ipv6(text: str) -> bool:
    if not _IPV6_CHARS.issuperset(text):
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text == "" or (text.isascii() and text.isdigit() and int(text[:6]) < 65536 and len(text) <= 5)
