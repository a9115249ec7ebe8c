"""API keys that this process knows already. Pure bookkeeping: when it may be believed is the caller's to know.

As in :mod:`gateway.store.cache`: a look-up says beforehand what it asks for, and what it brings is kept only if no news of
that key came meanwhile. An answer that was read before a revocation and arrives after it would otherwise stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gateway.core.api_keys import ApiKey
from gateway.store.cache import Asking

UNKNOWN_SECONDS = 30.0
_AT_MOST = 10_000


class ApiKeyCache:
    """At most ``size`` keys, and as many ids that nobody has; the least recently used go first. All by the key's id."""

    def __init__(self, size: int = _AT_MOST) -> None:
        self._size = size
        self._known: OrderedDict[str, ApiKey] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, Asking] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def get(self, key_id: str) -> ApiKey | None:
        """The key, or None when it is not known here."""
        known = self._known.get(key_id)
        if known is not None:
            self._known.move_to_end(key_id)
        return known

    def is_unknown(self, key_id: str, now: float) -> bool:
        """Was it found out a short while ago that there is no such key?"""
        return now < self._unknown.get(key_id, 0.0)

    def asking(self, key_id: str) -> Asking:
        """A look-up begins; :meth:`asked` must follow."""
        return self._asking.setdefault(key_id, Asking())

    def asked(self, key_id: str, asking: Asking, key: ApiKey | None, now: float) -> None:
        """It has brought this; None: there is no such key."""
        if self._asking.get(key_id) is not asking:
            return
        del self._asking[key_id]
        if key is not None:
            self._known[key_id] = key
            _shrink(self._known, self._size)
        else:
            self._unknown[key_id] = now + UNKNOWN_SECONDS
            _shrink(self._unknown, self._size)

    def failed(self, key_id: str, asking: Asking) -> None:
        """It has brought nothing."""
        if self._asking.get(key_id) is asking:
            del self._asking[key_id]

    def freshen(self, before: ApiKey, key: ApiKey) -> None:
        """The same key, with its user as he is now."""
        if self._known.get(key.id) is before:
            self._known[key.id] = key

    def forget(self, key_ids: Iterable[str]) -> None:
        """These changed, or are gone."""
        for key_id in key_ids:
            for kept in (self._asking, self._known, self._unknown):
                kept.pop(key_id, None)

    def forget_all(self) -> None:
        """Anything may have changed."""
        for kept in (self._asking, self._known, self._unknown):
            kept.clear()


def _shrink(kept: OrderedDict[str, ApiKey] | OrderedDict[str, float], size: int) -> None:
    while len(kept) > size:
        kept.popitem(last=False)
