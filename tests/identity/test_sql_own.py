"""The gateway's own table of users, and databases that are away, on real databases."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.identity import Identity
from gateway.errors import SourceUnavailable, StartError
from gateway.identity.source import NotChanged
from gateway.identity.sql_accounts import SqlAccounts
from gateway.identity.sql_asking import LegacyTable, OwnTable
from gateway.identity.sql_users import SqlUsers
from gateway.store.sql import Database
from tests.identity.sql_lab import HASH, PASSWORD, Lab, enter, sql_lab
from tests.store.databases import KINDS, mariadb_server, postgres_server

NEW = "another password of theirs"


@pytest.fixture(params=KINDS)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with sql_lab(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def own(lab: Lab) -> AsyncIterator[tuple[SqlUsers, SqlAccounts]]:
    source, table = lab.own()
    database = Database(lab.url, timeout=20, pool_size=3, create=table.create)
    accounts = SqlAccounts(database, table)
    yield source, accounts
    await accounts.close()


def row(username: str, **more: Any) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "username": username, "password": HASH, **more}


Own = tuple[SqlUsers, SqlAccounts]


async def test_an_account_signs_in_and_every_field_comes_back(own: Own) -> None:
    source, accounts = own
    more = {"name": "王小明", "email": "Ming@Example.org", "usertype": "mgr", "groups": ["a, b", "用户"]}
    given = row("Ming", **more)
    await accounts.add(given)
    ming = Identity(given["id"], "Ming", "王小明", "Ming@Example.org", "mgr", ("a, b", "用户"), "sql:test")
    for login in ("ming", "MING", "ming@example.ORG"):
        assert await enter(source, login) == ming
    assert await source.get(given["id"]) == ming
    assert await enter(source, "ming", "wrong") is None
    assert await enter(source, "nobody") is None
    (entry,) = await accounts.entries()
    assert (entry.username, entry.groups, entry.disabled, entry.generation) == ("Ming", ("a, b", "用户"), False, 0)


SPELLINGS = [
    ("Müller", "mu\u0308LLER"), ("ALICE", "ａlice"), ("straße", "STRASSE"), ("İpek", "i\u0307pek"), ("ﬁn", "FIN"), ("Σίσυφος", "σίσυφοσ"),
    ("a b", "A\u3000b"), ("ДМИТРИЙ", "дмитрий"), ("a'; DROP TABLE x; --", "A'; drop table X; --"), ("%_\\", "%_\\"),
]  # fmt: skip
OTHERS = [("müller", "muller"), ("ıstanbul", "istanbul"), ("jose", "josé"), ("a", "а"), ("axb", "a_b"), ("ss", "s")]


async def test_names_are_found_in_every_spelling_whatever_the_database_thinks_of_letters(own: Own) -> None:
    source, accounts = own
    for stored, _ in SPELLINGS:
        await accounts.add(row(stored))
    for stored, typed in SPELLINGS:
        for login in (stored, typed, f" {typed} "):
            found = await source.find(login)
            assert found is not None, login
            assert found.identity.username == stored


@pytest.mark.parametrize(("one", "other"), OTHERS)
async def test_names_that_only_look_alike_are_two_accounts(own: Own, one: str, other: str) -> None:
    source, accounts = own
    await accounts.add(row(one))
    assert await source.find(other) is None
    await accounts.add(row(other))
    found = [await source.find(name) for name in (one, other)]
    assert [user.identity.username for user in found if user] == [one, other]


@pytest.mark.parametrize(
    "second", [row("ALICE"), row("x", email="Alice"), row("alice@Example.ORG"), row("y", email="ALICE@example.org")]
)
async def test_a_name_or_an_address_is_given_once(own: Own, second: dict[str, Any]) -> None:
    source, accounts = own
    await accounts.add(row("alice", email="alice@example.org"))
    with pytest.raises(StartError, match="there is already a user who signs in as"):
        await accounts.add(second)
    assert len(await accounts.entries()) == 1
    assert await enter(source, "alice")


async def test_of_many_who_add_one_name_at_once_one_does(own: Own) -> None:
    _, accounts = own
    both = await asyncio.gather(
        *(accounts.add(row(name)) for name in ("alice", "ALICE", "Alice")), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in both) == ["NoneType", "StartError", "StartError"]
    assert len(await accounts.entries()) == 1


WRONG = [
    {"username": ""},
    {"username": "a\0b"},
    {"username": "x" * 255},
    {"username": " a"},
    {"username": "ﷺ" * 100},
    {"email": "x" * 300},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: ascii(value)[:30])
async def test_what_nobody_can_be_called_is_refused_in_words(own: Own, wrong: dict[str, Any]) -> None:
    _, accounts = own
    with pytest.raises(StartError, match=r"^(username|email): "):
        await accounts.add({**row("alice"), **wrong})


async def test_an_account_is_changed_disabled_and_removed(own: Own) -> None:
    source, accounts = own
    alice = row("Alice")
    await accounts.add(alice)
    changed = await source.change_password(alice["id"], PASSWORD, NEW)
    assert isinstance(changed, Identity)
    assert changed.generation == 1
    assert [await enter(source, "alice", one) for one in (PASSWORD, NEW)] == [None, changed]
    assert await source.change_password(alice["id"], PASSWORD, "yet another one") is NotChanged.WRONG
    assert await accounts.set_password("ALICE", HASH)
    assert (await enter(source, "alice") or changed).generation == 2
    assert await accounts.set_disabled("aLICE", True)
    assert (await enter(source, "alice"), await source.get(alice["id"])) == (None, None)
    assert await source.change_password(alice["id"], PASSWORD, NEW) is NotChanged.WRONG
    assert await accounts.set_disabled("alice", False)
    assert await enter(source, "alice")
    assert await accounts.remove("Alice")
    assert (await enter(source, "alice"), await source.get(alice["id"]), await accounts.entries()) == (None, None, [])
    assert [await accounts.remove("alice"), await accounts.set_password("alice", HASH)] == [False, False]
    assert not await accounts.set_disabled("alice", True)


async def test_gateways_that_start_at_once_make_one_table(lab: Lab) -> None:
    _, table = lab.own()
    sources = [lab.source(OwnTable(table.made.name), create=OwnTable(table.made.name).create) for _ in range(4)]
    assert await asyncio.gather(*(one.find("alice") for one in sources)) == [None] * 4


async def test_a_table_that_is_not_to_be_made_is_not(lab: Lab) -> None:
    source = lab.source(OwnTable("no_such_table"))
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            await source.find("alice")


async def test_a_file_of_sqlite_that_is_missing_is_not_made(tmp_path: Path) -> None:
    async with sql_lab("sqlite", tmp_path) as lab:
        source = lab.legacy("users", "username password", url=f"sqlite:///{tmp_path}/un known%20?.db".replace("?", "-"))
        with pytest.raises(SourceUnavailable):
            await source.find("alice")
        assert [path.name for path in tmp_path.iterdir()] == ["sessions.db"]  # the lab's


async def test_a_file_of_sqlite_may_have_any_name_and_be_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a %20b#c.db"
    async with sql_lab("sqlite", path.parent) as lab:
        lab.url = f"sqlite:///{path}"
        name = await lab.table({"username": "TEXT", "password": "TEXT"}, {"username": "alice", "password": HASH})
        assert await enter(lab.legacy(name, "username password"), "alice")
        (tmp_path / "text.db").write_text("no database " * 100)
        with pytest.raises(SourceUnavailable):
            await lab.legacy(name, "username password", url=f"sqlite:///{tmp_path}/text.db").find("alice")


# -- databases that are away
@pytest.mark.parametrize(
    "url", ["postgresql://u:hidden@127.0.0.1:1/d", "mysql://u:hidden@127.0.0.1:1/d", "sqlite:////nowhere/x.db"]
)
async def test_a_database_that_is_not_there_is_unavailable_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    async with sql_lab("sqlite", tmp_path) as lab:
        source = lab.source(LegacyTable("users", {"username": "a", "password": "b"}), writable=True, url=url, timeout=1)
        started = time.monotonic()
        for work in (source.find("a"), source.get("1"), source.stored_hash("1"), source.change_password("1", "a", NEW)):
            with pytest.raises(SourceUnavailable) as raised:
                await work
            assert raised.value.cause
            assert "hidden" not in raised.value.cause
        assert time.monotonic() - started < 8


SERVERS = {"postgresql": postgres_server, "mariadb": mariadb_server}


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_database_that_hangs_costs_its_time_out_and_works_again_afterwards(kind: str, tmp_path: Path) -> None:
    async with sql_lab(kind, tmp_path) as lab:
        name = await lab.table(
            {"username": "VARCHAR(99)", "password": "VARCHAR(199)"}, {"username": "alice", "password": HASH}
        )
        source = lab.legacy(name, "username password", timeout=1)
        assert await enter(source, "alice")
        server = SERVERS[kind]()
        server.freeze()
        try:
            while not isinstance(
                (await asyncio.gather(source.find("alice"), return_exceptions=True))[0], SourceUnavailable
            ):
                assert server.process is not None  # a process that is told to stop may say a last word
            started = time.monotonic()
            asked = await asyncio.gather(*(source.find("alice") for _ in range(8)), return_exceptions=True)
            assert {type(one) for one in asked} == {SourceUnavailable}
            assert time.monotonic() - started < 2.5
        finally:
            server.thaw()
        assert await until_it_works(source)


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_database_that_dies_is_unavailable_and_found_again_when_it_is_back(kind: str, tmp_path: Path) -> None:
    async with sql_lab(kind, tmp_path) as lab:
        name = await lab.table(
            {"username": "VARCHAR(99)", "password": "VARCHAR(199)"}, {"username": "alice", "password": HASH}
        )
        source = lab.legacy(name, "username password", timeout=1)
        slow = {"postgresql": "pg_sleep(30)", "mariadb": "SLEEP(30)"}[kind]
        asleep = lab.queries(f"SELECT {slow}, :login AS username", "SELECT 1 WHERE 1 = :id", timeout=10)
        assert await enter(source, "alice")
        waiting = asyncio.create_task(asleep.find("alice"))
        await asyncio.sleep(0.3)  # so that the query is under way; if it is not yet, the answer is the same
        server = SERVERS[kind]()
        server.kill()
        try:
            with pytest.raises(SourceUnavailable):
                await waiting
            with pytest.raises(SourceUnavailable):
                await source.find("alice")
        finally:
            server.start()
        assert await until_it_works(source)


async def until_it_works(source: SqlUsers) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return await enter(source, "alice") is not None
        except SourceUnavailable:
            await asyncio.sleep(0.05)
    return False
