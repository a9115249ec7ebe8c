"""What ``gateway check`` says of a source of users in a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.app import build
from gateway.errors import SettingsError
from gateway.identity.sql_asking import Queries
from gateway.settings.users_sql import SqlUsersSettings
from tests.harness import make_settings

URL = "postgresql://u:hidden@127.0.0.1:1/d"
COLUMNS = {"username": "u", "password": "p"}
QUERY = {"query": "SELECT 1 WHERE :login", "query_by_id": "SELECT 1 WHERE :id"}


def slice_of(**given: Any) -> SqlUsersSettings:
    source = {"source": "sql", "url": URL, **given}
    settings = make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", users=[source])
    build(settings)
    (found,) = settings.users
    assert isinstance(found, SqlUsersSettings)
    return found


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"url": None}, "url", "is needed"),
    ({"table": "t", **QUERY}, "table", "either a table or a query"),
    ({"columns": COLUMNS}, "table", "is needed with columns"),
    ({"table": "t", "columns": {"username": "u"}}, "columns.password", "is needed"),
    ({"table": "t", "columns": {"password": "p"}}, "columns.username", "is needed"),
    ({"table": "t", "columns": {**COLUMNS, "emial": "e"}}, "columns.emial", "did you mean email?"),
    ({"table": "t", "columns": {**COLUMNS, "active": "a", "disabled": "d"}}, "columns.active", "either disabled or active"),
    ({"table": "t", "columns": {**COLUMNS, "id": ""}}, "columns.id", "must not be empty"),
    ({"table": "t", "columns": {**COLUMNS, "id": "a\0b"}}, "columns.id", "control characters"),
    ({"table": "a.b.c"}, "table", "SCHEMA.TABLE"),
    ({"table": ".t"}, "table", "SCHEMA.TABLE"),
    ({"table": "t", "columns": COLUMNS, "create": True}, "create", "gateway's own table"),
    ({**QUERY, "create": True}, "create", "gateway's own table"),
    ({**QUERY, "writable": True}, "writable", "cannot be written"),
    ({"query": QUERY["query"]}, "query_by_id", "go together"),
    ({"query_by_id": QUERY["query_by_id"]}, "query_by_id", "go together"),
    ({**QUERY, "query": "SELECT 1"}, "query", "the placeholder :login"),
    ({**QUERY, "query": "SELECT :login, :password"}, "query", ":password"),
    ({**QUERY, "query_by_id": "SELECT :login"}, "query_by_id", "the placeholder :id, and not :login"),
    ({**QUERY, "query": "DELETE FROM t WHERE x = :login"}, "query", "one SELECT"),
    ({**QUERY, "query": "SELECT :login; DROP TABLE t"}, "query", "one SELECT"),
    ({"recheck": 0}, "recheck", "more than 0"),
    ({"timeout": "2s"}, "timeout", "of seconds"),
    ({"pool_size": 0}, "pool_size", "at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "key", "words"), WRONG, ids=[f"{key}-{words}" for _, key, words in WRONG])
def test_what_is_wrong_is_said_with_its_key(given: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        slice_of(**given)
    (problem,) = raised.value.problems
    assert problem.key == f"users.0.{key}"
    assert words in problem.what
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["x", "mssql://u:hidden@h/d", "sqlite://", "postgresql://u:hidden@h", "mysql://u:hidden@h/d?ssl=maybe"]
)
def test_a_url_that_cannot_be_used_is_said_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"users\.0\.url: .*database") as raised:
        slice_of(url=url)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "name", "can_write"),
    [({}, "sql:gateway_users", True), ({"table": "own.accounts", "create": True}, "sql:own.accounts", True), ({"writable": False}, "sql:gateway_users", False),
     ({"table": "t", "columns": COLUMNS}, "sql:t", False), ({"table": "t", "columns": COLUMNS, "writable": True}, "sql:t", True),
     (QUERY, "sql:query", False), ({**QUERY, "query": "-- a ;comment\n WITH x AS (SELECT a::text) (SELECT :login, '\\:x') ;"}, "sql:query", False)],
)  # fmt: skip
def test_each_of_the_three_ways_is_valid(given: dict[str, Any], name: str, can_write: bool) -> None:
    found = slice_of(**given)
    assert (found.name, found.can_write) == (name, can_write)


def test_the_url_may_be_in_a_file_and_a_path_of_sqlite_starts_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:///users.db\n")
    found = slice_of(url_file=str(tmp_path / "url"), url=None)
    assert found.url is not None
    assert found.url.get_secret_value().endswith("/users.db")
    assert found.url.get_secret_value().startswith("sqlite:////")
    with pytest.raises(SettingsError, match="either url or url_file"):
        slice_of(url_file=str(tmp_path / "url"))


def test_what_two_queries_find_is_never_written() -> None:
    with pytest.raises(SettingsError, match="never written"):
        Queries("SELECT :login", "SELECT :id").new_password({}, {})
