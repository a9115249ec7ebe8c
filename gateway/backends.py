"""Makes upstreams of their settings, and the probes that ``/readyz`` asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from gateway.errors import UpstreamError
from gateway.handlers.health import Probe
from gateway.settings.upstreams import HealthSettings, UpstreamSettings
from gateway.upstream.address import parse_upstream_url
from gateway.upstream.balancer import EjectRules
from gateway.upstream.health import HealthRules
from gateway.upstream.pool import Pool
from gateway.upstream.tls import client_context
from gateway.upstream.upstream import Backend, Upstream, UpstreamRules

_PROBE_SECONDS = 1.0


def make_upstream(name: str, given: UpstreamSettings) -> Upstream:
    """Connects to nothing yet.

    :raises gateway.upstream.tls.TlsError: files that changed since the settings were checked.
    """
    return Upstream(name, make_servers(given), _rules(given))


def make_servers(given: UpstreamSettings) -> list[Backend]:
    """Those of an upstream.

    :raises gateway.upstream.tls.TlsError: files that changed since the settings were checked.
    """
    weights = [1] if given.url is not None else [server.weight for server in given.servers]
    context, tls = None, given.tls
    if given.urls[0].startswith("https:"):
        context = client_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file, verify=tls.verify)
    make = partial(
        Pool,
        tls=context,
        server_name=tls.server_name,
        idle_seconds=given.keepalive_timeout,
        resolve_seconds=given.resolve_seconds,
    )
    return [Backend(make(parse_upstream_url(url)), weight) for url, weight in zip(given.urls, weights, strict=True)]


def _rules(given: UpstreamSettings) -> UpstreamRules:
    eject = given.eject
    return UpstreamRules(
        given.balance,
        given.max_requests,
        given.queue.size,
        given.queue.timeout,
        EjectRules(
            eject.failures,
            eject.seconds,
            max(EjectRules().longest, eject.seconds),
            eject.slow_start,
            frozenset(eject.statuses),
        ),
        given.retries.budget,
        given.retries.min_per_second,
        _health(given.health),
    )


def _health(given: HealthSettings) -> HealthRules | None:
    if given.path is None:
        return None
    ranges = (one.partition("-") for one in given.status)
    statuses = tuple((int(low), int(high or low)) for low, _, high in ranges)
    return HealthRules(given.path, given.interval, given.timeout, given.healthy, given.unhealthy, statuses)


def upstream_probes(upstreams: Mapping[str, Upstream]) -> dict[str, Probe]:
    """``upstream:NAME``: does any server accept? And ``upstream:NAME/HOST:PORT`` for each of several."""
    probes: dict[str, Probe] = {}
    for name, upstream in upstreams.items():
        probes[f"upstream:{name}"] = partial(_reach_any, upstream)
        if len(upstream.servers) > 1:
            probes |= {f"upstream:{name}/{_place(one)}": partial(_reach, one) for one in upstream.servers}
    return probes


def _place(server: Backend) -> str:
    address = server.pool.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    return str(address) if address.path else f"{host}:{address.port}"


async def _reach(server: Backend) -> None:
    (await server.pool.connect(_PROBE_SECONDS)).abort()


async def _reach_any(upstream: Upstream) -> None:
    results = await asyncio.gather(*map(_reach, upstream.servers), return_exceptions=True)
    errors = [result for result in results if result is not None]
    if len(errors) == len(results):
        raise next(iter(errors), UpstreamError("upstream_down"))
