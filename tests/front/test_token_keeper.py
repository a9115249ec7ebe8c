"""What a token has opened: who can say that it is good still, and what happens while nobody can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.access import Access
from gateway.core.paths import parse_target
from gateway.core.routes import Route
from gateway.errors import StoreUnavailable
from gateway.front.token_keeper import TokenKeeper
from gateway.gate import Forward
from gateway.store.bearers import Bearer, Bearers
from gateway.store.denylist import MemoryDenylist, session_key
from tests.store.test_bearers import ALICE, Lab

ROUTE = Route("/", "demo", Access())
MEMORY = 300.0


class Doubtful(MemoryDenylist):
    """Its link is not proven alive, or nobody answers (``is_away``), or all is well (``is_sure``)."""

    is_sure = is_away = False

    def known(self, ids: Sequence[str]) -> bool | None:
        return super().known(ids) if self.is_sure else None

    async def ask(self, ids: Sequence[str]) -> bool:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().ask(ids)


class Site:
    def __init__(self) -> None:
        self.denylist = Doubtful()
        self.lab = Lab(self.denylist)
        bearers = Bearers(
            self.lab.tokens, self.denylist, self.lab.as_now, memory=MEMORY, lasts=1e9, clock=self.lab.clock
        )
        self.keeper = TokenKeeper(bearers)
        self.denylist.is_sure = True
        opened = bearers.known(self.lab.token())
        self.denylist.is_sure = False
        assert isinstance(opened, Bearer)
        self.opened = opened
        self.verdict = Forward(ROUTE, parse_target("/"), bearer=opened)

    async def round(self, now: float) -> str | None:
        """One, with what it has asked for answered."""
        code = self.keeper.why_over(self.verdict, self.opened, now)
        self.keeper.end_of_round(now)
        while self.keeper._task is not None:
            await asyncio.sleep(0)
        return code


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_where_nobody_is_told_of_changes_somebody_is_asked() -> None:
    site = Site()
    assert await site.round(now()) is None
    await site.denylist.revoke([session_key("handle")], 60)
    assert await site.round(now() + 2) is None  # asks
    assert await site.round(now()) == "bad_token"


async def test_nobody_is_asked_more_than_once_a_second() -> None:
    site = Site()
    begun = now()
    assert await site.round(begun) is None
    site.denylist.is_away = True  # would be noticed by nobody, as the answer is fresh
    await site.denylist.revoke([session_key("handle")], 60)
    assert await site.round(begun + 0.5) is None


async def test_an_outage_ends_nothing_and_a_short_one_is_forgotten() -> None:
    site = Site()
    begun = now()
    site.denylist.is_sure = True
    assert await site.round(begun) is None
    site.denylist.is_sure, site.denylist.is_away = False, True
    for seconds in (10, 100, 1000):
        assert await site.round(begun + seconds) is None
    short = Site()
    short.denylist.is_sure = True
    assert await short.round(begun) is None
    assert await short.round(begun + MEMORY - 1) is None


async def test_after_a_longer_one_than_revocations_are_remembered_it_ends() -> None:
    site = Site()
    begun = now()
    site.denylist.is_sure = True
    assert await site.round(begun) is None
    site.denylist.is_sure, site.denylist.is_away = False, True
    assert await site.round(begun + 100) is None
    assert await site.round(begun + MEMORY) is None
    site.denylist.is_sure = True
    assert await site.round(begun + MEMORY + 1) == "bad_token"


async def test_a_user_who_is_gone_is_noticed_whatever_the_link_is_like() -> None:
    site = Site()
    site.denylist.is_away = True
    assert await site.round(now()) is None
    site.lab.users[ALICE.id] = None
    assert await site.round(now()) == "bad_token"
