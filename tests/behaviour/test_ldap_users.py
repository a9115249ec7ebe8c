"""Users in a directory, a real one: who signs in and as whom, and what happens when the directory misbehaves."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.behaviour.ldap_site import ALICE, BOB, CAROL, DISABLED, Make, becomes, is_away, sign_in, user_of
from tests.fakes import RecordingBackend
from tests.identity.ldap_lab import (
    BASE,
    GROUPS,
    PASSWORD,
    Slapd,
    dn_of,
    ldap,
)


# -- who signs in
@pytest.mark.parametrize("called", [{"username": "alice"}, {"username": "ALICE "}, {"email": "Alice@Example.org"}])
async def test_an_entry_signs_in_by_name_and_by_mail(make_ldap: Make, directory: Slapd, called: dict[str, str]) -> None:
    user = await user_of(await make_ldap(ldap(directory.url)), {**called, "password": PASSWORD})
    assert len(user.pop("id")) == 36
    assert user == {
        "username": "alice",
        "name": "Alice Adams",
        "email": "alice@example.org",
        "usertype": "",
        "groups": ["editors", "sales, east", "mgr"],
    }


async def test_an_entry_with_a_chinese_name_signs_in(
    make_ldap: Make, directory: Slapd, backend: RecordingBackend
) -> None:
    gateway = await make_ldap(ldap(directory.url, attributes={"name": "displayName"}))
    user = await user_of(gateway, {"username": "张伟", "password": PASSWORD})
    assert (user["username"], user["name"]) == ("张伟", "张伟")


async def test_a_directory_that_lets_nobody_in_particular_search_is_searched_so(
    make_ldap: Make, tmp_path: Path
) -> None:
    server = Slapd(tmp_path / "slapd", reader="anonymous")
    try:
        gateway = await make_ldap(ldap(server.url, bind_dn=None, bind_password=None))
        assert (await user_of(gateway, ALICE))["username"] == "alice"
    finally:
        server.kill()


# -- groups and usertypes
async def test_groups_of_one_branch_can_be_all_that_count(make_ldap: Make, directory: Slapd) -> None:
    gateway = await make_ldap(ldap(directory.url, groups={"base": GROUPS}))
    assert (await user_of(gateway, ALICE))["groups"] == ["editors", "sales, east"]


@pytest.mark.parametrize(
    "found", ["(member={dn})", f"(&(objectClass=groupOfNames)(member=uid={{username}},ou=people,{BASE}))"]
)
async def test_groups_can_be_searched_for(make_ldap: Make, directory: Slapd, found: str) -> None:
    gateway = await make_ldap(ldap(directory.url, groups={"base": GROUPS, "filter": found, "attribute": "description"}))
    assert sorted((await user_of(gateway, ALICE))["groups"]) == ["editors", "sales, east"]
    assert (await user_of(gateway, {"username": "twin", "password": PASSWORD}))["groups"] == []


@pytest.mark.parametrize("groups", [{"base": GROUPS}, {"base": GROUPS, "filter": "(member={dn})"}])
async def test_a_group_makes_a_usertype(make_ldap: Make, directory: Slapd, groups: dict[str, str]) -> None:
    gateway = await make_ldap(
        ldap(
            directory.url,
            groups=groups,
            usertype_by_group={"mgr": "mgr", "editors": "editor"},
            attributes={"usertype": "employeeType"},
        )
    )
    assert [(await user_of(gateway, user))["usertype"] for user in (CAROL, ALICE, BOB)] == ["mgr", "editor", "editor"]
    dora = await user_of(gateway, {"username": "dora", "password": PASSWORD})
    assert dora["usertype"] == "disabled"  # of no group here: what the entry says


# -- who does not
NOT_IN = {
    "a wrong password": {**ALICE, "password": "wrong"},
    "no such user": {"username": "nobody", "password": PASSWORD},
    "a disabled one": {"username": "dora", "password": PASSWORD},
    "a disabled one with a wrong password": {"username": "dora", "password": "wrong"},
    "a locked one": {"username": "locked", "password": PASSWORD},
    "one without a password": {"username": "keyless", "password": PASSWORD},
    "a mail of two": {"email": "twins@example.org", "password": PASSWORD},
    "blanks that the directory ignores": {"username": "other  twin", "password": PASSWORD},
    "the name of an entry": {"username": dn_of("alice"), "password": PASSWORD},
    "another attribute": {"username": "Alice Adams", "password": PASSWORD},
    "a star": {"username": "*", "password": PASSWORD},
    "the beginning": {"username": "alic*", "password": PASSWORD},
    "another filter": {"username": "*)(uid=*", "password": PASSWORD},
    "a filter that ends": {"username": "alice)(|(uid=*", "password": PASSWORD},
    "a written NUL": {"username": "alice\\00", "password": PASSWORD},
    "a hole": {"username": "{login}", "password": PASSWORD},
}


async def test_all_who_do_not_sign_in_get_the_same_answer(make_ldap: Make, directory: Slapd) -> None:
    gateway = await make_ldap(ldap(directory.url, **DISABLED))
    answers = {}
    for name, user in NOT_IN.items():
        response = await sign_in(gateway, user)
        answer = await response.json()
        del answer["request_id"]
        answers[name] = (response.status, answer)
    assert answers == dict.fromkeys(NOT_IN, (401, answers["a wrong password"][1]))
    assert (await user_of(gateway, ALICE))["username"] == "alice"


NO_TEXT = {
    "no password": {**ALICE, "password": ""},
    "nobody's empty password": {"username": "nobody", "password": ""},
    "a NUL": {"username": "alice\0", "password": PASSWORD},
    "half a character": {"username": "alice\ud800", "password": PASSWORD},
    "a password that goes on behind a NUL": {**ALICE, "password": PASSWORD + "\0"},
    "half a character in a password": {**ALICE, "password": PASSWORD + "\ud800"},
}


@pytest.mark.parametrize("user", NO_TEXT.values(), ids=NO_TEXT)
async def test_an_empty_password_and_what_is_no_text_are_none(
    make_ldap: Make, directory: Slapd, user: dict[str, str]
) -> None:
    """A bind without a password succeeds and proves nothing (RFC 4513 §5.1.2); this server allows such binds."""
    gateway = await make_ldap(ldap(directory.url))
    assert (await sign_in(gateway, user)).status in (400, 401)


@pytest.mark.parametrize("field", ["username", "password"])
async def test_ten_kilobytes_are_nobody(make_ldap: Make, directory: Slapd, field: str) -> None:
    gateway = await make_ldap(ldap(directory.url))
    assert (await sign_in(gateway, {**ALICE, field: "x" * 10_240})).status in (400, 401, 413)
    assert (await user_of(gateway, ALICE))["username"] == "alice"


# -- changes are felt
async def test_who_is_disabled_or_loses_a_group_feels_it_within_the_recheck(
    make_ldap: Make, own_directory: Slapd
) -> None:
    gateway = await make_ldap(
        ldap(own_directory.url, recheck=0.3, groups={"base": GROUPS}, usertype_by_group={"mgr": "mgr"}, **DISABLED)
    )
    alice, carol = await gateway.sign_in(ALICE), await gateway.sign_in(CAROL)
    assert (await gateway.get("/mgr/", cookie=carol)).status == 200
    own_directory.members(f"cn=mgr,{GROUPS}", "add", "bob")
    own_directory.members(f"cn=mgr,{GROUPS}", "delete", "carol")
    own_directory.modify("alice", "replace: employeeType", "employeeType: disabled")

    async def is_out(path: str, cookie: str) -> bool:
        return (await gateway.get(path, cookie=cookie)).status == 302

    await becomes(lambda: is_out("/mgr/", carol))
    await becomes(lambda: is_out("/", alice))
    assert (await gateway.get("/", cookie=carol)).status == 200


async def test_a_new_password_in_the_directory_ends_open_sessions(make_ldap: Make, own_directory: Slapd) -> None:
    gateway = await make_ldap(ldap(own_directory.url, recheck=0.3, attributes={"generation": "pwdChangedTime"}))
    own_directory.modify("bob", "replace: userPassword", "userPassword: the first")
    bob = await gateway.sign_in({"username": "bob", "password": "the first"})
    assert (await gateway.get("/", cookie=bob)).status == 200
    await asyncio.sleep(1.0)  # the directory's clock has seconds
    own_directory.modify("bob", "replace: userPassword", "userPassword: the second")

    async def is_over() -> bool:
        return (await gateway.get("/", cookie=bob)).status == 302

    await becomes(is_over)
    assert (await user_of(gateway, {"username": "bob", "password": "the second"}))["username"] == "bob"


async def test_who_is_renamed_stays_who_he_is_and_sessions_outlive_an_outage(
    make_ldap: Make, own_directory: Slapd
) -> None:
    gateway = await make_ldap(ldap(own_directory.url, recheck=0.3))
    bob = await gateway.sign_in(BOB)
    before = (await (await gateway.get("/auth/session", cookie=bob)).json())["user"]
    own_directory.modify("bob", "replace: mail", "mail: robert@example.org")

    async def has_new_mail() -> bool:
        user = (await (await gateway.get("/auth/session", cookie=bob)).json())["user"]
        return bool(user["email"] == "robert@example.org" and user["id"] == before["id"])

    await becomes(has_new_mail)
    own_directory.kill()
    await becomes(lambda: is_away(gateway, BOB))
    ends = time.monotonic() + 1.0  # three rechecks
    while time.monotonic() < ends:
        assert (await gateway.get("/", cookie=bob)).status == 200
        await asyncio.sleep(0.05)
