"""Where API keys are kept: what such a store can do, and one in memory, for one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.store.engine import Gone, Kept

LINGER = 7 * 86400.0
"""Seconds for which an expired key is kept: whoever wonders why his script fails finds it in his list."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A key as a store sees it. ``expires``: in epoch seconds, None: never."""

    id: str
    owner: bytes
    value: bytes = field(repr=False)
    expires: float | None


class ApiKeyStore(Protocol):
    """Every method may raise :class:`gateway.errors.StoreUnavailable`. Ids and owners are printable ASCII."""

    async def load(self, key_ids: Sequence[bytes]) -> list[Kept | Gone]:
        """What is kept under each id, in order."""

    async def create(self, key: Sealed, others: int, most: int, now: float) -> bool:
        """False: its owner has ``most`` keys that have not expired, ``others`` of them noted under another name."""

    async def replace(self, key: Sealed, old: bytes, now: float) -> None:
        """If there is still ``old``: what it is now, and whose."""

    async def delete(self, key_id: str, owners: Sequence[bytes]) -> bool:
        """Ends it everywhere; False: it was not there."""

    async def owned(self, owner: bytes) -> list[str]:
        """The ids of somebody's keys, maybe some that are gone."""

    async def everything(self) -> list[str]:
        """All ids, maybe some that are gone."""

    async def disown(self, owner: bytes | None, key_ids: Sequence[str]) -> None:
        """Takes them out of somebody's list; None: out of that of all."""

    async def uses(self, key_ids: Sequence[str]) -> list[float | None]:
        """When each was used last, in epoch seconds."""

    async def note_use(self, key_id: str, at: float, expires: float | None) -> None:
        """It was used."""

    async def close(self) -> None:
        """Lets go of everything that is its own."""


class MemoryApiKeyStore:
    """An :class:`ApiKeyStore` that ends with its process."""

    def __init__(self) -> None:
        self._kept: dict[str, Sealed] = {}
        self._used: dict[str, float] = {}

    async def load(self, key_ids: Sequence[bytes]) -> list[Kept | Gone]:
        """From memory."""
        found = [self._kept.get(key_id.decode()) for key_id in key_ids]
        return [Kept(one.value, None) if one else Gone() for one in found]

    async def create(self, key: Sealed, others: int, most: int, now: float) -> bool:
        """Also forgets what has expired long since."""
        for one in list(self._kept.values()):
            if one.expires is not None and one.expires + LINGER <= now:
                await self.delete(one.id, ())
        living = [one for one in self._kept.values() if one.expires is None or one.expires > now]
        if others + sum(one.owner == key.owner for one in living) >= most:
            return False
        self._kept[key.id] = key
        return True

    async def replace(self, key: Sealed, old: bytes, now: float) -> None:
        """If it is still there."""
        if key.id in self._kept and self._kept[key.id].value == old:
            self._kept[key.id] = key

    async def delete(self, key_id: str, owners: Sequence[bytes]) -> bool:
        """Wherever it is."""
        self._used.pop(key_id, None)
        return self._kept.pop(key_id, None) is not None

    async def owned(self, owner: bytes) -> list[str]:
        """In the order in which they were made."""
        return [key.id for key in self._kept.values() if key.owner == owner]

    async def everything(self) -> list[str]:
        """In the order in which they were made."""
        return list(self._kept)

    async def disown(self, owner: bytes | None, key_ids: Sequence[str]) -> None:
        """There are no lists that could be wrong."""

    async def uses(self, key_ids: Sequence[str]) -> list[float | None]:
        """From memory."""
        return [self._used.get(key_id) for key_id in key_ids]

    async def note_use(self, key_id: str, at: float, expires: float | None) -> None:
        """While there is such a key."""
        if key_id in self._kept:
            self._used[key_id] = at

    async def close(self) -> None:
        """Nothing to let go of."""
