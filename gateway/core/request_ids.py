"""Request ids: a ULID (48 bits of milliseconds, 80 bits of entropy, Crockford's base32), so that they sort by time."""

from __future__ import annotations

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_COUNTED = 1 << 20


def request_id(now: float, entropy: bytes) -> str:
    """26 characters for ``now`` (epoch seconds) and 10 random bytes."""
    number = int(now * 1000) << 80 | int.from_bytes(entropy, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


class RequestIds:
    """The ids of one process: its last 20 bits are counted, so that an id costs half a microsecond (the ULID specification
    asks for as much within a millisecond). ``entropy(n)`` gives n random bytes.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._millisecond = -1
        self._time = ""
        self._random = ""
        self._count = _COUNTED

    def make(self, now: float) -> str:
        """The next one; ``now`` in epoch seconds."""
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._time = request_id(now, bytes(10))[:10]
        count = self._count + 1
        if count >= _COUNTED:
            drawn = self._entropy(10)
            self._random = request_id(0, drawn)[10:22]
            count = int.from_bytes(drawn[-2:], "big")
        self._count = count
        return f"{self._time}{self._random}{_PAIRS[count >> 10]}{_PAIRS[count & 1023]}"
