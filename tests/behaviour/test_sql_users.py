"""Users in a database over HTTP: the gateway's own table, a table of Django's, a query, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from gateway.identity.hashes import hash_password
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway, run_gateway, session_cookie
from tests.identity.sql_lab import HASH, PASSWORD, Lab, sql_lab
from tests.store.databases import KINDS, mariadb_server, postgres_server

NEW = "a new secret of hers"
ALICE = {"username": "alice", "password": PASSWORD}
WORD = "VARCHAR(200)"
DJANGO = {
    "id": "INTEGER", "password": "VARCHAR(128)", "last_login": "TIMESTAMP NULL", "is_superuser": "BOOLEAN", "username": "VARCHAR(150)",
    "first_name": WORD, "last_name": WORD, "email": "VARCHAR(254)", "is_staff": "BOOLEAN", "is_active": "BOOLEAN",
}  # fmt: skip
COLUMNS = {
    "id": "id",
    "username": "username",
    "email": "email",
    "password": "password",
    "active": "is_active",
    "name": "first_name",
}
QUICK = {"recheck": 0.3, "timeout": 5}


class _Cheap(PBKDF2PasswordHasher):
    iterations = 1000


DJANGO_HASH = _Cheap().encode(PASSWORD, "aSaltOfDjango")


@pytest.fixture(params=KINDS)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with sql_lab(request.param, tmp_path) as made:
        yield made


def django_user(number: int, username: str, **more: Any) -> dict[str, Any]:
    row = {
        "id": number, "password": DJANGO_HASH, "is_superuser": False, "username": username, "first_name": username.title(),
        "last_name": "", "email": f"{username}@example.org", "is_staff": False, "is_active": True,
    }  # fmt: skip
    return {**row, **more}


async def gateway_on(make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab, **source: Any) -> Gateway:
    users = [{"source": "sql", "url": lab.url, **QUICK, **source}]
    return await make_gateway(backend.url, users=users, login={"failure_time": 0.05, "throttle": {"enabled": False}})


async def status(gateway: Gateway, username: str, password: str = PASSWORD) -> int:
    return (await gateway.post("/auth/login", json={"username": username, "password": password})).status


async def until_over(gateway: Gateway, cookie: str, path: str = "/orders") -> str:
    """The reason why this session is refused."""
    deadline = time.monotonic() + 10
    while (response := await gateway.get(path, cookie=cookie)).status == 200:
        assert time.monotonic() < deadline, "the session goes on"
        await asyncio.sleep(0.05)
    return str((await response.json())["reason"])


async def test_the_users_of_a_django_application_sign_in_with_the_passwords_they_have(
    make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab
) -> None:
    table = await lab.table(DJANGO, django_user(7, "Alice"), django_user(8, "bob", is_active=False))
    gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS)
    for login in ("Alice", "aLICE", "alice@EXAMPLE.org"):
        cookie = await gateway.sign_in({"username": login, "password": PASSWORD})
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
        assert [backend.last.value(f"X-Forwarded-{name}") for name in ("User", "Preferred-Username", "Email")] == [
            "7", "Alice", "Alice@example.org",
        ]  # fmt: skip
    answers = [
        await (await gateway.post("/auth/login", json={"username": name, "password": word})).json()
        for name, word in (("Alice", "wrong"), ("bob", PASSWORD), ("bob", "wrong"), ("nobody", PASSWORD))
    ]
    assert {(one["ret"], one["reason"], one["msg"]) for one in answers} == {(1, "bad_credentials", answers[0]["msg"])}
    (row,) = await lab.run(f"SELECT password FROM {lab.quoted(table)} WHERE id = 7")
    assert row["password"] == DJANGO_HASH  # what is not said to be writable is not written


async def test_a_new_password_is_written_where_the_operator_says_so_and_ends_other_sessions(
    make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab
) -> None:
    columns = {**DJANGO, "generation": "INTEGER"}
    table = await lab.table(columns, {**django_user(7, "alice", password=hash_password(PASSWORD)), "generation": 1})
    named = {**COLUMNS, "generation": "generation"}
    gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=named, writable=True)
    here, elsewhere = [await gateway.sign_in({"username": "alice", "password": PASSWORD}) for _ in range(2)]
    fields = {"old_password": PASSWORD, "new_password": NEW}
    response = await gateway.post("/auth/password", json=fields, cookie=here)
    assert response.status == 200, await response.text()
    assert await until_over(gateway, elsewhere) in ("revoked", "unknown_session")
    assert (await gateway.get("/orders", cookie=session_cookie(response))).status == 200
    assert [await status(gateway, "alice", word) for word in (PASSWORD, NEW)] == [401, 200]
    (row,) = await lab.run(f"SELECT * FROM {lab.quoted(table)}")
    assert (row["password"].startswith("$argon2id$"), row["generation"]) == (True, 2)


async def test_what_changes_in_the_table_is_felt_by_open_sessions(
    make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab
) -> None:
    columns = {**DJANGO, "kind": WORD, "changed": "INTEGER"}
    names = ("gone", "off", "other", "newpw", "stays")
    rows = [
        {**django_user(number, name, password=HASH), "kind": "mgr", "changed": 0} for number, name in enumerate(names)
    ]
    table = await lab.table(columns, *rows)
    named = {**COLUMNS, "usertype": "kind", "generation": "changed"}
    gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=named)
    cookies = {name: await gateway.sign_in({"username": name, "password": PASSWORD}) for name in names}
    for cookie in cookies.values():
        assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
    quoted = lab.quoted(table)
    await lab.run(f"DELETE FROM {quoted} WHERE username = 'gone'")
    await lab.run(f"UPDATE {quoted} SET is_active = false WHERE username = 'off'")
    await lab.run(f"UPDATE {quoted} SET kind = 'user' WHERE username = 'other'")
    await lab.run(f"UPDATE {quoted} SET changed = 1 WHERE username = 'newpw'")
    felt = {name: await until_over(gateway, cookies[name], "/mgr/x") for name in names[:-1]}
    assert felt == {"gone": "revoked", "off": "revoked", "other": "wrong_usertype", "newpw": "revoked"}
    assert (await gateway.get("/orders", cookie=cookies["other"])).status == 200
    assert backend.last.value("X-Forwarded-Usertype") == "user"
    assert (await gateway.get("/mgr/x", cookie=cookies["stays"])).status == 200


async def test_two_queries_find_what_no_table_of_columns_could(
    make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab
) -> None:
    table = await lab.table(DJANGO, django_user(7, "alice", is_staff=True, last_name="Archer"), django_user(8, "bob"))
    name = "CONCAT(first_name, ' ', last_name)" if lab.kind != "sqlite" else "first_name || ' ' || last_name"
    rows = (
        f"SELECT id, username, email, password, {name} AS name, CASE WHEN is_staff THEN 'mgr' ELSE 'user' END AS usertype,"
        f" CASE WHEN is_active THEN 0 ELSE 1 END AS disabled FROM {lab.quoted(table)}"
    )
    query, by_id = f"{rows} WHERE lower(username) = :login OR lower(email) = :login", f"{rows} WHERE id = :id"
    gateway = await gateway_on(make_gateway, backend, lab, query=query, query_by_id=by_id)
    cookie = await gateway.sign_in({"username": "ALICE", "password": PASSWORD})
    response = await gateway.get("/auth/session", cookie=cookie)
    user = (await response.json())["user"]
    assert (user["id"], user["name"], user["usertype"]) == ("7", "Alice Archer", "mgr")
    assert await status(gateway, "bob@example.org") == 200
    changed = await gateway.post("/auth/password", json={"old_password": PASSWORD, "new_password": NEW}, cookie=cookie)
    assert (changed.status, (await changed.json())["reason"]) == (501, "not_possible")
    await lab.run(f"UPDATE {lab.quoted(table)} SET is_active = false WHERE id = 7")
    assert await until_over(gateway, cookie) == "revoked"


async def test_the_command_keeps_accounts_in_the_gateway_s_own_table(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    async with sql_lab("postgresql", tmp_path) as lab:
        lab.tables.append("gateway_users")
        gateway = await gateway_on(make_gateway, backend, lab, create=True)
        await keep_accounts(gateway, lab, tmp_path)


async def keep_accounts(gateway: Gateway, lab: Lab, tmp_path: Path) -> None:
    assert await status(gateway, "zoë") == 401
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"keys: {{master: {gateway.settings.keys.master.get_secret_value()}}}\n"
        f"users: [{{source: sql, url: '{lab.url}'}}]\nupstreams: {{x: {{url: 'http://x'}}}}\nroutes: [{{path: /}}]\n"
    )

    async def users(*arguments: str, given: str = "") -> tuple[int, str]:
        done = await asyncio.to_thread(run_gateway, "users", *arguments, "--config", str(config), input=given)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    more = ("--email", "z@example.org", "--usertype", "mgr", "--group", "a", "--password-stdin")
    assert (await users("add", "Zoë", *more, given=PASSWORD))[0] == 0
    cookie = await gateway.sign_in({"username": "ZOE\u0308", "password": PASSWORD})
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
    assert (await users("disable", "zoë"))[0] == 0
    assert await until_over(gateway, cookie) == "revoked"
    assert [await status(gateway, "zoë"), (await users("list"))[1]] == [401, "Zoë\tmgr\ta\tz@example.org\tdisabled\n"]
    assert (await users("enable", "zoë"))[0] == 0
    cookie = await gateway.sign_in({"username": "z@example.org", "password": PASSWORD})
    assert (await users("passwd", "zoë", "--password-stdin", given=NEW))[0] == 0
    assert await until_over(gateway, cookie) == "revoked"
    assert [await status(gateway, "zoë", word) for word in (PASSWORD, NEW)] == [401, 200]
    assert (await users("remove", "zoë"))[0] == 0
    assert await status(gateway, "zoë", NEW) == 401
    code, said = await users("disable", "zoë")
    assert (code, "there is no user zoë" in said) == (1, True)


async def test_a_sign_in_with_the_old_password_is_none_when_it_was_changed_meanwhile(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    """Nothing counts generations here; the password is confirmed once the session is open."""
    async with sql_lab("sqlite", tmp_path) as lab:
        slow = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(13)).decode()
        table = await lab.table(DJANGO, django_user(7, "alice", password=slow))
        gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS)
        signing_in = asyncio.create_task(gateway.post("/auth/login", json=ALICE))
        await asyncio.sleep(0.1)
        await lab.run(f"UPDATE {lab.quoted(table)} SET password = :made", made=hash_password(NEW))
        response = await signing_in
        assert (response.status, (await response.json())["reason"]) == (401, "bad_credentials")
        assert not any(morsel.value for name, morsel in response.cookies.items() if name == "gw_session")


async def test_who_gets_the_id_of_somebody_who_is_gone_does_not_get_his_sessions(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    async with sql_lab("sqlite", tmp_path) as lab:
        table = await lab.table(DJANGO, django_user(1, "bob", password=HASH))
        gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS)
        cookie = await gateway.sign_in({"username": "bob", "password": PASSWORD})
        await lab.run(f"DELETE FROM {lab.quoted(table)}")
        await lab.insert(table, django_user(1, "carol", password=HASH))
        assert await until_over(gateway, cookie) == "revoked"
        assert (await gateway.get("/auth/session", cookie=cookie)).status == 302


async def test_a_process_that_was_just_started_refuses_within_a_second_who_was_disabled_meanwhile(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    """Not after ``recheck``. Three seconds: of a loaded machine."""
    async with sql_lab("sqlite", tmp_path) as lab:
        table = await lab.table(DJANGO, django_user(1, "bob", password=HASH))
        source = {"table": table, "columns": COLUMNS, "recheck": 600}
        before = await gateway_on(make_gateway, backend, lab, **source)
        cookie = await before.sign_in({"username": "bob", "password": PASSWORD})
        await lab.run(f"UPDATE {lab.quoted(table)} SET is_active = false")
        assert (await before.get("/orders", cookie=cookie)).status == 200, "it has just seen him sign in"
        started = await gateway_on(make_gateway, backend, lab, **source)
        async with asyncio.timeout(3):
            assert await until_over(started, cookie) == "revoked"


async def test_who_stays_gone_has_no_sessions_when_he_is_back(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    async with sql_lab("sqlite", tmp_path) as lab:
        table = await lab.table(DJANGO, django_user(1, "bob", password=HASH))
        gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS)
        bob = {"username": "bob", "password": PASSWORD}
        cookie = await gateway.sign_in(bob)
        await lab.run(f"DELETE FROM {lab.quoted(table)}")
        assert await until_over(gateway, cookie) == "revoked"
        await asyncio.sleep(1.5)  # more than two looks
        await lab.insert(table, django_user(1, "bob", password=HASH))
        await gateway.sign_in(bob)
        assert (await gateway.get("/orders", cookie=cookie)).status == 302


BAD = [
    "a\0b",
    "\ud800",
    "x" * 10_000,
    "' OR '1'='1",
    "alice'--",
    '"; DROP TABLE users; --',
    "%",
    "_____",
    "\\",
    ":login",
    "$1",
]


async def test_no_login_gets_more_than_a_wrong_password(
    make_gateway: MakeGateway, backend: RecordingBackend, lab: Lab
) -> None:
    table = await lab.table(DJANGO, django_user(7, "alice", password=HASH))
    gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS)
    fields = [{"username": login, "password": PASSWORD} for login in BAD]
    fields += [{"username": "alice", "password": login} for login in BAD[:3]]
    for field in fields:
        response = await gateway.post("/auth/login", json=field)
        assert response.status in (400, 401), (ascii(field)[:80], await response.text())
    assert await lab.run(f"SELECT * FROM {lab.quoted(table)}")


SERVERS = {"postgresql": postgres_server, "mariadb": mariadb_server}


@pytest.mark.parametrize("kind", SERVERS)
async def test_while_the_database_is_away_nobody_hears_that_his_password_is_wrong_and_nobody_is_signed_out(
    make_gateway: MakeGateway, backend: RecordingBackend, kind: str, tmp_path: Path
) -> None:
    async with sql_lab(kind, tmp_path) as lab:
        table = await lab.table(DJANGO, django_user(7, "alice", password=HASH))
        gateway = await gateway_on(make_gateway, backend, lab, table=table, columns=COLUMNS, timeout=0.5)
        cookie = await gateway.sign_in({"username": "alice", "password": PASSWORD})
        server = SERVERS[kind]()
        for away, back in ((server.freeze, server.thaw), (server.kill, server.start)):
            away()
            try:
                response = await until_away(gateway)
                started = time.monotonic()
                assert (await response.json())["reason"] == "users_unavailable"
                assert int(response.headers["Retry-After"]) > 0
                assert "Set-Cookie" not in response.headers
                deadline = time.monotonic() + 1  # several rounds of looking up again
                while time.monotonic() < deadline:
                    assert (await gateway.get("/orders", cookie=cookie)).status == 200
                    await asyncio.sleep(0.05)
                assert time.monotonic() - started < 5
            finally:
                back()
            deadline = time.monotonic() + 20
            while await status(gateway, "alice") != 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


async def until_away(gateway: Gateway) -> Any:
    """A process that is told to stop may say a last word."""
    deadline = time.monotonic() + 10
    while (response := await gateway.post("/auth/login", json=ALICE)).status != 503:
        assert response.status == 200
        assert time.monotonic() < deadline
    return response


async def test_a_gateway_starts_without_its_database(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    users = [{"source": "sql", "url": "postgresql://u:p@127.0.0.1:1/d", "timeout": 0.5}]
    gateway = await make_gateway(backend.url, users=users)
    response = await gateway.post("/auth/login", json={"username": "alice", "password": PASSWORD})
    assert (response.status, (await response.json())["reason"]) == (503, "users_unavailable")
    assert "127.0.0.1:1" not in await response.text()
