"""How a database is asked for users: the gateway's own table, a table of the legacy application, or the operator's queries.

Names of tables and columns are quoted by SQLAlchemy, values are parameters: nothing is ever pasted into a statement.
Parameters have no type here, so that PostgreSQL takes them for what stands beside them in the statement.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Executable,
    MetaData,
    String,
    Table,
    TableClause,
    Text,
    bindparam,
    column,
    inspect,
    or_,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeEngine

from gateway.errors import Problem, SettingsError
from gateway.identity.source import canonical

FIELDS = ("id", "username", "email", "name", "usertype", "groups", "password", "disabled", "active", "generation")
"""Our names of what a row may hold."""
MOST_ROWS = 50
"""Nobody needs more to see that there is more than one."""
_LETTERS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_BIG = 2**63


class _Lowered(FunctionElement[str]):
    """In small letters, as far as the database knows any."""

    inherit_cache = True
    name = "lower"


@compiles(_Lowered)
def _lower(element: _Lowered, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"lower({compiler.process(element.clauses, **kwargs)})"


@compiles(_Lowered, "mysql", "mariadb")
def _lower_mysql(element: _Lowered, compiler: SQLCompiler, **kwargs: Any) -> str:
    """MySQL refuses to compare a column of Latin letters with Greek ones."""
    return f"lower(CONVERT({compiler.process(element.clauses, **kwargs)} USING utf8mb4))"


class Asking(Protocol):
    """What is asked for a user. Statements are carried out one after the other, and their rows counted together."""

    can_write: bool

    def by_login(self, login: str) -> Sequence[Executable]:
        """Whoever may be meant: the canonical forms are compared afterwards."""

    def by_id(self, value: Any) -> Executable:
        """Whoever has this id."""

    def new_password(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        """Puts ``values`` (password, generation) into this row, if its password is the same still."""

    def type_of(self, connection: Connection, field: str) -> TypeEngine[Any] | None:
        """Of the column for this, where the database tells: a NULL says nothing about its kind."""


class Queries:
    """The operator's own statements; nothing is ever written."""

    can_write = False

    def __init__(self, by_login: str, by_id: str) -> None:
        self._by_login = text(by_login)
        self._by_id = text(by_id)

    def by_login(self, login: str) -> Sequence[Executable]:
        """With the canonical form, in small letters, and as it was typed, where they differ."""
        typed = login.strip()
        forms = dict.fromkeys((canonical(login), typed.lower(), typed))
        return [self._by_login.bindparams(_untyped("login", form)) for form in forms]

    def by_id(self, value: Any) -> Executable:
        """The second query."""
        return self._by_id.bindparams(_untyped("id", value))

    def new_password(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        """:raises SettingsError: always."""
        raise SettingsError([Problem("query", "", "what two queries find is never written")])

    def type_of(self, connection: Connection, field: str) -> TypeEngine[Any] | None:
        """Not known of a query."""
        return None


class LegacyTable:
    """An existing table. ``columns``: from :data:`FIELDS` to what the table calls them."""

    can_write = True

    def __init__(self, name: str, columns: Mapping[str, str]) -> None:
        schema, bare = split_name(name)
        names = dict.fromkeys(columns.values())  # one may be named twice: an e-mail address that is the id
        made = table(bare, *(column(quoted_name(given, True)) for given in names), schema=schema)
        self._take(made, {field: made.c[given] for field, given in columns.items()})

    def _take(self, made: TableClause, columns: Mapping[str, ColumnElement[Any]]) -> None:
        self.table, self.columns = made, columns
        labelled = (each.label(quoted_name(field, True)) for field, each in columns.items())
        self.rows = select(*labelled).limit(MOST_ROWS)

    def by_login(self, login: str) -> Sequence[Executable]:
        """One column after the other, each with its own limit: many addresses like a username must not hide its owner."""
        columns = dict.fromkeys(self.columns[field] for field in ("username", "email") if field in self.columns)
        forms = spellings(login)
        return [self.rows.where(or_(*(_Lowered(each) == _value(form) for form in forms))) for each in columns]

    def by_id(self, value: Any) -> Executable:
        """By the column for the id, or else for the username."""
        return self.rows.where(self._id == _value(value))

    def new_password(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        """Compare-and-set in one statement: also where the table knows no transactions."""
        password, old = self.columns["password"], row.get("password")
        unchanged = password.is_(None) if old is None else password == _value(old)
        given = {self.columns[field]: _value(value) for field, value in values.items()}
        return update(self.table).where(self._id == _value(row.get("id", row["username"])), unchanged).values(given)

    def type_of(self, connection: Connection, field: str) -> TypeEngine[Any] | None:
        """As the database describes its table."""
        name = str(self.columns[field].name).lower()
        found = inspect(connection).get_columns(self.table.name, schema=self.table.schema)
        return next((each["type"] for each in found if each["name"].lower() == name), None)

    @property
    def _id(self) -> ColumnElement[Any]:
        return self.columns.get("id", self.columns["username"])


class OwnTable(LegacyTable):
    """The gateway's own: it has the canonical forms beside the names, and finds by them."""

    def __init__(self, name: str) -> None:
        schema, bare = split_name(name)
        self.made = own_table(bare, schema)
        self._take(self.made, {field: self.made.c[field] for field in FIELDS if field != "active"})

    def by_login(self, login: str) -> Sequence[Executable]:
        """Exactly, whatever the database thinks of letters."""
        wanted = canonical(login)
        there = self.made.c
        return [self.rows.where(or_(there.canonical_username == wanted, there.canonical_email == wanted))]

    def create(self, connection: Connection) -> None:
        """Unless it is there."""
        self.made.create(connection, checkfirst=True)


def split_name(name: str) -> tuple[quoted_name | None, quoted_name]:
    """Schema and table."""
    schema, _, bare = name.rpartition(".")
    return quoted_name(schema, True) if schema else None, quoted_name(bare, True)


def own_table(name: str, schema: str | None) -> Table:
    """MySQL's usual collations take "müller" and "muller" for one name; this one does not."""

    def word(length: int = 254) -> Any:
        binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
        return String(length).with_variant(binary, "mysql", "mariadb")

    long = Text().with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    return Table(
        name,
        MetaData(),
        Column("id", word(), primary_key=True),
        Column("username", word(), nullable=False),
        Column("canonical_username", word(), nullable=False, unique=True),
        Column("email", word(), nullable=False),
        Column("canonical_email", word(), nullable=True, unique=True),
        Column("name", word(), nullable=False),
        Column("usertype", word(), nullable=False),
        Column(quoted_name("groups", True), long, nullable=False),
        Column("password", word(512), nullable=False),
        Column("disabled", Boolean(create_constraint=False), nullable=False),
        Column("generation", BigInteger(), nullable=False),
        schema=schema,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def spellings(login: str) -> list[str]:
    """How a login may stand in a table after the database's own ``lower()``, which in some knows A to Z alone: as it was
    typed and in its canonical form, each composed and decomposed, in small and in capital letters."""
    typed = login.strip()
    forms = [form for name in (canonical(login), typed) for form in (name.lower(), name, name.upper(), name.title())]
    both = [unicodedata.normalize(way, form) for form in forms for way in ("NFC", "NFD")]
    return list(dict.fromkeys(form.translate(_LETTERS) for form in [*forms, *both]))


def id_forms(user_id: str, kind: str) -> list[Any]:
    """What an id that became a text may be in the database. PostgreSQL compares with nothing but the right one, and SQLite
    with a number only as far as it knows that the column holds numbers; MySQL finds a number by its text."""
    forms: list[Any] = [user_id]
    if kind == "mysql":
        return forms
    if user_id.isascii() and user_id.removeprefix("-").isdigit() and len(user_id) < 20 and abs(int(user_id)) < _BIG:
        forms.append(int(user_id))
    if kind == "postgresql":
        with suppress(ValueError):
            forms.append(UUID(user_id))
    return forms


def _value(value: Any) -> Any:
    return bindparam(None, value, type_=NullType(), unique=True)


def _untyped(name: str, value: Any) -> Any:
    return bindparam(name, value, type_=NullType())
