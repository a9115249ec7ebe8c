"""The URL of a database as an operator writes it: ``sqlite:////…``, ``postgresql://…`` or ``mysql://…``."""

from __future__ import annotations

import sqlite3
import ssl
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode
from weakref import WeakSet

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
_FORMS = "sqlite:////folder/file.db, postgresql://user:password@host/database or mysql://user:password@host/database"
_OPTIONS = {
    "sqlite": frozenset[str](),
    "postgresql": frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "prepared_statement_cache_size"}),
    "mysql": frozenset({"unix_socket", "ssl", "ssl_ca"}),
}


def read_url(url: str, timeout: float) -> tuple[URL, dict[str, Any]]:
    """What an operator wrote, as SQLAlchemy wants it, and the driver's arguments. ``timeout``: of an operation, in seconds.

    :raises ValueError: with words for the operator, and without the URL: it may hold a password.
    """
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"not the URL of a database; write {_FORMS}") from None
    scheme = read.drivername.partition("+")[0]
    if read.drivername not in {*_DRIVERS, *_DRIVERS.values()}:
        raise ValueError(f"databases of the kind {read.drivername!r} are not supported; write {_FORMS}")
    read = read.set(drivername=_DRIVERS[scheme])
    kind = read.get_backend_name()
    if unknown := sorted(read.query.keys() - _OPTIONS[kind]):
        known = ", ".join(sorted(_OPTIONS[kind])) or "none"
        raise ValueError(f"unknown option in the URL of the database: {', '.join(unknown)}; known for {kind}: {known}")
    if read.database in (None, "", ":memory:"):
        raise ValueError(f"the URL names no {'file' if kind == 'sqlite' else 'database'}; write {_FORMS}")
    return _DRIVER_ARGUMENTS[kind](read, timeout)


def existing_file(url: URL) -> URL:
    """SQLite's file as it is: one that is missing is an error, where SQLite would make an empty one (mode=rw of its URIs)."""
    return url.set(database=f"file:{quote(str(url.database))}", query={"mode": "rw", "uri": "true"})


class _Connection(sqlite3.Connection):
    """Lets go of its locks when it is closed. sqlite3's own keeps them until the last cursor is collected
    (``sqlite3_close_v2``): of an operation that was cancelled a traceback refers to one, and nobody could write until then.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """As sqlite3's; what the driver makes all of its cursors with."""
        cursor: sqlite3.Cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """As sqlite3's, and ends what its cursors left unfinished."""
        for cursor in list(self._cursors):
            cursor.close()
        super().close()


def _sqlite(url: URL, timeout: float) -> tuple[URL, dict[str, Any]]:
    return url, {"timeout": timeout, "factory": _Connection}


def _postgresql(url: URL, timeout: float) -> tuple[URL, dict[str, Any]]:
    """libpq's TLS options are understood by asyncpg in a DSN only."""
    tls = {name: value for name, value in url.query.items() if name.startswith("ssl")}
    rest = url.difference_update_query(tls)
    return rest, {"dsn": f"postgresql:///?{urlencode(tls)}"} if tls else {}


def _mysql(url: URL, timeout: float) -> tuple[URL, dict[str, Any]]:
    """aiomysql wants a ready context for TLS. Without strict mode MySQL cuts off what is too long, and says nothing. And it
    does not notice that who waits for a lock has gone away: it would carry out the write up to 50 seconds later.
    """
    strict = "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    arguments: dict[str, Any] = {"init_command": f"SET SESSION {strict}, innodb_lock_wait_timeout={ceil(timeout)}"}
    authority, wanted = url.query.get("ssl_ca"), url.query.get("ssl")
    if wanted not in (None, "true", "false"):
        raise ValueError("the option ssl in the URL of the database is true or false")
    if authority or wanted == "true":
        try:
            arguments["ssl"] = ssl.create_default_context(cafile=str(authority) if authority else None)
        except OSError as error:
            raise ValueError(f"ssl_ca in the URL of the database: {error.strerror or type(error).__name__}") from error
    return url.difference_update_query(["ssl", "ssl_ca"]), arguments


_DRIVER_ARGUMENTS = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
