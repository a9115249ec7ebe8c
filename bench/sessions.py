"""What sessions cost: ``.venv/bin/python -m bench.sessions [--sessions 100000] [--more 300000]``.

One Redis of its own on a unix socket, one process. Memory is Redis's ``used_memory`` before and after, divided by the
number of sessions: each of another user, with an ordinary record and its directory entry. Of each operation there is the CPU
time of the gateway's process (user and system), the time that Redis spent in commands (``INFO commandstats``) and the time on
the clock, one operation after the other. The round trips of a miss are counted by ``INFO commandstats``, too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from gateway.core.identity import Identity
from gateway.core.keys import format_key, parse_ring
from gateway.core.sessions import Session, SessionRecord, Visitor
from gateway.engines import SessionParts, session_parts
from gateway.settings import settings_from
from gateway.settings.load import ring_of
from gateway.store.redis_server import RedisServer

_AT_ONCE = 200
_VISITOR = Visitor("203.0.113.77", "Firefox on Windows")


def _user(number: int) -> Identity:
    name = f"user{number:07}"
    return Identity(
        f"{number:016x}", name, f"User {number}", f"{name}@example.org", "user", ("sales",), "file:users.yaml"
    )


async def _sign_in(parts: SessionParts, number: int) -> Session:
    now = time.time()
    return await parts.sessions.create(SessionRecord(now, now, _user(number)), _VISITOR)


async def _fill(parts: SessionParts, start: int, end: int) -> list[Session]:
    kept: list[Session] = []
    for first in range(start, end, _AT_ONCE):
        made = await asyncio.gather(*(_sign_in(parts, number) for number in range(first, min(first + _AT_ONCE, end))))
        kept += made[:1]
    return kept


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of one operation: CPU of this process, time in Redis's commands, time on the clock."""

    cpu: float
    redis: float
    clock: float


async def _cost(client: Redis, times: int, operation: Callable[[int], Awaitable[Any]]) -> Cost:
    client.config_resetstat()
    began, started = time.perf_counter(), time.process_time()
    for number in range(times):
        await operation(number)
    cpu, clock = time.process_time() - started, time.perf_counter() - began
    stats = client.info("commandstats")
    spent = sum(row["usec"] for name, row in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_ping")))
    return Cost(cpu / times * 1e6, spent / times, clock / times * 1e6)


async def _hit_cost(parts: SessionParts, text: str) -> tuple[float, int]:
    """In short runs: the loop has to hear in between that what is kept may still be believed."""
    runs, times = 20, 10_000
    sessions, hits, spent = parts.sessions, 0, 0.0
    for _ in range(runs):
        await asyncio.sleep(0.1)
        started = time.process_time()
        for _ in range(times):
            presented = sessions.presented((text,))
            assert presented is not None
            hits += sessions.known(presented) is not None
        spent += time.process_time() - started
    return spent / (runs * times) * 1e6, hits * 100 // (runs * times)


async def _operations(parts: SessionParts, known: list[Session], repeats: int, client: Redis) -> dict[str, Cost]:
    sessions, some = parts.sessions, known[:repeats]
    extra: list[Session] = []

    def one(number: int) -> Session:
        return some[number % len(some)]

    async def create(number: int) -> None:
        extra.append(await _sign_in(parts, 10_000_000 + number))

    async def save(number: int) -> None:
        session = extra[number]
        extra[number] = await sessions.save(session, session.record)

    async def listed(number: int) -> None:
        user = one(number).record.user
        assert user is not None
        assert sessions.users is not None
        await sessions.users.of(user)

    figures = {"sign in": await _cost(client, repeats, create)}
    figures["find (a miss)"] = await _cost(client, repeats, lambda number: sessions.find_id(one(number).id))
    figures["touch"] = await _cost(client, repeats, lambda number: sessions.touch(one(number)))
    figures["save"] = await _cost(client, repeats, save)
    figures["list a user's"] = await _cost(client, repeats, listed)
    figures["sign out"] = await _cost(client, repeats, lambda number: sessions.delete(extra[number]))
    return figures


async def _run(url: str, sizes: list[int], repeats: int) -> None:
    data = {
        "redis": {"url": url},
        "session": {"cache_size": 10_000},
        "keys": {"master": format_key(os.urandom(32)).strip()},
        "users": [{"source": "file", "path": "config/users.yaml"}],
        "upstreams": {"app": {"url": "http://127.0.0.1:1"}},
        "routes": [{"path": "/"}],
    }
    settings = settings_from(data, {}, "the benchmark", Path.cwd())
    parts = session_parts(settings, parse_ring(ring_of(settings)))
    tasks = await parts.start()
    client = Redis.from_url(url)
    known = await _fill(parts, 0, 1000)
    table = {1000: await _operations(parts, known, repeats, client)}
    client.flushall()
    empty = client.info("memory")["used_memory"]
    done, known = 0, []
    for size in sizes:
        known += await _fill(parts, done, size)
        done = size
        used = client.info("memory")["used_memory"] - empty
        print(f"{size:>9} sessions: {used / size:.0f} bytes of Redis memory each, with the directory entry")
    table[done] = await _operations(parts, known, repeats, client)
    await _show_hit(parts, known[0], client)
    print("\nµs each: CPU of the gateway's process / in Redis / on the clock")
    print(" " * 20 + "".join(f"{f'{size} sessions':>26}" for size in table))
    for name in table[1000]:
        row = [
            f"{cost.cpu:.0f} / {cost.redis:.0f} / {cost.clock:.0f}"
            for cost in (figures[name] for figures in table.values())
        ]
        print(f"  {name:<18}" + "".join(f"{text:>26}" for text in row))
    for task in tasks:
        task.cancel()
    await parts.close()
    client.close()


async def _show_hit(parts: SessionParts, session: Session, client: Redis) -> None:
    text = parts.sessions.cookie_value(session)
    presented = parts.sessions.presented((text,))
    assert presented is not None
    await parts.sessions.find(presented)
    await asyncio.sleep(0.6)
    client.config_resetstat()
    await parts.sessions.find_id(session.id)
    stats = {name.removeprefix("cmdstat_"): row["calls"] for name, row in client.info("commandstats").items()}
    calls = {name: count for name, count in stats.items() if name != "ping" and not name.startswith("config")}
    print(f"a miss: {sum(calls.values())} command, {calls}")
    await parts.sessions.find(presented)
    cost, share = await _hit_cost(parts, text)
    print(f"a hit: {cost:.2f} µs of CPU, no await ({share} % of the look-ups were hits)")


def main() -> None:
    """Starts a Redis, fills it, measures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gwb-") as folder:
        server = RedisServer(Path(folder), append_only=False)
        server.start()
        try:
            asyncio.run(_run(server.url, sorted({given.sessions, given.more}), given.repeats))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
