"""Every session engine there is, for the contract suite; and what the table in docs/sessions.md says of each.

To add one: write an async context manager that takes a :class:`Place` and the linger, and add a line
to ``ENGINES``. Parts that may be absent skip inside it, loudly.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.store.engine import Capabilities, SessionEngine
from gateway.store.files import FileSessionEngine
from gateway.store.memory import MemorySessionEngine
from gateway.store.redis import RedisLink
from gateway.store.redis_options import RedisOptions
from gateway.store.redis_server import find_redis_server
from gateway.store.redis_sessions import RedisSessionEngine
from tests.redis_lab import Lab, Node

VERSION = 17
PATIENT = 20.0  # seconds for one operation: the suite asks what an engine answers, not how soon


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine under test keeps its things: a folder of this test's own, and the run's Redis, empty."""

    folder: Path
    redis_url: str


Open = Callable[[Place, float], AbstractAsyncContextManager[SessionEngine]]


@dataclass(frozen=True, slots=True)
class Case:
    """One engine. ``open(place, linger)``; opened twice at one place, both keep the same sessions when ``shared``."""

    name: str
    documented_as: str
    open: Open
    needs_redis: bool = False
    shared: bool = False
    directory: bool = False
    expires_itself: bool = False

    def __str__(self) -> str:
        return self.name


@asynccontextmanager
async def _memory(_: Place, linger: float) -> AsyncIterator[SessionEngine]:
    engine = MemorySessionEngine(linger)
    yield engine
    await engine.close()


@asynccontextmanager
async def _file(place: Place, linger: float) -> AsyncIterator[SessionEngine]:
    engine = FileSessionEngine(place.folder / "files", linger, timeout=PATIENT)
    yield engine
    await engine.close()


@asynccontextmanager
async def _redis(place: Place, linger: float) -> AsyncIterator[SessionEngine]:
    engine = RedisSessionEngine(RedisLink(RedisOptions(place.redis_url, timeout=PATIENT)), "t:", linger)
    yield engine
    await engine.close()


class _Cluster:
    """The run's Redis Cluster, three masters; or why there is none: nobody waits for it twice."""

    def __init__(self) -> None:
        self._lab = Lab()
        self._used_by: Path | None = None
        self.nodes: list[Node] = []
        self.fault = ""
        atexit.register(self._lab.close)
        try:
            self.nodes = self._lab.cluster(3)
        except (AssertionError, StartError) as error:
            self.fault = f"the Redis Cluster did not start: {error}"

    def empty_for(self, place: Place) -> None:
        """Once for each test."""
        if place.folder != self._used_by:
            for node in self.nodes:
                node.command("FLUSHALL")
            self._used_by = place.folder


@cache
def _cluster() -> _Cluster:
    return _Cluster()


@asynccontextmanager
async def _redis_cluster(place: Place, linger: float) -> AsyncIterator[SessionEngine]:
    if find_redis_server() is None:
        pytest.skip("no redis-server: no engine was tested on a Redis Cluster")
    cluster = _cluster()
    assert not cluster.fault, cluster.fault
    cluster.empty_for(place)
    addresses = tuple(node.address for node in cluster.nodes)
    options = RedisOptions(cluster.nodes[0].tcp_url, timeout=PATIENT, cluster=True, nodes=addresses)
    engine = RedisSessionEngine(RedisLink(options), "t:", linger)
    yield engine
    await engine.close()


# Imported when first needed: the drivers are an extra, and one engine's fault must not hide the others.
@asynccontextmanager
async def _sqlite(place: Place, linger: float) -> AsyncIterator[SessionEngine]:
    from tests.store.databases import sqlite_engine

    async with sqlite_engine(place.folder, linger=linger) as engine:
        yield engine


@asynccontextmanager
async def _postgresql(_: Place, linger: float) -> AsyncIterator[SessionEngine]:
    from tests.store.databases import postgres_engine

    async with postgres_engine(linger=linger) as engine:
        yield engine


@asynccontextmanager
async def _mariadb(_: Place, linger: float) -> AsyncIterator[SessionEngine]:
    from tests.store.databases import mariadb_engine

    async with mariadb_engine(linger=linger) as engine:
        yield engine


@asynccontextmanager
async def _cached_sql(place: Place, linger: float) -> AsyncIterator[SessionEngine]:
    from tests.store.databases import cached_sql_engine

    async with cached_sql_engine(place.folder, place.redis_url, linger=linger) as engine:
        yield engine


MEMORY = Case("memory", "memory", _memory)
FILE = Case("file", "file", _file, shared=True)
REDIS = Case("redis", "redis", _redis, needs_redis=True, shared=True, directory=True, expires_itself=True)
CLUSTER = Case("redis cluster", "redis", _redis_cluster, shared=True, directory=True, expires_itself=True)
SQL = [
    Case("sqlite", "sql", _sqlite, shared=True, directory=True),
    Case("postgresql", "sql", _postgresql, shared=True, directory=True),
    Case("mariadb", "sql", _mariadb, shared=True, directory=True),
    Case("cached_sql", "cached_sql", _cached_sql, needs_redis=True, shared=True, directory=True),
]
ENGINES = [MEMORY, FILE, REDIS, CLUSTER, *SQL]
WITH_DIRECTORY = [case for case in ENGINES if case.directory]


# -- the table of capabilities
COLUMNS = {
    "directory and cap": "directory",
    "revoked within a second": "revocation_within_a_second",
    "merge, no resurrection": "merge",
    "survives the loss of Redis": "survives_loss_of_redis",
    "several processes": "several_processes",
}


def declared(capabilities: Capabilities) -> dict[str, str]:
    """As a row of the table: column → yes or no."""
    values = asdict(capabilities)
    return {column: "yes" if values[field] else "no" for column, field in COLUMNS.items()}


def documented(markdown: str) -> dict[str, dict[str, str]]:
    """Engine → column → cell, from the one table whose first column is ``engine`` and that has all of ``COLUMNS``."""
    rows = [[cell.strip(" `*") for cell in line.strip().strip("|").split("|")] for line in markdown.splitlines()]
    start = next(number for number, row in enumerate(rows) if row[0] == "engine" and set(COLUMNS) <= set(row))
    table = {}
    for row in rows[start + 2 :]:
        if len(row) != len(rows[start]):
            break
        table[row[0]] = {column: cell for column, cell in zip(rows[start], row, strict=True) if column in COLUMNS}
    return table


# -- what several tests of engines need
def fresh(rest: bytes = b"") -> bytes:
    """A value whose version nobody has seen."""
    return os.urandom(VERSION) + rest


def number_in(value: bytes) -> int:
    """What a counting test wrote behind the version."""
    return int(re.sub(rb"\D", b"", value[VERSION:]) or b"0")
