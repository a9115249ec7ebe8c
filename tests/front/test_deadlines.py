"""Deadlines of many connections: each is told, whatever another one does."""

from __future__ import annotations

import asyncio

from gateway.front.deadlines import NEVER, Deadlines


class Watched:
    def __init__(self, deadline: float, *, fails: bool = False, is_deaf: bool = False) -> None:
        self.deadline = deadline
        self.fails = fails
        self.is_deaf = is_deaf
        self.told = asyncio.Event()
        self.looked = asyncio.Event()

    def look(self, now: float) -> None:
        self.looked.set()

    def expire(self, now: float) -> None:
        self.told.set()
        if self.fails:
            raise RuntimeError("on purpose")
        self.deadline = NEVER


async def test_an_error_of_one_keeps_no_other_from_its_deadline() -> None:
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
    watched = [Watched(0.0, fails=number % 2 == 0) for number in range(20)]
    deadlines = Deadlines()
    for one in watched:
        deadlines.add(one)
    async with asyncio.timeout(10):
        await asyncio.gather(*(one.told.wait() for one in watched))
    assert len(seen) >= 10
    assert all(str(error) == "on purpose" for error in seen)
    for one in watched:
        deadlines.discard(one)


async def test_who_left_in_the_meantime_is_told_nothing() -> None:
    """Of two that are late at once, each ends the other: one is told."""
    deadlines = Deadlines()

    class Ending(Watched):
        def expire(self, now: float) -> None:
            self.told.set()
            for one in both:
                deadlines.discard(one)

    both = [Ending(0.0), Ending(0.0)]
    for one in both:
        deadlines.add(one)
    async with asyncio.timeout(10):
        while not any(one.told.is_set() for one in both):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    assert sum(one.told.is_set() for one in both) == 1


async def test_who_is_deaf_is_looked_at_without_a_deadline() -> None:
    deadlines = Deadlines()
    deaf, hearing = Watched(NEVER, is_deaf=True), Watched(NEVER)
    deadlines.add(deaf)
    deadlines.add(hearing)
    async with asyncio.timeout(10):
        await deaf.looked.wait()
    assert not hearing.looked.is_set()
    assert not deaf.told.is_set()
    deadlines.discard(deaf)
    deadlines.discard(hearing)
