"""An asynchronous, Redis-backed authentication gateway for legacy HTTP backends.

The way of a request::

    bytes ─▶ web.front_door ─▶ gate: caller → route → session → access ─▶ verdict
                                       ├─ Forward(route, identity) ─▶ handlers.forward ─▶ upstream ─▶ bytes
                                       ├─ Refuse(refusal)          ─▶ web.answers: JSON 302 / page / 4xx / 503
                                       └─ Serve(endpoint)          ─▶ handlers: login, logout, session

    core       pure decisions: paths, routes, access, refusals, headers, tickets   (no await, no clock, no aiohttp.web)
    store      what outlives a request: sessions in Redis, sealed
    identity   who somebody is: users file, password hashes
    upstream   the way to the backends
    web        the aiohttp face that handlers share
    handlers   the gateway's own endpoints, and the hand-over to the upstream

``app`` puts the parts together, ``server`` runs them, ``cli`` is for people. ``errors`` lists every refusal. Who may
import whom is a test: ``tests/test_architecture.py``.
"""

__version__ = "0.1.0"
