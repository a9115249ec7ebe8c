"""API keys, as the gate takes them (:mod:`gateway.store.bearers`)."""

from __future__ import annotations

from gateway.core.api_keys import ApiKey
from gateway.core.jwt import BadToken
from gateway.store.api_keys import ApiKeys
from gateway.store.bearers import Bearer

_KEPT = 10_000


class KeySource:
    """API keys. What they open stays open for as long as the key is good."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._kept: dict[str, tuple[ApiKey, Bearer]] = {}

    def takes(self, text: str) -> bool:
        """By its prefix."""
        return self._keys.looks_like(text)

    def known(self, text: str) -> Bearer | BadToken | None:
        """Without awaiting."""
        found = self._keys.known(text)
        return self._bearer(text, found) if isinstance(found, ApiKey) else found

    async def find(self, text: str) -> Bearer | BadToken:
        """:raises StoreUnavailable: nobody can say."""
        found = await self._keys.find(text)
        return self._bearer(text, found) if isinstance(found, ApiKey) else found

    def _bearer(self, text: str, key: ApiKey) -> Bearer:
        self._keys.note_use(key)
        kept = self._kept.get(text)
        if kept is not None and kept[0] is key:
            return kept[1]
        made = Bearer(text, key.user, key.routes)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[text] = key, made
        return made
