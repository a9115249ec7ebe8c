"""The source itself, without the sign-in endpoint in front of it, which refuses some of this already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvloop

from gateway.errors import SettingsError, SourceUnavailable
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import NotChanged, UserSource
from gateway.user_sources import make_sources
from tests.harness import make_settings
from tests.identity.ldap_faults import between, fake, silent
from tests.identity.ldap_lab import BASE, GATEWAY_PASSWORD, GROUPS, PASSWORD, Slapd, ldap


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    yield server
    server.kill()


def source_of(*urls: str, **over: Any) -> UserSource:
    settings = make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", users=[ldap(*urls, **over)])
    checker = PasswordChecker(1)
    try:
        return make_sources(settings, checker)[0]
    finally:
        checker.close()


@pytest.fixture
async def users(slapd: Slapd) -> AsyncIterator[UserSource]:
    source = source_of(slapd.url, disabled_filter="(employeeType=disabled)")
    yield source
    await source.close()


async def test_it_is_what_every_source_is(users: UserSource) -> None:
    found = await users.find("alice")
    assert found is not None
    user = await users.verify(found, "alice", PASSWORD)
    assert user is not None
    assert (user, users.known(user.id)) == (found.identity, None)
    assert await users.get(user.id) == user
    assert await users.stored_hash(user.id) is None
    assert await users.change_password(user.id, PASSWORD, "another one 9") is NotChanged.IMPOSSIBLE
    assert (users.name, users.in_memory, users.recheck) == (f"ldap:ou=people,{BASE}", False, 60.0)
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    "password",
    ["", "\0", PASSWORD + "\0", PASSWORD + "\ud800", "x" * 10_000, "wrong", PASSWORD.encode().decode("latin-1")],
)
async def test_a_password_that_is_not_exactly_it_is_wrong(users: UserSource, password: str) -> None:
    """An empty one most of all: this server takes binds without a password."""
    found = await users.find("alice")
    assert found is not None
    assert await users.verify(found, "alice", password) is None
    assert await users.verify(None, "nobody", password) is None


@pytest.mark.parametrize(
    "login",
    [
        "",
        " ",
        "\0",
        "alice\0",
        "alice\ud800",
        "x" * 100_000,
        "*",
        "alic*",
        "*)(uid=*",
        "\\61lice",
        "twins@example.org",
    ],
)
async def test_what_is_nobodys_name_finds_nobody(users: UserSource, login: str) -> None:
    assert await users.find(login) is None


@pytest.mark.parametrize("login", ["Alice", " ALICE ", "ａｌｉｃｅ", "ALICE@EXAMPLE.ORG"])
async def test_a_name_is_found_however_it_is_written(users: UserSource, login: str) -> None:
    found = await users.find(login)
    assert found is not None
    assert found.identity.username == "alice"


async def test_a_name_that_looks_like_a_filter_is_a_name(users: UserSource) -> None:
    found = await users.find("eve (star) *")
    assert found is not None
    assert await users.verify(found, "eve (star) *", PASSWORD) == found.identity


@pytest.mark.parametrize(
    ("name", "disabled"), [("dora", "(employeeType=disabled)"), ("locked", "(pwdAccountLockedTime=000001010000Z)")]
)
async def test_a_disabled_one_is_found_but_gone(slapd: Slapd, name: str, disabled: str) -> None:
    source = source_of(slapd.url, disabled_filter=disabled)
    found, other = await source.find(name), await source.find("alice")
    assert found is not None
    assert other is not None
    assert (found.disabled, other.disabled) == (True, False)
    assert await source.verify(found, name, PASSWORD) is None
    assert await source.get(found.identity.id) is None
    assert await source.get(other.identity.id) == other.identity
    await source.close()


@pytest.mark.parametrize(
    "user_id", ["", "*", "nobody", "\0", "\ud800", "x" * 10_000, "00000000-0000-0000-0000-000000000000"]
)
async def test_an_id_of_nobody_gets_nobody(users: UserSource, user_id: str) -> None:
    assert await users.get(user_id) is None


async def test_who_is_out_of_the_filter_is_gone(slapd: Slapd) -> None:
    everybody, editors = (
        source_of(slapd.url),
        source_of(slapd.url, filter=f"(&(uid={{login}})(memberOf=cn=editors,{GROUPS}))"),
    )
    for name, is_editor in (("alice", True), ("twin", False)):
        found = await everybody.find(name)
        assert found is not None
        assert (await editors.find(name) is not None) is is_editor
        assert (await editors.get(found.identity.id) is not None) is is_editor
    await everybody.close()
    await editors.close()


async def test_a_disabled_filter_that_the_directory_cannot_judge_lets_nobody_in(slapd: Slapd) -> None:
    source = source_of(slapd.url, disabled_filter="(noSuchAttribute=TRUE)")
    found = await source.find("alice")
    assert found is not None
    assert found.disabled
    assert await source.verify(found, "alice", PASSWORD) is None
    await source.close()


async def test_whoever_gives_up_leaves_no_answer_and_no_connection_behind(slapd: Slapd) -> None:
    """P63."""
    async with between(slapd.port) as way:
        source = source_of(way.url, pool_size=1)
        for step in range(60):
            task = asyncio.create_task(source.find("alice"))
            await asyncio.sleep(step * 0.0001)  # at every point of the way
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            found = await source.find("bob")
            assert found is not None
            assert found.identity.username == "bob"
        async with asyncio.timeout(20):
            while way.open > 1:  # the kept one
                await asyncio.sleep(0.01)
        await source.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\0" * 100,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x30\x0e\x02\x01\x01a\t\n\x00\x04\x00\x040\xa3\x000\xa3\x00",
        b"\x30\x84\x00\x40\x00\x00" + bytes(2_000_000),
    ],
    ids=["nothing", "another protocol", "lengths that do not fit", "too much"],
)
async def test_nonsense_is_an_outage_at_once(nonsense: bytes) -> None:
    async with fake(nonsense) as (url, _), asyncio.timeout(15):
        source = source_of(url, timeout=30)
        with pytest.raises(SourceUnavailable):
            await source.find("alice")
        await source.close()


async def test_an_outage_says_which_server_did_what_and_is_left_to_whoever_asked_to_log(
    slapd: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two servers that hang, each sign-in meets the other one first: that is still one outage."""
    async with between(slapd.port) as first, between(slapd.port) as second:
        source = source_of(first.url, second.url, timeout=0.5, connect_timeout=0.5)
        assert await source.find("alice") is not None
        for way in (first, second):
            way.passes, way.then = 0, "hang"
        causes = []
        for _ in range(3):
            with pytest.raises(SourceUnavailable) as caught:
                await source.find("alice")
            causes.append(caught.value.cause)
        for way in (first, second):
            way.passes = None
        assert await source.find("alice") is not None
        await source.close()
    assert {cause.partition(": ")[0] for cause in causes} <= {first.url, second.url}
    assert all("no answer within 0.5 s" in cause and GATEWAY_PASSWORD not in cause for cause in causes)
    assert [record for record in caplog.records if record.name == "gateway.identity"] == []


async def test_a_refusal_names_the_server_and_shows_no_password(slapd: Slapd) -> None:
    wrong = source_of(slapd.url, bind_password="not-this-one")
    nowhere = source_of(slapd.url, base=f"ou=nowhere,{BASE}")
    for source in (wrong, nowhere):
        with pytest.raises(SourceUnavailable) as caught:
            await source.find("alice")
        assert caught.value.cause.startswith(f"{slapd.url}: it refuses ")
        assert "not-this-one" not in caught.value.cause
        await source.close()


@pytest.mark.parametrize("disabled", [None, "(employeeType=disabled)"])
async def test_an_address_like_somebody_elses_name_takes_it_from_nobody(slapd: Slapd, disabled: str | None) -> None:
    """However many have such an address: more than any search returns."""
    source = source_of(slapd.url, filter="(|(uid={login})(mail={login}))", disabled_filter=disabled)
    others = ("bob", "carol", "twin", "other-twin", "third-twin")
    for uid in others:
        slapd.modify(uid, "add: mail", "mail: alice", "mail: dora")
    try:
        for login in ("alice", "ALICE", " alice "):
            found = await source.find(login)
            assert found is not None
            assert (found.identity.username, found.disabled) == ("alice", False)
            assert await source.verify(found, login, PASSWORD) is not None
        gone = await source.find("dora")
        assert gone is not None
        assert (gone.identity.username, gone.disabled) == ("dora", disabled is not None)
    finally:
        for uid in others:
            slapd.modify(uid, "delete: mail", "mail: alice", "mail: dora")
        await source.close()


async def test_two_entries_of_one_name_are_told_once(users: UserSource, caplog: pytest.LogCaptureFixture) -> None:
    """With a filter for the disabled ones the directory is asked twice."""
    assert await users.find("twins@example.org") is None
    assert len([record for record in caplog.records if record.name == "gateway.identity"]) == 1


async def test_what_a_directory_may_read_as_another_password_is_never_sent(slapd: Slapd) -> None:
    async with between(slapd.port) as way:
        source = source_of(way.url)
        found = await source.find("alice")
        assert found is not None
        for password in ("", PASSWORD + "\0", PASSWORD + "\0more"):
            assert await source.verify(found, "alice", password) is None
        assert await source.verify(None, "nobody", PASSWORD) is None
        assert PASSWORD.encode() not in way.heard
        assert await source.verify(found, "alice", PASSWORD) == found.identity
        assert PASSWORD.encode() in way.heard
        await source.close()


async def test_more_than_may_wait_are_turned_away_at_once_and_others_in_time(slapd: Slapd) -> None:
    async with between(slapd.port) as way:
        way.passes, way.then = 0, "hang"
        source = source_of(way.url, pool_size=1, timeout=0.3)
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(source.find("alice") for _ in range(40)), return_exceptions=True)
        assert all(isinstance(answer, SourceUnavailable) for answer in answers)
        assert way.connections < 5
        await source.close()


@pytest.mark.parametrize("kind", ["plain", "StartTLS", "ldaps"])
def test_it_does_the_same_on_uvloop_as_in_production(slapd: Slapd, kind: str) -> None:
    more = {"ca_file": slapd.ca_file, **({"start_tls": True} if kind == "StartTLS" else {})}

    async def work() -> None:
        source = source_of(slapd.tls_url if kind == "ldaps" else slapd.url, **more)
        found = await source.find("alice")
        assert found is not None
        assert await source.verify(found, "alice", PASSWORD) == found.identity
        assert await source.verify(found, "alice", "wrong") is None
        assert await source.get(found.identity.id) == found.identity
        await source.close()
        with silent() as port:
            url = f"{'ldaps' if kind == 'ldaps' else 'ldap'}://127.0.0.1:{port}"
            source = source_of(url, timeout=0.3, connect_timeout=0.3, **more)
            with pytest.raises(SourceUnavailable):
                await source.find("alice")
            await source.close()

    uvloop.run(work())


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"filter": "(uid={login})(mail={login})"}, "filter"),
        ({"filter": "(&(uid={login})(cn={name}))"}, "filter"),
        ({"groups": {"filter": "(member={login})"}}, "groups.filter"),
        ({"groups": {"filter": "(&)"}}, "groups.filter"),
        ({"disabled_filter": "(&)"}, "disabled_filter"),
        ({"ca_file": "config/users.yaml"}, "ca_file"),
    ],
)
def test_what_is_wrong_is_said_at_start(over: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        source_of("ldaps://ldap.example.org", **over)
    assert [problem.key for problem in caught.value.problems] == [f"users.0.{named}"]
