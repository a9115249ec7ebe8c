"""Refresh tokens: opaque, good once, and tied to a session, which is their family (RFC 9700 §4.14.2). No store here.

A token is ``key id ‖ session id ‖ secret ‖ MAC`` (4 + 32 + 32 + 16 bytes, base64url) behind a prefix that scanners for leaked
secrets can look for. The session's record holds, under a key that no handler sees, a hash of the secret that is good now and
of those used within the grace, and a seed. The successor of a secret is an HMAC of it under the seed: whoever refreshes twice
at once, or has lost the answer, gets the same one again, and nothing that could be used has to be kept. The seed is the
family's own, not the master key, so that a rotation of that in between changes nothing.

An authentic token that is neither the present one nor of the grace was used before: somebody has a copy.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gateway.core.keys import KeyRing, b64url, from_b64url
from gateway.core.sessions import RESERVED
from gateway.core.tickets import SESSION_ID_BYTES, Tickets

PREFIX = "gwr_"
FAMILY = RESERVED + "refresh"
"""Where a session's record has it."""
SECRET_BYTES = 32
_MOST_USED = 8
"""Used ones that are kept; a client that refreshes more often within the grace has no use for the first ones."""
_NOW, _SEED, _USED = "now", "seed", "used"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What an authentic one holds."""

    session_id: bytes = field(repr=False)
    secret: bytes = field(repr=False)


class RefreshTickets(Tickets):
    """Writes and reads them."""

    def __init__(self, ring: KeyRing) -> None:
        super().__init__(ring, b"refresh token", SESSION_ID_BYTES + SECRET_BYTES)

    def write(self, token: RefreshToken) -> str:
        """The text for the client."""
        return PREFIX + self.sign(token.session_id + token.secret)

    def read(self, text: str) -> RefreshToken | None:
        """None for what is not ours, cut or changed."""
        content = self.open(text.removeprefix(PREFIX)) if text.startswith(PREFIX) and text.isascii() else None
        return None if content is None else RefreshToken(content[:SESSION_ID_BYTES], content[SESSION_ID_BYTES:])

    def key_of(self, text: str) -> bytes | None:
        """The id of a key that is not in the ring, of a text that has the form of a token."""
        return self.unknown_key(text.removeprefix(PREFIX)) if text.startswith(PREFIX) and text.isascii() else None


@dataclass(frozen=True, slots=True)
class Fresh:
    """It is the present one: ``family`` is to be written, and then ``secret`` is the next one's."""

    family: dict[str, Any] = field(repr=False)
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Again:
    """It was used a moment ago: ``secret`` is that of the present one."""

    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reused:
    """It was used before; whoever else has used it is not who presents it now."""


@dataclass(frozen=True, slots=True)
class NoFamily:
    """The session has none."""


def new_family(seed: bytes, secret: bytes) -> dict[str, Any]:
    """For the record of a session; ``seed`` and ``secret`` are random."""
    return {_NOW: _hash(secret), _SEED: b64url(seed), _USED: []}


def is_present(data: Mapping[str, Any], secret: bytes) -> bool:
    """Is it the one that is good now?"""
    family = _family(data)
    return family is not None and hmac.compare_digest(family[0], _hash(secret))


def judge(data: Mapping[str, Any], secret: bytes, now: float, grace: float) -> Fresh | Again | Reused | NoFamily:
    """What a secret is worth to a session with these data. ``now`` in epoch seconds, ``grace`` in seconds."""
    family = _family(data)
    if family is None:
        return NoFamily()
    present, seed, used = family
    recent = [(one, at) for one, at in used if abs(now - at) <= grace]
    hashed = _hash(secret)
    if hmac.compare_digest(present, hashed):
        after = successor(seed, secret)
        return Fresh(
            {
                _NOW: _hash(after),
                _SEED: b64url(seed),
                _USED: [[present, round(now, 3)], *map(list, recent)][:_MOST_USED],
            },
            after,
        )
    if not any(hmac.compare_digest(one, hashed) for one, _ in recent):
        return Reused()
    for _ in range(_MOST_USED):  # the successor may have been used within the grace, too
        secret = successor(seed, secret)
        if hmac.compare_digest(present, _hash(secret)):
            return Again(secret)
    return Reused()


def successor(seed: bytes, secret: bytes) -> bytes:
    """The secret that takes the place of this one."""
    return hmac.digest(seed, b"refresh successor" + secret, "sha256")


def _family(data: Mapping[str, Any]) -> tuple[str, bytes, list[tuple[str, float]]] | None:
    """As kept; a serializer may have made tuples of lists."""
    kept = data.get(FAMILY)
    if not isinstance(kept, Mapping):
        return None
    seed = from_b64url(str(kept.get(_SEED)))
    if seed is None or len(seed) != SECRET_BYTES:
        return None
    return str(kept.get(_NOW)), seed, [(str(one), float(at)) for one, at in kept.get(_USED, ())]


def _hash(secret: bytes) -> str:
    return b64url(sha256(secret).digest())
