"""Sessions on every engine, for tests: put together as ``gateway/engines.py`` does, with a clock, a ring and a policy of the
test's own; and engines that lose answers, are away, or take one step at a time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing, MasterKey
from gateway.core.sessions import Session, SessionPolicy, SessionRecord, Visitor
from gateway.core.tickets import session_tickets
from gateway.errors import StoreUnavailable
from gateway.store.announcements import Announcements
from gateway.store.cookie_sessions import CookieSessions
from gateway.store.directory import Cap, UserSessions
from gateway.store.engine import SessionEngine
from gateway.store.reader import Belief
from gateway.store.serializers import serializer_named
from gateway.store.sessions import Lost, Sessions
from gateway.store.values import Values
from tests.store.engines import ENGINES, REDIS, Case

OLD_KEY, NEW_KEY = MasterKey(bytes(range(32))), MasterKey(bytes(range(32, 64)))
RING = KeyRing([OLD_KEY])
POLICY = SessionPolicy(
    age=5000, idle_timeout=100, absolute_timeout=10_000, touch_interval=10, rotate_interval=50, rotate_grace=30
)
ALICE = Identity("7", "alice", name="Alice", groups=("sales",), source="file:users.yaml")
BOB = Identity("8", "bob", source="file:users.yaml")
FIREFOX = Visitor("192.0.2.7", "Firefox on Linux")
UNKNOWN = Lost("unknown_session")
REVOKED = Lost("revoked")
REPLACED = Lost("replaced")


class Clock:
    """Epoch seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Kind:
    """One setting of ``session.engine`` (and database)."""

    name: str
    case: Case
    cookie: bool = False

    def __str__(self) -> str:
        return self.name


COOKIE = Kind("cookie", REDIS, cookie=True)
STORED = [Kind(case.name, case) for case in ENGINES]
KINDS = [*STORED, COOKIE]
LISTED = [kind for kind in STORED if kind.case.directory]


def make_sessions(
    engine: SessionEngine,
    *,
    cookie: bool = False,
    ring: KeyRing = RING,
    policy: SessionPolicy = POLICY,
    clock: Callable[[], float] = time.time,
    cap: Cap = Cap(),  # noqa: B008 - frozen
    serializer: str = "json",
    announcements: Announcements | None = None,
    belief: Belief | None = None,
) -> Sessions:
    values = Values(ring, serializer_named(serializer))
    told = announcements or Announcements(engine, ring, poll=None)
    if cookie:
        return CookieSessions(engine, values, ring, told, policy, belief=belief, clock=clock)
    directory = engine.directory
    users = UserSessions(engine, directory, values, policy, cap) if directory is not None else None
    return Sessions(engine, values, session_tickets(ring), told, policy, users=users, belief=belief, clock=clock)


async def informed(sessions: Sessions) -> Sessions:
    """It knows which keys are in use, as every process does a moment after its start."""
    await sessions._announcements.refresh()
    return sessions


def fresh_record(clock: Callable[[], float], user: Identity | None = ALICE, **data: Any) -> SessionRecord:
    return SessionRecord(clock(), clock(), user, data=data)


async def find(sessions: Sessions, cookie: str) -> Session | Lost:
    """As a request that brings this cookie."""
    presented = sessions.presented([cookie])
    return UNKNOWN if presented is None else await sessions.find(presented)


async def living(sessions: Sessions, cookie: str) -> Session:
    found = await find(sessions, cookie)
    assert isinstance(found, Session), found
    return found


async def settled(sessions: Sessions) -> None:
    """What a request left to be done behind it is done."""
    while sessions._tasks:
        await asyncio.wait(list(sessions._tasks.values()))
        await asyncio.sleep(0)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> float:
    """How long it took."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


def bogus_id() -> bytes:
    return os.urandom(32)


# -- engines with something between them and their callers
Around = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]
_PASSED = {
    "load",
    "create",
    "update",
    "touch",
    "shorten",
    "delete",
    "bury",
    "announce",
    "withdraw",
    "announced",
    "ping",
}
_LISTS = {"add", "remove", "entries"}


class Watched:
    """The engine inside, each call of which goes through ``around(name, call)``; its directory's calls, too."""

    def __init__(self, inside: Any, around: Around, calls: Iterable[str] = _PASSED) -> None:
        self._inside = inside
        self._around = around
        self._calls = frozenset(calls)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if name == "directory":
            return None if found is None else Watched(found, self._around, _LISTS)
        if name not in self._calls:
            return found
        return lambda *given, **named: self._around(name, lambda: found(*given, **named))


def watched(engine: SessionEngine, around: Around) -> SessionEngine:
    made: Any = Watched(engine, around)
    return made  # type: ignore[no-any-return]


class Faults:
    """``away``: nothing is carried out. ``lose``: so many calls from now on one is carried out and its answer is lost."""

    def __init__(self) -> None:
        self.away = False
        self.lose: int | None = None
        self.calls: list[str] = []

    async def __call__(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self.calls.append(name)
        if self.away:
            raise StoreUnavailable("away, says the test")
        answer = await call()
        if self.lose is not None:
            self.lose -= 1
            if self.lose < 0:
                self.lose = None
                raise StoreUnavailable("lost, says the test")
        return answer


_actor: ContextVar[str] = ContextVar("actor", default="")


class Steps:
    """Lets several actors call an engine one call at a time, in an order that the test chooses."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._news = asyncio.Event()

    async def __call__(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if actor := _actor.get():
            self._waiting[actor] = asyncio.get_running_loop().create_future()
            self._news.set()
            await self._waiting[actor]
        return await call()

    async def run(self, prefix: str, **works: Coroutine[Any, Any, Any]) -> tuple[str, list[Any]]:
        """Who went whenever there was a choice, and what each came to; after ``prefix`` whoever went last goes on."""
        tasks = {actor: self._start(actor, work) for actor, work in works.items()}
        trace = ""
        while await self._settled(tasks):
            ready = [actor for actor in tasks if actor in self._waiting]
            turn = ready[0]
            if len(ready) > 1:
                turn = prefix[len(trace)] if len(trace) < len(prefix) else (trace or turn)[-1]
                trace += turn
            self._waiting.pop(turn).set_result(None)
        return trace, await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _start(self, actor: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        token = _actor.set(actor)
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._news.set())
        _actor.reset(token)
        return task

    async def _settled(self, tasks: dict[str, asyncio.Task[Any]]) -> bool:
        """Everybody has ended or waits for his turn. False: all have ended."""
        while not all(task.done() or actor in self._waiting for actor, task in tasks.items()):
            self._news.clear()
            await self._news.wait()
        return bool(self._waiting)


async def every_order(run: Callable[[str], Awaitable[str]], *, switches: int = 100) -> int:
    """Calls ``run(prefix)`` once for every order in which the calls of ``a`` and ``b`` can come (of those with at most so many
    switches from one to the other before the end); how many there were.
    """
    waiting, count = [""], 0
    while waiting:
        prefix = waiting.pop()
        trace = await run(prefix)
        assert trace.startswith(prefix)
        count += 1
        for end in range(len(prefix), len(trace)):
            other = trace[:end] + ("b" if trace[end] == "a" else "a")
            if sum(one != next_one for one, next_one in pairwise(other)) <= switches:
                waiting.append(other)
    return count


@asynccontextmanager
async def running(works: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for work in works]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
