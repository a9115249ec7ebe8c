"""May a shared cache store this answer? Then it must not carry a cookie of ours: somebody else would get it."""

from __future__ import annotations

import re
from collections.abc import Iterable

# RFC 9110 §15.1: may be stored without being told to (heuristic freshness, RFC 9111 §4.2.2)
_BY_DEFAULT = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
# its fields replace those of what is stored (RFC 9111 §4.3.4)
_REVALIDATED = 304
_QUOTED = re.compile(r'"[^"]*"')


def may_be_shared(method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """By RFC 9111 §3; in doubt True. That the request had a cookie forbids nothing to a cache."""
    if method not in ("GET", "HEAD", "POST"):
        return False
    told: list[str] = []
    has_expires = False
    for name, value in headers:
        lowered = name.lower()
        if lowered.endswith((b"-cache-control", b"surrogate-control")):
            return True  # a CDN obeys what is said to it alone before Cache-Control (RFC 9213 §2.2)
        if lowered == b"cache-control":
            told += [part.strip() for part in _QUOTED.sub("", value.decode("latin-1").lower()).split(",")]
        has_expires = has_expires or lowered == b"expires"
    # private="field" is about that field alone, and must-understand lifts no-store (RFC 9111 §5.2.2.7, §5.2.2.3)
    if "private" in told or ("no-store" in told and "must-understand" not in told):
        return False
    explicit = has_expires or any(word.partition("=")[0] in ("public", "max-age", "s-maxage") for word in told)
    return explicit or (method != "POST" and (status in _BY_DEFAULT or status == _REVALIDATED))
