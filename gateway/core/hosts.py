"""Which names this site answers to: whoever names another one in Host gets 421 (RFC 9110 §15.5.20), before any rule.

A Host decides links, cookies and what backends believe about themselves (P35); a listed one does so without surprises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

from gateway.core.head import RequestHead, is_host

_REMEMBERED, _LONGEST = 1024, 300
_BELOW = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_USUAL_PORTS = frozenset({"80", "443"})


def split_host(text: str) -> tuple[str, str]:
    """Name and port of a well-formed Host, in one spelling: lower case (P13), without the dot of the root."""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        return f"[{IPv6Address(name)}]", port[1:]
    name, _, port = text.partition(":")
    return name.lower().removesuffix("."), port


def is_pattern(text: str) -> bool:
    """``www.example.org``, ``*.example.org``, ``[2001:db8::7]``; a port may stand behind it."""
    rest = text.removeprefix("*.")
    if not is_host(rest) or "*" in rest:
        return False
    return rest == text or _BELOW.fullmatch(split_host(rest)[0]) is not None


class Hosts:
    """``allowed``: names and ``*.`` patterns; a port counts only where one is given. Empty: any host will do."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        pairs = [split_host(one) for one in allowed]
        self._exact = {pair for pair in pairs if not pair[0].startswith("*.")}
        self._below = [(name[1:], port) for name, port in pairs if name.startswith("*.")]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def named_by(self, head: RequestHead, target_host: str | None) -> bool:
        """Does this request, well-formed, name the site by one of its names, in its target too where that has a host?"""
        host = head.by_name.get(b"host", b"").decode("latin-1")
        return self.allows(host) and (target_host is None or self.allows(target_host))

    def allows(self, host: str) -> bool:
        """May the site be called so? ``host`` is well-formed, or empty when the client named none."""
        known = self._known.get(host)
        if known is None:
            known = self._judge(*split_host(host))
            if len(host) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[host] = known
        return known

    def _judge(self, name: str, port: str) -> bool:
        ports = ("", port) if port else ("", *_USUAL_PORTS)
        if any((name, one) in self._exact for one in ports):
            return True
        return any(
            given in ports and name.endswith(end) and _BELOW.fullmatch(name[: -len(end)]) is not None
            for end, given in self._below
        )
