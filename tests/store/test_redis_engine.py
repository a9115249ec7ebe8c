"""What only the engine on Redis promises: its keys and their ends, and that every trouble is an outage.

What all engines promise is in test_contract.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionRecord, Visitor
from gateway.engines import session_parts
from gateway.errors import StoreUnavailable
from gateway.store.engine import Kept
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from gateway.store.redis_sessions import RedisSessionEngine, tracked_name, tracked_prefix
from tests.harness import MASTER, make_settings
from tests.store.engines import fresh

LINGER = 100.0


@pytest.fixture
async def engine(redis_server: RedisServer) -> AsyncIterator[RedisSessionEngine]:
    made = RedisSessionEngine(RedisLink(RedisOptions(redis_server.url)), "t:", LINGER)
    yield made
    await made.close()


def ends(redis: Redis) -> tuple[float, float]:
    """In how many seconds the value and what is seen end."""
    return redis.pttl("t:s:{n}") / 1000, redis.pttl("t:t:{n}") / 1000


async def test_a_session_is_two_keys_in_one_slot_and_the_value_lingers(
    engine: RedisSessionEngine, redis: Redis
) -> None:
    value = fresh(b"\x00value\xff")
    assert await engine.create(b"n", value, b"seen", 60)
    assert sorted(redis.keys()) == [b"t:s:{n}", b"t:t:{n}"]
    assert (redis.get("t:s:{n}"), redis.get("t:t:{n}")) == (value, b"seen")
    assert ends(redis) == pytest.approx((160, 60), abs=1)


async def test_a_touch_moves_the_value_s_end_only_when_its_own_comes_near(
    engine: RedisSessionEngine, redis: Redis
) -> None:
    """Every change of the value's key is told to every process that keeps the session; a touch is none."""
    assert await engine.create(b"n", fresh(), b"seen", 60)
    await engine.touch(b"n", b"later", 90)
    assert ends(redis) == pytest.approx((160, 90), abs=1), "the value has longer to live than what is seen"
    redis.pexpire("t:s:{n}", 80_000)
    await engine.touch(b"n", b"later", 90)
    assert ends(redis) == pytest.approx((190, 90), abs=1)
    assert redis.get("t:t:{n}") == b"later"


async def test_what_is_seen_alone_brings_no_session_back(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", fresh(), b"seen", 60)
    redis.delete("t:s:{n}")
    await engine.touch(b"n", b"later", 60)
    assert redis.get("t:t:{n}") == b"seen"


async def test_a_value_whose_sight_was_evicted_is_still_there(engine: RedisSessionEngine, redis: Redis) -> None:
    value = fresh()
    assert await engine.create(b"n", value, b"seen", 60)
    redis.delete("t:t:{n}")
    assert await engine.load([b"n"]) == [Kept(value, None)]
    await engine.touch(b"n", b"again", 60)
    assert await engine.load([b"n"]) == [Kept(value, b"again")]


async def test_a_pointer_s_ends_move_with_empty_touches_and_with_no_other(
    engine: RedisSessionEngine, redis: Redis
) -> None:
    assert await engine.create(b"n", fresh(), b"", 60)
    await engine.touch(b"n", b"late", 500)
    assert (redis.get("t:t:{n}"), ends(redis)) == (b"", pytest.approx((160, 60), abs=1))
    await engine.touch(b"n", b"", 500)
    assert (redis.get("t:t:{n}"), ends(redis)) == (b"", pytest.approx((600, 500), abs=1))


async def test_a_pointer_whose_sight_was_evicted_is_not_kept_alive(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", fresh(), b"", 60)
    redis.delete("t:t:{n}")
    await engine.touch(b"n", b"", 500)
    assert not redis.exists("t:t:{n}")
    assert redis.pttl("t:s:{n}") / 1000 == pytest.approx(160, abs=1)


async def test_what_is_shortened_is_one_key_that_ends_soon(engine: RedisSessionEngine, redis: Redis) -> None:
    for seen in (b"", b"seen"):
        assert await engine.create(b"n", fresh(), seen, 60)
        await engine.shorten(b"n", 10)
        await engine.touch(b"n", b"", 500)
        assert redis.keys() == [b"t:s:{n}"]
        assert redis.pttl("t:s:{n}") / 1000 == pytest.approx(10, abs=1)
        redis.flushall()


async def test_a_full_redis_takes_touches_and_shortens(engine: RedisSessionEngine, redis: Redis) -> None:
    value = fresh()
    for name, seen in ((b"session", b"seen"), (b"evicted", b"seen"), (b"pointer", b""), (b"over", b"")):
        assert await engine.create(name, value, seen, 60)
    redis.delete("t:t:{evicted}")
    redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await engine.create(b"one more", value, b"seen", 60)
        for name, seen in ((b"session", b"later"), (b"evicted", b"again"), (b"pointer", b"")):
            await engine.touch(name, seen, 90)
        await engine.shorten(b"over", 10)
    finally:
        redis.config_set("maxmemory", "0")
    found = await engine.load([b"session", b"evicted", b"pointer", b"over"])
    assert found == [Kept(value, seen) for seen in (b"later", b"again", b"", None)]
    left = [redis.pttl(key) / 1000 for key in ("t:t:{session}", "t:t:{evicted}", "t:t:{pointer}", "t:s:{over}")]
    assert left == pytest.approx([90, 90, 90, 10], abs=1)


async def test_a_miss_is_one_command_and_one_round_trip(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", fresh(), b"seen", 60)
    redis.config_resetstat()
    await engine.load([b"n", b"m"])
    calls = {name: stats["calls"] for name, stats in redis.info("commandstats").items()}
    assert {name: count for name, count in calls.items() if "config" not in name} == {"cmdstat_mget": 2}


NAMES = {b"t:s:{n}": b"n", b"t:s:=keys": None, b"t:t:{n}": None, b"x:s:{n}": None, b"t:s:{n": None, b"": None}


@pytest.mark.parametrize("key", NAMES)
def test_the_name_in_a_key_that_changed(key: bytes) -> None:
    assert tracked_name(b"t:", key) == NAMES[key]
    assert NAMES[key] is None or key.startswith(tracked_prefix(b"t:"))


async def test_a_set_of_a_user_s_sessions_ends_with_the_last_of_them(engine: RedisSessionEngine, redis: Redis) -> None:
    for name, ttl in ((b"a", 50), (b"b", 90), (b"c", 10)):
        assert await engine.create(name, fresh(), b"seen", 60)
        assert await engine.directory.add([b"o"], name, ttl) == []
    assert redis.pttl("t:u:{o}") / 1000 == pytest.approx(90, abs=1)


@pytest.mark.parametrize(
    "url",
    ["unix:///nowhere/redis.sock", "redis://127.0.0.1:1/0", "redis://nowhere.invalid/0", "rediss://127.0.0.1:1/0"],
)
async def test_a_redis_that_is_not_there_is_unavailable_and_nothing_else(url: str) -> None:
    engine = RedisSessionEngine(RedisLink(RedisOptions(url, timeout=1.0)), "t:", LINGER)
    for call in (engine.load([b"n"]), engine.create(b"n", b"v", b"s", 1), engine.delete(b"n"), engine.ping()):
        with pytest.raises(StoreUnavailable):
            await call
    await engine.close()


@pytest.mark.parametrize(
    "answer",
    [b"-LOADING Redis is loading", b"-MISCONF x", b"-OOM x", b"-READONLY x", b"-MASTERDOWN x", b"-CLUSTERDOWN x",
     b"-TRYAGAIN x", b"-BUSY x", b"-NOAUTH x", b"-NOPERM x", b"-ERR max number of clients reached", b"HTTP/1.1 400 Bad", b""],
)  # fmt: skip
async def test_every_error_reply_means_unavailable(answer: bytes) -> None:
    """Hazard R10: none of them says anything about a session."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(answer + b"\r\n" if answer else b"")
            if not answer:
                break
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = RedisSessionEngine(RedisLink(RedisOptions(f"redis://127.0.0.1:{port}/0", timeout=1.0)), "t:", LINGER)
        with pytest.raises(StoreUnavailable):
            await engine.load([b"n"])
        await engine.close()


async def test_the_options_do_not_show_the_password() -> None:
    options = RedisOptions("redis://u:secret1@h/0", "u", "secret2")
    assert "secret" not in repr(options)


async def test_an_ordinary_session_with_its_entry_takes_less_than_a_kibibyte(
    redis_server: RedisServer, redis: Redis
) -> None:
    """What Redis says of the keys themselves; its own tables come on top (bench/sessions.py measures all)."""
    settings = make_settings(redis_server.url, "http://127.0.0.1:1")
    sessions = session_parts(settings, parse_ring(MASTER)).sessions
    user = Identity(
        "0" * 16, "user0000001", "User One", "user0000001@example.org", "user", ("sales",), "file:users.yaml"
    )
    await sessions.create(SessionRecord(time.time(), time.time(), user), Visitor("203.0.113.77", "Firefox on Windows"))
    kinds = {key.split(b":")[1] for key in redis.keys("gw:[stu]:{*}")}
    assert kinds == {b"s", b"t", b"u"}
    assert sum(redis.memory_usage(key) for key in redis.keys("gw:[stu]:{*}")) < 1024
    await sessions.close()
