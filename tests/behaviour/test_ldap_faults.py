"""A directory that is away, hangs, breaks off, or is not who it should be: nobody signs in by it, and nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.behaviour.ldap_site import ALICE, DISABLED, FILE, Make, becomes, is_away, sign_in, user_of
from tests.harness import MANAGER, Gateway
from tests.identity.ldap_faults import answer_to_start_tls, between, fake, silent
from tests.identity.ldap_lab import BASE, GATEWAY_PASSWORD, PASSWORD, Slapd, ldap
from tests.quick import cheap_users
from tests.redis_lab import make_ca


@pytest.mark.parametrize("kind", ["StartTLS", "ldaps"])
async def test_passwords_travel_in_tls(make_ldap: Make, directory: Slapd, kind: str) -> None:
    url = directory.url if kind == "StartTLS" else directory.tls_url
    gateway = await make_ldap(
        ldap(url, ca_file=directory.ca_file, **({"start_tls": True} if kind == "StartTLS" else {}))
    )
    assert (await user_of(gateway, ALICE))["username"] == "alice"
    assert (await sign_in(gateway, {**ALICE, "password": "wrong"})).status == 401


@pytest.mark.parametrize("kind", ["StartTLS", "ldaps"])
async def test_a_server_without_the_right_certificate_gets_no_password(
    make_ldap: Make, directory: Slapd, tmp_path: Path, kind: str
) -> None:
    other = make_ca(tmp_path, "other").cert
    url = directory.url if kind == "StartTLS" else directory.tls_url
    more = {"start_tls": True} if kind == "StartTLS" else {}
    assert await is_away(await make_ldap(ldap(url, ca_file=str(other), **more)))
    elsewhere = url.replace("127.0.0.1", "localhost")  # the certificate names the address
    assert await is_away(await make_ldap(ldap(elsewhere, ca_file=directory.ca_file, **more)))


@pytest.mark.parametrize(
    "answer", [answer_to_start_tls(52), answer_to_start_tls(0) + answer_to_start_tls(0), b"HTTP/1.1 400\r\n\r\n"]
)
async def test_a_server_that_refuses_start_tls_or_adds_to_its_answer_gets_no_password(
    make_ldap: Make, answer: bytes
) -> None:
    async with fake(answer) as (url, heard):
        assert await is_away(await make_ldap(ldap(url, start_tls=True)))
    assert heard
    assert GATEWAY_PASSWORD.encode() not in b"".join(heard)
    assert PASSWORD.encode() not in b"".join(heard)


async def test_a_killed_directory_is_503_and_signs_in_again_once_it_is_back(
    make_ldap: Make, own_directory: Slapd
) -> None:
    gateway = await make_ldap(ldap(own_directory.url))
    assert not await is_away(gateway)
    own_directory.kill()
    assert await is_away(gateway)
    own_directory.start()
    assert (await user_of(gateway, ALICE))["username"] == "alice"  # the kept connection is dead: a new one is made


async def test_a_frozen_directory_is_503_in_time_and_signs_in_again_once_it_is_thawed(
    make_ldap: Make, own_directory: Slapd
) -> None:
    gateway = await make_ldap(ldap(own_directory.url, timeout=1.0))
    await becomes(lambda: _is_in(gateway))
    own_directory.freeze()
    try:
        started = time.monotonic()
        assert await is_away(gateway)
        assert time.monotonic() - started < 20  # the kept connection, and a new one: a second each
    finally:
        own_directory.thaw()
    await becomes(lambda: _is_in(gateway))


async def _is_in(gateway: Gateway) -> bool:
    return not await is_away(gateway)


@pytest.mark.parametrize("kind", ["plain", "StartTLS", "ldaps"])
async def test_a_silent_server_holds_up_nobody_else(make_ldap: Make, tmp_path: Path, kind: str) -> None:
    file = {"source": "file", "path": str(cheap_users(tmp_path / "users.yaml"))}
    with silent() as port:
        url = f"{'ldaps' if kind == 'ldaps' else 'ldap'}://127.0.0.1:{port}"
        more = {"start_tls": True} if kind == "StartTLS" else {}
        gateway = await make_ldap(file, ldap(url, timeout=2.0, connect_timeout=2.0, **more))
        hanging = [asyncio.create_task(is_away(gateway)) for _ in range(30)]  # more than there are connections
        slowest = 0.0
        while not all(task.done() for task in hanging):
            started = time.monotonic()
            assert (await gateway.get("/public/")).status == 200
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.01)
        assert all([await task for task in hanging])
        assert slowest < 1.5  # two seconds is what the first of them wait
        twice = [asyncio.create_task(user_of(gateway, MANAGER)) for _ in range(2)]  # his source is not away
        done, _ = await asyncio.wait(twice, timeout=1.5, return_when=asyncio.FIRST_COMPLETED)
        assert done  # one tries whether the directory is back; nobody else waits for it
        assert [user["usertype"] for user in await asyncio.gather(*twice)] == ["mgr", "mgr"]


@pytest.mark.parametrize("then", ["cut", "hang", "trickle"])
@pytest.mark.parametrize("passes", [0, 7, 60, 200])
async def test_an_answer_that_stops_in_the_middle_is_503_and_no_verdict(
    make_ldap: Make, directory: Slapd, then: str, passes: int
) -> None:
    async with between(directory.port) as way:
        gateway = await make_ldap(ldap(way.url, timeout=0.3))
        way.passes, way.then = passes, then
        async with asyncio.timeout(5):
            assert await is_away(gateway)
        way.passes = None
        await becomes(lambda: _is_in(gateway))


@pytest.mark.parametrize("then", ["cut", "hang"])
async def test_the_answer_to_the_users_own_bind_may_stop_too(make_ldap: Make, directory: Slapd, then: str) -> None:
    async with between(directory.port) as way:
        gateway = await make_ldap(ldap(way.url, timeout=1.0))
        await becomes(lambda: _is_in(gateway))
        known = way.connections
        way.passes, way.then, way.touches = 5, then, lambda number: number > known  # the kept connection goes on
        assert await is_away(gateway)
        assert await is_away(gateway, {**ALICE, "password": "wrong"})
        assert await is_away(gateway, {"username": "nobody", "password": "wrong"})


async def test_a_kept_connection_that_nobody_answers_any_more_is_replaced(make_ldap: Make, directory: Slapd) -> None:
    """A firewall that forgot it says nothing."""
    async with between(directory.port) as way:
        gateway = await make_ldap(ldap(way.url, timeout=2.0))
        await becomes(lambda: _is_in(gateway))
        known = way.connections
        way.passes, way.then, way.touches = 0, "hang", lambda number: number <= known
        assert not await is_away(gateway)


async def test_searches_share_a_connection_and_passwords_have_their_own(make_ldap: Make, directory: Slapd) -> None:
    async with between(directory.port) as way:
        gateway = await make_ldap(ldap(way.url, **DISABLED))
        for _ in range(5):
            await user_of(gateway, ALICE)
        assert way.connections == 1 + 5


async def test_the_next_server_is_asked_when_the_first_is_away(make_ldap: Make, directory: Slapd) -> None:
    with silent() as port:
        gateway = await make_ldap(
            ldap(
                f"ldaps://127.0.0.1:{port}",
                "ldap://127.0.0.1:1",
                directory.url,
                ca_file=directory.ca_file,
                connect_timeout=3.0,
            )
        )
        assert (await user_of(gateway, ALICE))["username"] == "alice"
        started = time.monotonic()
        await user_of(gateway, ALICE)
        assert time.monotonic() - started < 2.5  # the silent one is not waited for again


async def test_a_directory_that_refuses_the_gateway_itself_is_away_for_all(make_ldap: Make, directory: Slapd) -> None:
    gateway = await make_ldap(FILE, ldap(directory.url, bind_password="not the gateway's"))
    assert await is_away(gateway)
    assert (await user_of(gateway, MANAGER))["usertype"] == "mgr"


async def test_a_branch_that_is_not_there_is_an_outage_and_no_verdict(make_ldap: Make, directory: Slapd) -> None:
    assert await is_away(await make_ldap(ldap(directory.url, base=f"ou=nowhere,{BASE}")))


async def test_users_at_once_get_their_own_identity(make_ldap: Make, directory: Slapd) -> None:
    """P62, P63: what one asked is never the answer to another, not even when many are cancelled on the way."""
    gateway = await make_ldap(ldap(directory.url, pool_size=4))
    names = ["alice", "bob", "carol", "twin"] * 3  # and as many given up: fewer than one address may have under way

    async def who(name: str) -> str:
        return str((await user_of(gateway, {"username": name, "password": PASSWORD}))["username"])

    given_up = [asyncio.create_task(who(name)) for name in names]
    await asyncio.sleep(0.02)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    assert await asyncio.gather(*map(who, names)) == names
