"""The session engine on Redis: create only what is not there, update only what is (founding decision 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from gateway.errors import StoreUnavailable
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from gateway.store.redis_sessions import RedisSessionEngine


@pytest.fixture
async def engine(redis_server: RedisServer) -> AsyncIterator[RedisSessionEngine]:
    made = RedisSessionEngine(RedisLink(RedisOptions(redis_server.url)), "t:")
    yield made
    await made.close()


async def test_what_was_created_is_found_with_its_time_and_its_end(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", b"\x00value\xff", 1000.5, 60)
    kept = await engine.load(b"n")
    assert kept is not None
    assert (kept.value, kept.touched) == (b"\x00value\xff", 1000.5)
    assert sorted(redis.keys()) == [b"t:s:{n}", b"t:t:{n}"]
    assert all(59_000 < redis.pttl(key) <= 60_000 for key in redis.keys("*"))


async def test_nothing_is_nothing(engine: RedisSessionEngine) -> None:
    assert await engine.load(b"n") is None
    assert not await engine.delete(b"n")


async def test_an_existing_name_is_not_taken_over(engine: RedisSessionEngine) -> None:
    assert await engine.create(b"n", b"first", 1, 60)
    assert not await engine.create(b"n", b"second", 2, 60)
    kept = await engine.load(b"n")
    assert kept is not None
    assert kept.value == b"first"


async def test_an_update_or_a_touch_of_what_is_gone_brings_nothing_back(
    engine: RedisSessionEngine, redis: Redis
) -> None:
    assert await engine.create(b"n", b"value", 1, 60)
    assert await engine.delete(b"n")
    assert not await engine.update(b"n", b"again", 2, 60)
    await engine.touch(b"n", 2, 60)
    assert redis.dbsize() == 0


async def test_an_update_replaces_value_and_end(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", b"value", 1, 60)
    assert await engine.update(b"n", b"other", 2, 120)
    kept = await engine.load(b"n")
    assert kept is not None
    assert (kept.value, kept.touched) == (b"other", 2)
    assert redis.pttl("t:s:{n}") > 119_000


async def test_a_touch_moves_the_end_and_leaves_the_value(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", b"value", 1, 60)
    await engine.touch(b"n", 5, 120)
    kept = await engine.load(b"n")
    assert kept is not None
    assert (kept.value, kept.touched) == (b"value", 5)
    assert min(redis.pttl("t:s:{n}"), redis.pttl("t:t:{n}")) > 119_000


@pytest.mark.parametrize("touched", [b"", b"x", b"-5", b"1e5"])
async def test_a_time_that_is_none_is_no_time(engine: RedisSessionEngine, redis: Redis, touched: bytes) -> None:
    assert await engine.create(b"n", b"value", 1, 60)
    redis.set("t:t:{n}", touched)
    kept = await engine.load(b"n")
    assert kept is not None
    assert kept.touched is None


async def test_records_end_by_themselves(engine: RedisSessionEngine, redis: Redis) -> None:
    assert await engine.create(b"n", b"value", 1, 0.05)
    await asyncio.sleep(0.2)
    assert await engine.load(b"n") is None


async def test_a_creation_and_deletions_at_once_leave_all_or_nothing(engine: RedisSessionEngine, redis: Redis) -> None:
    for number in range(50):
        name = b"%d" % number
        await engine.create(name, b"value", 1, 60)
        await asyncio.gather(engine.update(name, b"x", 2, 60), engine.delete(name), engine.touch(name, 3, 60))
    records = {key[4:] for key in redis.keys("t:s:*")}
    touches = {key[4:] for key in redis.keys("t:t:*")}
    assert records == touches == set()


@pytest.mark.parametrize(
    "url",
    ["unix:///nowhere/redis.sock", "redis://127.0.0.1:1/0", "redis://nowhere.invalid/0", "rediss://127.0.0.1:1/0"],
)
async def test_a_redis_that_is_not_there_is_unavailable_and_nothing_else(url: str) -> None:
    engine = RedisSessionEngine(RedisLink(RedisOptions(url, timeout=1.0)), "t:")
    for call in (engine.load(b"n"), engine.create(b"n", b"v", 1, 1), engine.delete(b"n"), engine.ping()):
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
        engine = RedisSessionEngine(RedisLink(RedisOptions(f"redis://127.0.0.1:{port}/0", timeout=1.0)), "t:")
        with pytest.raises(StoreUnavailable):
            await engine.load(b"n")
        await engine.close()


async def test_the_options_do_not_show_the_password() -> None:
    options = RedisOptions("redis://u:secret1@h/0", "u", "secret2")
    assert "secret" not in repr(options)
