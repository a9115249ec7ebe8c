"""How far a request may still go: ``Max-Forwards`` (RFC 9110 §7.6.2), and whether it goes round in circles (§7.6.3)."""

from __future__ import annotations

from gateway.core.head import RequestHead

PSEUDONYM = "auth-gateway"
"""How we call ourselves in ``Via``."""
_MOST, _DIGITS = 10**9, 18
_ROUNDS = 5
"""Gateways of this kind that a request may pass: there may be one behind another, but not five."""


def remaining_hops(head: RequestHead) -> int | None:
    """How many more servers may forward it; None: any number, or the field means nothing with this method."""
    if head.method not in ("OPTIONS", "TRACE") or not head.has(b"max-forwards"):
        return None
    (value, *others) = head.values(b"max-forwards")
    if others or not (value.isascii() and value.isdigit()):
        return None
    return min(int(value[-_DIGITS:]) if set(value[:-_DIGITS]) <= {"0"} else _MOST, _MOST)


def goes_round(head: RequestHead) -> bool:
    """Has it passed gateways like this one so often that it must be a loop?"""
    return head.has(b"via") and ",".join(head.values(b"via")).count(PSEUDONYM) >= _ROUNDS
