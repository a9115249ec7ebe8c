"""What Redis says has changed: told for every kind of change in every topology, and never believed when in doubt."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from redis.crc import key_slot

from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_tracking import FRESH, Invalidations
from tests.redis_lab import HOST, Lab, Node, Proxy, has_tls, is_whole, make_ca, make_certificate, node_id, wait_until

PREFIX = b"gw:"


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


class Cache:
    """What a cache would be told; it is used all the time unless ``is_used`` is false."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.names: list[bytes] = []
        self.losses = 0
        self.is_used = True
        self.told = Invalidations(link, PREFIX, on_names=self._note, on_lost=self._lose)
        self.told.start()
        self._task = asyncio.create_task(self._use())

    def _note(self, names: Sequence[bytes]) -> None:
        self.names += names

    def _lose(self) -> None:
        self.losses += 1

    async def _use(self) -> None:
        while True:
            if self.is_used:
                self.told.note_use()
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._task.cancel()
        await self.told.close()
        await self.link.close()

    async def live(self, seconds: float = 10.0) -> None:
        await until(lambda: self.told.is_live, seconds)

    async def told_of(self, *names: bytes) -> None:
        await until(lambda: set(names) <= set(self.names), 5)
        self.names.clear()


async def until(is_so: Callable[[], Any], seconds: float) -> float:
    """Returns how long it took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


MakeCache = Callable[..., Awaitable[Cache]]


@pytest.fixture
async def make_cache() -> AsyncIterator[MakeCache]:
    """``await make_cache(url, **options)``: in use, and live unless ``wait=False``."""
    made: list[Cache] = []

    async def make(url: str = "redis://", *, wait: bool = True, **options: Any) -> Cache:
        made.append(Cache(RedisLink(RedisOptions(url, **options))))
        if wait:
            await made[-1].live()
        return made[-1]

    yield make
    for cache in made:
        await cache.close()


async def assert_every_change_is_told(cache: Cache, node: Node, start: str = "gw:") -> None:
    """SET, DEL, EXPIRE, expiry, a script, a rename; and nothing that is not under the prefix."""
    one, two = f"{start}1", f"{start}2"
    changes: list[tuple[tuple[Any, ...], set[str]]] = [
        (("SET", one, "v"), {one}),
        (("EXPIRE", one, 100), {one}),
        (("RENAME", one, two), {one, two}),
        (("DEL", two), {two}),
        (("EVAL", "return redis.call('HSET', KEYS[1], 'f', 'v')", 1, one), {one}),
        (("UNLINK", one), {one}),
    ]
    for words, names in changes:
        node.command(*words)
        await cache.told_of(*(name.encode() for name in names))
    node.command("SET", two, "v", "PX", 50)
    await cache.told_of(two.encode())
    await cache.told_of(two.encode())  # when it expires
    node.command("SET", start.replace("gw:", "other:"), "v")
    node.command("SET", one, "v")
    await cache.told_of(one.encode())
    assert cache.told.is_live


# -- one server
@pytest.mark.parametrize("url", ["url", "tcp_url"])
async def test_every_change_is_told(lab: Lab, make_cache: MakeCache, url: str) -> None:
    node = lab.node()
    cache = await make_cache(getattr(node, url))
    await assert_every_change_is_told(cache, node)
    node.command("SET", "other", "v")
    node.command("SET", "gw:last", "v")
    await cache.told_of(b"gw:last")
    assert b"other" not in cache.names


@pytest.mark.parametrize("command", ["FLUSHDB", "FLUSHALL"])
async def test_an_emptied_database_loses_everything(lab: Lab, make_cache: MakeCache, command: str) -> None:
    node = lab.node()
    node.command("SET", "gw:1", "v")
    cache = await make_cache(node.url)
    before = cache.losses
    node.command(command)
    await until(lambda: cache.losses > before, 2)
    assert cache.told.is_live, "the connection is none the worse"


async def test_what_an_eviction_takes_is_told(lab: Lab, make_cache: MakeCache) -> None:
    node = lab.node()
    cache = await make_cache(node.url)
    node.command("SET", "gw:1", "v" * 1000)
    await cache.told_of(b"gw:1")
    node.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    node.command("CONFIG", "SET", "maxmemory", "1")
    await cache.told_of(b"gw:1")


async def test_the_proof_means_that_every_change_before_it_was_told(lab: Lab, make_cache: MakeCache) -> None:
    """Live at any moment: then nothing acknowledged half a second ago may be unknown."""
    node = lab.node()
    cache = await make_cache(node.tcp_url)
    written: list[tuple[float, bytes]] = []
    writer = RedisLink(RedisOptions(node.tcp_url))
    ends = time.monotonic() + 2.0
    number = checks = 0
    while time.monotonic() < ends:
        number += 1
        name = b"gw:%d" % number
        await writer.pipeline([("SET", name, "v")])
        written.append((time.monotonic(), name))
        if number % 50 == 0 and cache.told.is_live:
            proved = time.monotonic() - FRESH
            assert {name for at, name in written if at < proved} <= set(cache.names)
            checks += 1
    await writer.close()
    assert checks > 10


async def test_a_frozen_redis_is_believed_for_half_a_second_and_again_when_it_answers(
    lab: Lab, make_cache: MakeCache
) -> None:
    node = lab.node()
    cache = await make_cache(node.tcp_url)
    before = cache.losses
    node.signal(signal.SIGSTOP)
    took = await until(lambda: not cache.told.is_live, 2)
    await asyncio.sleep(0.5)
    assert not cache.told.is_live
    assert took <= FRESH + 0.05
    node.signal(signal.SIGCONT)
    back = await until(lambda: cache.told.is_live, 2)
    print(f"off after {took:.3f} s, on again after {back:.3f} s")
    assert cache.losses == before, "the connection lived, so what is cached is still good"
    node.command("SET", "gw:1", "v")
    await cache.told_of(b"gw:1")


@pytest.mark.slow
async def test_a_redis_frozen_for_long_is_connected_to_anew(lab: Lab, make_cache: MakeCache) -> None:
    node = lab.node()
    cache = await make_cache(node.tcp_url)
    before = cache.losses
    node.signal(signal.SIGSTOP)
    await until(lambda: cache.losses > before, 6)
    node.signal(signal.SIGCONT)
    await cache.live()
    await assert_every_change_is_told(cache, node)


async def test_a_killed_redis_loses_everything_at_once_and_is_followed_again(lab: Lab, make_cache: MakeCache) -> None:
    node = lab.node()
    cache = await make_cache(node.tcp_url)
    before = cache.losses
    node.kill()
    await until(lambda: cache.losses > before, 1)
    assert not cache.told.is_live
    node.start()
    before = cache.losses
    await cache.live()
    assert cache.losses > before, "what was cached while nobody listened must go"
    await assert_every_change_is_told(cache, node)


async def test_a_killed_connection_is_made_again(lab: Lab, make_cache: MakeCache) -> None:
    node = lab.node()
    cache = await make_cache(node.tcp_url)
    before = cache.losses
    node.command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: cache.losses > before, 1)
    await cache.live()
    await assert_every_change_is_told(cache, node)


@pytest.mark.slow
async def test_a_connection_of_which_nothing_is_heard_is_given_up(lab: Lab, make_cache: MakeCache) -> None:
    """Half open: a firewall forgot it and drops every packet."""
    node = lab.node()
    async with Proxy(node.socket) as way:
        cache = await make_cache(way.url)
        before = cache.losses
        way.forget()
        assert await until(lambda: not cache.told.is_live, 2) <= FRESH + 0.05
        node.command("SET", "gw:lost", "v")
        await until(lambda: cache.losses > before, 6)
        await cache.live()
        assert b"gw:lost" not in cache.names
        node.command("SET", "gw:1", "v")
        await cache.told_of(b"gw:1")
        await cache.close()


async def test_answers_that_come_late_prove_nothing(lab: Lab, make_cache: MakeCache) -> None:
    """What counts is when the PING was sent: all that is told is old here, however often it comes."""
    node = lab.node()
    async with Proxy(node.socket) as way:
        cache = await make_cache(way.url)
        way.delay = FRESH + 0.1
        await until(lambda: not cache.told.is_live, 2)
        node.command("SET", "gw:1", "v")
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            assert not cache.told.is_live
            await asyncio.sleep(0.01)
        await cache.told_of(b"gw:1")
        way.delay = 0.0
        await cache.live()
        await cache.close()


@pytest.mark.slow
async def test_an_idle_gateway_leaves_redis_alone_and_the_first_look_up_is_a_miss(
    lab: Lab, make_cache: MakeCache
) -> None:
    node = lab.node()

    def heard() -> int:
        """Commands, without our own INFO."""
        stats = node.command("INFO", "stats")
        return int(
            stats["total_commands_processed"]
            if isinstance(stats, dict)
            else stats.split(b"total_commands_processed:")[1].split()[0]
        )

    cache = await make_cache(node.tcp_url, wait=False)
    await cache.live()
    cache.is_used = False
    await until(lambda: not cache.told.is_live, 5)
    own = heard()
    own = heard() - own  # what asking costs
    before, start = heard(), time.monotonic()
    while time.monotonic() - start < 1.0:
        assert not cache.told.is_live
        await asyncio.sleep(0.05)
    assert heard() - before == own
    node.command("SET", "gw:1", "v")
    await cache.told_of(b"gw:1")
    losses = cache.losses
    cache.told.note_use()
    assert not cache.told.is_live
    assert await until(lambda: cache.told.is_live, 2) < 0.5
    assert cache.losses == losses


def clients(node: Node) -> int:
    return len(node.command("CLIENT", "LIST").splitlines())


async def test_nothing_is_connected_before_the_first_look_up(lab: Lab) -> None:
    node = lab.node()
    link = RedisLink(RedisOptions(node.url))
    told = Invalidations(link, PREFIX, on_names=lambda names: None, on_lost=lambda: None)
    told.start()
    await asyncio.sleep(0.3)
    assert clients(node) == 1, "only the one that asks"
    assert not told.is_live
    told.note_use()
    await until(lambda: told.is_live, 2)
    await told.close()
    await link.close()
    await until(lambda: clients(node) == 1, 2)
    assert not told.is_live


async def test_a_mistake_in_what_is_called_is_seen_and_turns_the_cache_off(lab: Lab) -> None:
    node = lab.node()
    link = RedisLink(RedisOptions(node.url))
    seen: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context["exception"]))

    def fail(names: Sequence[bytes]) -> None:
        raise KeyError("a mistake")

    told = Invalidations(link, PREFIX, on_names=fail, on_lost=lambda: None)
    told.start()
    told.note_use()
    await until(lambda: told.is_live, 2)
    node.command("SET", "gw:1", "v")
    await until(lambda: seen, 2)
    assert isinstance(seen[0], BaseExceptionGroup)
    assert seen[0].subgroup(KeyError) is not None
    assert not told.is_live
    told.note_use()
    assert not told.is_live
    await told.close()
    await link.close()


FOLLOWER = (
    "on >secret ~gw:* resetchannels &__redis__:invalidate -@all +get +ping +client|id +client|tracking +subscribe"
)


@pytest.mark.parametrize("right", ["+client|tracking", "+subscribe", "+client|id", "&__redis__:invalidate"])
async def test_a_user_who_may_not_follow_changes_has_no_cache_and_one_warning(
    lab: Lab, make_cache: MakeCache, caplog: pytest.LogCaptureFixture, right: str
) -> None:
    node = lab.node()
    node.command("ACL", "SETUSER", "gw", *FOLLOWER.split())
    cache = await make_cache(node.url, username="gw", password="secret")
    await assert_told(cache, node)
    await cache.close()
    node.command("ACL", "SETUSER", "gw", "reset", *(given for given in FOLLOWER.split() if given != right))
    with caplog.at_level(logging.WARNING, "gateway.tracking"):
        cache = await make_cache(node.url, wait=False, username="gw", password="secret")
        await asyncio.sleep(0.5)
    assert not cache.told.is_live
    assert len(caplog.records) == 1


async def assert_told(cache: Cache, node: Node) -> None:
    node.command("SET", "gw:1", "v")
    await cache.told_of(b"gw:1")


@pytest.mark.parametrize(
    "answer", [b"-ERR unknown command\r\n", b"-LOADING x\r\n", b"+OK\r\n", b"", b"!!\r\n", b"*1\r\n$1\r\nx\r\n"]
)
async def test_whatever_else_answers_is_never_believed(make_cache: MakeCache, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(answer)
            if not answer:
                break
        writer.close()

    async with await asyncio.start_server(talk, HOST, 0) as server:
        cache = await make_cache(f"redis://{HOST}:{server.sockets[0].getsockname()[1]}", wait=False)
        for _ in range(20):
            await asyncio.sleep(0.02)
            assert not cache.told.is_live
        await cache.close()


async def test_changes_are_told_over_tls_and_with_a_password(lab: Lab, make_cache: MakeCache) -> None:
    if not has_tls():
        pytest.skip("this redis-server was built without TLS; install Debian's: apt-get install redis-server")
    ca = make_ca(lab.folder, "ca")
    server = make_certificate(lab.folder, "server", ca)
    files = ("--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key), "--tls-ca-cert-file", str(ca.cert))
    node = lab.node(*files, "--tls-auth-clients", "no", tls=True)
    cache = await make_cache(f"rediss://{HOST}:{node.port}", ca_file=str(ca.cert))
    await assert_every_change_is_told(cache, node)


# -- Sentinel
@pytest.mark.slow
async def test_after_a_failover_the_new_master_is_followed(lab: Lab, make_cache: MakeCache) -> None:
    kept = lab.replicated(replicas=1, sentinels=1)
    (replica,) = kept.replicas
    cache = await make_cache(sentinels=kept.addresses)
    await assert_every_change_is_told(cache, kept.master)
    before = cache.losses
    kept.master.kill()
    await until(lambda: cache.losses > before, 1)
    before = cache.losses
    await cache.live(20)
    assert cache.losses > before
    assert kept.named() == replica.port
    await assert_every_change_is_told(cache, replica)


async def test_another_master_is_followed_though_nobody_misses_the_old_one(lab: Lab, make_cache: MakeCache) -> None:
    """Every look-up is a hit, so nothing is asked of Redis, and the old master is alive: the watch must notice."""
    kept = lab.replicated(replicas=0, sentinels=1)
    other = lab.node()
    cache = await make_cache(sentinels=kept.addresses)
    before = cache.losses
    kept.sentinels[0].says("REMOVE", "mymaster")
    kept.sentinels[0].says("MONITOR", "mymaster", HOST, other.port, 1)
    took = await until(lambda: cache.losses > before, 3)
    print(f"noticed after {took:.2f} s")
    await cache.live()
    await assert_every_change_is_told(cache, other)


# -- Cluster
@pytest.fixture(scope="module")
def cluster() -> Iterator[list[Node]]:
    made = Lab()
    yield made.cluster(3)
    made.close()


def start_on(nodes: list[Node], number: int) -> str:
    """A start of keys that all lie on node ``number``."""
    share = 16384 // len(nodes)
    tags = (f"gw:{{{tag}}}" for tag in range(10_000))
    return next(tag for tag in tags if min(key_slot(tag.encode()) // share, len(nodes) - 1) == number)


@pytest.mark.slow
async def test_changes_on_every_node_of_a_cluster_are_told(cluster: list[Node], make_cache: MakeCache) -> None:
    cache = await make_cache(cluster=True, nodes=(cluster[0].address,))
    for number, node in enumerate(cluster):
        await assert_every_change_is_told(cache, node, start_on(cluster, number))
    for node in cluster:
        before = cache.losses
        node.command("FLUSHALL")
        await until(lambda b=before: cache.losses > b, 2)
    before = cache.losses
    cluster[2].signal(signal.SIGSTOP)
    assert await until(lambda: not cache.told.is_live, 2) <= FRESH + 0.05
    cluster[2].signal(signal.SIGCONT)
    await cache.live()
    cluster[1].kill()
    await until(lambda: cache.losses > before, 1)
    assert not cache.told.is_live
    cluster[1].start()
    wait_until(lambda: is_whole(cluster[1], 3))
    before = cache.losses
    await cache.live(20)
    assert cache.losses > before
    await assert_every_change_is_told(cache, cluster[1], start_on(cluster, 1))


@pytest.mark.slow
async def test_a_new_node_of_a_cluster_is_followed_before_its_data_is_used(
    lab: Lab, cluster: list[Node], make_cache: MakeCache
) -> None:
    """A slot moves to it; the first answer that comes from it ends the proof."""
    cache = await make_cache(cluster=True, nodes=(cluster[0].address,))
    name = start_on(cluster, 0)
    cluster[0].command("SET", name, "v")
    await cache.told_of(name.encode())
    added = lab.cluster_node()
    added.command("CLUSTER", "MEET", HOST, cluster[0].port)
    for node in cluster:
        wait_until(lambda n=node: node_id(added) in str(n.command("CLUSTER", "NODES")))
    wait_until(lambda: is_whole(added, 3))
    await cache.live()
    slot = key_slot(name.encode())
    added.command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(cluster[0]))
    cluster[0].command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(added))
    cluster[0].command("MIGRATE", HOST, added.port, name, 0, 5000)
    await cache.told_of(name.encode())
    assert await cache.link.pipeline([("GET", name)]) == [b"v"]
    assert not cache.told.is_live
    await cache.live()
    await assert_told_asking(cache, added, name)
    for node in (added, *cluster):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(added))
    await cache.live()
    await assert_every_change_is_told(cache, added, name)


async def assert_told_asking(cache: Cache, node: Node, name: str) -> None:
    with node.client() as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("ASKING")
        connection.read_response()
        connection.send_command("SET", name, "w")
        connection.read_response()
    await cache.told_of(name.encode())
