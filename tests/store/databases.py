"""Real databases for tests: PostgreSQL and MariaDB of this run's own, as an unprivileged user, on unix sockets, fast and
forgetful. They start when first asked for and end with the run.

The context managers yield an engine on empty tables; opened twice at once, both see the same.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.cached_sql import CachedSqlSessionEngine
from gateway.store.redis import RedisLink
from gateway.store.redis_options import RedisOptions
from gateway.store.redis_server import die_with_parent
from gateway.store.redis_sessions import RedisSessionEngine
from gateway.store.sql_sessions import SqlSessionEngine
from gateway.store.sql_tables import COPIES, LOCK, METADATA

PASSWORD = "pw-of-the-test"  # nosec: a server that listens on a socket in a private folder
PATIENT = 20.0
LINGER = 60.0
_START_SECONDS = 30.0


def _somebody() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Server:
    """A database server in a folder of its own. ``stop`` keeps the data, ``start`` finds it again."""

    name: ClassVar[str]
    binaries: ClassVar[tuple[str, ...]]
    places: ClassVar[str]

    def __init__(self) -> None:
        self.found = {binary: _find(binary, self.places) for binary in self.binaries}
        if missing := [binary for binary, path in self.found.items() if path is None]:
            pytest.skip(f"no {self.name} on this machine ({', '.join(missing)})")
        self.folder = Path(tempfile.mkdtemp(prefix="gwt-"))
        if (somebody := _somebody()) != {}:
            os.chown(self.folder, int(str(somebody["user"])), int(str(somebody["group"])))
        atexit.register(self.remove)
        self.process: subprocess.Popen[bytes] | None = None
        self.prepare()
        self.start()

    def prepare(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def socket(self) -> Path:
        raise NotImplementedError

    @property
    def url(self) -> str:
        raise NotImplementedError

    def run(self, binary: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.found[binary]), *arguments], cwd=self.folder, capture_output=True, timeout=120, **_somebody()
        )  # type: ignore[call-overload]
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")

    def start(self) -> None:
        """Returns when it answers. Not in a thread: the server would end with it (prctl(2), PR_SET_PDEATHSIG)."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent, **_somebody(),
            )  # type: ignore[call-overload]  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, f"{self.name} did not come up"
            time.sleep(0.02)

    def answers(self) -> bool:
        raise NotImplementedError

    def _says(self, question: bytes) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(1)
                link.connect(str(self.socket))
                link.sendall(question)
                return link.recv(5)
        except OSError:
            return b""

    def freeze(self) -> None:
        """SIGSTOP, its children included."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, its children included."""
        assert self.process is not None
        self._signal(signal.SIGKILL)
        self.process.wait(20)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        for pid in [self.process.pid, *_descendants(self.process.pid)]:  # PostgreSQL's are sessions of their own
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _descendants(pid: int) -> list[int]:
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            children += [child, *_descendants(child)]
    return children


def _find(binary: str, places: str) -> Path | None:
    on_path = shutil.which(binary)
    found = [Path(on_path)] if on_path else sorted(Path("/").glob(f"{places}/{binary}"))
    return found[-1] if found else None


class Postgres(Server):
    name = "PostgreSQL"
    binaries = ("initdb", "postgres")
    places = "usr/lib/postgresql/*/bin"

    def prepare(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o644)
        login = ("-U", "gateway", "--pwfile", "password", "-A", "scram-sha-256")
        self.run("initdb", "-D", "data", *login, "--no-sync", "-E", "UTF8", "--locale", "C")

    def command(self) -> list[str]:
        fast = ["fsync=off", "full_page_writes=off"]  # what was committed survives kill -9 all the same
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}", "max_connections=200", *fast]
        return [str(self.found["postgres"]), "-D", "data", *(part for option in options for part in ("-c", option))]

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        return f"postgresql://gateway:{PASSWORD}@/postgres?host={self.folder}"

    def answers(self) -> bool:
        """A start-up message of protocol 3.0: it asks for the password (R), or says that it is not ready (E)."""
        body = b"\x00\x03\x00\x00user\x00gateway\x00\x00"
        return self._says((len(body) + 4).to_bytes(4, "big") + body).startswith(b"R")


class MariaDB(Server):
    name = "MariaDB"
    binaries = ("mariadb-install-db", "mariadbd")
    places = "usr/sbin"

    def prepare(self) -> None:
        user = f"CREATE USER IF NOT EXISTS gateway@localhost IDENTIFIED BY '{PASSWORD}';"
        grant = "CREATE DATABASE IF NOT EXISTS gateway;\nGRANT ALL ON gateway.* TO gateway@localhost;"
        (self.folder / "init.sql").write_text(f"{user}\n{grant}\n")
        (self.folder / "init.sql").chmod(0o644)
        where = (f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal", "--skip-test-db")
        self.run("mariadb-install-db", "--no-defaults", *where)

    def command(self) -> list[str]:
        fast = ["--innodb-flush-log-at-trx-commit=2", "--skip-innodb-doublewrite"]  # as above
        return [
            *(str(self.found["mariadbd"]), "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.socket}"),
            *(
                "--skip-networking",
                "--innodb-buffer-pool-size=32M",
                "--innodb-log-file-size=16M",
                "--max-connections=200",
            ),
            *(f"--init-file={self.folder}/init.sql", *fast),
        ]

    @property
    def socket(self) -> Path:
        return self.folder / "sock"

    @property
    def url(self) -> str:
        return f"mysql://gateway:{PASSWORD}@localhost/gateway?unix_socket={self.socket}"

    def answers(self) -> bool:
        """It greets with protocol version 10."""
        return self._says(b"")[4:5] == b"\x0a"


def url_of(kind: str, folder: Path) -> str:
    """The run's database of a kind; SQLite's is a file in ``folder``."""
    servers = {"postgresql": postgres_server, "mariadb": mariadb_server}
    return servers[kind]().url if kind in servers else f"sqlite:///{folder}/sessions.db"


KINDS = ("sqlite", "postgresql", "mariadb")


@cache
def postgres_server() -> Postgres:
    """The run's PostgreSQL."""
    return Postgres()


@cache
def mariadb_server() -> MariaDB:
    """The run's MariaDB."""
    return MariaDB()


_open: dict[str, int] = {}


@asynccontextmanager
async def engine_at(url: str, *, linger: float = LINGER, timeout: float = PATIENT) -> AsyncIterator[SqlSessionEngine]:
    """An engine on whatever is there; the first at a URL empties the tables."""
    engine = SqlSessionEngine(url, linger, timeout=timeout)
    try:
        if not _open.get(url):
            await engine.database.transact(_empty)
        _open[url] = _open.get(url, 0) + 1
        try:
            yield engine
        finally:
            _open[url] -= 1
    finally:
        await engine.close()


async def _empty(connection: AsyncConnection) -> None:
    for table in METADATA.sorted_tables:
        if table not in (LOCK, COPIES):
            await connection.execute(delete(table))
    columns = {"generation": COPIES.c.generation + 1, "trusted": 1, "incarnation": "", "bumped": 0.0}
    await connection.execute(update(COPIES).values(columns))


@asynccontextmanager
async def sqlite_engine(
    folder: Path, *, linger: float = LINGER, timeout: float = PATIENT
) -> AsyncIterator[SqlSessionEngine]:
    """In ``folder``; it keeps what is there."""
    engine = SqlSessionEngine(f"sqlite:///{folder}/sessions.db", linger, timeout=timeout)
    yield engine
    await engine.close()


@asynccontextmanager
async def postgres_engine(*, linger: float = LINGER, timeout: float = PATIENT) -> AsyncIterator[SqlSessionEngine]:
    """On the run's PostgreSQL."""
    async with engine_at(postgres_server().url, linger=linger, timeout=timeout) as engine:
        yield engine


@asynccontextmanager
async def mariadb_engine(*, linger: float = LINGER, timeout: float = PATIENT) -> AsyncIterator[SqlSessionEngine]:
    """On the run's MariaDB."""
    async with engine_at(mariadb_server().url, linger=linger, timeout=timeout) as engine:
        yield engine


def redis_copies(redis_url: str) -> tuple[RedisSessionEngine, RedisLink]:
    """What holds the copies, as the gateway makes it."""
    link = RedisLink(RedisOptions(redis_url, timeout=1.0))
    return RedisSessionEngine(link, "c:", 0.0), link


async def run_id(link: RedisLink) -> str:
    """Changes when Redis is started again."""
    (told,) = await link.pipeline([(b"INFO", b"server")])
    return next(line for line in told.decode().splitlines() if line.startswith("run_id:"))


@asynccontextmanager
async def cached_sql_engine(
    folder: Path, redis_url: str, *, linger: float = LINGER, timeout: float = PATIENT, url: str | None = None
) -> AsyncIterator[CachedSqlSessionEngine]:
    """SQLite in ``folder`` (or the database at ``url``), and copies in Redis."""
    sql = SqlSessionEngine(url or f"sqlite:///{folder}/sessions.db", linger, timeout=timeout)
    copies, link = redis_copies(redis_url)
    engine = CachedSqlSessionEngine(sql, copies, incarnation=lambda: run_id(link))
    yield engine
    await engine.close()
