"""API keys, found for the gate. What is kept in this process is believed only while the store is proven to tell
of every change, as sessions are (:mod:`gateway.store.redis_tracking`).

A key stands for a person, and opens what that person may open by now: his rights are never read from the key's record. It
outlives a change of his password (as at GitHub and GitLab: scripts would stop all over the house, and whoever changes a
password sees his keys beside it); it does not outlive him. Where his source has to be asked first, :meth:`ApiKeys.find` waits
for it: what he was when the key was made, maybe a year ago, is no answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from gateway.core.access import Access, check_access
from gateway.core.api_keys import ApiKey, PresentedKey, looks_like_key, parse_key
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.errors import SourceUnavailable, StoreUnavailable
from gateway.store.announcements import Announcements
from gateway.store.api_key_cache import ApiKeyCache
from gateway.store.api_key_records import Records
from gateway.store.api_key_store import ApiKeyStore
from gateway.store.engine import Gone, Kept
from gateway.store.lookups import Lookups
from gateway.store.values import SealBroken, UnknownKey

log = logging.getLogger("gateway.api_keys")
_NOTE_EVERY = 60.0
_NOTED_AT_MOST = 10_000


class People(Protocol):
    """What has to be known of the users of keys."""

    def is_followed(self, user: Identity) -> bool:
        """Can his source say later who he is by then?"""

    def is_known(self, user: Identity) -> bool:
        """Is it known, without asking, who he is by now?"""

    def person(self, user: Identity) -> Identity | None:
        """Who he is by now, whatever became of his password; None: gone, disabled, or somebody else by now."""

    async def learn(self, user: Identity) -> None:
        """Asks for him. :raises SourceUnavailable: nobody says."""


class ApiKeys:
    """``access``: who may have keys. ``is_live``: may what is kept here be believed?"""

    def __init__(
        self,
        store: ApiKeyStore,
        records: Records,
        people: People,
        *,
        access: Access,
        announcements: Announcements | None = None,
        is_live: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._records, self._people = store, records, people
        self._access, self._announcements = access, announcements
        self._is_live, self._clock = is_live, clock
        self._cache = ApiKeyCache()
        self._lookups = Lookups(store.load)
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._later: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- for the gate
    def looks_like(self, text: str) -> bool:
        """Does it say that it is one of ours?"""
        return looks_like_key(text)

    def known(self, text: str) -> ApiKey | BadToken | None:
        """Without awaiting; None: it has to be asked for, which is begun. The same object as long as nothing changes.

        Begun here, too, because what a key holds open is asked about in this way alone, and must end when it is revoked.
        """
        try:
            presented = parse_key(text)
        except BadToken as error:
            return error
        if not self._is_live():
            return None
        key = self._cache.get(presented.id)
        if key is None and self._cache.is_unknown(presented.id, self._clock()):
            return BadToken("api_key_unknown")
        found = self._judged(presented, key) if key is not None else None
        if found is None and text not in self._later:
            self._later.add(text)
            self._begin(self._ask(text))
        return found

    async def _ask(self, text: str) -> None:
        try:
            with suppress(StoreUnavailable):
                await self.find(text)  # shares its look-up with whoever asks, too
        finally:
            self._later.discard(text)

    async def find(self, text: str) -> ApiKey | BadToken:
        """As :meth:`known`.

        :raises StoreUnavailable: nobody can say; also when the source of the key's user is away and has not said who he is.
        """
        try:
            presented = parse_key(text)
        except BadToken as error:
            return error
        key = await self._look_up(presented.id)
        found = self._judged(presented, key) if key is not None else BadToken("api_key_unknown")
        if found is not None or key is None:
            return found or BadToken("api_key_unknown")
        try:
            await self._people.learn(key.user)
        except SourceUnavailable as error:
            raise StoreUnavailable(f"whose an API key is cannot be asked: {error.cause}") from error
        learned = self._judged(presented, key)
        if learned is None:
            raise StoreUnavailable("whose an API key is was not said")
        return learned

    def _judged(self, presented: PresentedKey, key: ApiKey) -> ApiKey | BadToken | None:
        """The secret comes first: nobody is asked about on behalf of a stranger. None: who he is has to be asked."""
        if not key.fits(presented):
            return BadToken("api_key_unknown")
        if key.is_over(self._clock()):
            return BadToken("api_key_expired")
        if not self._people.is_known(key.user):
            return None
        now = self._people.person(key.user)
        if now is None or check_access(self._access, now) is not None:
            return BadToken("api_key_user")
        if now is key.user:
            return key
        fresh = replace(key, user=now)
        self._cache.freshen(key, fresh)
        return fresh

    def note_use(self, key: ApiKey) -> None:
        """At most once a minute for each key, in the background. That it could not be written stops nobody."""
        now = self._clock()
        if now < self._noted.get(key.id, 0.0) + _NOTE_EVERY:
            return
        self._noted[key.id] = now
        self._noted.move_to_end(key.id)
        if len(self._noted) > _NOTED_AT_MOST:
            self._noted.popitem(last=False)
        self._begin(self._write_use(key, now))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_use(self, key: ApiKey, now: float) -> None:
        with suppress(StoreUnavailable):
            await self._store.note_use(key.id, now, key.expires)

    async def close(self) -> None:
        """Until what was noted is written."""
        await asyncio.gather(*self._tasks)

    # -- looking up
    async def _look_up(self, key_id: str) -> ApiKey | None:
        asking = self._cache.asking(key_id)
        try:
            found = await self._opened(key_id, await self._lookups.get(key_id.encode()))
        except BaseException:
            self._cache.failed(key_id, asking)
            raise
        self._cache.asked(key_id, asking, found, self._clock())
        return found

    async def _opened(self, key_id: str, kept: Kept | Gone) -> ApiKey | None:
        """None: there is none, or one that nobody of us made."""
        if isinstance(kept, Gone):
            return None
        try:
            return self._records.open(key_id, kept.value)
        except SealBroken:
            log.error("the record of an API key does not open", extra={"fields": {"api_key": key_id}})
            return None
        except UnknownKey as error:
            if await self._may_be_ours(error.key_id):
                raise StoreUnavailable(f"an API key is under key {error.key_id.hex()}, not in this ring") from error
            return None

    async def _may_be_ours(self, master_id: bytes) -> bool:
        """Where nobody announces master keys: it may."""
        if self._announcements is None:
            return True
        await self._announcements.refresh()  # it may have been announced a moment ago
        return self._announcements.may_be_ours(master_id)

    def changed(self, key_ids: Iterable[str]) -> None:
        """The store says that these were written or are gone. Those in use are looked up again at once."""
        for key_id in key_ids:
            was_known = self._cache.get(key_id) is not None
            self._cache.forget((key_id,))
            self._lookups.overtake(key_id.encode("ascii", "replace"))
            if was_known:
                self._begin(self._look_again(key_id))

    async def _look_again(self, key_id: str) -> None:
        with suppress(StoreUnavailable):
            await self._look_up(key_id)

    def anything_changed(self) -> None:
        """Nobody can say what was written."""
        self._cache.forget_all()
        self._lookups.overtake_all()
