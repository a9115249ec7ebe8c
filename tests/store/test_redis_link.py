"""The link to Redis: whose answers they are, how long anything may take, and every way Redis can be reached."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot

from gateway.errors import StartError, StoreUnavailable
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from tests.redis_lab import (
    HOST,
    Lab,
    Node,
    Proxy,
    Replicated,
    has_tls,
    is_whole,
    make_ca,
    make_certificate,
    node_id,
    wait_until,
)

MakeLink = Callable[..., RedisLink]


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


@pytest.fixture
async def make_link() -> AsyncIterator[MakeLink]:
    """``make_link(url, **options)``; closed at the end."""
    made: list[RedisLink] = []

    def make(url: str = "redis://", **options: Any) -> RedisLink:
        made.append(RedisLink(RedisOptions(url, **options)))
        return made[-1]

    yield make
    for link in made:
        await link.close()


async def within(seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Asks until Redis is not unavailable any more."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


# -- one server
async def test_answers_come_in_the_order_of_the_commands(redis_server: RedisServer, make_link: MakeLink) -> None:
    link = make_link(redis_server.url)
    script = "return {1, KEYS[1], false, redis.call('GET', KEYS[1])}"
    answers = await link.pipeline(
        [("SET", "k", 1.5), (b"GET", b"k"), ("GET", "none"), ("EVAL", script, 1, "k"), ("INCR", "n"), ("DEL", "k", "n")]
    )
    assert answers == [b"OK", b"1.5", None, [1, b"k", None, b"1.5"], 1, 2]


@pytest.mark.parametrize("size", [0, 1, 8191, 65536, 3_000_000])
async def test_any_bytes_of_any_size_come_back(redis_server: RedisServer, make_link: MakeLink, size: int) -> None:
    data = random.Random(size).randbytes(size) + b"\r\n$-1\r\n"
    link = make_link(redis_server.url, timeout=5.0)
    assert await link.pipeline([("SET", data, data), ("GET", data), ("ECHO", b"end")]) == [b"OK", data, b"end"]


@pytest.mark.parametrize("wrong", [None, True, ["a"], object()])
async def test_what_is_no_argument_is_a_mistake_of_ours_and_no_outage(
    redis_server: RedisServer, make_link: MakeLink, wrong: Any
) -> None:
    link = make_link(redis_server.url)
    with pytest.raises(TypeError):
        await link.pipeline([("SET", "k", wrong)])
    assert await link.pipeline([("EXISTS", "k")]) == [0]


async def test_an_error_answer_is_an_outage_and_takes_no_answer_of_others(
    redis_server: RedisServer, make_link: MakeLink
) -> None:
    link = make_link(redis_server.url, pool_size=1)
    with pytest.raises(StoreUnavailable) as caught:
        await link.pipeline([("SET", "a", "1"), ("LPUSH", "a", "x"), ("SET", "b", "2"), ("WRONG",)])
    assert "WRONGTYPE" in caught.value.cause
    assert await link.pipeline([("MGET", "a", "b")]) == [[b"1", b"2"]]


@pytest.mark.slow
async def test_a_cancelled_pipeline_never_gives_its_answer_to_somebody_else(
    redis_server: RedisServer, make_link: MakeLink
) -> None:
    """Hazards R2 and P63: ten thousand cancelled at any moment, and everybody else gets their own answers."""
    link = make_link(redis_server.url, pool_size=8, timeout=20.0)
    chance = random.Random(5)

    async def ask(number: int) -> None:
        word, script = b"%d" % number, "return {ARGV[1], ARGV[2]}"
        answers = await link.pipeline(
            [("ECHO", word), ("EVAL", script, 0, word, "x" * (number % 3000)), ("ECHO", word)]
        )
        assert answers == [word, [word, b"x" * (number % 3000)], word], f"somebody else's answers: {answers!r:.200}"

    async def user(first: int) -> int:
        number, cancelled = first, 0
        while cancelled < 500:
            number += 1
            task = asyncio.create_task(ask(number))
            if chance.random() < 0.5:
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                cancelled += 1
            else:
                task.result()
            await ask(-number)
        return number - first

    asked = await asyncio.gather(*(user(number * 100_000) for number in range(20)))
    assert sum(asked) >= 10_000
    print(f"10000 of {sum(asked)} were cancelled, {sum(asked)} more were not")


async def test_a_pipeline_takes_no_longer_than_its_time_wherever_it_stops(lab: Lab, make_link: MakeLink) -> None:
    """Frozen while connecting, while answering, and while all connections are taken."""
    node = lab.node()
    link = make_link(node.tcp_url, timeout=0.5, pool_size=2)
    await link.pipeline([("PING",)])
    node.signal(signal.SIGSTOP)
    started = time.monotonic()
    outcomes = await asyncio.gather(*(link.pipeline([("PING",)]) for _ in range(10)), return_exceptions=True)
    took = time.monotonic() - started
    node.signal(signal.SIGCONT)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 10
    assert 0.4 < took < 1.0
    assert await link.pipeline([("PING",)]) == [b"PONG"]


async def test_every_kept_connection_that_died_costs_nobody_an_answer(lab: Lab, make_link: MakeLink) -> None:
    """Hazard R5."""
    node = lab.node()
    link = make_link(node.tcp_url)
    await asyncio.gather(*(link.pipeline([("PING",)]) for _ in range(30)))
    node.kill()
    node.start()
    answers = await asyncio.gather(*(link.pipeline([("PING",)]) for _ in range(60)))
    assert answers == [[b"PONG"]] * 60


async def test_when_one_kept_connection_breaks_the_others_are_not_tried(
    redis_server: RedisServer, make_link: MakeLink
) -> None:
    """Hazard R5, where nothing shows before something is sent."""
    async with Proxy(redis_server.socket) as way:
        link = make_link(way.url)
        await asyncio.gather(*(link.pipeline([("PING",)]) for _ in range(10)))
        way.doom()
        assert await link.pipeline([("PING",)]) == [b"PONG"]
        await link.close()


async def test_connections_of_which_nothing_is_heard_any_more_are_not_tried_one_after_the_other(
    redis_server: RedisServer, make_link: MakeLink
) -> None:
    """A firewall that forgot them drops every packet: the first time-out makes all kept connections suspect."""
    async with Proxy(redis_server.socket) as way:
        link = make_link(way.url, timeout=0.4)
        await asyncio.gather(*(link.pipeline([("PING",)]) for _ in range(10)))
        way.forget()
        with pytest.raises(StoreUnavailable):
            await link.pipeline([("PING",)])
        for _ in range(10):
            assert await link.pipeline([("PING",)]) == [b"PONG"]
        await link.close()


async def test_an_answer_that_nobody_asked_for_is_given_to_nobody(make_link: MakeLink) -> None:
    """Hazard R2, should Redis (or whatever is before it) ever say too much."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"+yours\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"+somebody else's\r\n")
        await reader.read(4096)
        writer.close()

    async with await asyncio.start_server(talk, HOST, 0) as server:
        link = make_link(f"redis://{HOST}:{server.sockets[0].getsockname()[1]}")
        for _ in range(3):
            assert await link.pipeline([("GET", "mine")]) == [b"yours"]
            await asyncio.sleep(0.1)
        await link.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"$x\r\n",
        b"*2\r\n$",
        b"+" + b"a" * 200_000,
        b"\x00\r\n",
        b"$5\r\nabc",
        b"!!\r\n",
        b":one\r\n",
        b"-\r\n",
        b"\r\n",
    ],
)
async def test_what_does_not_speak_as_redis_does_is_an_outage(make_link: MakeLink, sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(talk, HOST, 0) as server:
        link = make_link(f"redis://{HOST}:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            await link.pipeline([("GET", "k")])


async def test_a_password_and_a_user_are_sent(lab: Lab, make_link: MakeLink) -> None:
    node = lab.node("--requirepass", "right")
    assert await make_link(node.tcp_url, password="right").pipeline([("PING",)]) == [b"PONG"]
    assert await make_link(node.tcp_url.replace("//", "//default:right@")).pipeline([("PING",)]) == [b"PONG"]
    for options in ({}, {"password": "wrong"}, {"username": "nobody", "password": "right"}):
        with pytest.raises(StoreUnavailable):
            await make_link(node.tcp_url, **options).pipeline([("PING",)])


async def test_another_database_is_chosen(lab: Lab, make_link: MakeLink) -> None:
    node = lab.node()
    await make_link(f"redis://{HOST}:{node.port}/3").pipeline([("SET", "k", "v")])
    assert node.command("DBSIZE") == 0
    assert await make_link(f"{node.url}?db=3").pipeline([("GET", "k")]) == [b"v"]


async def test_every_key_is_scanned_and_the_policy_is_told(lab: Lab, make_link: MakeLink) -> None:
    node = lab.node()
    link = make_link(node.url)
    await link.pipeline([("SET", f"gw:{number}", "") for number in range(2000)] + [("SET", "other", "")])
    assert {key async for key in link.scan(b"gw:*")} == {b"gw:%d" % number for number in range(2000)}
    assert await link.warn_policy() == "noeviction"
    node.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert await link.warn_policy() == "allkeys-lru"
    node.kill()
    assert await link.warn_policy() is None
    with pytest.raises(StoreUnavailable):
        [key async for key in link.scan(b"*")]


async def test_a_read_only_server_is_an_outage(lab: Lab, make_link: MakeLink) -> None:
    replica = lab.replica_of(lab.node())
    with pytest.raises(StoreUnavailable):
        await make_link(replica.tcp_url).pipeline([("SET", "k", "v")])


# -- replicas that acknowledge
async def test_a_durable_write_counts_when_replicas_have_it(lab: Lab, make_link: MakeLink) -> None:
    """Hazard R11."""
    master = lab.node()
    replica = lab.replica_of(master)
    link = make_link(master.tcp_url, wait_replicas=1)
    assert await link.pipeline([("SET", "k", "v"), ("GET", "k")], durable=True) == [b"OK", b"v"]
    assert replica.command("GET", "k") == b"v"
    replica.signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await link.pipeline([("SET", "k", "w")], durable=True)
    assert "replicas" in caught.value.cause
    assert time.monotonic() - started < 1.5
    assert await link.pipeline([("SET", "k", "x")]) == [b"OK"], "what is not durable does not wait"
    replica.signal(signal.SIGCONT)
    await within(5, lambda: link.pipeline([("SET", "k", "y")], durable=True))


# -- least privileges
ACL = (  # docs/redis.md tells it
    "on >secret ~gw:* resetchannels &__redis__:invalidate -@all +get +mget +set +del +getdel +exists +pttl +pexpire "
    "+pexpireat +getrange +eval +hset +hdel +hkeys +zadd +zrem +zrange +zcard +zscore +zremrangebyscore +zrangebyscore "
    "+time +ping +info +scan +wait +client|id +client|tracking +subscribe"
)
SENTINEL_ACL = f"{ACL} +role"
CLUSTER_ACL = f"{ACL} +cluster|info +cluster|slots +asking"


async def test_a_user_with_few_rights_is_enough(lab: Lab, make_link: MakeLink) -> None:
    node = lab.node()
    node.command("ACL", "SETUSER", "gw", *ACL.split())
    link = make_link(node.tcp_url, username="gw", password="secret")
    script = "return redis.call('SET', KEYS[1], ARGV[1])"
    assert await link.pipeline([("EVAL", script, 1, "gw:k", "v"), ("GET", "gw:k")]) == [b"OK", b"v"]
    assert {key async for key in link.scan(b"gw:*")} == {b"gw:k"}
    assert await link.warn_policy() == "noeviction"
    for forbidden in (("GET", "other"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
        with pytest.raises(StoreUnavailable) as caught:
            await link.pipeline([forbidden])
        assert "permissions" in caught.value.cause


# -- TLS
@pytest.fixture
def tls(lab: Lab) -> Node:
    if not has_tls():
        pytest.skip("this redis-server was built without TLS; install Debian's: apt-get install redis-server")
    ca = make_ca(lab.folder, "ca")
    server = make_certificate(lab.folder, "server", ca)
    make_certificate(lab.folder, "client", ca)
    make_ca(lab.folder, "stranger")
    files = ("--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key), "--tls-ca-cert-file", str(ca.cert))
    return lab.node(*files, tls=True)


async def test_tls_with_the_right_authority_and_a_certificate_of_our_own(
    lab: Lab, tls: Node, make_link: MakeLink
) -> None:
    files = {
        name: str(lab.folder / file)
        for name, file in (("ca_file", "ca.crt"), ("cert_file", "client.crt"), ("key_file", "client.key"))
    }
    url = f"rediss://{HOST}:{tls.port}"
    assert await make_link(url, **files).pipeline([("PING",)]) == [b"PONG"]
    assert await make_link(f"redis://{HOST}:{tls.port}", tls=True, **files).pipeline([("PING",)]) == [b"PONG"]
    in_url = f"{url}?ssl_ca_certs={files['ca_file']}&ssl_certfile={files['cert_file']}&ssl_keyfile={files['key_file']}"
    assert await make_link(in_url).pipeline([("PING",)]) == [b"PONG"]


@pytest.mark.parametrize(
    ("host", "over"),
    [
        (HOST, {"ca_file": "stranger.crt"}),
        (HOST, {"ca_file": None}),
        (HOST, {"cert_file": None, "key_file": None}),
        ("localhost", {}),
    ],
    ids=["a strange authority", "the system's authorities", "no certificate of our own", "another name"],
)
async def test_tls_that_proves_nothing_is_an_outage(
    lab: Lab, tls: Node, make_link: MakeLink, host: str, over: dict[str, str | None]
) -> None:
    names = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"} | over
    files = {option: str(lab.folder / name) for option, name in names.items() if name}
    url = f"rediss://{host}:{tls.port}"
    with pytest.raises(StoreUnavailable):
        await make_link(url, **files).pipeline([("PING",)])
    if host != HOST:
        assert await make_link(url, check_hostname=False, **files).pipeline([("PING",)]) == [b"PONG"]


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_a_certificate_that_cannot_be_read_stops_the_start(lab: Lab, name: str) -> None:
    with pytest.raises(StartError) as caught:
        RedisLink(RedisOptions("rediss://h", **{name: "nowhere.pem"}))
    assert "nowhere.pem" in str(caught.value)


def test_the_options_show_no_secret() -> None:
    options = RedisOptions("redis://u:secret1@h", "u", "secret2", sentinel_password="secret3", sentinels=(("h", 1),))
    assert "secret" not in repr(options)
    assert "sentinel" in repr(options)


# -- Sentinel
def sentinel_options(kept: Replicated, **over: Any) -> dict[str, Any]:
    return {"sentinels": kept.addresses, "timeout": 1.0, **over}


@pytest.mark.slow
async def test_a_killed_master_is_replaced_and_no_acknowledged_durable_write_is_lost(
    lab: Lab, make_link: MakeLink
) -> None:
    """Hazards R4 and R11."""
    kept = lab.replicated(replicas=2, sentinels=3)
    link = make_link(**sentinel_options(kept, wait_replicas=1))
    acknowledged: list[bytes] = []
    is_over = asyncio.Event()

    async def write(first: int) -> None:
        number = first
        while not is_over.is_set():
            number += 1
            name = b"%d" % number
            try:
                await link.pipeline([("SET", name, name)], durable=True)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                acknowledged.append(name)

    writers = [asyncio.create_task(write(number * 1_000_000)) for number in range(8)]
    while len(acknowledged) < 500:
        await asyncio.sleep(0.01)
    kept.master.kill()
    killed, before = time.monotonic(), len(acknowledged)
    while len(acknowledged) < before + 500:
        assert time.monotonic() - killed < 20
        await asyncio.sleep(0.01)
    print(f"writes again {time.monotonic() - killed:.1f} s after the kill")
    is_over.set()
    await asyncio.gather(*writers)
    assert kept.named() != kept.master.port
    assert await link.pipeline([("GET", name) for name in acknowledged]) == acknowledged


@pytest.mark.slow
async def test_a_master_that_was_demoted_is_left(lab: Lab, make_link: MakeLink) -> None:
    """Hazard R4: it would answer reads for ever."""
    kept = lab.replicated(replicas=1, sentinels=1)
    (replica,) = kept.replicas
    link = make_link(**sentinel_options(kept))
    await link.pipeline([("SET", "k", "old")])
    generation = link.generation
    wait_until(lambda: kept.sentinels[0].says("FAILOVER", "mymaster"), what="a replica good enough for Sentinel")
    wait_until(lambda: kept.named() == replica.port)
    wait_until(lambda: replica.command("ROLE")[0] == b"master")
    replica.command("SET", "k", "new")
    deadline = time.monotonic() + 5
    while await within(5, lambda: link.pipeline([("GET", "k")])) != [b"new"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await link.pipeline([("SET", "other", "1")]) == [b"OK"]
    assert replica.command("GET", "other") == b"1"
    assert link.generation != generation


async def test_reads_alone_notice_that_sentinel_names_another_master(lab: Lab, make_link: MakeLink) -> None:
    """The old master is untouched and still a master: only the Sentinel tells us."""
    kept = lab.replicated(replicas=0, sentinels=1)
    other = lab.node()
    link = make_link(**sentinel_options(kept))
    await link.pipeline([("SET", "k", "old")])
    other.command("SET", "k", "new")
    kept.sentinels[0].says("REMOVE", "mymaster")
    kept.sentinels[0].says("MONITOR", "mymaster", HOST, other.port, 1)
    deadline = time.monotonic() + 2.5
    while await link.pipeline([("GET", "k")]) != [b"new"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_user_with_few_rights_is_enough_for_sentinel(lab: Lab, make_link: MakeLink) -> None:
    kept = lab.replicated(replicas=0, sentinels=1)
    kept.master.command("ACL", "SETUSER", "gw", *SENTINEL_ACL.split())
    with Redis(host=HOST, port=kept.sentinels[0].port) as client:
        rights = "on >watch -@all +sentinel|get-master-addr-by-name +sentinel|master"
        client.execute_command("ACL", "SETUSER", "asker", *rights.split())
    login = {"username": "gw", "password": "secret", "sentinel_username": "asker", "sentinel_password": "watch"}
    assert await make_link(**sentinel_options(kept, **login)).pipeline([("SET", "gw:k", "v")]) == [b"OK"]


async def test_a_sentinel_that_names_a_replica_is_not_believed(lab: Lab, make_link: MakeLink) -> None:
    kept = lab.replicated(replicas=0, sentinels=1)
    link = make_link(**sentinel_options(kept))
    kept.master.command("REPLICAOF", HOST, lab.node().port)
    with pytest.raises(StoreUnavailable) as caught:
        await link.pipeline([("GET", "k")])
    assert "replica" in caught.value.cause


@pytest.mark.slow
async def test_sentinels_may_be_frozen_gone_or_all_away(lab: Lab, make_link: MakeLink) -> None:
    """A majority is enough to find the master; when all are away, the master that we know serves on."""
    kept = lab.replicated(replicas=0, sentinels=3)
    kept.sentinels[0].signal(signal.SIGSTOP)
    nowhere = (HOST, 1)
    addresses = (*kept.addresses, nowhere)
    link = make_link(**sentinel_options(kept, sentinels=addresses))
    patient = make_link(**sentinel_options(kept, sentinels=kept.addresses, timeout=6.0))
    started = time.monotonic()
    assert await patient.pipeline([("PING",)]) == [b"PONG"]
    assert time.monotonic() - started < 1.0, "the frozen one is not waited for"
    assert await link.pipeline([("SET", "k", "v")]) == [b"OK"]
    for sentinel in kept.sentinels:
        sentinel.stop()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert await link.pipeline([("GET", "k")]) == [b"v"]
        await asyncio.sleep(0.1)
    stranger = make_link(**sentinel_options(kept))
    with pytest.raises(StoreUnavailable) as caught:
        await stranger.pipeline([("GET", "k")])
    assert "Sentinel" in caught.value.cause


async def test_a_sentinel_that_knows_no_such_master_says_so(lab: Lab, make_link: MakeLink) -> None:
    kept = lab.replicated(replicas=0, sentinels=1)
    with pytest.raises(StoreUnavailable) as caught:
        await make_link(**sentinel_options(kept, sentinel_master="other")).pipeline([("PING",)])
    assert "No such master" in caught.value.cause


async def test_sentinels_with_a_password_of_their_own(lab: Lab, make_link: MakeLink) -> None:
    kept = lab.replicated(replicas=0, sentinels=1)
    with Redis(host=HOST, port=kept.sentinels[0].port) as client:
        client.execute_command("ACL", "SETUSER", "default", "resetpass", ">spass")
    assert await make_link(**sentinel_options(kept, sentinel_password="spass")).pipeline([("PING",)]) == [b"PONG"]
    with pytest.raises(StoreUnavailable):
        await make_link(**sentinel_options(kept)).pipeline([("PING",)])


# -- Cluster
def keys_on(nodes: list[Node], start: str = "k") -> list[str]:
    """One key for each node, in their order, as the slots were given out; another ``start``, other slots."""
    share = 16384 // len(nodes)
    found: dict[int, str] = {}
    for number in range(10_000):
        owner = min(key_slot(f"{start}{number}".encode()) // share, len(nodes) - 1)
        found.setdefault(owner, f"{start}{number}")
    return [found[number] for number in range(len(nodes))]


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[list[Node]]:
    """Three masters; what a test does to its own slots does not disturb the others."""
    made = Lab()
    yield made.cluster(3)
    made.close()


@pytest.fixture
def own_cluster(lab: Lab) -> list[Node]:
    """Three masters that may be killed."""
    return lab.cluster(3)


def cluster_options(nodes: list[Node], **over: Any) -> dict[str, Any]:
    return {"cluster": True, "nodes": tuple(node.address for node in nodes), **over}


async def test_a_pipeline_over_a_cluster_goes_where_its_keys_are(
    shared_cluster: list[Node], make_link: MakeLink
) -> None:
    link = make_link(**cluster_options(shared_cluster[:1]))
    names = [f"key{number}" for number in range(300)]
    assert await link.pipeline([("SET", name, name) for name in names]) == [b"OK"] * 300
    assert await link.pipeline([("GET", name) for name in names]) == [name.encode() for name in names]
    script = "return redis.call('GET', KEYS[1])"
    scripts = [("EVAL", script, 1, name) for name in names]
    assert await link.pipeline([*scripts, ("PING",)]) == [*(name.encode() for name in names), b"PONG"]
    assert all(node.command("DBSIZE") > 50 for node in shared_cluster)
    assert {key async for key in link.scan(b"key*")} == {name.encode() for name in names}
    assert await link.warn_policy() == "noeviction"
    in_url = make_link(shared_cluster[2].tcp_url, cluster=True)
    assert await in_url.pipeline([("GET", "key7")]) == [b"key7"]


@pytest.mark.slow
async def test_a_killed_node_takes_its_own_keys_and_no_others(own_cluster: list[Node], make_link: MakeLink) -> None:
    link = make_link(**cluster_options(own_cluster))
    names = keys_on(own_cluster)
    await link.pipeline([("SET", name, name) for name in names])
    own_cluster[1].kill()
    for _ in range(3):
        for number, name in enumerate(names):
            started = time.monotonic()
            if number == 1:
                with pytest.raises(StoreUnavailable):
                    await link.pipeline([("GET", name)])
            else:
                assert await link.pipeline([("GET", name)]) == [name.encode()]
            assert time.monotonic() - started < 1.5
    with pytest.raises(StoreUnavailable):
        await link.pipeline([("GET", name) for name in names])
    for _ in range(6):
        assert await link.pipeline([("PING",)]) == [b"PONG"], "some node answers"
    own_cluster[1].start()
    await within(10, lambda: link.pipeline([("GET", name) for name in names]))


def move_slot(slot: int, source: Node, target: Node, others: list[Node], *, is_done: bool) -> None:
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
    if not is_done:
        return
    for key in source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        source.command("MIGRATE", HOST, target.port, key, 0, 5000)
    for node in (target, source, *others):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


async def test_a_user_with_few_rights_is_enough_for_a_cluster(shared_cluster: list[Node], make_link: MakeLink) -> None:
    for node in shared_cluster:
        node.command("ACL", "SETUSER", "gw", *CLUSTER_ACL.split())
    link = make_link(**cluster_options(shared_cluster, username="gw", password="secret"))
    assert await link.pipeline([("SET", "gw:1", "v"), ("SET", "gw:2", "v")]) == [b"OK", b"OK"]
    assert {key async for key in link.scan(b"gw:*")} == {b"gw:1", b"gw:2"}


async def test_a_slot_that_moved_is_followed(shared_cluster: list[Node], make_link: MakeLink) -> None:
    link = make_link(**cluster_options(shared_cluster))
    name = keys_on(shared_cluster)[0]
    await link.pipeline([("SET", name, "v"), ("SET", f"{{{name}}}2", "w")])
    move_slot(key_slot(name.encode()), shared_cluster[0], shared_cluster[2], [shared_cluster[1]], is_done=True)
    assert await link.pipeline([("GET", name), ("PING",), ("GET", f"{{{name}}}2")]) == [b"v", b"PONG", b"w"]
    assert shared_cluster[2].command("EXISTS", name) == 1


async def test_keys_of_several_slots_cannot_be_waited_for_and_that_is_a_mistake_of_ours(
    shared_cluster: list[Node], make_link: MakeLink
) -> None:
    link = make_link(**cluster_options(shared_cluster, wait_replicas=1))
    with pytest.raises(ValueError, match="slots"):
        await link.pipeline([("SET", name, "v") for name in keys_on(shared_cluster)], durable=True)


async def test_a_slot_on_its_way_is_asked_for_at_both_ends(shared_cluster: list[Node], make_link: MakeLink) -> None:
    link = make_link(**cluster_options(shared_cluster))
    name = keys_on(shared_cluster, "half")[0]
    here, gone = f"{{{name}}}a", f"{{{name}}}b"
    await link.pipeline([("SET", here, "1"), ("SET", gone, "2")])
    move_slot(key_slot(name.encode()), shared_cluster[0], shared_cluster[2], [], is_done=False)
    shared_cluster[0].command("MIGRATE", HOST, shared_cluster[2].port, gone, 0, 5000)
    new = f"{{{name}}}c"
    answers = await link.pipeline([("GET", here), ("GET", gone), ("SET", new, "3"), ("GET", new)])
    assert answers == [b"1", b"2", b"OK", b"3"]
    assert shared_cluster[2].command("CLUSTER", "COUNTKEYSINSLOT", key_slot(name.encode())) == 2
    for node in shared_cluster:
        node.command("CLUSTER", "SETSLOT", key_slot(name.encode()), "STABLE")


async def test_a_new_node_is_a_master_from_the_first_redirection_to_it(
    lab: Lab, shared_cluster: list[Node], make_link: MakeLink
) -> None:
    link = make_link(**cluster_options(shared_cluster))
    name = keys_on(shared_cluster, "new")[0]
    await link.pipeline([("SET", name, "v")])
    added, generation = lab.cluster_node(), link.generation
    added.command("CLUSTER", "MEET", HOST, shared_cluster[0].port)
    for node in shared_cluster:
        wait_until(lambda n=node: node_id(added) in str(n.command("CLUSTER", "NODES")), what="all know the new node")
    wait_until(lambda: is_whole(added, 3), what="the new node knows all")
    move_slot(key_slot(name.encode()), shared_cluster[0], added, shared_cluster[1:], is_done=True)
    assert await link.pipeline([("GET", name)]) == [b"v"]
    assert link.generation != generation
    assert f"{HOST}:{added.port}" in {master.name for master in await link.masters()}


@pytest.mark.slow
async def test_a_replica_takes_over_in_a_cluster_and_durable_writes_stay(
    lab: Lab, own_cluster: list[Node], make_link: MakeLink
) -> None:
    replica = lab.cluster_node()
    replica.command("CLUSTER", "MEET", HOST, own_cluster[0].port)
    wait_until(lambda: node_id(own_cluster[0]) in str(replica.command("CLUSTER", "NODES")))
    wait_until(lambda: replica.command("CLUSTER", "REPLICATE", node_id(own_cluster[0])))
    wait_until(lambda: b"up" in replica.command("ROLE")[3] or replica.command("ROLE")[3] == b"connected")
    for node in own_cluster:
        wait_until(lambda n=node: "slave" in str(n.command("CLUSTER", "NODES")) and is_whole(n, 3))
    link = make_link(**cluster_options(own_cluster, wait_replicas=1))
    name = keys_on(own_cluster)[0]
    assert await link.pipeline([("SET", name, "v"), ("GET", name)], durable=True) == [b"OK", b"v"]
    own_cluster[0].kill()
    started = time.monotonic()
    replica.command("CLUSTER", "FAILOVER", "TAKEOVER")  # whether and when Redis elects one by itself is Redis's affair
    assert await within(20, lambda: link.pipeline([("GET", name)])) == [b"v"]
    print(f"served again {time.monotonic() - started:.1f} s after the kill")
