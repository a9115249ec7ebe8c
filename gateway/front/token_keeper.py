"""What was opened with a token or an API key hangs on that, as the rest hangs on its session (:mod:`gateway.front.keeper`).

Usually this process knows for sure, without asking. Where it does not, somebody is asked, about once a second for each token.
An outage ends nothing; but revocations of tokens are remembered for a while only, so what nobody could say for longer than
that ends as soon as somebody can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.core.jwt import BadToken
from gateway.errors import StoreUnavailable
from gateway.gate import Forward
from gateway.store.bearers import Bearer, Bearers

_EVERY = 1.0
_AT_ONCE = 256


class TokenKeeper:
    """Asked in rounds: :meth:`why_over` for each connection, then :meth:`end_of_round`. ``now`` on the loop's clock."""

    def __init__(self, bearers: Bearers) -> None:
        self._bearers = bearers
        self._sure: dict[str, float] = {}
        self._told: dict[str, tuple[float, Bearer | BadToken]] = {}
        self._asked: dict[str, float] = {}
        self._seen: dict[str, Bearer] = {}
        self._doubted: dict[str, Bearer] = {}
        self._task: asyncio.Task[None] | None = None

    def why_over(self, verdict: Forward, bearer: Bearer, now: float) -> str | None:
        """The code of the reason, when it is good no more for what it has opened."""
        text = bearer.text
        self._seen[text] = bearer
        found = self._bearers.still_good(bearer) or self._told_lately(text, now)
        if found is None:
            self._doubted[text] = bearer
            return None
        unsure, self._sure[text] = now - self._sure.get(text, now), now
        if isinstance(found, BadToken) or unsure > self._bearers.memory_of(bearer):
            return "bad_token"
        return None if verdict.still_lets(found.user) else "rights_changed"

    def _told_lately(self, text: str, now: float) -> Bearer | BadToken | None:
        at, found = self._told.get(text, (float("-inf"), None))
        return found if now - at < _EVERY else None

    def end_of_round(self, now: float) -> None:
        """Asks about those that nobody here could say anything of, and forgets what is not open any more."""
        seen, self._seen = self._seen, {}
        doubted, self._doubted = self._doubted, {}
        for kept in (self._told, self._asked):
            for text in kept.keys() - seen.keys():
                del kept[text]
        self._sure = {text: self._sure.get(text, now) for text in seen}
        due = [one for text, one in doubted.items() if now - self._asked.get(text, float("-inf")) >= _EVERY]
        if due and self._task is None:
            self._task = asyncio.create_task(self._ask(due))

    async def _ask(self, due: list[Bearer]) -> None:
        try:
            for at in range(0, len(due), _AT_ONCE):
                await self._ask_some(due[at : at + _AT_ONCE])
        finally:
            self._task = None

    async def _ask_some(self, some: Iterable[Bearer]) -> None:
        await asyncio.gather(*[self._ask_one(bearer) for bearer in some])

    async def _ask_one(self, bearer: Bearer) -> None:
        loop = asyncio.get_running_loop()
        self._asked[bearer.text] = loop.time()
        try:
            found = await self._bearers.ask_still_good(bearer)
        except StoreUnavailable:
            return
        self._told[bearer.text] = loop.time(), found

    def stop(self) -> None:
        """At the end of the process."""
        if self._task is not None:
            self._task.cancel()
