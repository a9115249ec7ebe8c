"""The composition root: the only file that knows every part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from gateway.core.access import Access
from gateway.core.headers import PRESETS, HeaderPolicy
from gateway.core.keys import KeyRing, parse_ring
from gateway.core.refusals import Site
from gateway.core.routes import RefusalRules, Route, RouteTable, Timeouts
from gateway.core.sessions import SessionPolicy
from gateway.core.tickets import FormTickets, session_tickets
from gateway.gate import Endpoint, Gate
from gateway.handlers.forward import ForwardHandler
from gateway.handlers.health import Health, Phase, Probe
from gateway.handlers.login import Login
from gateway.handlers.logout import Logout
from gateway.handlers.session import SessionInfo
from gateway.handlers.static import Static
from gateway.identity.passwords import PasswordChecker
from gateway.identity.users_file import FileUsers, read_users
from gateway.pages import STATIC, Pages
from gateway.settings.load import ring_of
from gateway.settings.model import Settings
from gateway.settings.rules import RouteSettings
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_sessions import RedisSessionEngine
from gateway.store.sealing import Sealer
from gateway.store.sessions import Sessions
from gateway.upstream.pool import Pool, parse_upstream_url
from gateway.web.answers import Answers
from gateway.web.bodies import MAX_BYTES
from gateway.web.cookies import CookieOptions
from gateway.web.front_door import AnyTarget, FrontDoor, Handler, answer_expect_later, unroutable_to
from gateway.web.storage import SessionStorage, with_session

FORM_COOKIE = "gw_form"
_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The applications of one process: for everybody, and for operators; the server moves ``phase``."""

    app: web.Application
    management: web.Application
    phase: Phase
    ping_store: Probe


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    site: Site
    ring: KeyRing
    sessions: Sessions
    storage: SessionStorage
    answers: Answers
    pools: dict[str, Pool]
    checker: PasswordChecker
    header_policy: HeaderPolicy


def build(settings: Settings) -> Gateway:
    """Puts the parts together; connects to nothing yet.

    :raises gateway.errors.SettingsError: a file the settings name is wrong.
    """
    parts = _parts(settings)
    tickets = session_tickets(parts.ring)
    gate = Gate(
        parts.site,
        RouteTable([_route(route, settings) for route in settings.routes]),
        _endpoints(settings),
        parts.sessions,
        tickets,
        parts.answers.cookie.name,
    )
    forward = ForwardHandler(parts.pools, parts.header_policy, parts.site, parts.sessions)
    door = FrontDoor(gate, _handlers(parts, gate), forward, parts.answers)
    app = web.Application(client_max_size=MAX_BYTES, middlewares=[unroutable_to(door)])
    resource = AnyTarget()
    resource.add_route("*", door.handle, expect_handler=answer_expect_later)
    app.router.register_resource(resource)
    app.cleanup_ctx.append(partial(_lifetime, parts))
    phase = Phase()
    return Gateway(app, Health(phase, _probes(parts)).app(), phase, parts.sessions.ping)


def _parts(settings: Settings) -> _Parts:
    site = Site(settings.site.url, settings.site.prefix, settings.site.language)
    ring = parse_ring(ring_of(settings))
    sessions = _sessions(settings, ring)
    cookie = _session_cookie(settings, site)
    own = frozenset(
        prefix + name for prefix in ("", "__Host-", "__Secure-") for name in (settings.session.cookie.name, FORM_COOKIE)
    )
    names: dict[str, str] = {**PRESETS[settings.identity.preset]}
    names.update({str(field): name for field, name in settings.identity.headers.items()})
    encoding, told = settings.identity.encoding, settings.headers
    return _Parts(
        settings,
        site,
        ring,
        sessions,
        SessionStorage(sessions, session_tickets(ring), cookie),
        Answers(site, Pages(settings.site.title, f"{site.prefix}/static"), cookie),
        {name: Pool(parse_upstream_url(upstream.url)) for name, upstream in settings.upstreams.items()},
        PasswordChecker(settings.login.threads),
        HeaderPolicy(names, encoding, told.via, told.forwarded, own),
    )


def redis_options(settings: Settings) -> RedisOptions:
    """The slice of the settings that the Redis link needs."""
    given = settings.redis
    password = given.password.get_secret_value() if given.password else None
    return RedisOptions(given.url, given.username, password, given.prefix, given.timeout, given.pool_size)


def _sessions(settings: Settings, ring: KeyRing) -> Sessions:
    options = redis_options(settings)
    given = settings.session
    policy = SessionPolicy(
        given.cookie.age,
        given.idle_timeout,
        given.absolute_timeout,
        given.touch_interval,
        given.expire_at_browser_close,
    )
    return Sessions(RedisSessionEngine(RedisLink(options), options.prefix), Sealer(ring), policy)


def _session_cookie(settings: Settings, site: Site) -> CookieOptions:
    """``__Host-`` ties the cookie to this host and its root (RFC 6265bis §4.1.3); with a domain or path: ``__Secure-``."""
    given = settings.session.cookie
    host_only = given.domain is None and given.path == "/"
    prefix = ("__Host-" if host_only else "__Secure-") if site.is_https else ""
    return CookieOptions(prefix + given.name, given.domain, given.path, site.is_https, given.samesite)


def _form_cookie(site: Site) -> CookieOptions:
    """Lax, not Strict: the sign-in page is often reached from another site's link."""
    return CookieOptions(("__Secure-" if site.is_https else "") + FORM_COOKIE, None, site.prefix, site.is_https, "Lax")


def _endpoints(settings: Settings) -> dict[str, Endpoint]:
    prefix = settings.site.prefix
    endpoints = {f"{prefix}/{name}": Endpoint(name) for name in ("login", "logout", "session")}
    endpoints |= {f"{prefix}/static/{name}": Endpoint("static") for name in STATIC}
    endpoints |= {alias.path: Endpoint("login", True, alias.wrong_status) for alias in settings.login.aliases}
    return endpoints | {path: Endpoint("logout", True) for path in settings.logout.aliases}


def _handlers(parts: _Parts, gate: Gate) -> dict[str, Handler]:
    shared = (parts.answers, FormTickets(parts.ring), _form_cookie(parts.site))
    sources = [
        FileUsers(read_users(source.path), parts.checker, f"file:{source.path.name}") for source in parts.settings.users
    ]
    logout = parts.settings.logout
    clear = [CookieOptions(name, secure=parts.site.is_https) for name in logout.clear_cookies]
    return {
        "login": with_session(
            parts.storage,
            Login(*shared, sources=sources, clear=clear, age=parts.sessions.policy.age, may_pass=gate.may_pass),
        ),
        "logout": with_session(
            parts.storage, Logout(*shared, redirect=logout.redirect, clear=clear, forget=logout.clear_site_data)
        ),
        "session": with_session(parts.storage, SessionInfo(parts.answers, parts.sessions.policy)),
        "static": Static(parts.site),
    }


def _route(given: RouteSettings, settings: Settings) -> Route:
    access = given.access
    public = access == "public"
    rule = (
        Access(public)
        if isinstance(access, str)
        else Access(False, frozenset(access.usertype), frozenset(access.groups))
    )
    refuse, waits = given.refuse, given.timeouts
    return Route(
        given.path,
        given.upstream or next(iter(settings.upstreams)),
        rule,
        given.name or given.path,
        identity=given.identity if public else "required",
        authorization=given.authorization,
        preserve_host=given.preserve_host,
        cache=given.cache,
        refuse=RefusalRules(refuse.redirect, refuse.status, refuse.forbidden),
        timeouts=Timeouts(waits.connect, waits.first_byte, waits.between_bytes),
    )


def _probes(parts: _Parts) -> dict[str, Probe]:
    async def reach(pool: Pool) -> None:
        (await pool.connect(_PROBE_SECONDS)).abort()

    upstreams = {f"upstream:{name}": partial(reach, pool) for name, pool in parts.pools.items()}
    return {"store": parts.sessions.ping, **upstreams}


async def _lifetime(parts: _Parts, _: web.Application) -> AsyncIterator[None]:
    yield
    for pool in parts.pools.values():
        pool.close()
    parts.checker.close()
    await parts.sessions.close()
