"""Users in a database: found, looked up again, and, where it may be written, given new hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Date, DateTime, String, TypeEngine

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError, SourceUnavailable, StoreUnavailable
from gateway.identity.hashed import HashedSource
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import Found, canonical
from gateway.identity.sql_asking import MOST_ROWS, Asking, id_forms
from gateway.identity.sql_rows import Row, Told, Unreadable, generation_of, read_row, usable_hash
from gateway.store.sql import Database

_MAX_LOGIN = 254
_NEEDED = ("username", "password")
_BAD_VALUE = frozenset({1264, 1267, 1270, 1292, 1300, 1366, 1406, 3854})
"""MySQL: too long or too large, no number, or characters that the column's character set has not."""
_OTHER_TYPE = "a value is of another type than its column"  # the driver's own words quote the value
_REFUSED = frozenset({"42501", "25006", 1142, 1143, 1290, 1792, 8})
"""Who asks has no right to write, or nobody has: PostgreSQL's SQLSTATE, MySQL's numbers, SQLITE_READONLY."""


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """How one source is asked. ``recheck`` in seconds; ``legacy_hashes``: old kinds are read, too."""

    name: str
    writable: bool
    recheck: float = 60.0
    legacy_hashes: bool = False


class SqlUsers(HashedSource):
    """A :class:`~gateway.identity.source.UserSource` on a database."""

    def __init__(self, options: SqlOptions, checker: PasswordChecker, database: Database, asking: Asking) -> None:
        super().__init__(options.name, checker, options.recheck)
        self.writable = options.writable and asking.can_write
        self._legacy = options.legacy_hashes
        self._database = database
        self._asking = asking
        self._told = Told(options.name)
        self._id_form = 0

    async def find(self, login: str) -> Found | None:
        """By username; only then by e-mail address, so that nobody can shut another out with an address like his name."""
        wanted = canonical(login)
        if not wanted or not _is_storable(login):
            return None
        try:
            rows = await self._rows(self._asking.by_login(login))
        except _BadInput:  # its text would quote what was typed, which may be a password in the wrong field
            self._told.once("a login could not be compared with what the database has, so nobody was found")
            return None
        named = [row for row in rows if row.is_called(wanted)] or [row for row in rows if row.has_address(wanted)]
        row = self._only(named, "several users have the same name or e-mail address: none of them signs in")
        return row.found(usable_hash(row, legacy=self._legacy, told=self._told)) if row else None

    async def find_by_id(self, user_id: str) -> Found | None:
        """With the hash as it is stored: what is written instead of it is compared with that."""
        row = await self._row(user_id)
        return row.found(row.secret) if row else None

    async def write_hash(self, user_id: str, known_hash: str, made: str, *, same_password: bool) -> Identity | None:
        """One statement, which compares the stored hash itself."""
        row = await self._row(user_id)
        if row is None or row.secret != known_hash:
            return None
        values: dict[str, Any] = {"password": self._like(row.raw.get("password"), made)}
        if "generation" in row.raw and not same_password:
            old = row.raw["generation"]
            values["generation"] = _next_generation(await self._nothing() if old is None else old)
        stored = {name: self._as_sent(row.raw[name]) for name in ("id", *_NEEDED) if name in row.raw}
        is_written = await self._write(self._asking.new_password(stored, values), made)
        return await self._after(row, made, values, is_written)

    async def _after(self, row: Row, made: str, values: Mapping[str, Any], is_written: int) -> Identity | None:
        """Who he is then. A statement whose answer was lost is sent again, and finds what it wrote itself."""
        try:
            now = await self._row(row.identity.id)
        except SourceUnavailable:
            if not is_written:
                raise
            now = None
        if now is not None and now.secret == made:
            return now.identity
        generation = generation_of(values.get("generation", row.raw.get("generation")))
        return replace(row.identity, generation=generation) if is_written else None

    async def close(self) -> None:
        """Closes the connections."""
        await self._database.close()

    # -- asking
    async def _row(self, user_id: str) -> Row | None:
        """In the form of ids that was right last time, then in the others."""
        if not _is_storable(user_id):
            return None
        forms = id_forms(user_id, self._database.kind)
        first = self._id_form if self._id_form < len(forms) else 0
        refusal: _BadInput | None = None
        others = 0
        for number in dict.fromkeys((first, *range(len(forms)))):
            try:
                rows = await self._rows([self._asking.by_id(forms[number])])
            except _BadInput as error:
                refusal = refusal if error.is_form else error
                continue
            if mine := [row for row in rows if row.identity.id == user_id]:
                self._id_form = number
                return self._only(mine, "several users have the same id: none of them is let in")
            others += len(rows)
        if refusal is not None:  # a question that is wrong says nothing about him
            raise SourceUnavailable(str(refusal))
        if others:
            self._told.once("who is looked up by his id comes back with another one, so his sessions end", user_id)
        return None

    async def _rows(self, questions: Sequence[Executable]) -> list[Row]:
        async def read(connection: AsyncConnection) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            for question in questions:
                rows = (await connection.execute(question)).mappings().fetchmany(MOST_ROWS)
                found += [{str(name).lower(): value for name, value in row.items()} for row in rows]
            return found

        with _translated():
            raws = await self._database.read(read)
        return [row for raw in raws if (row := self._read(raw)) is not None]

    def _read(self, raw: Mapping[str, Any]) -> Row | None:
        if missing := [name for name in _NEEDED if name not in raw]:
            raise SourceUnavailable(f"the query gives no column named {' or '.join(missing)}")
        try:
            return read_row(raw, self.name)
        except Unreadable as error:
            self._told.once(f"a user cannot be read: {error}", str(raw.get("id", raw["username"]))[:_MAX_LOGIN])
            return None

    def _only(self, rows: Sequence[Row], otherwise: str) -> Row | None:
        """The one there is; the same row may have been found in two ways."""
        if any(row.raw != rows[0].raw for row in rows):
            self._told.once(otherwise, rows[0].identity.id)
            return None
        return rows[0] if rows else None

    # -- writing
    async def _nothing(self) -> Any:
        """Stands for NULL in the column for the generation, but is of its kind."""

        def ask(connection: Connection) -> TypeEngine[Any] | None:
            return self._asking.type_of(connection, "generation")

        try:
            kind = await self._database.read(lambda connection: connection.run_sync(ask))
        except StoreUnavailable as error:
            raise SourceUnavailable(error.cause) from error
        return _nothing_of(kind, has_moments=self._database.kind != "sqlite")

    async def _write(self, change: Executable, made: str) -> int:
        async def write(connection: AsyncConnection) -> int:
            return int((await connection.execute(change)).rowcount)

        try:
            with _translated(_REFUSED):
                return await self._database.write(write)
        except _BadInput as error:
            what = str(error).replace(made, "***")
            raise SettingsError([Problem(self.name, "", f"a new password cannot be written: {what}")]) from error

    def _like(self, old: Any, made: str) -> Any:
        """Bytes where bytes are."""
        return self._as_sent(made.encode()) if isinstance(old, bytes) else made

    def _as_sent(self, value: Any) -> Any:
        """aiomysql 0.3.2 cannot send bytes with PyMySQL 1.2.3 or newer (its issue 1080); MySQL takes a text for them."""
        return value.decode() if isinstance(value, bytes) and self._database.kind == "mysql" else value


class _BadInput(Exception):
    """The database does not take this value, or nothing from us: it is not away. ``is_form``: the driver says so already,
    as the value is of another type than what it would be compared with."""

    def __init__(self, cause: str, is_form: bool) -> None:
        super().__init__(cause)
        self.is_form = is_form


@contextmanager
def _translated(refusals: Set[object] = frozenset()) -> Iterator[None]:
    """A database that is away, and a value that it does not take, are two things."""
    try:
        yield
    except StoreUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, DBAPIError) and (
            _is_refusal(cause.orig, refusals) or (refusals and isinstance(cause, IntegrityError))
        ):
            is_form = _is_the_drivers(cause.orig)
            raise _BadInput(_OTHER_TYPE if is_form else error.cause, is_form) from error
        raise SourceUnavailable(error.cause) from error


def _is_refusal(cause: Any, refusals: Set[object]) -> bool:
    """SQLSTATE class 22 is a data exception; asyncpg gives its own refusals that code, too."""
    if hasattr(cause, "sqlite_errorcode"):
        return cause.sqlite_errorcode & 0xFF in refusals
    state = getattr(cause, "sqlstate", None)
    if state is not None and not isinstance(next(iter(cause.args), None), int):
        return str(state).startswith("22") or state in refusals
    number = next(iter(getattr(cause, "args", ())), None)
    return number in _BAD_VALUE or number in refusals


def _is_the_drivers(cause: Any) -> bool:
    """What PostgreSQL itself says has a severity."""
    return hasattr(cause.__cause__, "severity") and cause.__cause__.severity is None


def _is_storable(text: str) -> bool:
    """PostgreSQL has no NUL in a text, and no database a lone surrogate. Nobody has such a name, nor one as long."""
    return len(text) <= _MAX_LOGIN and not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def _nothing_of(kind: TypeEngine[Any] | None, *, has_moments: bool) -> Any:
    """SQLite has moments as texts."""
    if isinstance(kind, DateTime | Date) and not has_moments:
        return "never"
    if isinstance(kind, DateTime):
        return datetime.min.replace(tzinfo=UTC if kind.timezone else None)
    if isinstance(kind, Date):
        return date.min
    return "" if isinstance(kind, String) else 0


def _next_generation(old: Any) -> Any:
    """Of the kind that stands there."""
    now = datetime.now(UTC)
    if isinstance(old, datetime):
        return now if old.tzinfo else now.replace(tzinfo=None)
    if isinstance(old, date):
        return now.date()
    if isinstance(old, str) and not old.strip().isdecimal() and old.strip():
        return now.replace(tzinfo=None).isoformat(" ")
    number = int(old or 0) + 1
    return str(number) if isinstance(old, str) else number
