"""Users in a database (``source: sql``): the gateway's own table, a table of the legacy application, or two queries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.settings.values import Seconds, ShortSeconds, Slice, Whole

OWN_TABLE = "gateway_users"
_PLACEHOLDER = re.compile(
    r"(?<![:\w\\]):(\w+)(?!:)"
)  # as SQLAlchemy finds them: not in a::text, nor behind a backslash
_ONE_SELECT = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:select|with)\b[^;]*;?\s*", re.IGNORECASE | re.DOTALL)


def _check_name(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must not begin or end with a blank, nor hold control characters")
    return value


def _check_table(value: str) -> str:
    if value.count(".") > 1 or not all(value.split(".")):
        raise ValueError("must be TABLE or SCHEMA.TABLE")
    return _check_name(value)


def _check_query(value: str) -> str:
    if not _ONE_SELECT.fullmatch(value) or "\0" in value:
        raise ValueError("must be one SELECT")
    return value.rstrip().removesuffix(";")


ColumnName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_check_name)]
TableName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_check_table)]
Query = Annotated[str, Field(min_length=1, max_length=16384), AfterValidator(_check_query)]


class SqlColumns(Slice):
    """What an existing table calls its columns. Those left out are as if they were empty."""

    username: ColumnName = Field(description="Column of the name to sign in with.")
    password: ColumnName = Field(description="Column of the password's hash.")
    id: ColumnName | None = Field(
        None, description="Column of what stays the same when somebody is renamed; left out: the username."
    )
    email: ColumnName | None = Field(None, description="Column of the e-mail address; it signs in, too.")
    name: ColumnName | None = Field(None, description="Column of the name for people.")
    usertype: ColumnName | None = Field(None, description="Column of the usertype.")
    groups: ColumnName | None = Field(
        None, description="Column of the groups: names with commas between them, a JSON list, or PostgreSQL's array."
    )
    disabled: ColumnName | None = Field(None, description="Column that says who may not sign in; a moment is a yes.")
    active: ColumnName | None = Field(None, description="The opposite of disabled; one of the two.")
    generation: ColumnName | None = Field(
        None, description="Column that changes with the password: a number, or a moment; older sessions are over then."
    )

    @field_validator("active")
    @classmethod
    def _check_active(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("disabled"):
            raise ValueError("give either disabled or active")
        return value


class SqlUsersSettings(Slice):
    """Users in a database."""

    source: Literal["sql"] = Field(description="The kind of source: sql.")
    url_file: Path | None = Field(None, description="File that holds url, when there is a password in it.")
    url: SecretStr | None = Field(
        None, description="sqlite:////PATH, postgresql://USER:PASSWORD@HOST/DB or mysql://…; what sql.url takes."
    )
    query: Query | None = Field(
        None, description="A SELECT with :login whose columns are named username, password, id, … as below columns."
    )
    query_by_id: Query | None = Field(None, description="The same with :id, for users who are signed in.")
    columns: SqlColumns | None = Field(
        None, description="An existing table: what its columns are called; left out: the gateway's own table."
    )
    table: TableName | None = Field(
        None, description=f"The table, or SCHEMA.TABLE; left out: {OWN_TABLE}, the gateway's own."
    )
    create: bool = Field(False, description="true: make the gateway's own table when it is missing.")
    writable: bool | None = Field(
        None,
        description="true: new hashes may be written; left out: into the gateway's own table, not into an existing one.",
    )
    legacy_hashes: bool = Field(
        False, description="true: read old kinds of hashes, too ($6$, $1$, $apr1$, phpass, {SHA} …)."
    )
    recheck: Seconds = Field(60.0, description="Seconds after which users who are active are looked up again.")
    timeout: ShortSeconds = Field(2.0, description="Seconds for one question in all, 30 at most; then sign-in is 503.")
    pool_size: Whole = Field(4, ge=1, le=1000, description="Connections per process.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("url_file") is None:
            raise ValueError("is needed, or url_file")
        return value

    @field_validator("query", "query_by_id")
    @classmethod
    def _check_placeholder(cls, value: str | None, info: ValidationInfo) -> str | None:
        wanted = "login" if info.field_name == "query" else "id"
        if (
            info.field_name == "query_by_id"
            and "query" in info.data
            and (value is None) != (info.data["query"] is None)
        ):
            raise ValueError("query and query_by_id go together: the second finds who is signed in")
        if value is not None and (found := set(_PLACEHOLDER.findall(value))) != {wanted}:
            others = ", ".join(sorted(f":{name}" for name in found - {wanted}))
            raise ValueError(f"must have the placeholder :{wanted}" + (f", and not {others}" if others else ""))
        return value

    @field_validator("columns", "table")
    @classmethod
    def _check_one_way(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("query") is not None:
            raise ValueError("give either a table or a query")
        if value is None and info.field_name == "table" and info.data.get("columns") is not None:
            raise ValueError("is needed with columns")
        return value

    @field_validator("create", "writable")
    @classmethod
    def _check_own(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        is_own = info.data.get("columns") is None and info.data.get("query") is None
        if value and info.field_name == "create" and not is_own:
            raise ValueError("is for the gateway's own table")
        if value and info.data.get("query") is not None:
            raise ValueError("a query cannot be written through: give table and columns")
        return value

    @property
    def is_own(self) -> bool:
        """Is it the gateway's own table?"""
        return self.columns is None and self.query is None

    @property
    def can_write(self) -> bool:
        """May new hashes be written?"""
        return self.is_own if self.writable is None else self.writable

    @property
    def name(self) -> str:
        """What sessions remember."""
        return f"sql:{'query' if self.query is not None else self.table or OWN_TABLE}"
