"""Puts together what limits sign-in attempts: the policy from the settings, and where attempts are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.core.device_cookie import COOKIE_NAME as DEVICE_COOKIE
from gateway.core.device_cookie import DeviceTickets
from gateway.core.keys import KeyRing, parse_ring
from gateway.core.refusals import Site
from gateway.core.throttling import Limit, Policy
from gateway.engines import redis_options
from gateway.errors import StartError
from gateway.identity.sign_in import Throttle, Unthrottled
from gateway.identity.throttle import CountingThrottle, Throttles
from gateway.settings.load import ring_of
from gateway.settings.model import Settings
from gateway.store.redis import RedisLink
from gateway.store.redis_throttles import LastingThrottles, RedisThrottles
from gateway.store.throttles import MemoryThrottles
from gateway.web.cookies import CookieOptions

__all__ = ["DEVICE_COOKIE", "device_cookie", "make_throttle", "open_throttles", "throttle_policy"]

_WITH_REDIS = ("redis", "cached_sql", "cookie")
"""Session engines that have a Redis, in which attempts are counted then."""


def throttle_policy(settings: Settings) -> Policy:
    """The operator's limits."""
    given = settings.login.throttle
    return Policy(
        Limit(given.address.burst, _ms(given.address.every)),
        Limit(given.account_at_address.burst, _ms(given.account_at_address.every)),
        Limit(
            given.account.burst,
            _ms(given.account.every),
            _ms(given.account.first_delay),
            _ms(given.account.longest_delay),
        ),
        Limit(given.device.burst, _ms(given.device.every)),
        given.address.ipv4_prefix,
        given.address.ipv6_prefix,
    )


def make_throttle(settings: Settings, ring: KeyRing, link: RedisLink | None) -> Throttle:
    """``link``: to the Redis of the session engine; without one each process counts for itself."""
    if not settings.login.throttle.enabled:
        return Unthrottled()
    return CountingThrottle(_throttles(settings, ring, link), throttle_policy(settings), DeviceTickets(ring))


def _throttles(settings: Settings, ring: KeyRing, link: RedisLink | None) -> Throttles:
    if link is None:
        return MemoryThrottles()
    shared = RedisThrottles(link, settings.redis.prefix, ring)
    return shared if settings.session.engine == "redis" else LastingThrottles(shared, MemoryThrottles())


@asynccontextmanager
async def open_throttles(settings: Settings) -> AsyncIterator[RedisThrottles]:
    """The counters that all gateways share, for a command.

    :raises StartError: there are none.
    """
    ring = parse_ring(ring_of(settings))
    if settings.session.engine not in _WITH_REDIS:
        words = f"session.engine {settings.session.engine} has no Redis"
        raise StartError(f"{words}: every gateway process counts for itself, and forgets it when it ends")
    link = RedisLink(redis_options(settings))
    try:
        yield RedisThrottles(link, settings.redis.prefix, ring)
    finally:
        await link.close()


def device_cookie(site: Site) -> CookieOptions:
    """On the whole site: aliases of the sign-in may be anywhere. Lax, as for a link from another site to the sign-in page."""
    return CookieOptions(("__Host-" if site.is_https else "") + DEVICE_COOKIE, secure=site.is_https)


def _ms(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
