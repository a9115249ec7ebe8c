"""Differences and their explanations: a rule makes of what was seen without the gateway what must be seen with it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.differential.wire import Field, Message


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may ask: the request as the client sent it, the backend's address, who is signed in (or nobody)."""

    request: Message
    backend: bytes = b""
    identity: tuple[Field, ...] = ()

    @property
    def is_old(self) -> bool:
        """Does the client speak HTTP/1.0?"""
        return self.request.start[2] == b"HTTP/1.0"


Change = Callable[[Message, Facts], Message]


@dataclass(frozen=True, slots=True)
class Rule:
    """One difference: its source, what it says, and what it makes of a message seen without the gateway. ``both``: of the one
    seen with it as well, as neither is right or wrong."""

    source: str
    says: str
    change: Change
    both: bool = False


def unexplained(direct: Message, seen: Message, rules: Sequence[Rule], facts: Facts) -> list[str]:
    """The lines that no rule explains; none when all is as it should be."""
    for rule in rules:
        direct = rule.change(direct, facts)
        seen = rule.change(seen, facts) if rule.both else seen
    return [] if direct == seen else list(difflib.unified_diff(direct.lines(), seen.lines(), "expected", "seen", n=1))


def is_needed(rule: Rule, direct: Message, seen: Message, rules: Sequence[Rule], facts: Facts) -> bool:
    """Would there be an unexplained difference without this rule?"""
    return bool(unexplained(direct, seen, [other for other in rules if other is not rule], facts))
