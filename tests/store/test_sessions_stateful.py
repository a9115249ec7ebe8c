"""Several browsers, two workers with a process cache each, one Redis: any order of what people do, against a model."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.sessions import Session
from gateway.engines import session_parts
from gateway.errors import SessionInterrupted
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Lost, Sessions
from tests.harness import make_settings
from tests.store.session_lab import ALICE, BOB, FIREFOX, RING, Clock, find, fresh_record, settled

T = TypeVar("T")
WITHIN = 3.0  # seconds: the promise is one
IDLE, TOUCH = 1000, 100
POLICY = {"idle_timeout": IDLE, "touch_interval": TOUCH, "absolute_timeout": 20_000}
POLICY |= {"rotate_interval": 3600, "rotate_grace": 3600}
USERS = {user.id: user for user in (ALICE, BOB)}

keys = st.sampled_from(["a", "b", "c"])
workers = st.integers(0, 1)


@dataclass
class Browser:
    """What the model knows of one session: what must be found under each cookie that the browser had or has.

    ``lost``: the codes of which one must be told; empty while it lives. ``told``: which worker has confirmed the end.
    """

    user: Identity
    owner: int
    cookie: str
    data: dict[str, int]
    seen: float
    created: float
    until: float | None = None
    old: str | None = None
    is_over: bool = False
    by: int = 0
    over_since: float = 0.0
    all_cookies: list[str] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """``server`` is set by the test. ``within``: how long the other worker may take to hear of a change, in seconds."""

    server: RedisServer
    within = WITHIN
    browsers = Bundle("browsers")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.open = AsyncExitStack()
        self.clock = Clock()
        self.numbers = itertools.count(1)
        self.all: list[Browser] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.workers: list[Sessions] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        with Redis(unix_socket_path=str(self.server.socket)) as client:
            client.flushall()
        self.run(self._start())

    async def _start(self) -> None:
        for _ in range(2):
            parts = session_parts(make_settings(self.server.url, "http://127.0.0.1:1", session=POLICY), RING)
            self.tasks += await parts.start()
            parts.sessions._clock = self.clock
            self.open.push_async_callback(parts.close)
            self.workers.append(parts.sessions)
        deadline = time.monotonic() + 10
        while not all([sessions._belief.in_cache() for sessions in self.workers]):  # noqa: C419 - each has to be asked
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    def teardown(self) -> None:
        self.run(self._stop())
        self.runner.close()

    async def _stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.open.aclose()

    # -- what people do
    @rule(target=browsers, user=st.sampled_from([ALICE, BOB]), worker=workers)
    def sign_in(self, user: Identity, worker: int) -> Browser:
        owner = next(self.numbers)
        record = fresh_record(self.clock, user, owner=owner)
        session = self.run(self.workers[worker].create(record, FIREFOX))
        cookie = self.workers[worker].cookie_value(session)
        made = Browser(user, owner, cookie, {"owner": owner}, self.clock.now, self.clock.now, all_cookies=[cookie])
        self.all.append(made)
        return made

    @rule(browser=browsers, worker=workers)
    def read(self, browser: Browser, worker: int) -> None:
        self.run(self._look(browser, worker))

    @rule(browser=browsers, worker=workers, key=keys)
    def write(self, browser: Browser, worker: int, key: str) -> None:
        self.run(self._write(browser, [(worker, key)]))

    @rule(browser=browsers, writes=st.lists(st.tuples(workers, keys), min_size=2, max_size=4))
    def write_at_once(self, browser: Browser, writes: list[tuple[int, str]]) -> None:
        self.run(self._write(browser, writes))

    @rule(browser=browsers, worker=workers, key=keys)
    def remove(self, browser: Browser, worker: int, key: str) -> None:
        async def work() -> None:
            session = await self._look(browser, worker)
            if session is not None:
                left = {name: value for name, value in session.record.data.items() if name != key}
                await self.workers[worker].save(session, replace(session.record, modified=self.clock.now, data=left))
                browser.data.pop(key, None)
                browser.seen = self.clock.now

        self.run(work())

    @rule(browser=browsers, worker=workers, seconds=st.sampled_from([50.0, 500.0, 5000.0]))
    def set_expiry(self, browser: Browser, worker: int, seconds: float) -> None:
        async def work() -> None:
            session = await self._look(browser, worker)
            if session is not None:
                end = self.clock.now + seconds
                await self.workers[worker].save(session, replace(session.record, until=end, modified=self.clock.now))
                browser.until, browser.seen = end, self.clock.now

        self.run(work())

    @rule(browser=browsers, worker=workers)
    def use(self, browser: Browser, worker: int) -> None:
        """As the gate does at each request."""

        async def work() -> None:
            session = await self._look(browser, worker)
            if session is not None:
                self.workers[worker].note_activity(session)
                await settled(self.workers[worker])
                if self.clock.now - browser.seen >= TOUCH:
                    browser.seen = self.clock.now

        self.run(work())

    @rule(browser=browsers, order=st.lists(workers, min_size=1, max_size=4), takes=st.booleans())
    def rotate(self, browser: Browser, order: list[int], takes: bool) -> None:
        """By several requests at once; the browser takes the new cookie, or the answer was lost."""

        async def work() -> None:
            found = [await self._look(browser, worker) for worker in order]
            due = [(worker, each) for worker, each in zip(order, found, strict=True) if each is not None]
            if not due or any(each.record.before or each.moved for _, each in due):
                return
            results = await asyncio.gather(*(self.workers[worker].rotate(each) for worker, each in due))
            assert len({result.id for result in results}) == 1
            cookie = self.workers[0].cookie_value(results[0])
            if cookie != browser.cookie:
                browser.all_cookies.append(cookie)
                browser.old = browser.cookie
                if takes:
                    browser.cookie = cookie

        self.run(work())

    @rule(browser=browsers, worker=workers, by_old=st.booleans())
    def sign_out(self, browser: Browser, worker: int, by_old: bool) -> None:
        async def work() -> None:
            cookie = browser.old if by_old and browser.old else browser.cookie
            found = await find(self.workers[worker], cookie)
            if isinstance(found, Session):
                await self.workers[worker].delete(found)
                self._is_over(browser, worker)
                await self._must_be_lost(browser, worker, at_once=True)

        self.run(work())

    @rule(browser=browsers, worker=workers, key=keys)
    def sign_out_while_writing(self, browser: Browser, worker: int, key: str) -> None:
        async def work() -> None:
            found = await self._look(browser, worker)
            if found is None:
                return
            other = self.workers[1 - worker]
            written = replace(found.record, data={**found.record.data, key: next(self.numbers)})
            works: list[Coroutine[Any, Any, Any]] = [self.workers[worker].delete(found), other.save(found, written)]
            works += [other.touch(found), other.rotate(found)]
            results = await asyncio.gather(*works, return_exceptions=True)
            for result in results:
                assert isinstance(result, bool | Session | SessionInterrupted), result
                if isinstance(result, Session):
                    browser.all_cookies.append(other.cookie_value(result))
            self._is_over(browser, worker)
            await self._must_be_lost(browser, worker, at_once=True)

        self.run(work())

    @rule(browser=browsers, worker=workers)
    def revoke_others(self, browser: Browser, worker: int) -> None:
        async def work() -> None:
            session = await self._look(browser, worker)
            if session is None:
                return
            await self.workers[worker].end_others(session)
            for other in self.all:
                if other.user == browser.user and other is not browser and not other.is_over:
                    self._is_over(other, worker)

        self.run(work())

    @rule(user=st.sampled_from([ALICE, BOB]), worker=workers)
    def list_sessions(self, user: Identity, worker: int) -> None:
        users = self.workers[worker].users
        assert users is not None
        rows = self.run(users.of(user))
        alive = [each for each in self.all if each.user == user and not self._may_be_over(each)]
        assert len({row.card.handle for row in rows}) == len(rows)
        assert len(rows) >= len(alive), "one that lives is not listed: its user could not end it"
        assert all((row.card.user_id, row.card.username) == (user.id, user.username) for row in rows)

    @rule(seconds=st.sampled_from([1.0, 60.0, 120.0, 600.0, 1050.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    # -- what must be so
    def _is_over(self, browser: Browser, worker: int) -> None:
        browser.is_over, browser.by, browser.over_since = True, worker, time.monotonic()

    def _ends_at(self, browser: Browser) -> float:
        return min(browser.until or browser.created + 20_000, browser.created + 20_000)

    def _may_be_over(self, browser: Browser) -> bool:
        return browser.is_over or self.clock.now >= min(self._ends_at(browser), browser.seen + IDLE + TOUCH)

    async def _look(self, browser: Browser, worker: int) -> Session | None:
        """What a request finds; None when it is over. The browser knows the result to be right."""
        if browser.is_over:
            await self._must_be_lost(browser, worker)
            return None
        found = await find(self.workers[worker], browser.cookie)
        if isinstance(found, Lost):
            assert self._may_be_over(browser), f"lost while it lives: {found}"
            assert found.code in ("expired_idle", "expired_age", "expired_absolute")
            return None
        assert self.clock.now < self._ends_at(browser), "found although it is over"
        self._is_his(browser, found)
        if found.record.data != browser.data:
            found = await self._until_fresh(browser, worker)
        await settled(self.workers[worker])
        return found

    async def _until_fresh(self, browser: Browser, worker: int) -> Session:
        """A write by the other worker is seen within the time that is promised."""
        deadline = time.monotonic() + self.within
        while True:
            found = await find(self.workers[worker], browser.cookie)
            assert isinstance(found, Session)
            self._is_his(browser, found)
            if found.record.data == browser.data:
                return found
            assert time.monotonic() < deadline, f"{found.record.data} is not {browser.data}"
            await asyncio.sleep(0.005)

    def _is_his(self, browser: Browser, found: Session) -> None:
        """P61: never another's."""
        assert found.record.data.get("owner") == browser.owner
        assert found.record.user == browser.user
        assert found.record.created == browser.created

    async def _must_be_lost(self, browser: Browser, worker: int, *, at_once: bool = False) -> None:
        """At once for the worker that ended it, within the time that is promised for the other."""
        for cookie in browser.all_cookies:
            found = await find(self.workers[worker], cookie)
            while isinstance(found, Session):
                assert not at_once, "found after its end was acknowledged"
                assert time.monotonic() < browser.over_since + self.within, "still found by the other worker"
                self._is_his(browser, found)
                await asyncio.sleep(0.005)
                found = await find(self.workers[worker], cookie)

    async def _write(self, browser: Browser, writes: list[tuple[int, str]]) -> None:
        sessions = [await self._look(browser, worker) for worker, _ in writes]
        values = [next(self.numbers) for _ in writes]
        works = [
            self.workers[worker].save(
                session, replace(session.record, modified=self.clock.now, data={**session.record.data, key: value})
            )
            for session, (worker, key), value in zip(sessions, writes, values, strict=True)
            if session is not None
        ]
        if len(works) < len(writes):
            for work in works:
                work.close()
            return
        await asyncio.gather(*works)
        browser.seen = self.clock.now
        found = await self.workers[0]._reload((await self._present(browser)).id)
        assert isinstance(found, Session)
        possible: dict[str, set[int]] = {}
        for (_, key), value in zip(writes, values, strict=True):
            possible.setdefault(key, set()).add(value)
        assert {key: value for key, value in found.record.data.items() if key not in possible} == {
            key: value for key, value in browser.data.items() if key not in possible
        }, "a key that nobody wrote has changed"
        for key, allowed in possible.items():
            assert found.record.data.get(key) in allowed, f"what was written under {key} is lost"
        browser.data = dict(found.record.data)

    async def _present(self, browser: Browser) -> Session:
        found = await find(self.workers[0], browser.cookie)
        assert isinstance(found, Session)
        return found

    @invariant()
    def nobody_is_somebody_else(self) -> None:
        """What this process would answer without asking anybody."""
        for browser in self.all:
            for sessions in self.workers:
                for cookie in browser.all_cookies:
                    presented = sessions.presented([cookie])
                    assert presented is not None
                    known = self.run(_known(sessions, presented))
                    if isinstance(known, Session):
                        self._is_his(browser, known)


async def _known(sessions: Sessions, presented: Any) -> Session | Lost | None:
    return sessions.known(presented)


@pytest.mark.slow
def test_whatever_people_do_everybody_has_his_own_session_and_no_other(redis_server: RedisServer) -> None:
    machine = type("OnRedis", (Machine,), {"server": redis_server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def _change_and_read(machine: Machine, browser: Browser, change: str) -> None:
    """Whichever of the two notices."""
    machine.sign_out(browser, 0, False) if change == "sign out" else machine.write(browser, 0, "a")
    machine.read(browser, 1)


@pytest.mark.parametrize("change", ["sign out", "write"])
def test_the_model_finds_workers_that_are_not_told_of_changes(redis_server: RedisServer, change: str) -> None:
    """A model that finds nothing proves nothing."""

    class Deaf(Machine):
        server = redis_server
        within = 0.3

        async def _start(self) -> None:
            await super()._start()
            for sessions in self.workers:
                sessions._cache.forget = lambda names: None  # type: ignore[method-assign]
                sessions._cache.forget_all = lambda: None  # type: ignore[method-assign]

    machine = Deaf()
    machine.start()
    try:
        browser = machine.sign_in(ALICE, 0)
        machine.read(browser, 1)
        with pytest.raises(AssertionError):
            _change_and_read(machine, browser, change)
    finally:
        machine.teardown()
