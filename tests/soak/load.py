"""The load: guests and vagabonds on one gateway, for so many seconds, and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.harness import GENEROUS
from tests.soak.guests import PASSWORDS, PATIENCE, Guest
from tests.soak.ledger import Ledger
from tests.soak.requests import Scene
from tests.soak.vagabonds import Vagabond

MAX_CLIENTS = 100
REDIS = {"timeout": 20, "pool_size": 8}
"""A slow machine is no outage."""
DEAD = "http://127.0.0.1:1"
"""Nobody listens there."""
_PATIENT = {"connect": 20, "first_byte": 20, "between_bytes": 15}
_IMPATIENT = {"connect": 20, "first_byte": 1, "between_bytes": 2}
ROUTES: list[dict[str, Any]] = [
    {"path": "/calm/", "upstream": "soak", "timeouts": _PATIENT},
    {"path": "/dead/", "upstream": "dead", "timeouts": _PATIENT},
    {"path": "/rough/", "upstream": "soak", "timeouts": _IMPATIENT},
    {"path": "/open/", "upstream": "soak", "timeouts": _IMPATIENT, "access": "public"},
]


def settings(backend: str) -> dict[str, Any]:
    """For the gateway in the middle: little patience where the backend stalls, and sessions that often change their ids."""
    return {
        "upstreams": {"soak": {"url": backend}, "dead": {"url": DEAD}},
        "routes": ROUTES,
        "server": {"port": 0, "drain_timeout": 5, "head_timeout": 2},
        "session": {"rotate_interval": 15, "rotate_grace": 10, "touch_interval": 5},
        "login": {"throttle": GENEROUS, "threads": 1},
        "log": {"format": "json", "level": "error"},
    }


class Load:
    """:meth:`prepare`, then :meth:`run` any number of times."""

    def __init__(self, port: int, ledger: Ledger, *, guests: int, vagabonds: int, seed: int) -> None:
        if guests + vagabonds > MAX_CLIENTS:
            raise ValueError(f"at most {MAX_CLIENTS} clients")
        self.scene = Scene(port, ledger)
        self._guests = [Guest(self.scene, number, str(seed)) for number in range(guests)]
        self._vagabonds = [Vagabond(self.scene, number, str(seed)) for number in range(vagabonds)]

    async def prepare(self) -> None:
        """Sessions for the vagabonds: they present them, and keep no new cookie.

        :raises TimeoutError, tests.soak.judge.Wrong: nobody can sign in.
        """
        for number, user in enumerate(sorted(PASSWORDS)):
            lender = Guest(self.scene, number, "lender")
            async with asyncio.timeout(PATIENCE):
                await lender.sign_in()
            lender.leave()
            self.scene.cookies[user] = lender.cookie

    async def run(self, seconds: float, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Returns when every client has ended its last request; less than ``seconds`` when ``goes_on`` says no.

        :raises TimeoutError: a client hangs.
        """
        self.scene.is_over = False
        clients: list[Guest | Vagabond] = [*self._guests, *self._vagabonds]
        tasks = [asyncio.create_task(client.run(), name="soak: client") for client in clients]
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and goes_on() and not any(task.done() for task in tasks):
                await asyncio.sleep(0.2)
            self.scene.is_over = True
            async with asyncio.timeout(PATIENCE + 30):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
