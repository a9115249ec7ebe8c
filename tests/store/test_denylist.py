"""What was revoked is refused by every process at once, and nobody passes while that cannot be known."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.denylist import Denylist, MemoryDenylist, Revoked, TokenEnds, session_key, token_key
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_denylist import RedisDenylist, denied_prefix
from gateway.store.redis_sessions import tracked_prefix
from gateway.store.redis_tracking import FRESH
from tests.redis_lab import Lab, Node, Proxy, wait_until
from tests.store.session_lab import Clock

LONGEST = 320.0
ONE, TWO, NOBODY = session_key("one"), token_key("two"), session_key("nobody")
WITHIN = 3.0  # seconds: three times what is promised
_fresh = itertools.count()


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


class Worker:
    """A process of the gateway, as far as it has a denylist; it asks all the time unless ``is_used`` is false."""

    def __init__(self, link: RedisLink, longest: float = LONGEST) -> None:
        self.link = link
        self.list = RedisDenylist(link, "gw:", longest=longest)
        self.list.start()
        self.is_used = True
        self._task = asyncio.create_task(self._use())

    async def _use(self) -> None:
        while True:
            if self.is_used:
                self.list.known([NOBODY])
            await asyncio.sleep(0.01)

    def refuses(self, *ids: str) -> bool:
        return self.list.known(ids) is True

    def lets(self, *ids: str) -> bool:
        return self.list.known(ids) is False

    def doubts(self, *ids: str) -> bool:
        return self.list.known(ids) is None

    def knows(self) -> bool:
        """Can it say without asking that nothing was revoked?"""
        return self.lets(NOBODY)

    async def close(self) -> None:
        self._task.cancel()
        await self.list.close()
        await self.link.close()


async def until(is_so: Callable[[], Any], seconds: float = 10.0) -> float:
    """Returns how long it took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.002)
    return time.monotonic() - started


MakeWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def make_worker() -> AsyncIterator[MakeWorker]:
    """``await make_worker(url, **options)``: it knows everything unless ``wait=False``."""
    made: list[Worker] = []

    async def make(url: str = "redis://", *, wait: bool = True, longest: float = LONGEST, **options: Any) -> Worker:
        made.append(Worker(RedisLink(RedisOptions(url, **options)), longest))
        if wait:
            await until(made[-1].knows)
        return made[-1]

    yield make
    for worker in made:
        await worker.close()


# -- every kind
@pytest.fixture(params=["memory", "redis"])
async def denylist(request: pytest.FixtureRequest, lab: Lab, make_worker: MakeWorker) -> Denylist:
    return MemoryDenylist() if request.param == "memory" else (await make_worker(lab.node().url)).list


async def test_what_was_revoked_is_known_and_nothing_else(denylist: Denylist) -> None:
    assert denylist.known([ONE, TWO]) is False
    assert await denylist.ask([ONE, TWO]) is False
    await denylist.revoke([TWO], 60)
    assert denylist.known([ONE, TWO]) is True
    assert await denylist.ask([ONE, TWO]) is True
    assert denylist.known([ONE]) is False
    assert denylist.known(["j:one"]) is False, "a token is no session"
    assert denylist.known([]) is False


async def test_many_are_revoked_at_once_and_again(denylist: Denylist) -> None:
    many = [session_key(str(number)) for number in range(100)]
    for _ in range(2):
        await denylist.revoke(many, 60)
        assert all(denylist.known([one]) for one in many)
    await denylist.revoke([], 60)
    assert denylist.known([NOBODY]) is False


async def test_an_end_that_has_passed_revokes_nothing(denylist: Denylist) -> None:
    await denylist.revoke([ONE], 0)
    await denylist.revoke([ONE], -5)
    assert await denylist.ask([ONE]) is False


# -- what is kept in the process
def test_an_id_is_kept_until_its_end_and_the_longer_one_counts() -> None:
    clock = Clock()
    kept = Revoked(clock)
    kept.add([ONE], 10)
    kept.add([ONE], 5)
    clock.now += 9
    assert kept.has([NOBODY, ONE])
    kept.add([ONE], 5)
    clock.now += 4
    assert kept.has([ONE])
    clock.now += 1
    assert not kept.has([ONE])


def test_what_is_over_is_forgotten_while_others_come() -> None:
    clock = Clock()
    kept = Revoked(clock)
    most = 0
    for number in range(5000):
        clock.now += 1
        kept.add([session_key(str(number))], 300 if number % 7 else 10)
        most = max(most, len(kept))
    assert most <= 2 * 300
    clock.now += 300
    for number in range(200):
        kept.add([token_key(str(number))], 300)
    assert len(kept) == 200, "a wave is gone soon"


# -- two processes
async def test_revoked_in_one_process_is_refused_in_the_other_within_a_second(
    lab: Lab, make_worker: MakeWorker
) -> None:
    node = lab.node()
    one, two = [await make_worker(node.tcp_url) for _ in range(2)]
    took: list[float] = []
    for _ in range(50):
        revoked = token_key(str(next(_fresh)))
        began = time.monotonic()
        await one.list.revoke([revoked], 60)
        assert one.list.known([revoked]) is True
        await until(partial(two.refuses, NOBODY, revoked), WITHIN)
        took.append(time.monotonic() - began)
    print(f"told after {sorted(took)[len(took) // 2] * 1000:.2f} ms, at the latest {max(took) * 1000:.2f} ms")


async def test_a_process_that_starts_later_knows_what_was_revoked_before(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one = await make_worker(node.url)
    await one.list.revoke([ONE, TWO], 60)
    two = await make_worker(node.url, wait=False)
    assert two.list.known([ONE]) in (None, True), "nothing passes before all was read"
    await until(two.knows)
    assert (two.list.known([ONE]), two.list.known([TWO])) == (True, True)


async def test_who_asks_before_all_was_read_is_answered_by_redis(lab: Lab) -> None:
    """Neither started nor connected: as a process in its first moment."""
    link = RedisLink(RedisOptions(lab.node().url))
    one, two = RedisDenylist(link, "gw:", longest=LONGEST), RedisDenylist(link, "gw:", longest=LONGEST)
    await one.revoke([TWO], 60)
    assert two.known([ONE, TWO]) is None
    assert await two.ask([ONE]) is False
    assert await two.ask([ONE, TWO]) is True
    assert two.known([ONE, TWO]) is True, "it need not be asked again"
    assert two.known([ONE]) is None
    await link.close()


async def test_the_key_ends_by_itself_with_the_last_token(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one = await make_worker(node.url)
    await one.list.revoke([ONE], 60)
    key = denied_prefix(b"gw:") + ONE.encode()
    assert 59_000 < node.command("PTTL", key) <= 60_000
    await one.list.revoke([ONE], 30)
    assert node.command("PTTL", key) > 59_000, "never sooner"
    await one.list.revoke([ONE], 90)
    assert node.command("PTTL", key) > 89_000
    with pytest.raises(ValueError, match="longer"):
        await one.list.revoke([ONE], LONGEST + 1)


async def test_what_is_over_passes_again(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one, two = [await make_worker(node.url, longest=0.5) for _ in range(2)]
    await one.list.revoke([ONE], 0.4)
    assert await until(lambda: two.list.known([ONE]), WITHIN) < 0.4
    for worker in (one, two):
        await until(partial(worker.lets, ONE))
        assert await worker.list.ask([ONE]) is False
    assert node.command("KEYS", "gw:*") == []


def test_the_keys_are_apart_from_the_sessions() -> None:
    """Each hears of its own only."""
    denied, sessions = denied_prefix(b"gw:"), tracked_prefix(b"gw:")
    assert not denied.startswith(sessions)
    assert not sessions.startswith(denied)


async def test_ids_are_found_whatever_is_in_them_and_in_the_prefix(lab: Lab) -> None:
    link = RedisLink(RedisOptions(lab.node().url))
    odd = ["s:*", "s:[a]\\", "j:{x}", "j:ü\n\x00", "s:\udc80"]
    for prefix in ("g*w:", "g[a]:", "g\\?:"):
        one = RedisDenylist(link, prefix, longest=LONGEST)
        await one.revoke(odd, 60)
        two = RedisDenylist(link, prefix, longest=LONGEST)
        two.start()
        await until(lambda: two.known([NOBODY]) is False)  # noqa: B023 - called at once
        assert [two.known([one]) for one in odd] == [True] * len(odd)
        other = RedisDenylist(link, "gaw:", longest=LONGEST)
        assert not any([await other.ask([one]) for one in odd])
        await two.close()
    await link.close()


# -- the link
async def test_a_lost_link_says_nothing_until_all_was_read_again(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one, two = [await make_worker(node.tcp_url) for _ in range(2)]
    await one.list.revoke([ONE], 60)
    await until(lambda: two.list.known([ONE]), WITHIN)
    node.command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: two.list.known([NOBODY]) is None, 1)
    assert two.list.known([ONE]) is True, "what is known stays"
    node.command("SET", denied_prefix(b"gw:") + TWO.encode(), "", "PX", 60_000)
    await until(two.knows)
    assert (two.list.known([ONE]), two.list.known([TWO])) == (True, True)


async def test_a_way_that_is_cut_for_a_while_hides_nothing(lab: Lab, make_worker: MakeWorker) -> None:
    """Half open, as when a firewall forgot it: no error, no news."""
    node = lab.node()
    one = await make_worker(node.url)
    async with Proxy(node.socket) as way:
        two = await make_worker(way.url, timeout=0.3)
        way.forget()
        await one.list.revoke([ONE], 60)
        took = await until(lambda: two.list.known([ONE]) is not False, WITHIN)
        print(f"in doubt after {took:.3f} s")
        with pytest.raises(StoreUnavailable):
            await two.list.ask([ONE])  # the connection it has is deaf, too
        assert await two.list.ask([ONE]) is True
        await until(two.knows)
        assert two.list.known([ONE]) is True
        await two.close()


async def test_what_is_revoked_while_it_reads_is_not_lost(lab: Lab, make_worker: MakeWorker) -> None:
    """Nothing acknowledged before the proof may be unknown, wherever the reading was by then."""
    node = lab.node()
    with node.client() as client:
        client.mset({f"{start}{number}": "" for number in range(10_000) for start in ("gw:revoked:s:old", "other:")})
    one = await make_worker(node.url)
    async with Proxy(node.socket) as way:
        way.delay = 0.01  # it takes forty steps
        two = await make_worker(way.url, wait=False)
        for _ in range(3):
            written: list[tuple[float, str]] = []
            began = time.monotonic()
            while not two.knows():
                revoked = session_key(str(next(_fresh)))
                await one.list.revoke([revoked], 60)
                written.append((time.monotonic(), revoked))
                assert time.monotonic() - began < 20
                await asyncio.sleep(0.001)
            proved = time.monotonic() - FRESH
            assert written
            unknown = [revoked for at, revoked in written if at < proved and two.list.known([revoked]) is not True]
            assert unknown == []
            assert two.list.known(["s:old0"]) is True
            assert two.list.known(["s:old9999"]) is True
            node.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: not two.knows(), 1)
        await two.close()


async def test_what_is_revoked_while_it_reads_and_nobody_tells_is_not_lost(lab: Lab, make_worker: MakeWorker) -> None:
    """Wherever the reading was when the link broke: it counts for nothing."""
    node = lab.node()
    with node.client() as client:
        client.mset({f"other:{number}": "" for number in range(20_000)})
        async with Proxy(node.socket) as way:
            way.delay = 0.01
            two = await make_worker(way.url, wait=False)
            await until(lambda: two.list._reading)
            await asyncio.sleep(0.2)  # half of the way
            assert two.list._reading is not None
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            missed = [session_key(str(next(_fresh))) for _ in range(300)]
            client.mset({denied_prefix(b"gw:") + one.encode(): "" for one in missed})
            await until(two.knows)
            assert [one for one in missed if not two.refuses(one)] == []
            await two.close()


async def test_a_key_that_is_none_of_ours_harms_nobody(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    node.command("SET", b"gw:revoked:s:\xff", "", "PX", 60_000)
    one = await make_worker(node.url)
    node.command("SET", b"gw:revoked:\xfe\xff", "")
    node.command("RPUSH", "gw:revoked:s:list", "x")
    await until(partial(one.refuses, "s:list"), WITHIN)
    assert one.knows()
    await one.list.revoke(["s:list", ONE], 60)
    assert node.command("PTTL", "gw:revoked:s:list") > 50_000


async def test_an_emptied_redis_forgives_nobody_who_is_known(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one, two = [await make_worker(node.url) for _ in range(2)]
    await one.list.revoke([ONE], 60)
    await until(lambda: two.list.known([ONE]), WITHIN)
    node.command("FLUSHALL")
    await until(two.knows)
    assert (one.list.known([ONE]), two.list.known([ONE])) == (True, True)


async def test_with_redis_away_nobody_unknown_passes_and_what_is_known_is_refused(
    lab: Lab, make_worker: MakeWorker
) -> None:
    node = lab.node()
    one, two = [await make_worker(node.tcp_url, timeout=0.5) for _ in range(2)]
    await one.list.revoke([ONE], 60)
    await until(lambda: two.list.known([ONE]), WITHIN)
    node.kill()
    for worker in (one, two):
        await until(partial(worker.doubts, NOBODY), 1)
        assert worker.list.known([ONE]) is True
        assert await worker.list.ask([ONE]) is True
        with pytest.raises(StoreUnavailable):
            await worker.list.ask([NOBODY])
    with pytest.raises(StoreUnavailable):
        await one.list.revoke([TWO], 60)
    assert one.list.known([TWO]) is True, "here it is refused all the same"
    node.start()
    await until(lambda: two.list.known([TWO]), 10)
    for worker in (one, two):
        await until(worker.knows)
    assert node.command("PTTL", denied_prefix(b"gw:") + TWO.encode()) > 0, "written when Redis was back"


async def test_a_frozen_redis_is_in_doubt_after_half_a_second(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one = await make_worker(node.tcp_url, timeout=0.3)
    node.signal(signal.SIGSTOP)
    took = await until(lambda: not one.knows(), WITHIN)
    with pytest.raises(StoreUnavailable):
        await one.list.ask([NOBODY])
    node.signal(signal.SIGCONT)
    back = await until(one.knows)
    print(f"in doubt after {took:.3f} s, sure again after {back:.3f} s")
    assert took <= 3 * FRESH


async def test_what_could_not_be_written_is_tried_once_more_at_the_end(lab: Lab) -> None:
    node = lab.node()
    link = RedisLink(RedisOptions(node.url, timeout=0.3))
    denylist = RedisDenylist(link, "gw:", longest=LONGEST)
    node.signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailable):
        await denylist.revoke([ONE], 60)
    node.signal(signal.SIGCONT)
    await denylist.close()
    await link.close()
    assert node.command("KEYS", "gw:*") == [b"gw:revoked:s:one"]


async def test_a_replica_that_has_to_have_it_has_it(lab: Lab) -> None:
    master = lab.node()
    link = RedisLink(RedisOptions(master.url, wait_replicas=1, timeout=5.0))
    denylist = RedisDenylist(link, "gw:", longest=LONGEST)
    replica = lab.replica_of(master)
    await denylist.revoke([ONE, TWO], 60)
    assert sorted(replica.command("KEYS", "gw:*")) == [b"gw:revoked:j:two", b"gw:revoked:s:one"]
    await denylist.close()
    await link.close()


async def test_a_user_who_may_not_be_told_or_not_read_is_asked_for_every_token(
    lab: Lab, make_worker: MakeWorker
) -> None:
    """Slower, and as safe."""
    node = lab.node()
    rights = ["on", ">secret", "~gw:*", "&__redis__:invalidate", "-@all", "+eval", "+exists", "+pttl", "+del", "+set"]
    told = ["+ping", "+client|id", "+client|tracking", "+subscribe"]
    for lacking, more in (("scan", told), ("tracking", ["+scan"])):
        node.command("ACL", "SETUSER", "gw", "reset", *rights, *more)
        one = await make_worker(node.url, wait=False, username="gw", password="secret")
        for _ in range(30):
            assert one.list.known([NOBODY]) is None, lacking
            await asyncio.sleep(0.01)
        assert await one.list.ask([NOBODY]) is False
        await one.list.revoke([lacking], 60)
        assert await one.list.ask([lacking]) is True
        await one.close()


def heard(node: Node) -> int:
    """Commands, without our own INFO."""
    stats = node.command("INFO", "stats")
    text = stats if isinstance(stats, dict) else dict(line.split(":", 1) for line in stats.decode().split())
    return int(text["total_commands_processed"])


async def is_left_alone(node: Node, windows: int = 4) -> bool:
    """Is nothing heard but our own questions?"""
    own = min(later - earlier for earlier, later in itertools.pairwise([heard(node) for _ in range(5)]))
    before = heard(node)
    for _ in range(windows):
        await asyncio.sleep(0.25)  # a PING would be heard in each of these
        before, last = heard(node), before
        if before - last != own:
            return False
    return True


async def test_while_nobody_asks_redis_is_left_alone(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one, two = await make_worker(node.tcp_url), await make_worker(node.tcp_url, wait=False)
    one.is_used = two.is_used = False
    deadline = time.monotonic() + 10
    while not await is_left_alone(node):
        assert time.monotonic() < deadline
    node.command("FLUSHALL")
    assert await is_left_alone(node), "not even what was lost is read before somebody asks"
    node.command("SET", denied_prefix(b"gw:") + ONE.encode(), "", "PX", 60_000)
    await until(lambda: one.list._revoked.has([ONE]), WITHIN)
    back = await until(one.knows)
    print(f"sure again {back:.3f} s after the first one asked")


# -- a full Redis
async def test_revoking_works_on_a_full_redis(lab: Lab, make_worker: MakeWorker) -> None:
    node = lab.node()
    one, two = [await make_worker(node.tcp_url) for _ in range(2)]
    node.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        await one.link.pipeline([("SET", "gw:other", "v")])
    await one.list.revoke([ONE, TWO], 60)
    await until(lambda: two.list.known([ONE]) and two.list.known([TWO]), WITHIN)
    assert node.command("PTTL", "gw:revoked:s:one") > 50_000


# -- a Cluster
@pytest.mark.slow
async def test_a_cluster_tells_of_every_node(lab: Lab, make_worker: MakeWorker) -> None:
    nodes = lab.cluster(3)
    where: dict[str, Any] = {"cluster": True, "nodes": (nodes[0].address,)}
    one = await make_worker(**where)
    many = [session_key(str(number)) for number in range(60)]
    await one.list.revoke(many, 60)
    assert all(node.command("DBSIZE") for node in nodes), "they are in many slots"
    two = await make_worker(**where)
    three = RedisDenylist(one.link, "gw:", longest=LONGEST)
    assert all(two.list.known([name]) for name in many)
    assert await three.ask([NOBODY, *many]) is True
    assert await three.ask([NOBODY, ONE, TWO]) is False
    fresh = [token_key(str(next(_fresh))) for _ in range(60)]
    await one.list.revoke(fresh, 60)
    took = await until(lambda: all(two.list.known([name]) for name in fresh), WITHIN)
    print(f"60 ids told after {took * 1000:.2f} ms")
    nodes[2].kill()
    await until(lambda: two.list.known([NOBODY]) is None, 2)
    assert all(two.list.known([name]) for name in (*many, *fresh))


@pytest.mark.slow
async def test_a_cluster_waits_for_the_replicas_of_each_key(lab: Lab) -> None:
    nodes = lab.cluster(2)
    replica = lab.cluster_node()
    replica.command("CLUSTER", "MEET", *nodes[0].address)
    name = nodes[0].command("CLUSTER", "MYID").decode()
    wait_until(lambda: name in replica.command("CLUSTER", "NODES").decode(), what="a replica that knows its master")
    replica.command("CLUSTER", "REPLICATE", name)
    wait_until(lambda: nodes[0].command("WAIT", 1, 100) == 1, what="a replica in step")
    link = RedisLink(RedisOptions("redis://", cluster=True, nodes=(nodes[0].address,), wait_replicas=1, timeout=2.0))
    denylist = RedisDenylist(link, "gw:", longest=LONGEST)
    many = [session_key(str(number)) for number in range(30)]
    with pytest.raises(StoreUnavailable, match="replicas"):
        await denylist.revoke(many, 60)  # those on the other master have none
    assert sum(node.command("DBSIZE") for node in nodes) >= 16, "the first ones were written all the same"
    await link.close()


# -- for sessions
class Broken:
    """A denylist that tells nobody."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], float]] = []

    def known(self, ids: Sequence[str]) -> bool | None:
        return None

    async def ask(self, ids: Sequence[str]) -> bool:
        raise StoreUnavailable("away, says the test")

    async def revoke(self, ids: Sequence[str], seconds: float) -> None:
        self.asked.append((tuple(ids), seconds))
        raise StoreUnavailable("away, says the test")

    def start(self) -> None: ...

    async def close(self) -> None: ...


async def test_a_sessions_end_fails_for_no_denylist_and_is_told_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    clock, broken = Clock(), Broken()
    ends = TokenEnds(broken, 310, clock)
    for _ in range(5):
        await ends(["one", "two"])
    assert broken.asked == [(("s:one", "s:two"), 310)] * 5
    assert len(caplog.records) == 1
    clock.now += 1
    await ends(["one"])
    assert len(caplog.records) == 2


async def test_the_tokens_of_ended_sessions_are_revoked(denylist: Denylist) -> None:
    await TokenEnds(denylist, 310)(["one", "two"])
    assert denylist.known([session_key("one")]) is True
    assert denylist.known([session_key("two")]) is True
