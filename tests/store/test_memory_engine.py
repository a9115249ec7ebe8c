"""The engine in memory: what it forgets, and when (what all engines promise: test_contract.py)."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway.store.engine import Gone, Kept, Write, version_of
from gateway.store.memory import MemorySessionEngine
from tests.store.engines import fresh


class Clock:
    """Epoch seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_value_stays_for_its_time_and_the_linger_to_the_second(clock: Clock) -> None:
    engine = MemorySessionEngine(60, clock)
    value = fresh()
    assert await engine.create(b"n", value, b"s", 100)
    clock.now += 159.9
    assert await engine.load([b"n"]) == [Kept(value, b"s")]
    assert not await engine.create(b"n", fresh(), b"", 100)
    clock.now += 0.1
    assert await engine.load([b"n"]) == [Gone()]
    assert await engine.update(b"n", fresh(), b"", 100, version_of(value)) is Write.GONE
    assert await engine.delete(b"n") is None
    assert await engine.create(b"n", fresh(), b"", 100)


async def test_shortened_it_does_not_linger_and_a_touch_moves_the_end_again(clock: Clock) -> None:
    engine = MemorySessionEngine(60, clock)
    for name in (b"shortened", b"touched"):
        assert await engine.create(name, fresh(), b"", 100)
        await engine.shorten(name, 10)
    await engine.touch(b"touched", b"s", 100)
    clock.now += 10
    assert await engine.load([b"shortened"]) == [Gone()]
    clock.now += 149
    assert isinstance((await engine.load([b"touched"]))[0], Kept)


async def test_the_broom_counts_sessions_and_takes_notes_along(clock: Clock) -> None:
    engine = MemorySessionEngine(0, clock)
    for number in range(10):
        assert await engine.create(b"%d" % number, fresh(), b"", 10 if number < 4 else 100)
        await engine.bury(b"x%d" % number, "flushed", 10)
    clock.now += 10
    assert await engine.clear_expired() == 4
    assert await engine.clear_expired() == 0
    assert await engine.load([b"x0", b"3"]) == [Gone(), Gone()]
    assert isinstance((await engine.load([b"4"]))[0], Kept)


async def test_what_is_over_takes_no_memory_though_nobody_asks_for_it_and_no_broom_comes(clock: Clock) -> None:
    """40 MB of values and notes pass through; about 100 of them are alive at any time."""
    engine = MemorySessionEngine(0, clock)
    for number in range(200):  # one that lives on stands before all others
        assert await engine.create(b"living%d" % number, fresh(), b"", 1e9)
    tracemalloc.start()
    for number in range(20_000):
        clock.now += 1
        assert await engine.create(b"%d" % number, fresh(bytes(2000)), b"", 100)
        await engine.bury(b"%d" % number, "flushed", 100)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2_000_000
    assert all(isinstance(found, Kept) for found in await engine.load([b"living%d" % n for n in range(200)]))


async def test_two_engines_share_nothing(clock: Clock) -> None:
    one, two = MemorySessionEngine(0, clock), MemorySessionEngine(0, clock)
    assert await one.create(b"n", fresh(), b"", 10)
    await one.announce(["k"])
    assert await two.load([b"n"]) == [Gone()]
    assert await two.announced() == frozenset()
