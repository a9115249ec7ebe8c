"""Refresh tokens: good once, the same for all who refresh at once, and the end of their session when one is used again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.core.keys import b64url, parse_ring
from gateway.core.refresh_tokens import FAMILY, RefreshTickets
from gateway.scripting import open_store
from gateway.web.session import WebSession
from tests.behaviour.token_site import MakeSite, grant, introspect, oauth_error, refresh
from tests.harness import ALICE, MASTER, OTHER_MASTER, ROOT, Gateway

GONE = (400, "invalid_grant", "bad_grant")


async def refreshed(gateway: Gateway, token: str) -> dict[str, Any]:
    answer = await refresh(gateway, token)
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/refresh"])
async def test_each_refresh_gives_two_new_tokens_of_the_same_session(make_site: MakeSite, path: str) -> None:
    gateway = await make_site()
    first = await grant(gateway)
    answer = await gateway.post(path, json={"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})
    second = await answer.json()
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "Set-Cookie" not in answer.headers
    assert second.keys() == first.keys()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    sids = {(await introspect(gateway, one["access_token"]))["sid"] for one in (first, second)}
    assert len(sids) == 1
    assert "access_token" in await refreshed(gateway, second["refresh_token"])


async def test_all_who_refresh_at_once_get_the_same_successor(make_site: MakeSite) -> None:
    one, other = await make_site(), await make_site()
    first = (await grant(one))["refresh_token"]
    answers = await asyncio.gather(*[refreshed(gateway, first) for gateway in (one, other) * 8])
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 16
    assert "access_token" in await refreshed(other, answers[0]["refresh_token"])


async def test_who_comes_late_gets_the_present_one_also_when_it_was_refreshed_again(make_site: MakeSite) -> None:
    gateway = await make_site()
    first = (await grant(gateway))["refresh_token"]
    token = first
    for _ in range(4):
        token = (await refreshed(gateway, token))["refresh_token"]
    assert (await refreshed(gateway, first))["refresh_token"] == token


async def test_a_token_that_is_used_again_after_the_grace_ends_its_session_and_all_its_tokens(
    make_site: MakeSite, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.log"
    gateway = await make_site({"log": {"audit": str(audit)}}, refresh_grace=0)
    first = await grant(gateway)
    second = await refreshed(gateway, first["refresh_token"])
    await asyncio.sleep(0.002)  # the grace is over: a fact about time, nothing is waited for
    assert await oauth_error(await refresh(gateway, first["refresh_token"])) == GONE
    assert await oauth_error(await refresh(gateway, second["refresh_token"])) == GONE
    for made in (first, second):
        assert await introspect(gateway, made["access_token"]) == {"ret": 0, "active": False}
    await gateway.client.close()
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["event"], line.get("reason")) for line in lines[1:]] == [("session_revoked", "refresh_reused")]


@pytest.mark.parametrize("change", ["cut", "longer", "other case", "no prefix", "of another gateway"])
async def test_a_changed_token_is_none_and_ends_nothing(make_site: MakeSite, change: str) -> None:
    gateway = await make_site()
    token = (await grant(gateway))["refresh_token"]
    other = await make_site({"keys": {"master": OTHER_MASTER}, "redis": {"prefix": "other:"}})
    bad = {
        "cut": token[:-1],
        "longer": token + "A",
        "other case": token[:40] + token[40:].swapcase(),
        "no prefix": token.removeprefix("gwr_"),
        "of another gateway": (await grant(other))["refresh_token"],
    }[change]
    assert await oauth_error(await refresh(gateway, bad)) == GONE
    assert "access_token" in await refreshed(gateway, token)


async def test_no_other_ticket_of_ours_is_a_refresh_token(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = (await gateway.sign_in()).partition("=")[2]
    made = await grant(gateway)
    for text in (cookie, "gwr_" + cookie, made["access_token"], "gwr_" + made["access_token"]):
        assert await oauth_error(await refresh(gateway, text)) == GONE


async def test_a_refresh_token_is_no_session_cookie_and_no_bearer(make_site: MakeSite) -> None:
    gateway = await make_site()
    token = (await grant(gateway))["refresh_token"]
    for text in (token, token.removeprefix("gwr_")):
        assert (await gateway.get("/auth/session", cookie=f"gw_session={text}")).status == 302
        assert (await gateway.get("/", headers={"Authorization": f"Bearer {text}"})).status == 401


async def test_redis_holds_no_refresh_token(make_site: MakeSite, redis: Redis) -> None:
    gateway = await make_site()
    token = (await grant(gateway))["refresh_token"].removeprefix("gwr_").encode()
    kept = b"".join(key + (redis.dump(key) or b"") for key in redis.scan_iter())
    assert token not in kept
    assert token[60:90] not in kept


async def test_a_session_that_was_ended_is_refreshed_no_more(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    token = (await grant(gateway))["refresh_token"]
    assert (await gateway.request("DELETE", "/auth/sessions", cookie=cookie)).status == 200
    assert await oauth_error(await refresh(gateway, token)) == GONE


async def test_an_idle_session_is_refreshed_no_more_and_refreshing_is_activity(make_site: MakeSite) -> None:
    gateway = await make_site({"session": {"idle_timeout": 2, "touch_interval": 1, "rotate_interval": 0}})
    token = (await grant(gateway))["refresh_token"]
    for _ in range(3):
        await asyncio.sleep(1.2)  # time passes: that is what is tested
        token = (await refreshed(gateway, token))["refresh_token"]
    await asyncio.sleep(3.2)
    assert await oauth_error(await refresh(gateway, token)) == GONE


async def test_a_refreshed_token_tells_of_the_user_as_he_is_now_and_a_disabled_one_gets_none(
    make_site: MakeSite, tmp_path: Path
) -> None:
    users = tmp_path / "users.yaml"
    shipped = (ROOT / "config/users.yaml").read_text()
    users.write_text(shipped)
    gateway = await make_site({"users": [{"source": "file", "path": str(users)}]})
    made = await grant(gateway)
    assert (await introspect(gateway, made["access_token"]))["usertype"] == "user"

    async def until(text: str, wanted: Any) -> None:
        users.write_text(text)
        async with asyncio.timeout(20):
            while (await introspect(gateway, made["access_token"])).get("usertype") != wanted:
                await asyncio.sleep(0.05)

    await until(shipped.replace("usertype: user", "usertype: boss"), "boss")
    made = await refreshed(gateway, made["refresh_token"])
    assert (await introspect(gateway, made["access_token"]))["usertype"] == "boss"
    await until(shipped.replace("- username: alice", "- username: alice\n  disabled: true"), None)
    assert await oauth_error(await refresh(gateway, made["refresh_token"])) == GONE


async def test_a_refresh_token_survives_a_change_of_the_master_key(make_site: MakeSite) -> None:
    old = await make_site()
    first = (await grant(old))["refresh_token"]
    new = await make_site({"keys": {"master": f"{OTHER_MASTER}\n{MASTER}"}})
    second = (await refreshed(new, first))["refresh_token"]
    third = (await refreshed(new, second))["refresh_token"]
    assert third != second
    answer = await refresh(old, third)  # under a key that is in use, but not here
    assert (await oauth_error(answer))[:2] == (503, "temporarily_unavailable")
    assert "access_token" in await refreshed(new, third)


async def test_a_changed_password_ends_the_tokens(make_site: MakeSite, tmp_path: Path) -> None:
    users = tmp_path / "users.yaml"
    users.write_text((ROOT / "config/users.yaml").read_text())
    gateway = await make_site({"users": [{"source": "file", "path": str(users)}]})
    made = await grant(gateway)
    cookie = await gateway.sign_in()
    fields = {"old_password": ALICE["password"], "new_password": "a brand new one 17"}
    answer = await gateway.post("/auth/password", json=fields, cookie=cookie)
    assert answer.status == 200, await answer.text()
    assert await oauth_error(await refresh(gateway, made["refresh_token"])) == GONE
    assert await introspect(gateway, made["access_token"]) == {"ret": 0, "active": False}


@pytest.mark.parametrize("engine", ["memory", "cached_sql"])
async def test_other_session_engines_refresh_too(make_site: MakeSite, engine: str, tmp_path: Path) -> None:
    gateway = await make_site({"session": {"engine": engine}, "sql": {"url": f"sqlite:///{tmp_path}/s.db"}})
    first = (await grant(gateway))["refresh_token"]
    answers = await asyncio.gather(*[refreshed(gateway, first) for _ in range(6)])
    assert len({answer["refresh_token"] for answer in answers}) == 1


async def test_handlers_see_nothing_of_what_the_gateway_keeps_in_a_session_and_lose_nothing_of_it(
    make_site: MakeSite,
) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    token = RefreshTickets(parse_ring(MASTER)).read(made["refresh_token"])
    assert token is not None
    async with open_store(gateway.settings) as store:
        view = WebSession.for_key(store.sessions, b64url(token.session_id))
        assert await view.load() == {}
        assert (list(view), len(view), view.modified) == ([], 0, False)
        with pytest.raises(KeyError):
            view[FAMILY] = {}
        view["cart"] = [1]
        await view.save()
        second = await refreshed(gateway, made["refresh_token"])
        view["cart"] = [1, 2]
        await view.save()  # keeps what the refreshing wrote
        assert "access_token" in await refreshed(gateway, second["refresh_token"])
        await view.cycle_key()
        assert dict(view) == {"cart": [1, 2]}
        assert view.found is not None
        assert view.found.record.data.keys() == {"cart", FAMILY}
