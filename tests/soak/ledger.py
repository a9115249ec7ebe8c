"""Who asked for what, and what the backend saw of it. Each request has a marker that it, its bodies and its answer carry."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field

POISON = b"POISON"
"""Stands in every byte that the backend sends and nobody may see."""
_MAX_BREACHES = 300
_TOLD_OF_A_KIND = 3
_ONE_OF_MANY = re.compile(r"(?: \(on the connection of [^:]*\)|[0-9A-Z]+|chunked |after |b'.*)+")
_REMEMBERED = 3000  # the backend may be asked after the client has gone
_PERIOD = 8191  # prime: a piece that is lost or doubled shifts the rest


class Pattern:
    """Bytes of any length that belong to one marker, and can be checked piece by piece."""

    def __init__(self, marker: str) -> None:
        self._block = random.Random(marker).randbytes(_PERIOD)

    def at(self, start: int, size: int) -> bytes:
        """``size`` bytes of it from ``start``."""
        start %= _PERIOD
        return (self._block * ((start + size) // _PERIOD + 1))[start : start + size]


@dataclass(slots=True)
class Entry:
    """One request of a client of ours: what was agreed, and what the backend has seen."""

    marker: str
    plan: str
    method: str
    route: str
    user: str = ""
    seed: int = 0
    """Of the backend's dice for this request."""
    size: int = 0
    """Bytes of the answer's body."""
    upload: int = 0
    """Bytes of the request's body."""
    chunked: bool = False
    expects: bool = False
    sent_all: bool = False
    """Has the client handed over its last byte?"""
    attempts: int = 0
    note: str = ""
    """Which variant of its plan the backend took."""

    def __str__(self) -> str:
        framing = ("chunked " if self.chunked else "") + ("after 100 " if self.expects else "")
        note = f" ({self.note})" if self.note else ""
        return f"{self.method} {self.marker}{note}, upload {framing}{self.upload}, answer {self.size}"

    @property
    def is_complete(self) -> bool:
        """May the backend take it for whole?"""
        return self.sent_all or not self.has_body

    @property
    def has_body(self) -> bool:
        """Is there a body on the way to the backend?"""
        return bool(self.upload) or self.chunked

    @property
    def target(self) -> str:
        """The path that it is asked with."""
        return f"/{self.route}/{self.marker}"

    @property
    def may_repeat(self) -> bool:
        """May the gateway send it twice (RFC 9110 §9.2.2)?"""
        return self.method in ("GET", "HEAD") and not self.has_body


@dataclass
class Ledger:
    """The newest requests. ``breaches``: what must never happen, in words; a few of each kind."""

    entries: dict[str, Entry] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """The same without what differs from time to time → how often."""
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(who, plan, outcome) → how often."""
    _made: int = 0

    def open(self, entry: Entry) -> Entry:
        """Enters a request before it is sent; its marker is made here."""
        self._made += 1
        entry.marker = f"m{self._made}-{entry.plan}"
        self.entries[entry.marker] = entry
        if len(self.entries) > _REMEMBERED:
            del self.entries[next(iter(self.entries))]
        return entry

    def find(self, target: str) -> Entry | None:
        """The request that a target belongs to, if one of ours."""
        found = re.fullmatch(r"/[a-z]+/([^/?]+)", target)
        return self.entries.get(found[1]) if found else None

    def breach(self, text: str) -> None:
        """Something that must never happen."""
        kind = _ONE_OF_MANY.sub("#", text)
        self.kinds[kind] += 1
        if self.kinds[kind] <= _TOLD_OF_A_KIND:
            self.breaches.append(text)

    @property
    def is_full(self) -> bool:
        """Has so much gone wrong that no more of it helps?"""
        return self.kinds.total() >= _MAX_BREACHES

    def count(self, who: str, plan: str, outcome: str) -> None:
        """One more of these."""
        self.outcomes[who, plan, outcome] += 1
