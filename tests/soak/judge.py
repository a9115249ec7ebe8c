"""What a well-behaved client makes of an answer: its own, whole, or a failure that the plan explains."""

from __future__ import annotations

import json

from tests.soak.ledger import POISON, Entry
from tests.soak.plans import PLANS
from tests.soak.wire import Answer

_REASONS = {
    "502": {"upstream_unreachable", "upstream_nonsense", "upstream_broke_off"},
    "504": {"upstream_timeout"},
}


class Wrong(Exception):
    """Nobody may get this, whatever the backend does."""


def outcome(entry: Entry, answer: Answer) -> str:
    """``whole``, ``cut``, ``nothing``, or the status of the gateway's own answer.

    :raises Wrong: somebody else's answer, a changed one, a cut one that passes for whole.
    """
    own = entry.marker.encode()
    for head in [*answer.interim, answer]:
        if POISON in repr(head.headers).encode():
            raise Wrong(f"a head that nobody may see: {head.status} {repr(head.headers)[:60]}")
        if (marker := head.value(b"x-marker")) not in (b"", own):
            raise Wrong(f"somebody else's answer: {marker!r}")
    if answer.value(b"x-marker") == own and not answer.is_pattern:
        raise Wrong(f"a body that is not its own, {answer.size} bytes: {answer.start[:80]!r}")
    if not answer.is_whole:
        return "cut" if answer.has_begun else "nothing"
    return _from_backend(entry, answer) if answer.value(b"x-marker") else _from_gateway(answer, entry.method)


def _from_backend(entry: Entry, answer: Answer) -> str:
    no_body = entry.method == "HEAD" or answer.status in (204, 304)
    if answer.size != (0 if no_body else entry.size):
        raise Wrong(f"{answer.size} bytes instead of {entry.size} pass for the whole answer")
    order = [name + b"=" + value for name, value in answer.headers if name.lower() == b"x-order"]
    if order != [b"X-Order=1", b"x-ORDER=2"]:
        raise Wrong(f"headers changed: {answer.headers}")
    return "whole"


def _from_gateway(answer: Answer, method: str) -> str:
    """The gateway's own words: JSON with a reason that fits, and no address of the backend in it."""
    code = str(answer.status)
    if method == "HEAD" and not answer.size:
        return code
    try:
        told = json.loads(answer.start)
    except ValueError as error:
        raise Wrong(f"{code} without JSON: {answer.start[:200]!r}") from error
    if not isinstance(told, dict) or not {"ret", "msg", "reason"} <= told.keys() or b"127.0.0.1:" in answer.start:
        raise Wrong(f"{code} in other words: {answer.start[:200]!r}")
    if code in _REASONS and told["reason"] not in _REASONS[code]:
        raise Wrong(f"{code} for {told['reason']}")
    return code


def is_explained(entry: Entry, got: str) -> bool:
    """Does the backend's conduct explain it?"""
    may = PLANS[entry.plan].may
    if got in may:
        return True
    if got == "502" and not entry.may_repeat and not entry.attempts:
        return True  # it went out on a kept connection that the backend closed just then, and may not be sent again
    return got in ("cut", "nothing") and bool(entry.upload) and not may.isdisjoint(_REASONS)
