"""Users in tables of other applications, on real databases: who is found, and what their columns may hold."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from gateway.core.identity import Identity
from gateway.errors import SettingsError, SourceUnavailable
from gateway.identity.hashes import verify_password
from gateway.identity.source import NotChanged
from gateway.identity.sql_users import SqlUsers
from tests.identity.sql_lab import CHEAP, HASH, PASSWORD, Lab, enter, sql_lab
from tests.store.databases import KINDS
from tests.store.databases import PASSWORD as SERVER_PASSWORD

WORD = "VARCHAR(200)"
PLAIN = {"id": "INTEGER", "username": WORD, "email": WORD, "password": WORD}
NAMES = " ".join(PLAIN)
NEW = "another password of theirs"
OTHER_HASH = CHEAP.hash(NEW)


@pytest.fixture(params=KINDS)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with sql_lab(request.param, tmp_path) as made:
        yield made


def person(number: int, username: str | None, email: str | None = "", password: str | None = HASH) -> dict[str, Any]:
    return {"id": number, "username": username, "email": email, "password": password}


async def found(source: SqlUsers, login: str) -> str:
    """The id of whoever has this name."""
    one = await source.find(login)
    return one.identity.id if one else ""


async def people(lab: Lab, *rows: dict[str, Any], **options: Any) -> SqlUsers:
    return lab.legacy(await lab.table(PLAIN, *rows), NAMES, **options)


# -- a table of the legacy application
async def test_a_user_of_a_legacy_table_signs_in_by_username_or_e_mail_address(lab: Lab) -> None:
    columns = {
        "user id": "INTEGER", "login": WORD, "Mail": WORD, "full_name": WORD, "order": WORD, "groups": WORD, "p%w": WORD,
    }  # fmt: skip
    row = {
        "user id": 7, "login": "Alice", "Mail": "Alice@Example.org", "full_name": "Alice Archer", "order": "mgr",
        "groups": "sales, north,,sales", "p%w": HASH,
    }  # fmt: skip
    name = await lab.table(columns, row, name=f"users of {uuid.uuid4().hex[:8]}; drop")
    ours = ("id", "username", "email", "name", "usertype", "groups", "password")
    source = lab.legacy(name, dict(zip(ours, columns, strict=True)))
    groups = ("sales", "north")
    alice = Identity("7", "Alice", "Alice Archer", "Alice@Example.org", "mgr", groups, "sql:test")
    for login in ("Alice", "alice", " ALICE ", "alice@example.ORG", "\uff21lice"):
        assert await enter(source, login) == alice, login
    assert await enter(source, "alice", "wrong") is None
    assert await source.get("7") == alice
    assert await source.get("8") is None
    assert await enter(source, "alicia") is None


async def test_what_is_left_out_has_its_default_and_the_username_is_the_id(lab: Lab) -> None:
    name = await lab.table({"username": WORD, "password": WORD}, {"username": "alice", "password": HASH})
    source = lab.legacy(name, "username password")
    assert await enter(source, "alice") == Identity("alice", "alice", source="sql:test")
    assert await source.get("alice") == Identity("alice", "alice", source="sql:test")


async def test_one_column_may_be_username_and_e_mail_address(lab: Lab) -> None:
    name = await lab.table({"mail": WORD, "password": WORD}, {"mail": "a@b.c", "password": HASH})
    source = lab.legacy(name, {"id": "mail", "username": "mail", "email": "mail", "password": "password"})
    assert await enter(source, "A@b.c") == Identity("a@b.c", "a@b.c", email="a@b.c", source="sql:test")


async def test_a_table_may_stand_in_a_schema(lab: Lab) -> None:
    schema = {"sqlite": "main", "postgresql": "public", "mariadb": "gateway"}[lab.kind]
    name = await lab.table(PLAIN, person(1, "alice"))
    assert await enter(lab.legacy(f"{schema}.{name}", NAMES), "alice")


# -- names
SAME = [
    ("müller", "müller"), ("Müller", "müller"), ("müller", "MÜLLER"), ("MÜLLER", "müller"), ("mu\u0308ller", "müller"),
    ("müller", "Mu\u0308ller"), ("Élodie", "élodie"), ("straße", "straße"), ("alice", "ａｌｉｃｅ"), ("ａｌｉｃｅ", "ａｌｉｃｅ"),
    ("王小明", "王小明"), ("ıstanbul", "ıstanbul"), ("o'brien", "O'Brien"), ("a%b", "a%b"), ("a_b", "A_B"), ("a\\b", "a\\b"),
]  # fmt: skip
OTHERS = [
    ("müller", "muller"), ("muller", "müller"), ("ıstanbul", "istanbul"), ("istanbul", "ıstanbul"), ("jose", "josé"),
    ("axb", "a_b"), ("axxb", "a%b"), ("alice", "alice--"), ("alice", "' OR 1=1 --"), ("alice", "alice' --"), ("alice", "%"),
]  # fmt: skip


async def test_spellings_of_one_name_are_one_on_every_database(lab: Lab) -> None:
    name = await lab.table(PLAIN)
    source = lab.legacy(name, NAMES)
    for stored, typed in SAME:
        await lab.run(f"DELETE FROM {lab.quoted(name)}")
        await lab.insert(name, person(1, stored))
        await lab.insert(name, person(2, "somebody else", stored + "@example.org"))
        assert await found(source, typed) == "1", (stored, typed)
        assert await found(source, typed + "@example.org") == "2", (stored, typed)


async def test_what_only_a_database_takes_for_the_same_name_is_another(lab: Lab) -> None:
    name = await lab.table(PLAIN)
    source = lab.legacy(name, NAMES)
    for stored, typed in OTHERS:
        await lab.run(f"DELETE FROM {lab.quoted(name)}")
        await lab.insert(name, person(1, stored, stored))
        assert (await found(source, typed), await found(source, stored)) == ("", "1"), (stored, typed)


@pytest.mark.parametrize(
    "charset", ["latin1", "utf8mb3", "utf8mb4 COLLATE utf8mb4_bin", "utf8mb4 COLLATE utf8mb4_unicode_ci"]
)
async def test_a_table_of_any_character_set_of_mysql_can_be_asked_for_any_name(tmp_path: Path, charset: str) -> None:
    async with sql_lab("mariadb", tmp_path) as lab:
        source = lab.legacy(await lab.table(PLAIN, person(1, "Müller"), charset=charset), NAMES)
        assert (await enter(source, "müller") or Identity("", "")).id == "1"
        for login in ("muller", "王小明", "ıstanbul", "𝔐üller-", "\U0001f600"):
            assert await source.find(login) is None, login


async def test_of_names_that_are_one_nobody_signs_in_and_the_others_do(lab: Lab) -> None:
    source = await people(lab, person(1, "Alice"), person(2, "alice"), person(3, "bob", "x@y"), person(4, "eve", "X@y"))
    assert [await source.find(login) for login in ("alice", "ALICE", "x@y")] == [None, None, None]
    assert [(await enter(source, login) or Identity("", "")).id for login in ("bob", "eve")] == ["3", "4"]


async def test_nobody_shuts_another_out_with_an_address_like_his_name(lab: Lab) -> None:
    source = await people(lab, person(1, "alice", "alice@example.org"), person(2, "mallory", "Alice"))
    assert (await enter(source, "alice") or Identity("", "")).id == "1"


async def test_two_rows_with_one_id_are_nobody(lab: Lab) -> None:
    source = await people(lab, person(1, "alice"), person(1, "bob"))
    assert await source.get("1") is None


# -- bad input
BAD = [
    "",
    " ",
    "\0",
    "alice\0",
    "\ud800",
    "alice\udfff",
    "x" * 10_000,
    "ﷺ" * 254,
    "'",
    '"',
    "\\",
    "%",
    "a;b",
    ":login",
    "\u202e",
]


async def test_a_login_that_nobody_can_have_is_nobody(lab: Lab) -> None:
    source = await people(lab, person(1, "alice"), person(2, ""), person(3, None, None))
    by_query = lab.queries("SELECT 'x' AS username, 'y' AS password WHERE 'x' = :login", "SELECT 1 WHERE 1 = :id")
    for login in BAD:
        assert [await source.find(login), await by_query.find(login), await source.get(login)] == [None] * 3, ascii(
            login
        )


async def test_nulls_everywhere_let_nobody_in_and_disturb_nobody(lab: Lab) -> None:
    columns = ["id", "username", "email", "name", "usertype", "groups", "password", "disabled", "generation"]
    name = await lab.table({**dict.fromkeys(columns, WORD), "generation": "INTEGER"})
    await lab.insert(name, dict.fromkeys(columns))
    await lab.insert(name, {**dict.fromkeys(columns), "username": "alice", "id": "1"})
    await lab.insert(name, {**dict.fromkeys(columns), "username": "bob", "password": HASH})
    await lab.insert(name, {**dict.fromkeys(columns), "username": "eve", "id": "3", "password": HASH})
    source = lab.legacy(name, " ".join(columns))
    assert [await found(source, login) for login in ("bob", "")] == ["", ""]
    assert await enter(source, "alice") is None
    assert await enter(source, "eve") == Identity("3", "eve", source="sql:test")
    assert await source.get("1") == Identity("1", "alice", source="sql:test")


UNUSABLE = [
    None,
    "",
    " ",
    "!",
    "plain text",
    "$1$abcdefgh$irWbblnpmw.5z7wgBnprh0",
    "pbkdf2_sha256$x",
    "$argon2id$broken",
]


async def test_with_a_hash_that_cannot_be_read_nobody_signs_in(lab: Lab) -> None:
    source = await people(lab, *(person(number, f"user{number}", "", stored) for number, stored in enumerate(UNUSABLE)))
    users = [await source.find(f"user{number}") for number in range(len(UNUSABLE))]
    assert [user.secret if user else None for user in users] == [""] * len(UNUSABLE)
    for number in (0, 4):
        assert await enter(source, f"user{number}", UNUSABLE[number] or "") is None


async def test_hashes_of_old_kinds_count_only_where_the_operator_says_so(lab: Lab) -> None:
    row = person(1, "alice", "", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
    assert await enter(await people(lab, row), "alice", "password") is None
    assert await enter(await people(lab, row, legacy_hashes=True), "alice", "password")


# -- types of columns
IDS: list[tuple[str, Any, str]] = [
    ("INTEGER", 12, "12"), ("BIGINT", 2**62, str(2**62)), (WORD, "12", "12"), (WORD, "x-1", "x-1"), ("CHAR(40)", "abc", "abc"),
    ("NUMERIC(20)", 12, "12"), ("SMALLINT", -3, "-3"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "told"), IDS)
async def test_ids_may_be_numbers_or_texts_and_are_compared_exactly(lab: Lab, kind: str, value: Any, told: str) -> None:
    name = await lab.table({**PLAIN, "id": kind}, {**person(1, "alice"), "id": value})
    source = lab.legacy(name, NAMES, writable=True)
    user = await source.get(told)
    assert user is not None
    assert (user.id, await found(source, "alice")) == (told, told)
    for other in (
        told + "0",
        f"0{told}",
        f"{told}x",
        f"{told} or 1=1",
        "",
        "9" * 30,
        str(uuid.uuid4()),
        told.upper() + "A",
    ):
        assert await source.get(other) is None, other
    assert await source.write_hash(told, HASH, OTHER_HASH, same_password=False) == user
    assert await source.stored_hash(told) == OTHER_HASH


async def test_ids_may_be_uuids(lab: Lab) -> None:
    kind = {"sqlite": WORD, "postgresql": "UUID", "mariadb": "UUID"}[lab.kind]
    value = uuid.uuid4()
    given = value if lab.kind == "postgresql" else str(value)
    name = await lab.table({**PLAIN, "id": kind}, {**person(1, "alice"), "id": given})
    source = lab.legacy(name, NAMES, writable=True)
    user = await source.get(str(value))
    assert user is not None
    assert (user.id, await found(source, "alice"), await source.get("12")) == (str(value), str(value), None)
    assert await source.write_hash(user.id, HASH, OTHER_HASH, same_password=False) == user


TRUTHS: list[tuple[str, Any, bool]] = [
    ("SMALLINT", 0, False), ("SMALLINT", 1, True), ("SMALLINT", 2, True), (WORD, "t", True), (WORD, "f", False),
    (WORD, "Y", True), (WORD, "N", False), (WORD, "TRUE", True), (WORD, "false", False), (WORD, "0", False), (WORD, "", False),
    (WORD, "no", False), ("CHAR(3)", "y", True), ("BOOLEAN", True, True), ("BOOLEAN", False, False), (WORD, None, False),
    ("TIMESTAMP NULL", datetime(2024, 5, 6, 7, 8, 9), True), ("TIMESTAMP NULL", None, False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "yes"), TRUTHS)
async def test_who_is_disabled_is_read_from_columns_of_many_types(lab: Lab, kind: str, value: Any, yes: bool) -> None:
    if isinstance(value, datetime) and lab.kind == "sqlite":
        value = str(value)
    name = await lab.table({**PLAIN, "state": kind}, {**person(1, "alice"), "state": value})
    columns = {one: one for one in PLAIN}
    disabled, active = (lab.legacy(name, {**columns, which: "state"}) for which in ("disabled", "active"))
    for source, comes_in in ((disabled, not yes), (active, yes)):
        user = await source.find("alice")
        assert user is not None
        assert user.disabled is not comes_in
        assert (await source.get("1") is not None) == comes_in


async def test_a_state_that_is_neither_yes_nor_no_lets_nobody_in(lab: Lab) -> None:
    name = await lab.table({**PLAIN, "state": WORD}, {**person(1, "alice"), "state": "perhaps"})
    for which in ("disabled", "active"):
        source = lab.legacy(name, {**{one: one for one in PLAIN}, which: "state"})
        assert (await source.find("alice"), await source.get("1")) == (None, None)


MOMENT = datetime(2024, 5, 6, 7, 8, 9)
MICROSECONDS = int(MOMENT.replace(tzinfo=UTC).timestamp()) * 1_000_000
GENERATIONS: list[tuple[str, Any, int]] = [
    ("INTEGER", 3, 3), ("BIGINT", 2**53 - 1, 2**53 - 1), (WORD, "4", 4), ("NUMERIC(10)", 5, 5), ("INTEGER", None, 0),
    ("TIMESTAMP NULL", MOMENT, MICROSECONDS), (WORD, "2024-05-06 07:08:09", MICROSECONDS), (WORD, "", 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "told"), GENERATIONS)
async def test_a_generation_is_a_number_or_a_moment_and_moves_with_the_password(
    lab: Lab, kind: str, value: Any, told: int
) -> None:
    if isinstance(value, datetime) and lab.kind == "sqlite":
        value = str(value)
    name = await lab.table({**PLAIN, "changed": kind}, {**person(1, "alice"), "changed": value})
    source = lab.legacy(name, {**{one: one for one in PLAIN}, "generation": "changed"}, writable=True)
    user = await source.get("1")
    assert user is not None
    assert user.generation == told
    if told == 2**53 - 1:
        return
    changed = await source.write_hash("1", HASH, OTHER_HASH, same_password=False)
    assert changed is not None
    assert changed.generation > told
    assert await source.get("1") == changed


@pytest.mark.parametrize("value", ["soon", "-1", "9" * 30, "1.5", "1" * 5000])
async def test_a_generation_that_is_none_lets_nobody_in(lab: Lab, value: str) -> None:
    name = await lab.table({**PLAIN, "changed": "TEXT"}, {**person(1, "alice"), "changed": value})
    source = lab.legacy(name, {**{one: one for one in PLAIN}, "generation": "changed"})
    assert (await source.find("alice"), await source.get("1")) == (None, None)


GROUPS: list[tuple[str | None, tuple[str, ...] | None]] = [
    ("sales", ("sales",)), (" a , b ", ("a", "b")), ('["a, b", "c"]', ("a, b", "c")), ("[]", ()), ("", ()), (None, ()),
    ("[1, null]", ("1",)), ("[broken", None), ('["\\ud800"]', None), ('[["a"]]', None), ("[" * 9000, None), ("用户", ("用户",)),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "groups"), GROUPS, ids=lambda value: ascii(value)[:20])
async def test_groups_are_a_list_with_commas_or_json(
    lab: Lab, stored: str | None, groups: tuple[str, ...] | None
) -> None:
    name = await lab.table({**PLAIN, "groups": "TEXT"}, {**person(1, "alice"), "groups": stored})
    user = await enter(lab.legacy(name, f"{NAMES} groups"), "alice")
    assert (user.groups if user else None) == groups


async def test_columns_of_bytes_are_read_as_text_or_not_at_all(lab: Lab) -> None:
    kind = {"sqlite": "BLOB", "postgresql": "BYTEA", "mariadb": "VARBINARY(200)"}[lab.kind]
    literal = {"sqlite": "X'{}'", "postgresql": r"'\x{}'", "mariadb": "X'{}'"}[lab.kind]
    name = await lab.table({**PLAIN, "password": kind})
    for number, stored in ((1, HASH.encode()), (2, b"\xff\xfe")):
        value = literal.format(stored.hex())
        await lab.run(f"INSERT INTO {lab.quoted(name)} VALUES ({number}, 'user{number}', '', {value})")
    source = lab.legacy(name, NAMES, writable=True)
    user = await enter(source, "user1")
    assert user is not None
    assert await enter(source, "user2") is None
    assert await source.change_password("1", PASSWORD, NEW) == user
    assert await enter(source, "user1", NEW) == user


async def test_what_no_backend_could_be_told_lets_nobody_in(lab: Lab) -> None:
    columns = dict.fromkeys(("username", "password", "name", "groups"), "TEXT")
    for more in ({"name": "x" * 10_000}, {"groups": ",".join(map(str, range(5000)))}):
        name = await lab.table(columns, {"username": "alice", "password": HASH, **more})
        assert await lab.legacy(name, " ".join(columns)).find("alice") is None


async def test_groups_may_be_an_array_of_postgresql(tmp_path: Path) -> None:
    async with sql_lab("postgresql", tmp_path) as lab:
        for kind, value in (("text[]", ["a, b", "c", None]), ("jsonb", None), ("json", None)):
            name = await lab.table({**PLAIN, "groups": kind}, {**person(1, "alice"), "groups": value})
            if value is None:
                await lab.run(f'UPDATE {lab.quoted(name)} SET groups = \'["a, b", "c"]\'')
            user = await lab.legacy(name, f"{NAMES} groups").get("1")
            assert user is not None
            assert user.groups == ("a, b", "c"), kind


async def test_a_bit_of_mysql_is_a_yes_or_a_no(tmp_path: Path) -> None:
    async with sql_lab("mariadb", tmp_path) as lab:
        name = await lab.table(
            {**PLAIN, "disabled": "BIT(1)"}, {**person(1, "alice"), "disabled": 1}, {**person(2, "bob"), "disabled": 0}
        )
        source = lab.legacy(name, f"{NAMES} disabled")
        assert [await source.get(one) is None for one in ("1", "2")] == [True, False]


# -- writing
async def test_a_legacy_table_is_not_written_unless_the_operator_says_so(lab: Lab) -> None:
    weak = CHEAP.hash(PASSWORD)
    name = await lab.table(PLAIN, person(1, "alice", "", weak))
    source = lab.legacy(name, NAMES)
    assert await enter(source, "alice")
    assert await source.change_password("1", PASSWORD, NEW) is NotChanged.IMPOSSIBLE
    assert await source.stored_hash("1") is None
    (row,) = await lab.run(f"SELECT * FROM {lab.quoted(name)}")
    assert row["password"] == weak


async def test_a_weak_hash_is_replaced_at_the_next_sign_in_and_nothing_else_moves(lab: Lab) -> None:
    columns = {**PLAIN, "generation": "INTEGER"}
    name = await lab.table(columns, {**person(1, "alice"), "generation": 4}, {**person(2, "bob"), "generation": 4})
    source = lab.legacy(name, " ".join(columns), writable=True)
    assert (await enter(source, "alice") or Identity("", "")).generation == 4
    rows = {row["id"]: row for row in await lab.run(f"SELECT * FROM {lab.quoted(name)}")}
    assert rows[1]["password"] != HASH
    assert verify_password(rows[1]["password"], PASSWORD)
    assert (rows[1]["generation"], rows[2]) == (4, {**person(2, "bob"), "generation": 4})


async def test_of_two_who_change_a_password_at_once_one_does(lab: Lab) -> None:
    source = await people(lab, person(1, "alice"), writable=True)
    known = await source.stored_hash("1")
    assert known == HASH
    made = [CHEAP.hash(f"{NEW} {number}") for number in range(2)]
    both = await asyncio.gather(*(source.write_hash("1", known, one, same_password=False) for one in made))
    assert sorted(one is None for one in both) == [False, True]
    assert await source.write_hash("1", known, made[0], same_password=False) is None


async def test_a_user_without_a_password_can_be_given_one(lab: Lab) -> None:
    for stored in (None, "", "!unusable"):
        source = await people(lab, person(1, "alice", "", stored), writable=True)
        known = await source.stored_hash("1")
        assert known is not None
        assert await source.write_hash("1", known, OTHER_HASH, same_password=False)
        assert await source.stored_hash("1") == OTHER_HASH


async def test_a_column_that_is_too_short_for_a_new_hash_leaves_the_old_one(lab: Lab) -> None:
    """Neither cut off, nor in the way of a sign-in."""
    check = f", CHECK (length({lab.quoted('password')}) < 90)" if lab.kind == "sqlite" else ""
    short = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    columns = {**PLAIN, "password": f"VARCHAR(60){check}"}
    name = await lab.table(columns, person(1, "alice", "", short))
    source = lab.legacy(name, NAMES, writable=True)
    assert await enter(source, "alice")
    assert await source.change_password("1", PASSWORD, NEW) is NotChanged.IMPOSSIBLE
    assert await enter(source, "alice")


async def test_without_the_right_to_write_a_sign_in_works_and_a_new_password_does_not(lab: Lab) -> None:
    name = await lab.table(PLAIN, person(1, "alice"))
    url, undo = await read_only(lab, name)
    try:
        source = lab.legacy(name, NAMES, writable=True, url=url)
        assert await enter(source, "alice")
        assert await source.change_password("1", PASSWORD, NEW) is NotChanged.IMPOSSIBLE
        with pytest.raises(SettingsError):
            await source.write_hash("1", HASH, OTHER_HASH, same_password=False)
    finally:
        for statement in undo:
            await lab.run(statement)


async def read_only(lab: Lab, name: str) -> tuple[str, list[str]]:
    """The URL of somebody who may read one table; for SQLite, a trigger stands in for rights, which it has none of."""
    table = lab.quoted(name)
    if lab.kind == "sqlite":
        await lab.run(f"CREATE TRIGGER no BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END")
        return lab.url, []
    somebody = f"r_{uuid.uuid4().hex[:10]}"
    if lab.kind == "postgresql":
        await lab.run(f"CREATE ROLE {somebody} LOGIN PASSWORD 'x'")
        await lab.run(f"GRANT SELECT ON {table} TO {somebody}")
        return lab.url.replace(f"gateway:{SERVER_PASSWORD}", f"{somebody}:x"), [
            f"DROP OWNED BY {somebody}",
            f"DROP ROLE {somebody}",
        ]
    lab.url, plain = lab.url.replace(f"gateway:{SERVER_PASSWORD}", "root"), lab.url
    await lab.run(f"CREATE USER {somebody}@localhost IDENTIFIED BY 'x'")
    await lab.run(f"GRANT SELECT ON gateway.{table} TO {somebody}@localhost")
    return plain.replace(f"gateway:{SERVER_PASSWORD}", f"{somebody}:x"), [f"DROP USER {somebody}@localhost"]


# -- queries
async def test_a_query_finds_what_no_table_of_columns_could(lab: Lab) -> None:
    users = await lab.table(PLAIN, person(1, "Alice", "a@b.c"), person(2, "bob"))
    staff = await lab.table({"user_id": "INTEGER", "kind": WORD}, {"user_id": 1, "kind": "mgr"})
    rows = (
        f"SELECT u.id, u.username, u.email, u.password, s.kind AS usertype, 'x%:y' AS name"
        f" FROM {lab.quoted(users)} u LEFT JOIN {lab.quoted(staff)} s ON s.user_id = u.id"
    ).replace(":y", r"\:y")
    source = lab.queries(
        f"{rows} WHERE lower(u.username) = :login OR lower(u.email) = :login", f"{rows} WHERE u.id = :id"
    )
    alice = Identity("1", "Alice", "x%:y", "a@b.c", "mgr", (), "sql:test")
    assert [await enter(source, login) for login in ("ALICE", "A@b.c", "alice")] == [alice] * 3
    assert await source.get("1") == alice
    assert (await enter(source, "bob") or Identity("", "")).usertype == ""
    assert await source.get("x") is None
    assert await source.change_password("1", PASSWORD, NEW) is NotChanged.IMPOSSIBLE


async def test_a_query_that_does_not_take_a_login_finds_nobody(lab: Lab) -> None:
    """A number is wanted, and a text was typed."""
    name = await lab.table(PLAIN, person(12, "alice"))
    rows = f"SELECT id, id AS username, password FROM {lab.quoted(name)}"
    source = lab.queries(f"{rows} WHERE id = CAST(:login AS DECIMAL)", f"{rows} WHERE id = :id")
    assert await enter(source, "alice") is None


async def test_who_comes_back_with_another_id_is_nobody(lab: Lab) -> None:
    name = await lab.table(PLAIN, person(12, "alice"))
    rows = f"SELECT username, password FROM {lab.quoted(name)}"
    source = lab.queries(f"{rows} WHERE username = :login", f"{rows} WHERE id = :id")
    assert await found(source, "alice") == "alice"
    assert await source.get("12") is None


@pytest.mark.parametrize("given", ["username, 1 AS id", "password, 1 AS id"])
async def test_a_query_without_a_needed_column_says_so(lab: Lab, given: str) -> None:
    name = await lab.table(PLAIN, person(1, "alice"))
    query = f"SELECT {given} FROM {lab.quoted(name)}"
    with pytest.raises(SourceUnavailable, match="gives no column named"):
        await lab.queries(f"{query} WHERE username = :login", f"{query} WHERE id = :id").find("alice")


@pytest.mark.parametrize(
    "query", ["SELECT nonsense FROM nowhere WHERE x = {}", "SELECT ((( {}", "SELECT 1/0, {} FROM nowhere"]
)
async def test_a_query_that_is_wrong_is_unavailable_and_says_nothing_about_a_user(lab: Lab, query: str) -> None:
    source = lab.queries(query.format(":login"), query.format(":id"))
    for work in (source.find("alice"), source.get("1")):
        with pytest.raises(SourceUnavailable) as raised:
            await work
        assert raised.value.cause


async def test_a_table_or_column_that_is_missing_is_unavailable(lab: Lab) -> None:
    name = await lab.table({"username": WORD}, {"username": "password"})
    for source in (lab.legacy("no_such_table", NAMES), lab.legacy(name, "username password")):
        for work in (source.find("password"), source.get("password")):
            with pytest.raises(SourceUnavailable) as raised:
                await work
            assert raised.value.cause
