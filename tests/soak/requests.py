"""What clients send: requests drawn by lot, entered in the ledger, as bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.soak.ledger import Entry, Ledger, Pattern
from tests.soak.plans import KIB, NAMES, PLANS, WEIGHTS

_UPLOAD = (1, 300 * KIB)


@dataclass
class Scene:
    """What all clients share. ``cookies``: user → a Cookie header that works, for those who do not care whose."""

    port: int
    ledger: Ledger
    cookies: dict[str, str] = field(default_factory=dict)
    is_over: bool = False
    """Nobody begins anything any more."""


def draw(ledger: Ledger, dice: random.Random, user: str, plan: str | None = None) -> Entry:
    """A request, entered. Without a user it takes the public route."""
    name = plan or dice.choices(NAMES, WEIGHTS)[0]
    chosen = PLANS[name]
    entry = Entry("", name, "GET", chosen.route if user else "open", user, dice.getrandbits(32))
    entry.size = dice.randint(*chosen.sizes)
    if chosen.uploads or dice.random() < 0.33:
        entry.method = dice.choice(("POST", "PUT", "PATCH"))
        entry.upload = dice.randint(*(chosen.uploads or _UPLOAD))
        entry.chunked, entry.expects = dice.random() < 0.5, dice.random() < 0.15
    elif chosen.head and dice.random() < 0.2:
        entry.method = "HEAD"
    return ledger.open(entry)


def head(entry: Entry, cookie: str = "", *, version: str = "1.1") -> bytes:
    """Start line and headers."""
    lines = [f"{entry.method} {entry.target} HTTP/{version}", "Host: www.example.org", "Accept: */*"]
    if cookie:
        lines.append(f"Cookie: theme=dark; {cookie}; lang=en")
    if entry.has_body:
        lines.append("Transfer-Encoding: chunked" if entry.chunked else f"Content-Length: {entry.upload}")
    if entry.expects:
        lines.append("Expect: 100-continue")
    return "\r\n".join([*lines, "", ""]).encode()


def upload(entry: Entry, dice: random.Random) -> Iterator[bytes]:
    """The body as it goes over the wire. Before the last piece the entry says that all was sent."""
    pattern, at = Pattern(entry.marker + "-up"), 0
    while at < entry.upload:
        size = min(entry.upload - at, dice.choice((1, 100, 5000, 64 * KIB)))
        piece = pattern.at(at, size)
        at += size
        entry.sent_all = at == entry.upload and not entry.chunked
        yield b"%x\r\n%b\r\n" % (size, piece) if entry.chunked else piece
    if entry.chunked:
        entry.sent_all = True
        yield b"0\r\n\r\n"


def whole(entry: Entry, dice: random.Random, cookie: str = "") -> bytes:
    """All of it; nothing counts as sent yet."""
    data = head(entry, cookie) + b"".join(upload(entry, dice))
    entry.sent_all = False
    return data
