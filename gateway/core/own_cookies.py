"""Our own cookies among others: what a backend must not see, and must not set."""

from __future__ import annotations

_REMEMBERED, _SHORT = 4096, 1024
_TAKEN_OUT: dict[tuple[bytes, frozenset[str]], bytes] = {}


def own_taken_out(value: bytes, names: frozenset[str]) -> bytes:
    """:func:`without_cookies`, remembered: a browser sends the same cookies again and again."""
    known = _TAKEN_OUT.get((value, names))
    if known is None:
        known = without_cookies(value, names)
        if len(_TAKEN_OUT) >= _REMEMBERED:
            _TAKEN_OUT.clear()
        if len(value) <= _SHORT:
            _TAKEN_OUT[value, names] = known
    return known


def without_cookies(value: bytes, names: frozenset[str]) -> bytes:
    """A Cookie header without the cookies of these names; what stays keeps its bytes."""
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip().decode("latin-1") not in names]
    return value if len(kept) == len(pairs) else b";".join(kept).strip()


def cookie_set(value: bytes) -> str:
    """The name under which the cookie comes back: browsers send the nameless ``=ours=x`` as ``ours=x`` (RFC 6265bis §5.8.3)."""
    return value.lstrip(b" \t=").partition(b"=")[0].strip().decode("latin-1")
