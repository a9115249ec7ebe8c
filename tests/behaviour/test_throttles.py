"""Sign-in attempts are limited, and nobody can lock somebody else out (docs/users.md, Throttling)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestServer
from redis import Redis

from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, MASTER, OTHER_MASTER, Gateway, free_port, session_cookie
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]

WRONG = {"username": "alice", "password": "wrong-demo"}
MINUTES = {"every": 600}
PATIENT = {"account_at_address": MINUTES}
FORM_PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


def settings(**throttle: Any) -> dict[str, Any]:
    """A gateway behind a proxy, so that a test can come from anywhere."""
    throttle.setdefault("account_at_address", MINUTES)
    return {"login": {"throttle": throttle}, "server": {"trusted_proxies": ["127.0.0.1"]}}


async def try_(
    gateway: Gateway, fields: dict[str, Any], address: str = "192.0.2.1", *, cookie: str | None = None
) -> ClientResponse:
    headers = {"X-Forwarded-For": address}
    return await gateway.post("/auth/login", json=fields, headers=headers, cookie=cookie)


async def statuses(gateway: Gateway, tries: int, fields: dict[str, Any], address: str = "192.0.2.1") -> list[int]:
    return [(await try_(gateway, fields, address)).status for _ in range(tries)]


def device_of(response: ClientResponse) -> str:
    """The Cookie header of a browser that kept only this one."""
    morsel = response.cookies["gw_device"]
    return f"{morsel.key}={morsel.value}"


def numbered(number: int) -> str:
    return f"198.51.100.{number}"


@pytest.fixture
async def legacy() -> AsyncIterator[str]:
    """An application that knows Alice, as a source of users."""

    async def sign_in(request: web.Request) -> web.Response:
        is_right = await request.json() == ALICE
        return web.json_response({"id": "a1", "username": "alice"} if is_right else {}, status=200 if is_right else 401)

    app = web.Application()
    app.router.add_post("/signin", sign_in)
    async with TestServer(app) as server:
        yield str(server.make_url("/signin"))


def legacy_users(url: str) -> dict[str, Any]:
    return {"source": "http", "url": url, "format": "json", "success": {"status": 200}}


# -- from one address
async def test_stuffing_from_one_address_ends_whichever_accounts_it_tries(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, **settings(address={"burst": 6, **MINUTES}))
    tried = [await try_(gateway, {"username": f"user{n}", "password": "spring-2026"}) for n in range(9)]
    assert [response.status for response in tried] == [401] * 6 + [429] * 3
    assert (await try_(gateway, ALICE)).status == 429, "the right password is not looked at either"
    assert (await try_(gateway, ALICE, "192.0.2.2")).status == 200


async def test_a_network_of_ipv6_is_one_address(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, **settings(address={"burst": 2, **MINUTES}))
    for number, status in ((1, 401), (2, 401), (3, 429)):
        assert (await try_(gateway, WRONG, f"2001:db8:0:7::{number}")).status == status
    assert (await try_(gateway, WRONG, "2001:db8:0:8::1")).status == 401


async def test_stuffing_from_a_whole_ipv6_allocation_ends_too(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """Each network of 64 bits has room, and a customer has 65,536 of them."""
    gateway = await make_gateway(backend.url, **settings(address={"burst": 2, **MINUTES}))

    async def guess(number: int, address: str) -> int:
        return (await try_(gateway, {"username": f"user{number}", "password": "spring-2026"}, address)).status

    assert [await guess(number, f"2001:db8:5:{number:x}::1") for number in range(18)] == [401] * 16 + [429] * 2
    assert await guess(99, "2001:db8:6::1") == 401, "another customer"
    assert (await try_(gateway, ALICE, "2001:db8:6::1")).status == 200


async def test_guessing_at_one_account_ends_after_five(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, **settings())
    assert await statuses(gateway, 7, WRONG) == [401] * 5 + [429] * 2
    assert (await try_(gateway, ALICE)).status == 429
    assert (await try_(gateway, MANAGER)).status == 200, "another account from there is not held"


async def test_refused_attempts_stay_counted_for_their_address_as_they_cost_a_look_up(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, **settings(address={"burst": 9, **MINUTES}))
    assert await statuses(gateway, 9, WRONG) == [401] * 5 + [429] * 4
    assert (await try_(gateway, MANAGER)).status == 429
    assert (await try_(gateway, MANAGER, "192.0.2.2")).status == 200


async def test_one_network_cannot_fill_the_line_for_password_checks(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """With right passwords even, which no counter holds: 33 places, of which 16 are one network's."""
    given = settings(address={"burst": 1000}, account_at_address={"burst": 1000}, account={"burst": 1000})
    gateway = await make_gateway(backend.url, **{**given, "login": {**given["login"], "threads": 1}})

    async def one(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        async with gateway.client.session.post(f"{gateway.url}/auth/login", json=ALICE, headers=headers) as response:
            return response.status

    crowd = [asyncio.create_task(one(f"2001:db8:0:{number}::1")) for number in range(60)]
    await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
    assert await one("192.0.2.7") == 200
    assert set(await asyncio.gather(*crowd)) == {200, 503}


async def test_a_crowd_passes_no_limit(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    """Counted before the password is checked, which takes a while."""
    gateway = await make_gateway(backend.url, **settings(address={"burst": 200}))

    async def one() -> int:
        headers = {"X-Forwarded-For": "192.0.2.1"}
        async with gateway.client.session.post(f"{gateway.url}/auth/login", json=WRONG, headers=headers) as response:
            return response.status

    found = await asyncio.gather(*(one() for _ in range(100)))
    assert found.count(401) == 5
    assert set(found) == {401, 429, 503}, "more at once than one address may have under way"


async def test_a_right_password_forgives_mistakes_but_buys_no_guesses_at_others(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, **settings(address={"burst": 9, **MINUTES}))
    for _ in range(2):
        assert await statuses(gateway, 4, WRONG) == [401] * 4
        assert (await try_(gateway, ALICE)).status == 200
    assert (await try_(gateway, ALICE)).status == 200
    assert await statuses(gateway, 2, {"username": "mgr", "password": "wrong"}) == [401, 429]


# -- one account, however it is called and wherever it is tried
async def test_name_address_spelling_and_way_in_are_one_account(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """P65, P66, P69."""
    gateway = await make_gateway(
        backend.url, login={"throttle": PATIENT, "aliases": [{"path": "/in", "wrong_status": 200}]}
    )
    page = await gateway.get("/auth/login")
    form = {"csrf": _field(await page.text(), "csrf"), "password": "wrong"}
    form_cookie = f"gw_form={page.cookies['gw_form'].value}"

    async def every_way() -> list[int]:
        ways = [
            gateway.post("/auth/login", json=WRONG),
            gateway.post("/auth/login", json={"email": "Alice@Example.org", "password": "wrong"}),
            gateway.post("/auth/login", json={"username": " ＡＬＩＣＥ ", "password": "wrong"}),
            gateway.post("/in", json=WRONG),
            gateway.post("/auth/login", data={**form, "username": "ALICE"}, headers=FORM_PAGE, cookie=form_cookie),
        ]
        return [(await way).status for way in ways]

    assert await every_way() == [401, 401, 401, 200, 401]
    assert await every_way() == [429] * 5


async def test_the_answer_says_when_to_try_again_to_people_and_to_programs(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, login={"throttle": PATIENT})
    for _ in range(5):
        await gateway.post("/auth/login", json=WRONG)
    response = await gateway.post("/auth/login", json=WRONG)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (429, 429, "throttled")
    assert 0 < int(response.headers["Retry-After"]) <= 600
    page = await gateway.get("/auth/login")
    fields = {**WRONG, "csrf": _field(await page.text(), "csrf")}
    cookie = f"gw_form={page.cookies['gw_form'].value}"
    response = await gateway.post("/auth/login", data=fields, headers=FORM_PAGE, cookie=cookie)
    html = await response.text()
    assert response.status == 429
    assert response.content_type == "text/html"
    assert 0 < int(response.headers["Retry-After"]) <= 600
    assert 'value="alice"' in html
    assert "wrong-demo" not in html


async def test_an_unknown_user_is_throttled_just_as_a_known_one(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """P69: neither the answers nor their number says who exists."""
    gateway = await make_gateway(backend.url, **settings())
    told = []
    for number, name in enumerate(("alice", "nobody")):
        fields = {"username": name, "password": "wrong"}
        tried = [await try_(gateway, fields, numbered(number)) for _ in range(7)]
        bodies = [await response.json() for response in tried]
        told.append([(one.status, body["msg"]) for one, body in zip(tried, bodies, strict=True)])
    assert told[0] == told[1]
    assert [status for status, _ in told[0]] == [401] * 5 + [429] * 2


async def test_a_new_password_cannot_be_guessed_at_with_a_stolen_session(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, **settings())
    cookie = session_cookie(await try_(gateway, ALICE))
    passwords = {"old_password": "wrong", "new_password": "correct horse battery staple"}
    headers = {"X-Forwarded-For": "192.0.2.9"}

    async def change() -> int:
        return (await gateway.post("/auth/password", json=passwords, cookie=cookie, headers=headers)).status

    assert [await change() for _ in range(6)] == [401] * 5 + [429]
    assert (await try_(gateway, ALICE, "192.0.2.9")).status == 429, "it is the same account from the same address"


async def test_guesses_are_not_free_while_another_source_is_away(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    """A guess that one source has refused is told as 503 then, and counts all the same."""
    away = {"source": "http", "url": f"http://127.0.0.1:{free_port()}/", "success": {"status": 204}}
    file = {"source": "file", "path": str(cheap_users(tmp_path / "users.yaml"))}
    gateway = await make_gateway(backend.url, users=[file, away], **settings())
    assert await statuses(gateway, 7, WRONG) == [503] * 5 + [429] * 2
    alone = await make_gateway(backend.url, users=[away], **settings())
    assert await statuses(alone, 7, {"username": "carol", "password": "x"}) == [503] * 7, "nobody has looked at it"


async def test_a_password_that_cannot_be_changed_here_forgives_no_guess(
    make_gateway: MakeGateway, backend: RecordingBackend, legacy: str
) -> None:
    gateway = await make_gateway(backend.url, users=[legacy_users(legacy)], **settings())
    cookie = session_cookie(await try_(gateway, ALICE))
    fields = {"old_password": "x", "new_password": "correct horse battery staple"}
    assert await statuses(gateway, 4, WRONG) == [401] * 4
    response = await gateway.post(
        "/auth/password", json=fields, cookie=cookie, headers={"X-Forwarded-For": "192.0.2.1"}
    )
    assert response.status == 501
    assert await statuses(gateway, 2, WRONG) == [401, 429]


# -- from many addresses
async def test_guesses_from_many_addresses_get_a_pause_and_no_lock(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    slow = {"burst": 4, "first_delay": 5, "longest_delay": 5}
    gateway = await make_gateway(backend.url, **settings(account=slow))
    tried = [await try_(gateway, WRONG, numbered(number)) for number in range(4)]
    assert [response.status for response in tried] == [401] * 4
    found = await asyncio.gather(*(_alone(gateway, WRONG, numbered(number)) for number in range(10, 30)))
    assert found.count(401) <= 1
    assert 429 in found
    for _ in range(200):
        if (response := await try_(gateway, ALICE, "203.0.113.9")).status == 200:
            break
        assert response.status == 429
        await asyncio.sleep(0.1)
    assert response.status == 200


async def _alone(gateway: Gateway, fields: dict[str, Any], address: str) -> int:
    headers = {"X-Forwarded-For": address}
    async with gateway.client.session.post(f"{gateway.url}/auth/login", json=fields, headers=headers) as response:
        return response.status


async def test_nobody_can_lock_the_owner_out(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    """Neither from many addresses nor from behind her own: the browser she has signed in with is let through at once."""
    slow = {"burst": 6, "first_delay": 60, "longest_delay": 60}
    gateway = await make_gateway(backend.url, **settings(address={"burst": 8, **MINUTES}, account=slow))
    hers = device_of(await try_(gateway, ALICE, "192.0.2.50"))
    for number in range(8):
        assert (await try_(gateway, WRONG, numbered(number))).status == (401 if number < 6 else 429)
    spray = [await try_(gateway, {"username": f"u{n}", "password": "x"}, "192.0.2.50") for n in range(9)]
    assert spray[-1].status == 429
    assert (await try_(gateway, ALICE, "203.0.113.1")).status == 429, "a browser nobody knows has to wait"
    for address in ("192.0.2.50", "203.0.113.1", numbered(1)):
        assert (await try_(gateway, ALICE, address, cookie=hers)).status == 200


# -- the device cookie
async def test_a_known_browser_is_limited_too(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, **settings(device={"burst": 3, **MINUTES}))
    hers = device_of(await try_(gateway, ALICE))
    for number, status in enumerate((401, 401, 401, 429, 429)):
        assert (await try_(gateway, WRONG, numbered(number), cookie=hers)).status == status
    assert (await try_(gateway, ALICE)).status == 200, "and what it did holds nobody else"


async def test_a_browser_is_known_also_where_its_user_is_not_before_his_password(
    make_gateway: MakeGateway, backend: RecordingBackend, legacy: str
) -> None:
    """A source that is asked over HTTP finds nobody by name alone."""
    gateway = await make_gateway(backend.url, users=[legacy_users(legacy)], **settings(address={"burst": 1, **MINUTES}))
    hers = device_of(await try_(gateway, ALICE))
    assert await statuses(gateway, 2, WRONG) == [401, 429]
    assert (await try_(gateway, ALICE)).status == 429
    assert (await try_(gateway, ALICE, cookie=hers)).status == 200


async def test_a_browser_known_for_one_account_is_a_stranger_for_others(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """Else who has an account could make as many cookies as he likes, and guess with each of them."""
    gateway = await make_gateway(backend.url, **settings(address={"burst": 3, **MINUTES}))
    mine = [device_of(await try_(gateway, MANAGER)) for _ in range(4)]
    found = [(await try_(gateway, WRONG, cookie=cookie)).status for cookie in mine]
    assert found == [401, 401, 401, 429]


async def test_the_cookie_is_set_at_every_sign_in_and_shows_nothing(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, **settings())
    first = await try_(gateway, ALICE)
    morsel = first.cookies["gw_device"]
    assert (morsel["path"], morsel["max-age"], morsel["samesite"]) == ("/", str(365 * 86400), "Lax")
    assert (bool(morsel["httponly"]), morsel["secure"], morsel["domain"]) == (True, "", "")
    assert len(morsel.value) < 128
    again = await try_(gateway, MANAGER, cookie=device_of(first))
    assert "gw_device" in again.cookies
    assert "gw_device" not in (await try_(gateway, WRONG)).cookies
    both = device_of(again)
    slow = await make_gateway(backend.url, **settings(address={"burst": 1, **MINUTES}))
    assert (await try_(slow, WRONG)).status == 429
    for user in (ALICE, MANAGER):
        assert (await try_(slow, user, cookie=both)).status == 200


async def test_on_https_no_other_host_can_plant_it(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, site={"url": "https://www.example.org"}, login={"throttle": PATIENT})
    response = await gateway.post("/auth/login", json=ALICE)
    morsel = response.cookies["__Host-gw_device"]
    assert (morsel["path"], morsel["domain"], bool(morsel["secure"])) == ("/", "", True)


async def test_signing_out_leaves_it(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, **settings())
    signed_in = await try_(gateway, ALICE)
    both = f"{session_cookie(signed_in)}; {device_of(signed_in)}"
    response = await gateway.post("/auth/logout", json={}, cookie=both)
    assert response.status == 200
    assert "gw_device" not in response.cookies


async def test_no_backend_sees_it_or_sets_it(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, **settings())
    signed_in = await try_(gateway, ALICE)
    cookie = f"a=1; {device_of(signed_in)}; {session_cookie(signed_in)}; __Host-gw_device=x; b=2"
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert backend.last.values("Cookie") == ["a=1; b=2"]
    backend.answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: gw_device=theirs\r\nSet-Cookie: c=3\r\nContent-Length: 2\r\n\r\nok"
    )
    assert (await gateway.get("/orders", cookie=cookie)).headers.getall("Set-Cookie") == ["c=3"]


FORGED = ["x", "A" * 102, "A" * 5_000, "", '"quoted"', "密码"]


@pytest.mark.parametrize("value", FORGED, ids=[value[:6] or "empty" for value in FORGED])
async def test_a_forged_cookie_is_none(make_gateway: MakeGateway, backend: RecordingBackend, value: str) -> None:
    gateway = await make_gateway(backend.url, **settings(address={"burst": 1, **MINUTES}))
    assert (await try_(gateway, WRONG)).status == 401
    assert (await try_(gateway, ALICE, cookie=f"gw_device={value}")).status == 429
    response = await try_(gateway, ALICE, "192.0.2.2", cookie=f"gw_device={value}")
    assert (response.status, "gw_device" in response.cookies) == (200, True)


async def test_one_of_another_gateway_is_none_and_one_of_an_older_key_is(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    foreign = await make_gateway(backend.url, keys={"master": OTHER_MASTER}, **settings())
    cookie = device_of(await try_(foreign, ALICE))
    strict = settings(address={"burst": 1, **MINUTES})
    gateway = await make_gateway(backend.url, **strict)
    assert (await try_(gateway, WRONG)).status == 401
    assert (await try_(gateway, ALICE, cookie=cookie)).status == 429
    rotated = await make_gateway(backend.url, keys={"master": f"{MASTER}\n{OTHER_MASTER}\n"}, **strict)
    assert (await try_(rotated, ALICE)).status == 429
    assert (await try_(rotated, ALICE, cookie=cookie)).status == 200


# -- several gateways, and time
async def test_gateways_count_together_and_a_restart_forgets_nothing(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    one, other = await make_gateway(backend.url, **settings()), await make_gateway(backend.url, **settings())
    assert await statuses(one, 3, WRONG) == [401] * 3
    assert await statuses(other, 3, WRONG) == [401, 401, 429]
    await one.client.close()
    await other.client.close()
    started_again = await make_gateway(backend.url, **settings())
    assert (await try_(started_again, ALICE)).status == 429


async def test_throttling_writes_nothing_that_wakes_those_who_keep_sessions(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url, **settings())
    await statuses(gateway, 3, WRONG)
    keys: Any = redis.keys("gw:throttle*")
    assert len(keys) == 3
    assert all(key.startswith(b"gw:throttle:") and redis.pttl(key) > 0 for key in keys)


@pytest.mark.parametrize("engine", ["memory", "file", "sql"])
async def test_without_redis_each_process_counts(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Any, engine: str
) -> None:
    session = {"engine": engine, "file": {"path": str(tmp_path / "sessions")}}
    sql = {"url": f"sqlite:///{tmp_path / 's.db'}"}
    gateway = await make_gateway(backend.url, session=session, sql=sql, redis_url="redis://127.0.0.1:1", **settings())
    assert await statuses(gateway, 7, WRONG) == [401] * 5 + [429] * 2


async def test_without_redis_nobody_signs_in_uncounted(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    """Hazard R6: an error of the store is never read as room."""
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, **settings())
    assert (await try_(gateway, ALICE)).status == 200
    own_redis.kill()
    for fields in (ALICE, WRONG):
        response = await try_(gateway, fields)
        assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
        assert "Set-Cookie" not in response.headers


async def test_it_can_be_switched_off(make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis) -> None:
    gateway = await make_gateway(backend.url, **settings(enabled=False))
    assert await statuses(gateway, 12, WRONG) == [401] * 12
    assert redis.keys("gw:throttle:*") == []


def _field(html: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', html)
    assert found, html
    return found[1]
