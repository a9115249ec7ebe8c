"""The composition root: the only file that knows every part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from gateway.backends import make_upstream, upstream_probes
from gateway.core.access import Access
from gateway.core.callers import Callers
from gateway.core.headers import PRESETS, HeaderPolicy
from gateway.core.hosts import Hosts
from gateway.core.keys import parse_ring
from gateway.core.limits import Limits
from gateway.core.refusals import Site
from gateway.core.routes import RefusalRules, Route, RouteTable, Timeouts, WebSocketRules
from gateway.endpoints import FORM_COOKIE, AppParts, brand, endpoints, handlers
from gateway.engines import session_cookie, session_parts
from gateway.errors import SourceUnavailable, StoreUnavailable
from gateway.foreign_issuers import make_foreign_tokens
from gateway.front.answers import Refusals
from gateway.front.crowd import Crowd
from gateway.front.door import FrontDoor
from gateway.front.incoming import HeadLimits
from gateway.front.parts import Parts, Patience
from gateway.front.told import Told
from gateway.gate import Gate
from gateway.handlers.health import Health, Phase, Probe
from gateway.handlers.metrics import MetricsPage
from gateway.identity.passwords import PasswordChecker
from gateway.identity.sign_in import SignIn
from gateway.identity.users import Users
from gateway.key_store import make_api_keys
from gateway.listeners.redirect import RedirectDoor
from gateway.pages import Pages
from gateway.settings.load import ring_of
from gateway.settings.model import Settings
from gateway.settings.rules import RouteSettings
from gateway.store.bearers import Source
from gateway.store.departed import Departed
from gateway.store.key_bearers import KeySource
from gateway.telemetry.audit import AuditLog, name_key
from gateway.telemetry.audit_files import lines_to
from gateway.telemetry.metrics import Metrics, RequestCounts
from gateway.throttles import DEVICE_COOKIE, make_throttle
from gateway.tokens import make_bearers, make_tokens
from gateway.told import make_told
from gateway.upstream.upstream import Upstream
from gateway.user_sources import make_sources
from gateway.web.answers import Answers
from gateway.web.auditing import install_audit
from gateway.web.bodies import MAX_BYTES
from gateway.web.hosting import Hosting
from gateway.web.own_door import AnyTarget, OwnDoor, answer_expect_later
from gateway.web.storage import SessionStorage, save_before_head
from gateway.web.users import USERS


@dataclass(frozen=True, slots=True)
class Gateway:
    """One process: the front door for everybody, the application behind it, and the one for operators; the server moves
    ``phase``. ``redirect``: the door of the listener for http, given the port for https. ``upstreams`` may change."""

    front: FrontDoor
    app: web.Application
    management: web.Application
    phase: Phase
    ping_store: Probe
    redirect: Callable[[int], RedirectDoor]
    upstreams: Mapping[str, Upstream]


def build(settings: Settings) -> Gateway:
    """Puts the parts together; connects to nothing yet.

    :raises gateway.errors.SettingsError: a file the settings name is wrong.
    """
    parts = _parts(settings)
    keys = parts.tokens.keys.keys if parts.tokens is not None else None
    told = partial(make_told, settings=settings, sessions=parts.store.sessions, keys=keys)
    routes = [_route(route, settings, told(route)) for route in settings.routes]
    hosts = Hosts(settings.site.hosts)
    gate = Gate(
        parts.site,
        RouteTable(routes),
        endpoints(settings),
        parts.store.sessions,
        session_cookie(settings).name,
        hosts,
        parts.bearers,
    )
    app = web.Application(client_max_size=MAX_BYTES)
    resource = AnyTarget()
    door = OwnDoor(handlers(parts, gate), parts.answers)
    resource.add_route("*", door.handle, expect_handler=answer_expect_later)
    app.router.register_resource(resource)
    app[USERS] = parts.users
    install_audit(app, AuditLog(lines_to(settings.log.audit), name_key(parts.ring)))
    app.on_response_prepare.append(save_before_head)
    app.cleanup_ctx.append(partial(_lifetime, parts))
    phase = Phase()
    counts = RequestCounts()
    management = Health(phase, partial(_probes, parts)).app()
    management.router.add_get("/metrics", MetricsPage(Metrics(counts)).get)
    front = _front_door(parts, gate, app, routes, counts)
    redirect = partial(RedirectDoor, front, parts.site, parts.answers.refusals, hosts)
    return Gateway(front, app, management, phase, parts.store.sessions.ping, redirect, parts.upstreams)


def _front_door(
    parts: AppParts, gate: Gate, app: web.Application, routes: list[Route], counts: RequestCounts
) -> FrontDoor:
    hosting, server = Hosting(app), parts.settings.server
    callers = Callers(server.trusted_proxies)
    door = FrontDoor(
        Parts(
            gate,
            parts.store.sessions,
            parts.upstreams,
            parts.header_policy,
            parts.answers.refusals,
            parts.storage.cookie_header,
            counts,
            callers,
            Crowd(server.max_connections, server.max_connections_per_address, callers.trusts),
            parts.bearers,
        ),
        hosting,
        _head_limits(server.max_header_bytes, [route.limits for route in routes]),
        Patience(server.head_timeout, server.keepalive_timeout),
    )
    hosting.done = door.done
    return door


def _head_limits(line: int, limits: list[Limits]) -> HeadLimits:
    """The most that any route takes: what is more is not read to its end."""
    every = [Limits(), *limits]
    fields, head = max(one.headers for one in every), max(one.header_bytes + one.target for one in every)
    return HeadLimits(line, fields, head + 4 * fields + 64)


def _parts(settings: Settings) -> AppParts:
    site = Site(settings.site.url, settings.site.prefix, settings.site.language, settings.server.tls.is_on)
    ring = parse_ring(ring_of(settings))
    checker = PasswordChecker(settings.login.threads)
    users = Users(make_sources(settings, checker))
    store = session_parts(settings, ring, user_now=users.as_now)
    users.tell_gone(Departed(store.sessions))
    tokens, api_keys = make_tokens(settings, store), make_api_keys(settings, ring, store, users)
    foreign = make_foreign_tokens(settings)
    sources: list[Source] = [] if api_keys is None else [KeySource(api_keys.keys)]
    sources += [] if foreign is None else [foreign]
    cookie = session_cookie(settings)
    pages = Pages(settings.site.title, f"{site.prefix}/static", brand(settings.site))
    own = frozenset(
        prefix + name
        for prefix in ("", "__Host-", "__Secure-")
        for name in filter(None, (settings.session.cookie.name, FORM_COOKIE, DEVICE_COOKIE, settings.tokens.cookie))
    )
    own_headers = tuple(filter(None, (settings.tokens.header,)))
    names: dict[str, str] = {**PRESETS[settings.identity.preset]}
    names.update({str(field): name for field, name in settings.identity.headers.items()})
    encoding, told = settings.identity.encoding, settings.headers
    return AppParts(
        settings,
        site,
        ring,
        users,
        SignIn(users, make_throttle(settings, ring, store.link), settings.login.failure_time, checker.places // 2),
        store,
        SessionStorage(store.sessions, cookie, keep_at_sign_in=settings.session.keep_at_sign_in),
        Answers(site, pages, Refusals(site, pages, partial(cookie.header, "", 0))),
        {name: make_upstream(name, upstream) for name, upstream in settings.upstreams.items()},
        checker,
        HeaderPolicy(names, encoding, told.via, told.forwarded, own, own_headers),
        tokens,
        api_keys,
        make_bearers(settings, tokens, sources, users.as_now),
        foreign,
    )


def _route(given: RouteSettings, settings: Settings, told: Told | None) -> Route:
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
        encoded_slash=given.encoded_slash,
        cache=given.cache,
        refuse=RefusalRules(refuse.redirect, refuse.status, refuse.forbidden),
        timeouts=Timeouts(waits.connect, waits.first_byte, waits.between_bytes, waits.total),
        limits=Limits(**given.limits.model_dump()),
        websocket=WebSocketRules(
            frozenset(given.websocket.origins), given.websocket.idle_timeout, given.websocket.activity
        ),
        told=told,
    )


def _probes(parts: AppParts) -> dict[str, Probe]:
    async def keys() -> None:
        if parts.store.announcements.missing:
            raise StoreUnavailable("keys are in use that are not in this ring")

    return {
        "store": parts.store.sessions.ping,
        "keys": keys,
        **_sources(parts.users),
        **upstream_probes(parts.upstreams),
    }


def _sources(users: Users) -> dict[str, Probe]:
    """What is known of sources that are asked elsewhere; a balancer that asks every second asks them nothing."""

    async def answers(name: str) -> None:
        if not users.remote()[name]:
            raise SourceUnavailable

    return {f"users:{name}": partial(answers, name) for name in users.remote()}


async def _lifetime(parts: AppParts, app: web.Application) -> AsyncIterator[None]:
    tasks = [*await parts.store.start(), asyncio.create_task(parts.users.watch())]
    if parts.tokens is not None:
        parts.tokens.denylist.start()
        tasks.append(asyncio.create_task(parts.tokens.keys.watch()))
    if parts.api_keys is not None:
        parts.api_keys.start()
    if parts.foreign is not None:
        tasks.append(asyncio.create_task(parts.foreign.watch()))
    for upstream in parts.upstreams.values():
        upstream.start()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for upstream in parts.upstreams.values():
        await upstream.close()
    await parts.users.close()
    if parts.foreign is not None:
        await parts.foreign.close()
    if parts.tokens is not None:
        await parts.tokens.denylist.close()
    if parts.api_keys is not None:
        await parts.api_keys.close()
    parts.checker.close()
    await parts.store.close()
