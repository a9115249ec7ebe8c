"""To be kept signed in: limits of its own for who asks, on every engine (docs/sessions.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.sessions import Limits, SessionPolicy
from gateway.engines import session_policy
from gateway.errors import SettingsError
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.web.session import WebSession
from tests.behaviour.session_lab import Clock, open_sessions
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, Gateway, make_settings, session_cookie
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]

ENGINES = ["redis", "sql", "cached_sql", "file", "memory", "cookie"]
DAY, HOUR = 86400, 3600
KEPT = {**ALICE, "remember": True}
SHORT = {
    "idle_timeout": 1,
    "touch_interval": 1,
    "absolute_timeout": HOUR,
    "remember": {"idle_timeout": HOUR, "absolute_timeout": DAY},
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where engines keep what no setting names."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))


async def sign_in(gateway: Gateway, fields: dict[str, Any], **kwargs: Any) -> ClientResponse:
    response = await gateway.post("/auth/login", json=fields, **kwargs)
    assert response.status == 200, await response.text()
    return response


def age_of(response: ClientResponse) -> int | None:
    """What the cookie says."""
    age = response.cookies["gw_session"]["max-age"]
    return int(age) if age else None


async def about(gateway: Gateway, cookie: str) -> dict[str, Any]:
    """The session, or why there is none; not activity."""
    told: dict[str, Any] = await (await gateway.get("/auth/session", cookie=cookie)).json()
    return told


async def until_told(gateway: Gateway, cookie: str, *reasons: str) -> None:
    deadline = time.monotonic() + 30
    while (await about(gateway, cookie)).get("reason") not in reasons:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


# -- every engine
async def test_who_asks_to_be_kept_signed_in_outlives_everybody_elses_limits_on_every_engine(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """Long enough that an engine that kept it as long as the others would have forgotten it, not even lingering."""

    async def on(engine: str) -> None:
        gateway = await make_gateway(backend.url, session={**SHORT, "engine": engine})
        kept, usual = await sign_in(gateway, KEPT), await sign_in(gateway, ALICE)
        assert (age_of(kept) or 0) in range(DAY - 30, DAY + 1), engine
        assert (age_of(usual) or 0) in range(HOUR - 30, HOUR + 1), engine
        told = await about(gateway, session_cookie(kept))
        assert HOUR - 30 < told["idle_left"] <= HOUR, engine
        assert DAY - 30 < told["absolute_left"] <= DAY, engine
        gone = "expired_idle" if engine == "cookie" else "unknown_session"
        await until_told(gateway, session_cookie(usual), gone)
        response = await gateway.get("/orders", cookie=session_cookie(kept))
        assert (response.status, backend.last.value("X-Forwarded-Preferred-Username")) == (200, "alice"), engine

    await asyncio.gather(*map(on, ENGINES))


async def test_it_is_over_at_limits_of_its_own_on_every_engine(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    async def on(engine: str, idle: int, absolute: int, reason: str) -> None:
        limits = {**SHORT, "absolute_timeout": 1, "remember": {"idle_timeout": idle, "absolute_timeout": absolute}}
        gateway = await make_gateway(backend.url, session={**limits, "engine": engine})
        signed_in = await sign_in(gateway, KEPT)
        assert (age_of(signed_in) or 0) in range(1, absolute + 1), engine
        await until_told(gateway, session_cookie(signed_in), reason, "unknown_session")  # told for two seconds only

    both = ((60, 3, "expired_absolute"), (2, 60, "expired_idle"))
    await asyncio.gather(*(on(engine, *ends) for engine in ENGINES for ends in both))


async def test_a_new_id_keeps_it_on_every_engine(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    async def on(engine: str) -> None:
        backend.answer = b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
        limits = {**SHORT, "engine": engine, "idle_timeout": 60, "rotate_interval": 1, "rotate_grace": 1}
        gateway = await make_gateway(backend.url, session=limits)
        first = session_cookie(await sign_in(gateway, KEPT))
        deadline = time.monotonic() + 30
        while "gw_session" not in (response := await gateway.get("/orders", cookie=first)).cookies:
            assert (response.status, time.monotonic() < deadline) == (200, True)
            await asyncio.sleep(0.1)
        renewed = session_cookie(response)
        assert renewed != first
        assert (age_of(response) or 0) > HOUR, engine
        told = await about(gateway, renewed)
        assert (told["idle_left"] > 60, told["absolute_left"] > HOUR) == (True, True), engine

    await asyncio.gather(*map(on, ENGINES))


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_new_password_ends_it_like_any_other_and_leaves_the_mark_where_it_was_set(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, engine: str
) -> None:
    users = [{"source": "file", "path": str(cheap_users(tmp_path / "changing.yaml"))}]
    gateway = await make_gateway(backend.url, session={**SHORT, "engine": engine, "idle_timeout": 60}, users=users)
    here, other = [session_cookie(await sign_in(gateway, KEPT)) for _ in range(2)]
    change = {"old_password": ALICE["password"], "new_password": "another secret"}
    response = await gateway.post("/auth/password", json=change, cookie=here)
    assert (response.status, (age_of(response) or 0) > HOUR) == (200, True)
    assert (await about(gateway, session_cookie(response)))["absolute_left"] > HOUR
    assert (await about(gateway, other))["reason"] == "revoked"


async def test_signing_out_everywhere_ends_it_like_any_other(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url)
    kept, here = [session_cookie(await sign_in(gateway, fields)) for fields in (KEPT, ALICE)]
    ended = await (await gateway.request("DELETE", "/auth/sessions", cookie=here)).json()
    assert ended["ended"] == 1
    assert (await about(gateway, kept))["reason"] == "revoked"


async def test_redis_keeps_it_as_long_as_it_may_last(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url)
    await sign_in(gateway, KEPT)
    await sign_in(gateway, ALICE)  # his list must not end with the shorter one
    sliding = sorted(redis.pttl(key) / 1000 for key in redis.keys("gw:t:*"))
    values = sorted(redis.pttl(key) / 1000 for key in redis.keys("gw:s:{*}"))
    (listed,) = (redis.pttl(key) / 1000 for key in redis.keys("gw:u:*"))
    assert [round(left / DAY, 1) for left in sliding] == [0, 14]
    assert [round(left / DAY, 1) for left in values] == [0, 14]
    assert round(listed / DAY, 1) == 90


# -- what was asked for
ASKED: dict[str, tuple[dict[str, Any], int | None]] = {
    "to be kept": ({"remember": True}, 90 * DAY),
    "to be kept, as a form says it": ({"remember": "1"}, 90 * DAY),
    "not to be": ({"remember": False}, None),
    "nothing": ({}, 12 * HOUR),
}


@pytest.mark.parametrize(("fields", "age"), table(ASKED))
async def test_the_cookie_lasts_as_long_as_the_session_may(gateway: Gateway, fields: Any, age: int | None) -> None:
    said = age_of(await sign_in(gateway, {**ALICE, **fields}))
    assert said is None if age is None else (said or 0) in range(age - 30, age + 1)


async def test_who_signs_in_again_without_asking_is_kept_no_more(gateway: Gateway) -> None:
    kept = session_cookie(await sign_in(gateway, KEPT))
    again = await sign_in(gateway, ALICE, cookie=kept)
    assert (age_of(again) or 0) <= 12 * HOUR
    assert (await about(gateway, session_cookie(again)))["idle_left"] <= 1800
    once_more = await sign_in(gateway, KEPT, cookie=session_cookie(again))
    assert (await about(gateway, session_cookie(once_more)))["idle_left"] > 1800


@pytest.mark.parametrize("remember", [True, False, "maybe", []])
async def test_switched_off_the_field_is_not_read_and_the_page_has_no_box(
    make_gateway: MakeGateway, backend: RecordingBackend, remember: Any
) -> None:
    gateway = await make_gateway(backend.url, session={"remember": {"enabled": False}})
    signed_in = await sign_in(gateway, {**ALICE, "remember": remember})
    assert 0 < (age_of(signed_in) or 0) <= 12 * HOUR
    assert (await about(gateway, session_cookie(signed_in)))["idle_left"] <= 1800
    page = await (await gateway.get("/auth/login", headers={"Accept": "text/html"})).text()
    assert "<form" in page
    assert "remember" not in page


async def test_switched_off_later_it_shortens_those_that_are_open(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    before = await make_gateway(backend.url)
    kept = session_cookie(await sign_in(before, KEPT))
    after = await make_gateway(backend.url, session={"remember": {"enabled": False}})
    told = await about(after, kept)
    assert (told["idle_left"] <= 1800, told["absolute_left"] <= 12 * HOUR) == (True, True)


# -- the settings
def settings(**session: Any) -> Any:
    return make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", session=session)


SHORTER: dict[str, tuple[dict[str, Any], str]] = {
    "idle": ({"idle_timeout": HOUR, "remember": {"idle_timeout": 1800}}, "session.remember.idle_timeout"),
    "idle, beside the default": ({"remember": {"idle_timeout": 60}}, "session.remember.idle_timeout"),
    "absolute": ({"absolute_timeout": 2 * DAY, "remember": {"absolute_timeout": DAY}}, "remember.absolute_timeout"),
}


@pytest.mark.parametrize(("given", "named"), table(SHORTER))
def test_to_be_kept_signed_in_must_not_be_worse_than_not_to_be(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=f"{named}.*must not be shorter"):
        settings(**given)


def test_what_is_left_out_is_never_shorter_than_what_holds_for_everybody() -> None:
    policy = session_policy(settings(idle_timeout=20 * DAY, absolute_timeout=100 * DAY))
    assert policy.remember == Limits(100 * DAY, 20 * DAY, 100 * DAY)
    assert session_policy(settings()).remember == Limits(90 * DAY, 14 * DAY, 90 * DAY)
    assert session_policy(settings(remember={"enabled": False})).remember is None


# -- the session's face
@pytest.fixture
async def sessions(redis_server: RedisServer) -> AsyncIterator[Sessions]:
    policy = SessionPolicy(age=500, idle_timeout=100, absolute_timeout=1000, remember=Limits(90_000, 8000, 90_000))
    async with open_sessions(redis_server, policy, clock=Clock()) as opened:
        yield opened


async def kept_session(sessions: Sessions) -> WebSession:
    session = WebSession(sessions, None)
    await session.sign_in(Identity("7", "alice"), remember=True)
    return session


async def test_a_handler_sees_the_longer_age_and_may_still_set_its_own(sessions: Sessions) -> None:
    session = await kept_session(sessions)
    assert session.get_session_cookie_age() == 90_000
    assert 89_990 <= session.get_expiry_age() <= 90_000
    assert session.get_expiry_age(expiry=0) == 90_000
    session.set_expiry(60)
    assert session.get_expiry_age() == 60


async def test_saving_and_reading_it_again_keep_the_mark_and_emptying_it_drops_it(sessions: Sessions) -> None:
    session = await kept_session(sessions)
    session["cart"] = 1
    await session.save()
    again = WebSession.for_key(sessions, session.session_key)
    await again.load()
    assert again.get_session_cookie_age() == 90_000
    again.clear()
    await again.save()
    await session.load()
    assert (session.user, session.get_session_cookie_age()) == (None, 500)
