"""API keys for people and commands: made, listed, revoked, and sealed again when the master key is replaced."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gateway.core.access import Access, check_access
from gateway.core.api_keys import ID_BYTES, SECRET_BYTES, ApiKey, hash_of, is_key_id, make_key
from gateway.core.identity import Identity
from gateway.errors import RequestError, StoreUnavailable
from gateway.store.api_key_records import Records
from gateway.store.api_key_store import ApiKeyStore, Sealed
from gateway.store.api_keys import People
from gateway.store.engine import Gone, Kept
from gateway.store.values import SealBroken, UnknownKey

_AGAIN_SECONDS = 5.0
_AT_ONCE = 200
_NOBODY = Identity("", "")


class ApiKeyBook:
    """``access``: who may have keys; ``most``: how many each. ``on_changed`` hears of what was made or revoked here."""

    def __init__(
        self,
        store: ApiKeyStore,
        records: Records,
        people: People,
        *,
        access: Access,
        most: int,
        on_changed: Callable[[Iterable[str]], None] = lambda key_ids: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._records, self._people = store, records, people
        self._access, self._most = access, most
        self._on_changed, self._clock = on_changed, clock

    def may_make(self, user: Identity) -> bool:
        """May he have keys, and can his source say later who he is by then?"""
        return self._people.is_followed(user) and check_access(self._access, user) is None

    async def make(self, user: Identity, name: str, routes: Iterable[str], expires: float | None) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody sees again.

        :raises RequestError: 403: he may have none, or has as many as he may.
        """
        if not self.may_make(user):
            raise RequestError("keys_not_allowed")
        key_id, text = make_key(os.urandom(ID_BYTES), os.urandom(SECRET_BYTES))
        key = ApiKey(key_id, name, user, frozenset(routes), self._clock(), expires, hash=hash_of(text))
        others = await self._noted_elsewhere(user)
        if not await self._store.create(self._sealed(key), others, self._most, key.created):
            raise RequestError("too_many_keys", limit=str(self._most))
        self._on_changed((key_id,))
        return key, text

    async def _noted_elsewhere(self, user: Identity) -> int:
        """How many living keys of his stand in lists under an older master key alone. Looks at all, so that what is gone is
        in no list any more."""
        now, here = self._clock(), {*await self._store.owned(self._records.owners(user)[0])}
        return sum(key.id not in here and not key.is_over(now) for key in await self.of(user))

    async def of(self, user: Identity) -> list[ApiKey]:
        """His keys, newest first; those that have expired not long ago, too."""
        found: dict[str, ApiKey] = {}
        for owner in self._records.owners(user):
            listed = await self._store.owned(owner)
            found |= {key.id: key for key in await self._listed(listed, owner) if key.user.is_same(user)}
        return _sorted(found.values())

    async def everybodys(self) -> list[ApiKey]:
        """All keys, newest first."""
        return _sorted(await self._listed(await self._store.everything(), None))

    async def _listed(self, key_ids: Sequence[str], owner: bytes | None) -> list[ApiKey]:
        """What is gone is taken out of the list on the way."""
        found: list[ApiKey] = []
        for start in range(0, len(key_ids), _AT_ONCE):
            part = [key_id for key_id in key_ids[start : start + _AT_ONCE] if is_key_id(key_id)]
            kept = await self._store.load([key_id.encode() for key_id in part])
            uses = await self._store.uses(part)
            await self._store.disown(owner, [one for one, it in zip(part, kept, strict=True) if isinstance(it, Gone)])
            for key_id, value, used in zip(part, kept, uses, strict=True):
                key = self._readable(key_id, value)
                if key is not None:
                    found.append(replace(key, last_used=used))
        return found

    def _readable(self, key_id: str, kept: Kept | Gone) -> ApiKey | None:
        try:
            return self._records.open(key_id, kept.value) if isinstance(kept, Kept) else None
        except (SealBroken, UnknownKey):
            return None

    async def revoke(self, key_id: str, user: Identity | None = None) -> ApiKey | None:
        """Ends it; what it was (without a name, when nobody can read it). ``user``: only if it is his. None: there is none."""
        (kept,) = await self._store.load([key_id.encode()]) if is_key_id(key_id) else [Gone()]
        key = self._readable(key_id, kept)
        if isinstance(kept, Gone) or (user is not None and (key is None or not key.user.is_same(user))):
            return None
        await self._store.delete(key_id, [] if key is None else self._records.owners(key.user))
        self._on_changed((key_id,))
        return key or ApiKey(key_id, "", _NOBODY)

    # -- running
    async def run(self) -> None:
        """Seals again, under the master key that is active now, what is under an older one: keys outlive it. Once."""
        while True:
            try:
                await self.seal_again()
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def seal_again(self) -> int:
        """How many were under an older master key.

        :raises StoreUnavailable: some may be left.
        """
        count = 0
        for key_id in filter(is_key_id, await self._store.everything()):
            (kept,) = await self._store.load([key_id.encode()])
            key = self._readable(key_id, kept)
            if key is not None and isinstance(kept, Kept) and not self._records.is_under_active_key(kept.value):
                await self._store.replace(self._sealed(key), kept.value, self._clock())
                count += 1
        return count

    def _sealed(self, key: ApiKey) -> Sealed:
        return Sealed(key.id, self._records.owners(key.user)[0], self._records.seal(key), key.expires)


def _sorted(keys: Iterable[ApiKey]) -> list[ApiKey]:
    return sorted(keys, key=lambda key: -key.created)
