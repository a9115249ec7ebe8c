"""An asynchronous, Redis-backed authentication gateway for legacy HTTP backends.

The way of a request::

    bytes ─▶ front ─▶ gate: caller → route → session → access ─▶ verdict
                             ├─ Forward(route, identity) ─▶ front.relay ─▶ upstream ─▶ bytes
                             ├─ Refuse(refusal)          ─▶ front.answers: JSON 302 / page / 4xx / 503
                             └─ Serve(endpoint)          ─▶ web.hosting ─▶ handlers: login, logout, session

    core       pure decisions: paths, routes, access, refusals, headers, tickets   (no await, no clock, no aiohttp.web)
    store      what outlives a request: sessions in Redis, sealed
    identity   who somebody is: users file, password hashes
    upstream   the way to the backends
    front      clients' connections, HTTP/1.1, the hand-over between client and backend
    web        the aiohttp face that handlers share
    handlers   the gateway's own endpoints, on aiohttp

``app`` puts the parts together, ``server`` runs them, ``cli`` is for people. ``errors`` lists every refusal. Who may
import whom is a test: ``tests/test_architecture.py``.
"""

__version__ = "0.1.0"
