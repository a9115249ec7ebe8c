"""``POST /auth/token/revoke`` (RFC 7009), and what else ends tokens: here, and at once at every other gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.behaviour.token_site import MakeSite, grant, introspect, oauth_error, refresh
from tests.conftest import MakeGateway
from tests.harness import ALICE, Gateway

DEAD = {"ret": 0, "active": False}


async def revoke(gateway: Gateway, token: str, **more: str) -> None:
    answer = await gateway.post("/auth/token/revoke", data={"token": token, **more})
    assert (answer.status, await answer.json()) == (200, {"ret": 0})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


async def passes(gateway: Gateway, token: str) -> bool:
    """Is it let through to the backend?"""
    answer = await gateway.get("/x", headers={"Authorization": f"Bearer {token}"})
    assert answer.status in (200, 401), answer.status
    return answer.status == 200


async def refused_soon(gateway: Gateway, token: str, seconds: float = 1.0) -> None:
    """Within a second, as promised; asked all the time."""
    async with asyncio.timeout(seconds):
        while await passes(gateway, token):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "hint",
    [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "refresh_token"}, {"token_type_hint": "x"}],
    ids=str,
)
async def test_a_revoked_access_token_is_worth_nothing_but_its_session_goes_on(
    make_site: MakeSite, hint: dict[str, str]
) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    assert await passes(gateway, made["access_token"])
    await revoke(gateway, made["access_token"], **hint)
    assert not await passes(gateway, made["access_token"])
    assert await introspect(gateway, made["access_token"]) == DEAD
    answer = await refresh(gateway, made["refresh_token"])
    assert await passes(gateway, (await answer.json())["access_token"])


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}], ids=str)
async def test_revoking_a_refresh_token_ends_its_session_and_all_its_tokens(
    make_site: MakeSite, hint: dict[str, str]
) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    made = await grant(gateway)
    await revoke(gateway, made["refresh_token"], **hint)
    assert not await passes(gateway, made["access_token"])
    assert (await oauth_error(await refresh(gateway, made["refresh_token"])))[1] == "invalid_grant"
    listed = await (await gateway.get("/auth/sessions", cookie=cookie)).json()
    assert [one["this"] for one in listed["sessions"]] == [True]


async def test_what_is_no_token_or_none_any_more_is_revoked_without_a_word(make_site: MakeSite) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    cookie = (await gateway.sign_in()).partition("=")[2]
    for _ in range(2):
        await revoke(gateway, made["refresh_token"])
        await revoke(gateway, made["access_token"])
    for token in ("x", "a.b.c", "gwr_x", "gwr_" + "A" * 112, "x" * 10_000, made["access_token"][:-4], cookie):
        await revoke(gateway, token)
    assert (await gateway.get("/auth/session", cookie=f"gw_session={cookie}")).status == 200


@pytest.mark.parametrize(
    "fields",
    [{}, {"token": ""}, {"token": 1}, {"token": ["x"]}, {"token": None}, {"token": "a\0b"}, {"token": "x" * 40_000}],
    ids=lambda fields: str(fields)[:30],
)
async def test_without_a_token_there_is_nothing_to_revoke(make_site: MakeSite, fields: dict[str, Any]) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/token/revoke", json=fields)
    assert await oauth_error(answer) == (400, "invalid_request", "bad_field")


async def test_a_page_of_another_site_may_revoke_a_token_that_it_has_but_ends_no_session_by_cookie(
    make_site: MakeSite,
) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    token = (await (await gateway.post("/auth/token", cookie=cookie)).json())["access_token"]
    answer = await gateway.post(
        "/auth/token/revoke", data={"token": token}, cookie=cookie, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 200
    assert not await passes(gateway, token)
    assert (await gateway.get("/auth/session", cookie=cookie)).status == 200


@pytest.mark.parametrize("way", ["revoke", "sign out", "end all others", "revoke the refresh token"])
async def test_a_token_that_ends_at_one_gateway_is_refused_by_another_within_a_second(
    make_site: MakeSite, way: str
) -> None:
    one, other = await make_site(), await make_site()
    cookie, mine = await one.sign_in(), await one.sign_in()
    made = await grant(one)
    token = made["access_token"]
    if way == "sign out":
        token = (await (await one.post("/auth/token", cookie=cookie)).json())["access_token"]
    assert await passes(other, token)
    if way == "revoke":
        await revoke(one, token)
    elif way == "sign out":
        assert (await one.post("/auth/logout", cookie=cookie)).status == 200
    elif way == "end all others":
        assert (await one.request("DELETE", "/auth/sessions", cookie=mine)).status == 200
    else:
        await revoke(one, made["refresh_token"])
    await refused_soon(other, token)
    assert await introspect(other, token) == DEAD


async def test_signing_in_as_somebody_else_ends_the_tokens_of_the_session_before(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    token = (await (await gateway.post("/auth/token", cookie=cookie)).json())["access_token"]
    answer = await gateway.post("/auth/login", json={"username": "mgr", "password": "mgr-demo"}, cookie=cookie)
    assert answer.status == 200
    await refused_soon(gateway, token)


async def test_a_new_session_id_ends_no_token(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    token = (await (await gateway.post("/auth/token", cookie=cookie)).json())["access_token"]
    assert (await gateway.post("/auth/login", json=ALICE, cookie=cookie)).status == 200
    assert await passes(gateway, token)


async def test_with_redis_away_a_revocation_fails_loudly(make_site: MakeSite, make_gateway: MakeGateway) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    cut = await make_site({"redis": {"url": "redis://127.0.0.1:1/0"}})
    for name in ("access_token", "refresh_token"):
        answer = await cut.post("/auth/token/revoke", data={"token": made[name]})
        assert await oauth_error(answer) == (503, "temporarily_unavailable", "store_unavailable")
        assert answer.headers["Retry-After"]


async def test_whoever_refreshes_while_his_session_is_ended_gets_nothing_that_stays_good(make_site: MakeSite) -> None:
    one, other = await make_site(), await make_site()
    for _ in range(5):
        made = await grant(one)
        answers = await asyncio.gather(
            *[refresh(gateway, made["refresh_token"]) for gateway in (one, other) * 3],
            revoke(other, made["refresh_token"]),
            *[refresh(gateway, made["refresh_token"]) for gateway in (one, other) * 3],
        )
        for answer in filter(None, answers):
            body = await answer.json()
            if answer.status == 200:
                await refused_soon(one, body["access_token"])
                await refused_soon(other, body["access_token"])
                assert (await refresh(one, body["refresh_token"])).status == 400
            else:
                assert body["error"] == "invalid_grant"
