"""Who hangs on a session hears of its end, and nobody else does."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from gateway.core.access import Access
from gateway.core.paths import parse_target
from gateway.core.routes import Route
from gateway.core.sessions import Session, SessionPolicy, SessionRecord
from gateway.front.keeper import SessionKeeper
from gateway.gate import Forward
from gateway.store.cache import Lost
from gateway.store.sessions import Sessions

ROUTE = Route("/", "demo", Access())


class Store:
    """Every session was ended; the answer takes as long as the test wants."""

    policy = SessionPolicy()

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    def watched(self, session: Session, *, asked: bool) -> None:
        return None

    async def watch(self, session: Session) -> Lost:
        self.asked.set()
        await self.may_answer.wait()
        return Lost("revoked")


class Connection:
    """``session``: of the request under way."""

    def __init__(self, session: Session | None, *, fails: bool = False) -> None:
        self.session, self.fails = session, fails
        self.told: list[str] = []
        self.heard = asyncio.Event()

    def holding(self, now: float) -> Forward | None:
        return Forward(ROUTE, parse_target("/"), self.session) if self.session else None

    def was_active(self) -> bool:
        return False

    def session_ended(self, code: str) -> None:
        self.told.append(code)
        self.session = None
        self.heard.set()
        if self.fails:
            raise RuntimeError("on purpose")


def session(name: bytes) -> Session:
    return Session(name * 32, SessionRecord(0.0, 0.0), 0.0)


async def test_a_connection_that_is_busy_with_another_request_by_now_is_left_alone() -> None:
    store, first = Store(), session(b"a")
    stays, moved, free = Connection(first), Connection(first), Connection(first)
    keeper = SessionKeeper(cast(Sessions, store), [stays, moved, free])
    keeper.start()
    async with asyncio.timeout(10):
        await store.asked.wait()
        moved.session, free.session = session(b"b"), None
        store.may_answer.set()
        await stays.heard.wait()
    keeper.stop()
    assert (stays.told, moved.told, free.told) == (["revoked"], [], [])


async def test_an_error_of_one_keeps_no_other_open() -> None:
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
    store = Store()
    store.may_answer.set()
    one, other = Connection(session(b"a"), fails=True), Connection(session(b"a"))
    keeper = SessionKeeper(cast(Sessions, store), [one, other])
    keeper.start()
    async with asyncio.timeout(10):
        await one.heard.wait()
        await other.heard.wait()
    keeper.stop()
    assert [str(error) for error in seen] == ["on purpose"]
