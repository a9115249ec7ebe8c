"""Tables of users for tests, on the databases of the session engines' tests, and sources that look into them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.core.identity import Identity
from gateway.identity.passwords import PasswordChecker
from gateway.identity.sql_asking import Asking, LegacyTable, OwnTable, Queries
from gateway.identity.sql_users import SqlOptions, SqlUsers
from gateway.store.sql import Database
from gateway.store.sql_url import read_url
from tests.store.databases import url_of

PASSWORD = "a password of theirs"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash(PASSWORD)
QUOTES = {"sqlite": '"', "postgresql": '"', "mariadb": "`"}


@dataclass
class Lab:
    """One database, and what the test made in it."""

    kind: str
    url: str
    tables: list[str] = field(default_factory=list)
    sources: list[SqlUsers] = field(default_factory=list)
    engines: dict[str, AsyncEngine] = field(default_factory=dict)
    checker: PasswordChecker = field(default_factory=lambda: PasswordChecker(1))

    def quoted(self, name: str) -> str:
        quote = QUOTES[self.kind]
        return quote + name.replace(quote, quote * 2) + quote

    async def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """A statement of the legacy application's."""
        if self.url not in self.engines:
            url, arguments = read_url(self.url, 20)
            self.engines[self.url] = create_async_engine(url, connect_args=arguments, pool_pre_ping=True)
        async with self.engines[self.url].begin() as connection:
            result = await connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def table(
        self, columns: Mapping[str, str], *rows: Mapping[str, Any], name: str | None = None, charset: str = "utf8mb4"
    ) -> str:
        """A table with these columns and rows; its name. ``charset`` is for MariaDB."""
        name = name or f"t_{uuid.uuid4().hex}"
        self.tables.append(name)
        made = ", ".join(f"{self.quoted(column)} {kind}" for column, kind in columns.items())
        tail = f" DEFAULT CHARSET {charset}" if self.kind == "mariadb" else ""
        await self.run(f"CREATE TABLE {self.quoted(name)} ({made}){tail}")
        for row in rows:
            await self.insert(name, row)
        return name

    async def insert(self, name: str, row: Mapping[str, Any]) -> None:
        columns = ", ".join(map(self.quoted, row))
        places = ", ".join(f":v{number}" for number in range(len(row)))
        values = {f"v{number}": value for number, value in enumerate(row.values())}
        await self.run(f"INSERT INTO {self.quoted(name)} ({columns}) VALUES ({places})", **values)

    def source(
        self, asking: Asking, *, writable: bool = False, legacy_hashes: bool = False, timeout: float = 20.0,
        url: str | None = None, create: Callable[..., None] | None = None, name: str = "sql:test",
    ) -> SqlUsers:  # fmt: skip
        database = Database(url or self.url, timeout=timeout, pool_size=3, create=create)
        options = SqlOptions(name, writable, legacy_hashes=legacy_hashes)
        source = SqlUsers(options, self.checker, database, asking)
        self.sources.append(source)
        return source

    def legacy(self, name: str, columns: Mapping[str, str] | str, **options: Any) -> SqlUsers:
        """Columns by our names, or a text of those that are called the same."""
        named = {one: one for one in columns.split()} if isinstance(columns, str) else columns
        return self.source(LegacyTable(name, named), **options)

    def queries(self, by_login: str, by_id: str, **options: Any) -> SqlUsers:
        return self.source(Queries(by_login, by_id), **options)

    def own(self, **options: Any) -> tuple[SqlUsers, OwnTable]:
        """The gateway's own table, made when it is asked for."""
        name = f"t_{uuid.uuid4().hex}"
        self.tables.append(name)
        own = OwnTable(name)
        return self.source(own, writable=True, create=own.create, **options), own


@asynccontextmanager
async def sql_lab(kind: str, folder: Path) -> AsyncIterator[Lab]:
    """On the run's database of this kind; what was made is dropped at the end."""
    lab = Lab(kind, url_of(kind, folder))
    await lab.run("SELECT 1")  # SQLite's file is there, as the application's would be
    try:
        yield lab
    finally:
        for source in lab.sources:
            await source.close()
        for name in lab.tables:
            await lab.run(f"DROP TABLE IF EXISTS {lab.quoted(name)}")
        for engine in lab.engines.values():
            await engine.dispose()
        lab.checker.close()


async def enter(source: SqlUsers, login: str, password: str = PASSWORD) -> Identity | None:
    """What a sign-in asks of a source."""
    return await source.verify(await source.find(login), login, password)
