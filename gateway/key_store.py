"""Puts API keys together: where they are kept, who may have them, and what keeps them known to this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.core.access import Access
from gateway.core.keys import KeyRing, parse_ring
from gateway.engines import SessionParts, redis_options
from gateway.errors import StartError
from gateway.handlers.api_keys import KeyRules
from gateway.identity.passwords import PasswordChecker
from gateway.identity.users import Users
from gateway.settings.api_keys import ApiKeySettings
from gateway.settings.load import ring_of
from gateway.settings.model import Settings
from gateway.settings.rules import AccessSettings
from gateway.store.api_key_book import ApiKeyBook
from gateway.store.api_key_records import Records
from gateway.store.api_key_store import ApiKeyStore, MemoryApiKeyStore
from gateway.store.api_keys import ApiKeys
from gateway.store.redis import RedisLink
from gateway.store.redis_api_keys import RedisApiKeyStore, tracked_prefix
from gateway.store.redis_tracking import Invalidations
from gateway.user_sources import make_sources


@dataclass(slots=True)
class KeyParts:
    """API keys for the gate (``keys``) and for people (``book``), and what runs beside them."""

    keys: ApiKeys
    book: ApiKeyBook
    invalidations: Invalidations | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Needs a running loop."""
        if self.invalidations is not None:
            self.invalidations.start()
        self._tasks.append(asyncio.create_task(self.book.run()))

    async def close(self) -> None:
        """Lets go of everything but the link to Redis, which is that of the sessions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keys.close()
        if self.invalidations is not None:
            await self.invalidations.close()


def make_api_keys(settings: Settings, ring: KeyRing, store: SessionParts, users: Users) -> KeyParts | None:
    """Connects to nothing yet. None: they are off."""
    given = settings.api_keys
    if not given.enabled:
        return None
    records, access, link = Records(ring), _access(given.access), store.link
    if link is None:
        kept: ApiKeyStore = MemoryApiKeyStore()
        keys = ApiKeys(kept, records, users, access=access, is_live=lambda: True)
        return KeyParts(keys, _book(given, kept, records, users, keys))
    kept, prefix = RedisApiKeyStore(link, settings.redis.prefix), tracked_prefix(settings.redis.prefix.encode())

    def on_names(names: Sequence[bytes]) -> None:
        keys.changed([name[len(prefix) :].decode("ascii", "replace") for name in names])

    told = Invalidations(link, prefix, on_names=on_names, on_lost=lambda: keys.anything_changed())

    def is_live() -> bool:
        told.note_use()
        return told.is_live

    keys = ApiKeys(kept, records, users, access=access, announcements=store.announcements, is_live=is_live)
    return KeyParts(keys, _book(given, kept, records, users, keys), told)


def _book(
    given: ApiKeySettings, store: ApiKeyStore, records: Records, users: Users, keys: ApiKeys | None = None
) -> ApiKeyBook:
    access = _access(given.access)
    if keys is None:
        return ApiKeyBook(store, records, users, access=access, most=given.max_per_user)
    return ApiKeyBook(store, records, users, access=access, most=given.max_per_user, on_changed=keys.changed)


def _access(rule: AccessSettings | str) -> Access:
    return Access() if isinstance(rule, str) else Access(False, frozenset(rule.usertype), frozenset(rule.groups))


def key_rules(settings: Settings) -> KeyRules:
    """How long keys may live, and for which routes they can be made: those that are not open to everybody anyway."""
    routes: dict[str, list[Access]] = {}
    for route in settings.routes:
        if route.access != "public":
            routes.setdefault(route.name or route.path, []).append(_access(route.access))
    return KeyRules(settings.api_keys.longest, routes)


@asynccontextmanager
async def open_key_book(settings: Settings) -> AsyncIterator[tuple[ApiKeyBook, Users]]:
    """The keys that all gateways share, and whose they may be, for a command.

    :raises StartError: there are none.
    """
    if not settings.api_keys.enabled:
        raise StartError("API keys are off: set api_keys.enabled")
    if settings.session.engine == "memory":
        raise StartError(
            "session.engine memory: API keys are in the memory of the gateway, where no command reaches them"
        )
    checker = PasswordChecker(1)
    users = Users(make_sources(settings, checker))
    link = RedisLink(redis_options(settings))
    try:
        store, records = RedisApiKeyStore(link, settings.redis.prefix), Records(parse_ring(ring_of(settings)))
        yield _book(settings.api_keys, store, records, users), users
    finally:
        await users.close()
        checker.close()
        await link.close()
