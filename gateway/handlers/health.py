"""The management listener: ``/healthz`` (the process lives) and ``/readyz`` (can it do its work, part by part).

``/readyz`` is 503 only while starting or draining. When the store or a backend is away it is 200 ``degraded`` with the
failing part named, so that balancers keep sending people to an answer they understand; ``?strict=1`` asks for 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from gateway.errors import GatewayError
from gateway.front.answers import SERVER

Probe = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Phase:
    """Where the process is in its life; the server writes it."""

    name: Literal["starting", "serving", "draining"] = "starting"


class Health:
    """``probes``: component → a call that raises when it is away; asked for each time, as servers come and go."""

    def __init__(self, phase: Phase, probes: Callable[[], Mapping[str, Probe]]) -> None:
        self._phase = phase
        self._probes = probes

    def app(self) -> web.Application:
        """The application of the management listener."""
        app = web.Application()
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        app.on_response_prepare.append(_harden)
        return app

    async def healthz(self, _: web.Request) -> web.Response:
        """Alive."""
        return web.json_response({"ret": 0, "status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Each component, and all in all."""
        probes = self._probes()
        names = list(probes)
        up = await asyncio.gather(*(self._is_up(probes[name]) for name in names))
        components = {name: "ok" if is_up else "unavailable" for name, is_up in zip(names, up, strict=True)}
        status = self._phase.name if self._phase.name != "serving" else ("ok" if all(up) else "degraded")
        strict = request.query.get("strict") == "1"
        bad = status in ("starting", "draining") or (strict and status == "degraded")
        body = {"ret": 503 if bad else 0, "status": status, "components": components}
        return web.json_response(body, status=503 if bad else 200)

    @staticmethod
    async def _is_up(probe: Probe) -> bool:
        try:
            await probe()
        except (GatewayError, OSError, ValueError):
            return False
        return True


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
