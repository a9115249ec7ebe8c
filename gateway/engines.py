"""Puts the session engine together that the configuration names, what it needs to run, and its cookie."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing
from gateway.core.refusals import Site
from gateway.core.sessions import Limits, SessionPolicy
from gateway.core.tickets import session_tickets
from gateway.errors import Problem, SettingsError, StoreUnavailable
from gateway.settings.model import Settings
from gateway.settings.values import address_pair
from gateway.store.announcements import Announcements
from gateway.store.cookie_sessions import CookieSessions
from gateway.store.directory import Cap, UserSessions
from gateway.store.engine import SessionEngine
from gateway.store.files import FileSessionEngine
from gateway.store.memory import MemorySessionEngine
from gateway.store.reader import Belief
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_sessions import RedisSessionEngine, tracked_name, tracked_prefix
from gateway.store.redis_tracking import Invalidations
from gateway.store.serializers import serializer_named
from gateway.store.sessions import Sessions
from gateway.store.values import Values
from gateway.web.cookies import CookieOptions

log = logging.getLogger("gateway.sessions")
_POLL_SECONDS = 5.0
_CLEAR_EVERY = 3600.0
UserNow = Callable[[Identity], Identity | None]
"""A session's user as he is by now; None: gone, disabled, or his password was changed."""
Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class SessionParts:
    """Sessions, and what runs beside them: ``tasks`` until they are cancelled, ``invalidations`` for the cache."""

    sessions: Sessions
    announcements: Announcements
    link: RedisLink | None = None
    invalidations: Invalidations | None = None
    tasks: list[Work] = field(default_factory=list)

    async def start(self) -> list[asyncio.Task[None]]:
        """Begins what runs beside; the tasks are the caller's to cancel."""
        if self.invalidations is not None:
            self.invalidations.start()
            self.invalidations.note_use()  # connects now: an announced key has to be known before the first look-up
        await self.announcements.begin()
        return [asyncio.create_task(work()) for work in self.tasks]

    async def close(self) -> None:
        """Lets go of everything."""
        if self.invalidations is not None:
            await self.invalidations.close()
        await self.sessions.close()


def state_folder() -> Path:
    """Where things are kept that no setting names (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "auth-gateway")


def _own_state_folder(key: str) -> Path:
    """For the setting ``key``, which was left out.

    :raises SettingsError: it cannot be made.
    """
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        what = f"left out, and the state folder {folder} cannot be made: {error.strerror}"
        raise SettingsError([Problem(key, "", what)]) from error
    return folder


def redis_options(settings: Settings) -> RedisOptions:
    """The slice of the settings that the link to Redis needs."""
    given = settings.redis
    secret = {
        name: value.get_secret_value() for name in ("password", "sentinel_password") if (value := getattr(given, name))
    }
    files = {name: str(path) for name in ("ca_file", "cert_file", "key_file") if (path := getattr(given, name))}
    return RedisOptions(
        given.url,
        given.username,
        prefix=given.prefix,
        timeout=given.timeout,
        pool_size=given.pool_size,
        retries=given.retries,
        wait_replicas=given.wait_replicas,
        sentinels=tuple(map(address_pair, given.sentinels)),
        sentinel_master=given.sentinel_master,
        sentinel_username=given.sentinel_username,
        cluster=given.cluster,
        nodes=tuple(map(address_pair, given.nodes)),
        tls=given.tls,
        check_hostname=given.check_hostname,
        **secret,
        **files,
    )


def session_policy(settings: Settings) -> SessionPolicy:
    """The operator's limits."""
    given, longer = settings.session, settings.session.remember
    idle, absolute = max(longer.idle_timeout, given.idle_timeout), given.longest_timeout
    return SessionPolicy(
        given.cookie.age,
        given.idle_timeout,
        given.absolute_timeout,
        given.touch_interval,
        given.expire_at_browser_close,
        given.save_every_request,
        given.rotate_interval,
        given.rotate_grace,
        Limits(absolute, idle, absolute) if longer.enabled else None,
    )


def session_cookie(settings: Settings) -> CookieOptions:
    """The session's cookie on every application of the site.

    ``__Host-`` ties it to this host and its root (RFC 6265bis §4.1.3); with a domain or path: ``__Secure-``.
    """
    given, is_https = settings.session.cookie, Site(settings.site.url, tls=settings.server.tls.is_on).is_https
    host_only = given.domain is None and given.path == "/"
    prefix = ("__Host-" if host_only else "__Secure-") if is_https and given.secure is not False else ""
    secure = is_https if given.secure is None else given.secure
    return CookieOptions(prefix + given.name, given.domain, given.path, secure, given.samesite, given.httponly)


def session_parts(settings: Settings, ring: KeyRing, *, user_now: UserNow = lambda user: user) -> SessionParts:
    """Connects to nothing yet.

    :raises SettingsError: a serializer or a database that cannot be.
    """
    link = RedisLink(redis_options(settings)) if settings.session.engine in ("redis", "cached_sql", "cookie") else None
    engine = _engine(settings, link)
    tracked = settings.session.engine == "redis" and settings.session.cache_size > 0
    announcements = Announcements(engine, ring, poll=_POLL_SECONDS)
    values = Values(ring, _serializer(settings))
    policy, tickets = session_policy(settings), session_tickets(ring)
    if settings.session.engine == "cookie":
        sessions: Sessions = CookieSessions(
            engine, values, ring, announcements, policy, belief=Belief(user_now=user_now)
        )
        tasks: list[Work] = [announcements.run, *([lambda: _warn_of_eviction(link)] if link else [])]
        return SessionParts(sessions, announcements, link, tasks=tasks)
    directory, cap = engine.directory, Cap(settings.session.max_per_user, settings.session.on_limit == "evict_oldest")
    users = UserSessions(engine, directory, values, policy, cap) if directory is not None else None
    parts = SessionParts(
        Sessions(engine, values, tickets, announcements, policy, users=users, belief=Belief(user_now=user_now)),
        announcements,
        link,
    )
    if tracked and link is not None:
        _keep_sessions(parts, link, settings, user_now)
    parts.tasks = [announcements.run, lambda: _now_and_then(parts.sessions)]
    if link is not None and settings.session.engine == "redis":
        parts.tasks.append(lambda: _warn_of_eviction(link))
    return parts


def _keep_sessions(parts: SessionParts, link: RedisLink, settings: Settings, user_now: UserNow) -> None:
    """Sessions are kept in this process for as long as Redis is known to tell of every change."""
    prefix = settings.redis.prefix.encode()
    sessions, announcements = parts.sessions, parts.announcements

    def on_keys(keys: Sequence[bytes]) -> None:
        names = [tracked_name(prefix, key) for key in keys]
        sessions.changed([name for name in names if name is not None])
        if None in names:
            announcements.changed()

    def on_lost() -> None:
        sessions.anything_changed()
        announcements.changed()

    link_up = Invalidations(link, tracked_prefix(prefix), on_names=on_keys, on_lost=on_lost)

    def is_live() -> bool:
        link_up.note_use()
        return link_up.is_live

    parts.invalidations = link_up
    announcements.are_told = lambda: link_up.is_connected
    sessions.keep(settings.session.cache_size, Belief(is_live, user_now))


def _engine(settings: Settings, link: RedisLink | None) -> SessionEngine:
    given, linger = settings.session, float(settings.session.idle_timeout)
    if link is not None and given.engine != "cached_sql":
        return RedisSessionEngine(link, settings.redis.prefix, linger)
    if given.engine == "memory":
        return MemorySessionEngine(linger)
    if given.engine == "file":
        return FileSessionEngine(given.file.path or _own_state_folder("session.file.path") / "sessions", linger)
    return _sql(settings, link, linger)


def _sql(settings: Settings, link: RedisLink | None, linger: float) -> SessionEngine:
    """Imported late: SQLAlchemy is half of the time that a start takes."""
    from gateway.store.sql_sessions import SqlSessionEngine

    given = settings.sql
    url = given.url.get_secret_value() if given.url else f"sqlite:///{_own_state_folder('sql.url') / 'sessions.db'}"
    try:
        sql = SqlSessionEngine(url, linger, timeout=given.timeout, pool_size=given.pool_size)
    except ValueError as error:
        raise SettingsError([Problem("sql.url", "", str(error))]) from error
    if link is None:
        return sql
    from gateway.store.cached_sql import CachedSqlSessionEngine

    copies = RedisSessionEngine(link, settings.redis.prefix + "copy:", linger=0.0)
    return CachedSqlSessionEngine(sql, copies, incarnation=link.run_ids)


def _serializer(settings: Settings) -> Any:
    try:
        return serializer_named(settings.session.serializer)
    except ValueError as error:
        raise SettingsError([Problem("session.serializer", "", str(error))]) from error


async def _warn_of_eviction(link: RedisLink) -> None:
    """A Redis that evicts sessions signs people out without a word (hazard R3)."""
    policy = await link.warn_policy()
    if policy is not None and policy != "noeviction":
        log.warning(
            "Redis may evict keys when it is full, which signs people out (engine cookie: in again); "
            "set maxmemory-policy to noeviction",
            extra={"fields": {"maxmemory_policy": policy}},
        )


async def _now_and_then(sessions: Sessions) -> None:
    """What engines do not expire by themselves; the first time after a while, so that a start costs nothing."""
    while True:
        await asyncio.sleep(_CLEAR_EVERY)
        try:
            await sessions.clear_expired()
        except StoreUnavailable as error:
            log.warning("what is over could not be cleared", extra={"fields": {"cause": error.cause}})
