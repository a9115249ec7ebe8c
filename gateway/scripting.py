"""Sessions outside the gateway: in a script, a shell, a cron job, and in an aiohttp application of one's own.

::

    async with open_store(load_settings(Path("config/gateway.yaml"), os.environ)) as store:
        session = store.session(key)
        await session.load()
        session["cart"] = []
        await session.save()

    setup_sessions(app, settings)  # or, while a store is open: store.setup(app)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.core.keys import KeyRing, parse_ring
from gateway.core.refusals import Site
from gateway.denylists import make_denylist
from gateway.engines import SessionParts, session_cookie, session_parts
from gateway.settings import Settings
from gateway.settings.load import ring_of
from gateway.store.denylist import Denylist
from gateway.store.sessions import Sessions
from gateway.web.own_app import install
from gateway.web.session import WebSession
from gateway.web.signed_cookies import signed_cookies
from gateway.web.storage import SessionStorage


@dataclass(frozen=True, slots=True)
class Store:
    """An open session store."""

    _settings: Settings
    _ring: KeyRing
    _parts: SessionParts
    _denylist: Denylist | None
    """Where there are tokens: those of a session end with it, whoever ends it."""

    @property
    def sessions(self) -> Sessions:
        """All of them: found, listed and ended."""
        return self._parts.sessions

    def session(self, key: str | None = None) -> WebSession:
        """The session with this ``session_key``, to be loaded; None: a new one."""
        return WebSession.for_key(self.sessions, key)

    async def clear_expired(self) -> int:
        """Deletes the sessions that are over, and says how many. 0 with Redis, which does that by itself.

        :raises gateway.errors.StoreUnavailable: some may be left.
        """
        return await self.sessions.clear_expired()

    def setup(self, app: web.Application) -> None:
        """``get_session`` and signed cookies in every handler of this application, which runs while the store is open.

        One application for each store; its sub-applications are part of it. ``SessionInterrupted`` is answered with 400,
        ``StoreUnavailable`` with 503 and ``Retry-After``; neither answer carries a cookie.

        :raises RuntimeError: the application runs already.
        """
        settings = self._settings
        site = Site(settings.site.url, settings.site.prefix, settings.site.language, settings.server.tls.is_on)
        keep = settings.session.keep_at_sign_in
        storage = SessionStorage(self.sessions, session_cookie(settings), keep_at_sign_in=keep)
        install(app, storage, signed_cookies(self._ring, secure=site.is_https), site)
        app.cleanup_ctx.append(self._while_it_runs)

    async def _close(self) -> None:
        if self._denylist is not None:
            await self._denylist.close()
        await self._parts.close()

    async def _while_it_runs(self, app: web.Application) -> AsyncIterator[None]:
        tasks = await self._parts.start()
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The store that the configuration names, with its key ring.

    :raises gateway.errors.StoreUnavailable: it cannot be used.
    """
    store = _store(settings)
    try:
        await store._parts.announcements.refresh()
        yield store
    finally:
        await asyncio.shield(store._close())


def setup_sessions(app: web.Application, settings: Settings) -> None:
    """:meth:`Store.setup` with a store of the application's own: open while it runs, for ``web.run_app`` and gunicorn.

    It starts without the store, too, and answers 503 until that is there.

    :raises gateway.errors.SettingsError: a serializer or a database that cannot be.
    :raises RuntimeError: the application runs already.
    """
    store = _store(settings)

    async def closing(app: web.Application) -> AsyncIterator[None]:
        yield
        await store._close()

    app.cleanup_ctx.append(closing)
    store.setup(app)


def _store(settings: Settings) -> Store:
    ring = parse_ring(ring_of(settings))
    parts = session_parts(settings, ring)
    return Store(settings, ring, parts, make_denylist(settings, parts))
