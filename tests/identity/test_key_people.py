"""Who the user of an API key is by now: whatever became of his password, and never by what he was long ago."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.core.identity import Identity
from gateway.errors import SourceUnavailable
from gateway.identity.source import Found, RemoteSource
from gateway.identity.users import Users

ADA = Identity("1", "ada", usertype="mgr", source="far")


class FarSource(RemoteSource):
    """Somewhere else. ``there``: who is there; None: it is away."""

    def __init__(self, recheck: float = 0.1) -> None:
        super().__init__("far", recheck)
        self.there: dict[str, Identity] | None = {"1": ADA}
        self.asked = 0

    async def find(self, login: str) -> Found | None:
        return None

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        return None

    async def get(self, user_id: str) -> Identity | None:
        self.asked += 1
        if self.there is None:
            raise SourceUnavailable("away")
        return self.there.get(user_id)


@asynccontextmanager
async def watching(users: Users) -> AsyncIterator[None]:
    task = asyncio.create_task(users.watch())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_who_was_never_looked_up_is_not_known_until_his_source_has_said_who_he_is() -> None:
    source = FarSource()
    users = Users([source])
    source.there = {"1": (now := replace(ADA, usertype="", generation=5))}
    assert not users.is_known(ADA)
    await users.learn(ADA)
    assert users.is_known(ADA)
    assert users.person(ADA) == now
    await users.learn(ADA)
    assert source.asked == 1, "what is known is not asked again"


async def test_while_his_source_is_away_who_was_never_looked_up_stays_unknown() -> None:
    source = FarSource()
    users = Users([source])
    source.there = None
    with pytest.raises(SourceUnavailable):
        await users.learn(ADA)
    assert not users.is_known(ADA)
    source.there = {"1": ADA}
    await users.learn(ADA)
    assert users.person(ADA) == ADA


async def test_who_asks_for_him_as_a_session_does_makes_nobody_known() -> None:
    users = Users([FarSource()])
    assert users.as_now(ADA) == ADA
    assert not users.is_known(ADA)


async def test_a_disabled_user_is_gone_within_the_recheck_while_his_key_is_used() -> None:
    source = FarSource()
    users = Users([source])
    async with watching(users):
        await users.learn(ADA)
        source.there = {}
        await until(lambda: users.person(ADA) is None)
        source.there = {"1": ADA}
        await until(lambda: users.person(ADA) == ADA)


async def test_who_was_not_seen_for_long_has_to_be_asked_for_again() -> None:
    """A key that is used once an hour: what was learned an hour ago is no answer."""
    source = FarSource(recheck=0.05)
    users = Users([source])
    async with watching(users):
        await users.learn(ADA)
        await until(lambda: not users.is_known(ADA))
        source.there = {}
        await users.learn(ADA)
        assert users.person(ADA) is None


async def test_while_his_source_is_away_who_is_known_stays_who_he_was() -> None:
    source = FarSource(recheck=0.05)
    users = Users([source])
    async with watching(users):
        await users.learn(ADA)
        source.there, before = None, source.asked
        await until(lambda: users.person(ADA) == ADA and source.asked > before + 2)
        assert users.is_known(ADA)


@pytest.mark.parametrize(
    "now", [replace(ADA, username="bob"), replace(ADA, username="ada2")], ids=lambda user: str(user.username)
)
async def test_somebody_else_under_his_id_is_not_him(now: Identity) -> None:
    source = FarSource()
    users = Users([source])
    source.there = {"1": now}
    await users.learn(ADA)
    assert users.person(ADA) is None


async def test_a_name_that_is_written_otherwise_is_the_same() -> None:
    source = FarSource()
    users = Users([source])
    source.there = {"1": replace(ADA, username="Ada")}
    await users.learn(ADA)
    assert users.person(ADA) == replace(ADA, username="Ada")


async def test_a_source_that_never_looks_again_can_vouch_for_no_key() -> None:
    users = Users([FarSource(recheck=0.0)])
    assert not users.is_followed(ADA)
    assert users.is_known(ADA)
    assert users.person(ADA) is None


async def test_a_source_that_is_configured_no_more_can_vouch_for_no_key() -> None:
    users = Users([FarSource()])
    stranger = replace(ADA, source="file:gone")
    assert not users.is_followed(stranger)
    assert users.is_known(stranger)
    assert users.person(stranger) is None
    await users.learn(stranger)
