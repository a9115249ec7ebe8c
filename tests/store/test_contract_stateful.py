"""Engines against a plain model, in orders that nobody thought of: several clients, one after the other and at once."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis import Redis

from gateway.store.engine import Gone, Kept, SessionEngine, Write, version_of
from gateway.store.redis_server import RedisServer
from tests.store.engines import FILE, MEMORY, REDIS, Case, Place

T = TypeVar("T")
CLIENTS = 3
LONG = 600.0

names = st.sampled_from([b"a", b"b"])
clients = st.integers(0, CLIENTS - 1)
seens = st.sampled_from([b"", b"s", b"\x00\xff"])
OPERATIONS = ["create", "update", "touch", "shorten", "delete", "load"]


@dataclass(frozen=True)
class Call:
    """One operation of one client. ``back``: which version an update expects, counted back from the newest written."""

    client: int
    what: str
    back: int
    seen: bytes


calls = st.builds(Call, clients, st.sampled_from(OPERATIONS), st.integers(0, 2), seens)


@dataclass
class Name:
    """What the model knows of one name. Any of ``notes`` may be found: an engine may forget the one left beside a living
    session, or leave it where it is.
    """

    kept: Kept | None = None
    versions: list[bytes] = field(default_factory=lambda: [b"?" * 17])
    notes: set[str] = field(default_factory=lambda: {""})


def is_of_its_kind(kept: Kept, seen: bytes) -> bool:
    """Nothing seen on purpose goes with a pointer, and with nothing else."""
    return seen == b"" if kept.seen == b"" else seen != b""


def after(kept: Kept | None, what: str, value: bytes, expected: bytes, seen: bytes) -> tuple[Kept | None, object]:
    """What the contract says: what is kept then, and the answer."""
    if what == "create":
        return (kept, False) if kept else (Kept(value, seen), True)
    if kept is None:
        return None, Write.GONE if what == "update" else None
    if what == "update":
        right = version_of(kept.value) == expected
        return (Kept(value, seen), Write.DONE) if right else (kept, Write.CHANGED)
    if what == "touch":
        return Kept(kept.value, seen) if is_of_its_kind(kept, seen) else kept, None
    if what == "shorten":
        return Kept(kept.value, None), None
    if what == "delete":
        return None, kept.value
    return kept, kept if what == "load" else None


class Machine(RuleBasedStateMachine):
    """Subclasses say which engine, and where it keeps its things."""

    case: Case
    redis: RedisServer | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="gwt-"))
        self.open = AsyncExitStack()
        self.engines: list[SessionEngine] = self.run(self._open())
        self.model: dict[bytes, Name] = {b"a": Name(), b"b": Name()}
        self.written = itertools.count(1)

    async def _open(self) -> list[SessionEngine]:
        if self.redis:
            with Redis(unix_socket_path=str(self.redis.socket)) as client:
                client.flushall()
        place = Place(self.folder, self.redis.url if self.redis else "")
        count = CLIENTS if self.case.shared else 1
        engines = [await self.open.enter_async_context(self.case.open(place, LONG)) for _ in range(count)]
        return [engines[number % count] for number in range(CLIENTS)]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.open.aclose())
        self.runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what clients do
    @rule(name=names, call=calls)
    def one(self, name: bytes, call: Call) -> None:
        self._at_once(name, [call])

    @rule(name=names, several=st.lists(calls, min_size=2, max_size=4))
    def several_at_once(self, name: bytes, several: list[Call]) -> None:
        self._at_once(name, several)

    @rule(name=names, client=clients, note=st.sampled_from(["flushed", "revoked"]))
    def bury(self, name: bytes, client: int, note: str) -> None:
        known = self.model[name]
        known.notes = known.notes | {note} if known.kept else {note}
        self.run(self.engines[client].bury(name, note, LONG))

    @rule(client=clients, asked=st.lists(st.sampled_from([b"a", b"b", b"never"]), max_size=6))
    def load_many(self, client: int, asked: list[bytes]) -> None:
        answers = self.run(self.engines[client].load(asked))
        assert len(answers) == len(asked)
        for name, answer in zip(asked, answers, strict=True):
            self._check(self.model.get(name, Name()), answer)

    @rule(client=clients)
    def broom(self, client: int) -> None:
        assert self.run(self.engines[client].clear_expired()) == 0

    # -- is there an order of the calls, one after the other, in which everybody gets the answer that he got?
    def _at_once(self, name: bytes, several: list[Call]) -> None:
        known = self.model[name]
        arguments = [self._arguments(known, call) for call in several]
        engines = [self.engines[call.client] for call in several]

        async def all_of_them() -> tuple[list[object], Kept | Gone]:
            started = (
                _perform(engine, name, call.what, *rest)
                for engine, call, rest in zip(engines, several, arguments, strict=True)
            )
            answers = await asyncio.gather(*started)
            (found,) = await engines[0].load([name])
            return answers, found

        answers, found = self.run(all_of_them())
        kept = found if isinstance(found, Kept) else None
        steps = list(zip(several, arguments, answers, strict=True))
        explained = any(_explains(known.kept, order, kept) for order in itertools.permutations(steps))
        assert explained, f"before: {known.kept}, calls and answers: {steps}, after: {found}"
        known.kept = kept
        known.versions += [rest[0][:17] for _, rest, answer in steps if answer in (True, Write.DONE)]
        self._check(known, found)

    def _arguments(self, known: Name, call: Call) -> tuple[bytes, bytes, bytes]:
        number = b"%d" % next(self.written)
        expected = known.versions[-1 - call.back] if call.back < len(known.versions) else known.versions[0]
        return number.rjust(17, b"v") + b"value " + number, expected, call.seen

    def _check(self, known: Name, answer: Kept | Gone) -> None:
        if known.kept:
            assert answer == known.kept
        else:
            assert isinstance(answer, Gone)
            assert answer.note in known.notes


async def _perform(engine: SessionEngine, name: bytes, what: str, value: bytes, expected: bytes, seen: bytes) -> object:
    if what == "create":
        return await engine.create(name, value, seen, LONG)
    if what == "update":
        return await engine.update(name, value, seen, LONG, expected)
    if what == "delete":
        return await engine.delete(name)
    if what == "load":
        (found,) = await engine.load([name])
        return found if isinstance(found, Kept) else None
    await (engine.touch(name, seen, LONG) if what == "touch" else engine.shorten(name, LONG))
    return None


def _explains(
    kept: Kept | None, order: tuple[tuple[Call, tuple[bytes, bytes, bytes], object], ...], end: Kept | None
) -> bool:
    for call, rest, answer in order:
        kept, expected = after(kept, call.what, *rest)
        if answer != expected:
            return False
    return kept == end


@pytest.fixture(params=[MEMORY, FILE, REDIS], ids=str)
def machine(request: pytest.FixtureRequest) -> type[Machine]:
    case: Case = request.param
    server = request.getfixturevalue("redis_server") if case.needs_redis else None
    return type("Engine", (Machine,), {"case": case, "redis": server})


def test_every_engine_does_what_the_model_does(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


class Lossy:
    """An engine with the faults that the model must find: it writes whatever the version, touches bring back or make a
    session of a pointer, and what is seen outlives a shortening.
    """

    def __init__(self, engine: SessionEngine, fault: str) -> None:
        self._engine = engine
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        if self._fault == "no version" and await self._engine.delete(name) is not None:
            await self._engine.create(name, value, seen, ttl)
            return Write.DONE
        return await self._engine.update(name, value, seen, ttl, expected)

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        (found,) = await self._engine.load([name])
        if isinstance(found, Kept) and self._fault == "two steps" and is_of_its_kind(found, seen):
            await asyncio.sleep(0)
            await self._put(name, found.value, seen, ttl)
        elif isinstance(found, Kept) and self._fault == "any touch":
            await self._put(name, found.value, seen, ttl)
        else:
            await self._engine.touch(name, seen, ttl)

    async def shorten(self, name: bytes, ttl: float) -> None:
        (found,) = await self._engine.load([name])
        if self._fault != "still seen" or not isinstance(found, Kept) or found.seen is None:
            await self._engine.shorten(name, ttl)

    async def _put(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> None:
        await self._engine.delete(name)
        await self._engine.create(name, value, seen, ttl)


@pytest.mark.parametrize("fault", ["no version", "two steps", "any touch", "still seen"])
def test_the_model_finds_an_engine_that_loses_or_revives(fault: str) -> None:
    class Faulty(Machine):
        case = MEMORY

        async def _open(self) -> list[SessionEngine]:
            return [Lossy(engine, fault) for engine in await super()._open()]  # type: ignore[misc]

    found = settings(
        max_examples=500,
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Faulty, settings=found)
