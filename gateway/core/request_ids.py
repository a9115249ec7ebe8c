"""Request ids: a ULID (48 bits of milliseconds, 80 random bits, Crockford's base32), so that they sort by time."""

from __future__ import annotations

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def request_id(now: float, entropy: bytes) -> str:
    """26 characters for ``now`` (epoch seconds) and 10 random bytes."""
    number = int(now * 1000) << 80 | int.from_bytes(entropy, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
