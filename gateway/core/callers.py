"""Who is calling, when proxies stand in front of us: what a trusted one says in X-Forwarded-For, X-Forwarded-Proto and
Forwarded (RFC 7239). This docstring is the policy.

Nobody is trusted unless ``server.trusted_proxies`` says so; what others say is never looked at (P31, P33).

- The list is walked from right to left, from what the nearest proxy wrote to what the client claims: trusted addresses are
  skipped, the first other one is the caller (P34). When all are trusted it is the leftmost.
- ``unknown`` and ``_hidden`` nodes end the walk: the nearest address that is known is the caller.
- What cannot be understood is 400, wherever it stands in the list (P32). So are two headers that contradict each other.
- The scheme is the one that the caller's own request had. A host is not believed in any of them (P35): links and cookies
  come from ``site.url`` or ``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.core.head import RequestHead, is_host
from gateway.errors import RequestError

UNIX = "unix"
"""In a list of proxies: whoever comes by a unix socket, and so has no address."""
_FOR, _PROTO, _FORWARDED = "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"
_MOST = 64  # proxies in a row
_REMEMBERED = 4096
_LONGEST = 64  # of a node that is remembered
_MAPPED = 96  # bits before an IPv4 address in ::ffff:0:0/96
_IPV6_CHARS = frozenset("0123456789abcdefABCDEF:.")  # no zone: %eth0 means something on one machine only
# Traefik says ws and wss for WebSockets.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_PAIR = re.compile(rf"[ \t]*+(?:({_WORD})=({_WORD}|{_QUOTED}))?[ \t]*+([;,]|\Z)")  # RFC 7239 §4
_PORT = re.compile(r":(?:[0-9]{1,5}|_[A-Za-z0-9._-]+)")  # RFC 7239 §6
_HIDDEN = re.compile(r"_[A-Za-z0-9._-]+")


def as_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without zone; one of IPv4 inside of IPv6 is one of IPv4."""
    try:
        if ":" not in text:
            return IPv4Address(text)
        if not _IPV6_CHARS.issuperset(text):
            return None
        address = IPv6Address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address


def as_network(text: str) -> IPv4Network | IPv6Network:
    """An address, or a network in CIDR notation.

    :raises ValueError: it is none, bits are set behind its prefix, or it holds everybody.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("must be addresses, networks like 10.0.0.0/8 or 2001:db8::/32, or unix") from error
    if "%" in text or str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"must have no bits and no zone behind the network: {network}")
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED:
        network = IPv4Network((mapped, network.prefixlen - _MAPPED))
    if network.prefixlen == 0:
        raise ValueError("must not be everybody: whoever comes could say anything")
    return network


@dataclass(frozen=True, slots=True)
class _Node:
    """One place on the way: its address, or "" where that is not told; the scheme it asked for, when that is told."""

    address: str
    scheme: str = ""


class Callers:
    """``trusted``: addresses and networks of proxies, and :data:`UNIX`. Whether a connection comes from one of them is asked
    once (:meth:`trusts`); only then :meth:`seen` is called for its requests."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        listed = tuple(trusted)
        self._networks = tuple(as_network(one) for one in listed if one != UNIX)
        self._trusts_unix = UNIX in listed
        self._trusted: dict[str, bool] = {"": self._trusts_unix}
        self._nodes: dict[str, str | None] = {}
        self._seen: dict[int, tuple[RequestHead, RequestHead]] = {}

    def trusts(self, address: str) -> bool:
        """Is what comes from there believed? ``address`` is empty for a unix socket."""
        if not self._networks:
            return not address and self._trusts_unix
        known = self._trusted.get(address)
        if known is None:
            if len(self._trusted) >= _REMEMBERED:
                self._trusted = {"": self._trusts_unix}
            known = self._trusted[address] = self._is_listed(address)
        return known

    def _is_listed(self, text: str) -> bool:
        address = as_address(text.partition("%")[0])  # the kernel names the zone of a link-local peer
        return address is not None and any(address in network for network in self._networks)

    def seen(self, head: RequestHead) -> RequestHead:
        """The request of a trusted peer, as coming from whom it comes.

        :raises RequestError: 400, what the proxies say cannot be understood.
        """
        if not head.is_shared:
            return self._judge(head)
        known = self._seen.get(id(head))
        if known is None or known[0] is not head:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            known = self._seen[id(head)] = head, self._judge(head)
        return known[1]

    def _judge(self, head: RequestHead) -> RequestHead:
        caller, scheme = self._caller(head), _said_scheme(head)
        if scheme and caller.scheme and scheme != caller.scheme:
            raise _bad(f"{_PROTO} and {_FORWARDED} contradict each other")
        return head.seen_as(caller.address, scheme or caller.scheme or head.scheme)

    def _caller(self, head: RequestHead) -> _Node:
        listed = forwarded = None
        if head.has(b"x-forwarded-for"):
            nodes = self._addresses(head.values(b"x-forwarded-for"))
            listed = self._walk(head.peer, nodes) if nodes else None
        if head.has(b"forwarded"):
            nodes = self._elements(head.values(b"forwarded"))
            forwarded = self._walk(head.peer, nodes) if nodes else None
        if listed is None or forwarded is None:
            return listed or forwarded or _Node(head.peer)
        if listed.address != forwarded.address:
            raise _bad(f"{_FOR} and {_FORWARDED} contradict each other")
        return forwarded

    def _walk(self, peer: str, nodes: Sequence[_Node]) -> _Node:
        known = peer
        for node in reversed(nodes):
            if not node.address:
                return _Node(known, node.scheme)
            known = node.address
            if not self.trusts(known):
                return node
        return nodes[0]

    def _addresses(self, lines: Sequence[str]) -> list[_Node]:
        nodes = []
        for text in ",".join(lines).split(","):
            text = text.strip(" \t")
            if text:  # RFC 9110 §5.6.1.2: a list may have empty elements
                nodes.append(_Node(self._node(text, _FOR)))
        if len(nodes) > _MOST:
            raise _bad(f"{_FOR} cannot be understood")
        return nodes

    def _elements(self, lines: Sequence[str]) -> list[_Node]:
        nodes = []
        for line in lines:
            for pairs in _forwarded_elements(line):
                scheme = _SCHEMES.get(pairs.get("proto", "http").lower())
                if scheme is None or not is_host(pairs.get("host", "-")):
                    raise _bad(f"{_FORWARDED} cannot be understood")
                address = self._node(pairs["for"], _FORWARDED) if "for" in pairs else ""
                nodes.append(_Node(address, scheme if "proto" in pairs else ""))
        if len(nodes) > _MOST:
            raise _bad(f"{_FORWARDED} cannot be understood")
        return nodes

    def _node(self, text: str, header: str) -> str:
        """Its address in one spelling, "" when it is not told; the same ones come again and again."""
        known = self._nodes.get(text)
        if known is None:
            known = _node_address(text)
            if known is None or (text.startswith("_") and header == _FOR):
                raise _bad(f"{header} cannot be understood")
            if len(self._nodes) >= _REMEMBERED:
                self._nodes.clear()
            if len(text) <= _LONGEST and not text.startswith("_"):
                self._nodes[text] = known
        return known


def _node_address(text: str) -> str | None:
    """``192.0.2.7``, ``192.0.2.7:80``, ``2001:db8::7``, ``[2001:db8::7]:80``, ``unknown``, ``_hidden``; else None."""
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        address = as_address(inside) if bracket and ":" in inside else None
    else:
        address, port = as_address(text), ""
        if address is None:
            name, colon, port = text.partition(":")
            port = colon + port
            if (name.lower() == "unknown" or _HIDDEN.fullmatch(name)) and _is_port(port):
                return ""
            address = as_address(name)
    return str(address) if address is not None and _is_port(port) else None


def _is_port(text: str) -> bool:
    if not text:
        return True
    return _PORT.fullmatch(text) is not None and (text[1] == "_" or int(text[1:]) < 65536)


def _forwarded_elements(line: str) -> list[dict[str, str]]:
    """``for=192.0.2.7;proto=https, for=…`` as one mapping for each element, names in lower case."""
    elements: list[dict[str, str]] = []
    pairs: dict[str, str] = {}
    at, mark = 0, ","
    while mark:
        found = _PAIR.match(line, at)
        if found is None:
            raise _bad(f"{_FORWARDED} cannot be understood")
        name, value, mark = found.groups()
        at = found.end()
        if name is not None:
            if name.lower() in pairs:  # RFC 7239 §4: not more than once
                raise _bad(f"{_FORWARDED} cannot be understood")
            pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == '"' else value
        if mark != ";" and pairs:
            elements.append(pairs)
            pairs = {}
    return elements


def _said_scheme(head: RequestHead) -> str:
    """What X-Forwarded-Proto says; several that agree are one."""
    if not head.has(b"x-forwarded-proto"):
        return ""
    said = {
        _SCHEMES.get(text.strip(" \t").lower(), "") for text in ",".join(head.values(b"x-forwarded-proto")).split(",")
    }
    scheme = said.pop()
    if said or not scheme:
        raise _bad(f"{_PROTO} cannot be understood")
    return scheme


def _bad(what: str) -> RequestError:
    return RequestError("bad_request", what=what)
