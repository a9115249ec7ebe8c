"""Where attempts are counted: what every store of counters promises, and what only the one on Redis does."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot

from gateway.core.keys import KeyRing, MasterKey
from gateway.core.throttling import Counter, Kind, Level, Limit, attempts, counted, level_now, wait_of
from gateway.errors import StoreUnavailable
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from gateway.store.redis_sessions import tracked_prefix
from gateway.store.redis_throttles import LastingThrottles, RedisThrottles
from gateway.store.throttles import MemoryThrottles
from tests.redis_lab import Lab
from tests.store.engines import PATIENT

OLD, NEW = MasterKey(b"\x01" * 32), MasterKey(b"\x02" * 32)
WALL = Limit(5, 60_000)
ADDRESS = Counter(Kind.ADDRESS, ("192.0.2.7/32",), Limit(30, 60_000))
PAIR = Counter(Kind.ACCOUNT_AT_ADDRESS, ("alice", "192.0.2.7/32"), WALL)
ACCOUNT = Counter(Kind.ACCOUNT, ("alice",), Limit(10, 60_000, 60_000, 600_000))
DEVICE = Counter(Kind.DEVICE, ("alice", "d0"), Limit(10, 60_000))
Store = MemoryThrottles | RedisThrottles
Open = Callable[[RedisServer], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def _memory(_: RedisServer) -> AsyncIterator[Store]:
    yield MemoryThrottles()


@asynccontextmanager
async def on_redis(url: str, *keys: MasterKey, **options: Any) -> AsyncIterator[RedisThrottles]:
    link = RedisLink(RedisOptions(url, **{"timeout": PATIENT, **options}))
    yield RedisThrottles(link, "t:", KeyRing([*(keys or (OLD,))]))
    await link.close()


@asynccontextmanager
async def _redis(server: RedisServer) -> AsyncIterator[Store]:
    async with on_redis(server.url) as throttles:
        yield throttles


@asynccontextmanager
async def _redis_with_two_keys(server: RedisServer) -> AsyncIterator[Store]:
    async with on_redis(server.url, NEW, OLD) as throttles:
        yield throttles


@pytest.fixture(params=[_memory, _redis, _redis_with_two_keys], ids=["memory", "redis", "redis, rotating"])
async def throttles(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Store]:
    async with request.param(redis_server) as made:
        yield made


async def passed(throttles: Store, counters: list[Counter], tries: int) -> int:
    """Of so many at once."""
    waits = await asyncio.gather(*(throttles.reserve(counters) for _ in range(tries)))
    return waits.count(0.0)


async def count_of(throttles: Store, counter: Counter) -> int:
    """How many attempts it holds."""
    found = [one for one in await throttles.held(counter.names[0]) if one.kind is counter.kind]
    return -(-found[0].forgotten_in // counter.limit.every) if found else 0


# -- the contract
async def test_a_burst_passes_and_the_next_is_told_how_long_to_wait(throttles: Store) -> None:
    assert [await throttles.reserve([PAIR]) for _ in range(5)] == [0.0] * 5
    assert 0 < await throttles.reserve([PAIR]) <= 60


async def test_of_a_thousand_at_once_no_more_pass_than_the_limit_says(throttles: Store) -> None:
    assert await passed(throttles, [ADDRESS, PAIR, ACCOUNT], 1_000) == 5
    assert await passed(throttles, [ACCOUNT], 1_000) == 5
    assert await passed(throttles, [ADDRESS], 1_000) == 25


async def test_what_has_to_wait_is_counted_nowhere(throttles: Store) -> None:
    await passed(throttles, [PAIR], 5)
    first = await throttles.reserve([ADDRESS, PAIR])
    for _ in range(20):
        assert 0 < await throttles.reserve([ADDRESS, PAIR]) <= first
    assert await count_of(throttles, ADDRESS) == 0
    assert await count_of(throttles, PAIR) == 5


async def test_room_comes_back_with_time(throttles: Store) -> None:
    quick = Counter(Kind.ADDRESS, ("quick",), Limit(2, 150))
    assert await passed(throttles, [quick], 10) == 2
    deadline = time.monotonic() + 10
    while (wait := await throttles.reserve([quick])) > 0:
        assert wait <= 0.15
        assert time.monotonic() < deadline
        await asyncio.sleep(wait)


async def test_beyond_the_burst_of_an_account_there_is_a_pause_between_two(throttles: Store) -> None:
    assert await passed(throttles, [ACCOUNT], 100) == 10
    assert 0 < await throttles.reserve([ACCOUNT]) <= 60
    quick = Counter(Kind.ACCOUNT, ("quick",), Limit(1, 60_000, 200, 60_000))
    assert await throttles.reserve([quick]) == 0.0
    deadline = time.monotonic() + 10
    while (wait := await throttles.reserve([quick])) > 0:
        assert wait <= 0.2
        assert time.monotonic() < deadline
        await asyncio.sleep(wait)
    assert await count_of(throttles, quick) == 2


async def test_a_success_clears_its_own_counter_and_gives_others_back_one(throttles: Store) -> None:
    await passed(throttles, [ADDRESS], 3)
    await passed(throttles, [ADDRESS, DEVICE], 4)
    await throttles.settle([ADDRESS, DEVICE], success=True)
    assert (await count_of(throttles, DEVICE), await count_of(throttles, ADDRESS)) == (0, 6)


async def test_a_success_takes_back_the_mistakes_of_the_same_address_and_leaves_those_of_others(
    throttles: Store,
) -> None:
    await passed(throttles, [ACCOUNT], 5)
    await passed(throttles, [ADDRESS, PAIR, ACCOUNT], 4)
    await throttles.settle([ADDRESS, PAIR, ACCOUNT], success=True)
    held = [await count_of(throttles, one) for one in (ADDRESS, PAIR, ACCOUNT)]
    assert held == [3, 0, 5]


async def test_an_attempt_that_was_none_is_given_back_everywhere(throttles: Store) -> None:
    await passed(throttles, [ADDRESS, PAIR, ACCOUNT], 3)
    await throttles.settle([ADDRESS, PAIR, ACCOUNT], success=False)
    assert [await count_of(throttles, one) for one in (ADDRESS, PAIR, ACCOUNT)] == [2, 2, 2]


@pytest.mark.parametrize("success", [True, False], ids=["success", "none"])
async def test_more_than_there_is_cannot_be_given_back(throttles: Store, success: bool) -> None:
    for _ in range(3):
        await throttles.settle([ADDRESS, PAIR, ACCOUNT, DEVICE], success=success)
    assert await throttles.held() == []
    assert await passed(throttles, [PAIR], 10) == 5


async def test_counters_of_different_names_and_kinds_know_nothing_of_each_other(throttles: Store) -> None:
    others = [
        Counter(Kind.ACCOUNT_AT_ADDRESS, ("alice", "192.0.2.8/32"), WALL),
        Counter(Kind.ACCOUNT_AT_ADDRESS, ("bob", "192.0.2.7/32"), WALL),
        Counter(Kind.DEVICE, PAIR.names, WALL),
        Counter(Kind.ACCOUNT_AT_ADDRESS, ("ali", "ce", "192.0.2.7/32"), WALL),
    ]
    assert await passed(throttles, [PAIR], 10) == 5
    assert [await passed(throttles, [one], 10) for one in others] == [5] * 4


async def test_any_text_can_be_a_name(throttles: Store) -> None:
    for name in ("", "a:b", "a b", "密码", "\udcff", "x" * 100_000, "{t}", "*"):
        assert await passed(throttles, [Counter(Kind.ADDRESS, (name,), WALL)], 6) == 5


async def test_one_account_or_everything_can_be_listed_and_forgotten(throttles: Store) -> None:
    bob = Counter(Kind.ACCOUNT, ("bob",), WALL)
    for counters in ([ADDRESS, PAIR, ACCOUNT], [DEVICE], [bob]):
        await throttles.reserve(counters)
    assert {one.kind for one in await throttles.held("alice")} == {Kind.ACCOUNT_AT_ADDRESS, Kind.ACCOUNT, Kind.DEVICE}
    assert {one.kind for one in await throttles.held("192.0.2.7/32")} == {Kind.ACCOUNT_AT_ADDRESS, Kind.ADDRESS}
    assert await throttles.held("nobody") == []
    assert len(await throttles.held()) == 5
    assert await throttles.clear("nobody") == 0
    assert await throttles.clear("alice") == 3
    assert {one.kind for one in await throttles.held()} == {Kind.ADDRESS, Kind.ACCOUNT}
    assert await throttles.clear() == 2
    assert await throttles.held() == []


# -- in memory
async def test_memory_is_bounded_and_the_fullest_counters_stay() -> None:
    now = [1_000.0]
    throttles = MemoryThrottles(lambda: now[0], most=100)
    await passed(throttles, [PAIR], 5)
    for number in range(1_000):
        await throttles.reserve([Counter(Kind.ADDRESS, (f"{number}",), WALL)])
        assert len(await throttles.held()) <= 100
    assert await throttles.reserve([PAIR]) > 0
    now[0] += 3_600
    assert await throttles.held() == []


# -- on Redis
@pytest.fixture
async def shared(redis_server: RedisServer) -> AsyncIterator[RedisThrottles]:
    async with on_redis(redis_server.url) as made:
        yield made


async def test_keys_show_no_name_end_by_themselves_and_wake_nobody(shared: RedisThrottles, redis: Redis) -> None:
    await shared.reserve([ADDRESS, PAIR, ACCOUNT, DEVICE])
    keys = redis.keys()
    assert len(keys) == 4
    for key in keys:
        assert key.startswith(b"t:throttle:{t}:")
        assert not key.startswith(tracked_prefix(b"t:"))
        assert b"alice" not in key
        assert b"192" not in key
        assert 0 < redis.pttl(key) <= 600_000
    assert len({key_slot(key) for key in keys}) == 1


async def test_a_pause_outlives_what_is_forgotten_sooner(shared: RedisThrottles, redis: Redis) -> None:
    await shared.reserve([Counter(Kind.ACCOUNT, ("x",), Limit(1, 10, 5_000, 30_000))])
    assert 20_000 < redis.pttl(redis.keys()[0]) <= 30_000


async def test_the_script_counts_as_the_core_does(shared: RedisThrottles, redis: Redis) -> None:
    """Random levels, clocks that went back among them: the same wait, and the same level after it."""
    for turn in range(300):
        every, first = random.randint(1, 100_000), random.choice([0, random.randint(1, 5_000)])
        limit = Limit(random.randint(1, 8), every, first, random.randint(first, 100_000) if first else 0)
        counter = Counter(Kind.ACCOUNT, (str(turn),), limit)
        await shared.reserve([counter])
        (key,) = redis.keys()
        before = _now(redis)
        moved = random.randint(-3 * limit.most, 3 * limit.most)
        level = Level(max(before + moved, 0), before - random.randint(-100_000, 100_000))
        redis.set(key, f"{level.empty_at} {level.last}")
        wait = round(await shared.reserve([counter]) * 1000)
        after = _now(redis)
        waits = [wait_of(level_now(level, limit, now), limit, now) for now in range(before, after + 1)]
        assert wait in waits
        if not wait:
            expected = [counted(level_now(level, limit, now), limit, now) for now in range(before, after + 1)]
            assert Level(*map(int, redis.get(key).split())) in expected
        redis.delete(key)


def _now(redis: Redis) -> int:
    seconds, micros = redis.time()
    return int(seconds) * 1000 + micros // 1000


async def test_two_gateways_count_together(redis_server: RedisServer, shared: RedisThrottles) -> None:
    async with on_redis(redis_server.url) as other:
        results = await asyncio.gather(passed(shared, [PAIR], 100), passed(other, [PAIR], 100))
        assert sum(results) == 5
        await other.settle([PAIR], success=True)
        assert await shared.reserve([PAIR]) == 0.0


async def test_a_rotation_of_keys_forgets_nothing(redis_server: RedisServer) -> None:
    """At no step, also while some gateways have taken it and others have not."""
    url = redis_server.url
    async with on_redis(url, OLD) as before, on_redis(url, OLD, NEW) as added:
        assert await passed(before, [PAIR], 3) == 3
        assert await passed(added, [PAIR], 10) == 2
        assert await before.reserve([PAIR]) > 0
        assert await passed(added, [DEVICE], 4) == 4
    async with on_redis(url, NEW, OLD) as rotated, on_redis(url, NEW) as retired:
        assert await rotated.reserve([PAIR]) > 0
        assert await passed(rotated, [DEVICE], 20) == 6
        assert await retired.reserve([DEVICE]) > 0
        assert await retired.clear() > 0, "everything, also what is under keys that are gone"
    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        assert client.dbsize() == 0


async def test_what_is_damaged_or_of_a_later_version_stops_nobody(shared: RedisThrottles, redis: Redis) -> None:
    await shared.reserve([PAIR])
    (key,) = redis.keys()
    redis.set(key, "nonsense")
    redis.set(b":".join(key.split(b":")[:4]) + b":later:x", "1 1")
    redis.set("t:throttle:{t}:", "")
    assert await shared.held() == []
    assert await passed(shared, [PAIR], 10) == 5
    assert await shared.clear() >= 1
    assert redis.keys("t:throttle:*") == []


async def test_counters_survive_a_restart_of_redis(own_redis: RedisServer) -> None:
    async with on_redis(own_redis.url) as throttles:
        await passed(throttles, [PAIR], 5)
        own_redis.kill()
        own_redis.start()
        assert await throttles.reserve([PAIR]) > 0


Ask = Callable[[RedisThrottles], Awaitable[Any]]
ASKED: dict[str, Ask] = {
    "reserve": lambda throttles: throttles.reserve([ADDRESS, PAIR]),
    "settle": lambda throttles: throttles.settle([ADDRESS, PAIR], success=True),
    "held": lambda throttles: throttles.held(),
    "clear": lambda throttles: throttles.clear(),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
async def test_a_redis_that_is_away_is_never_read_as_room(own_redis: RedisServer, ask: Ask) -> None:
    """Hazard R6."""
    async with on_redis(own_redis.url, timeout=0.5) as throttles:
        await throttles.reserve([PAIR])
        own_redis.kill()
        with pytest.raises(StoreUnavailable):
            await ask(throttles)


async def test_a_frozen_redis_is_given_up_in_time(own_redis: RedisServer) -> None:
    async with on_redis(own_redis.url, timeout=0.3) as throttles:
        await throttles.reserve([PAIR])
        own_redis_signal(own_redis, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await throttles.reserve([PAIR])
        finally:
            own_redis_signal(own_redis, signal.SIGCONT)


def own_redis_signal(server: RedisServer, number: signal.Signals) -> None:
    assert server.pid is not None
    os.kill(server.pid, number)


async def test_a_full_redis_counts_nothing_and_says_so_and_still_refuses_whom_it_refused(
    own_redis: RedisServer,
) -> None:
    async with on_redis(own_redis.url) as throttles:
        await passed(throttles, [PAIR], 5)
        with Redis(unix_socket_path=str(own_redis.socket)) as client:
            client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            await throttles.reserve([ADDRESS])
        assert await throttles.reserve([ADDRESS, PAIR]) > 0
        await throttles.settle([PAIR], success=True)
        with Redis(unix_socket_path=str(own_redis.socket)) as client:
            client.config_set("maxmemory", "0")
        assert await throttles.reserve([ADDRESS, PAIR]) == 0.0


# -- engines whose users sign in while Redis is away
async def test_while_redis_is_away_this_process_holds_what_it_has_counted(own_redis: RedisServer) -> None:
    async with on_redis(own_redis.url, timeout=0.5) as shared:
        throttles = LastingThrottles(shared, MemoryThrottles())
        assert [await throttles.reserve([PAIR]) for _ in range(3)] == [0.0] * 3
        own_redis.kill()
        assert [await throttles.reserve([PAIR]) > 0 for _ in range(4)] == [False, False, True, True]
        await throttles.settle([PAIR], success=True)
        assert await throttles.reserve([PAIR]) == 0.0
        own_redis.start()
        waits = [await throttles.reserve([PAIR]) > 0 for _ in range(4)]
        assert waits == [False, False, True, True], "Redis counted three, and holds again"


async def test_what_another_gateway_has_counted_holds_as_long_as_redis_is_there(redis_server: RedisServer) -> None:
    async with on_redis(redis_server.url) as shared:
        one, other = (LastingThrottles(shared, MemoryThrottles()) for _ in range(2))
        for _ in range(5):
            assert await one.reserve([PAIR]) == 0.0
        for _ in range(10):
            assert await other.reserve([PAIR]) > 0
        await other.settle([PAIR], success=True)
        assert await one.reserve([PAIR]) == 0.0, "what this process remembers counts in an outage only"


# -- a Cluster
@pytest.fixture(scope="module")
def cluster(shared_redis: RedisServer) -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


async def test_in_a_cluster_all_counters_are_one_step_too(cluster: Lab) -> None:
    nodes = cluster.cluster(3)
    addresses = tuple(node.address for node in nodes)
    async with on_redis(nodes[0].tcp_url, NEW, OLD, cluster=True, nodes=addresses) as throttles:
        assert await passed(throttles, [ADDRESS, PAIR, ACCOUNT], 200) == 5
        assert await count_of(throttles, ADDRESS) == 5
        await throttles.settle([ADDRESS, PAIR, ACCOUNT], success=True)
        assert await count_of(throttles, ADDRESS) == 4
        assert await throttles.clear() == 1
        assert await throttles.held() == []


def test_attempts_are_whole_ones() -> None:
    assert attempts(Level(1, 0), WALL, 0) == 1
