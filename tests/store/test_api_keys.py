"""API keys in a real Redis: found by all processes, forged by none, and gone everywhere as soon as they are revoked."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from redis import Redis

from gateway.core.access import Access
from gateway.core.api_keys import ApiKey, hash_of, make_key
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.keys import KeyRing, parse_ring
from gateway.errors import RequestError, SourceUnavailable, StoreUnavailable
from gateway.store.api_key_book import ApiKeyBook
from gateway.store.api_key_cache import ApiKeyCache
from gateway.store.api_key_records import Records
from gateway.store.api_key_store import ApiKeyStore, MemoryApiKeyStore, Sealed
from gateway.store.api_keys import ApiKeys
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_api_keys import RedisApiKeyStore, tracked_prefix
from gateway.store.redis_server import RedisServer
from gateway.store.redis_tracking import Invalidations
from gateway.store.values import SealBroken
from tests.harness import MASTER, OTHER_MASTER, ROOT
from tests.redis_lab import Lab

ADA = Identity("1", "ada", usertype="mgr", groups=("sales",), source="file:a")
BOB = Identity("2", "bob", source="file:a")
OLD = parse_ring(MASTER)
BOTH = parse_ring(f"{OTHER_MASTER}\n{MASTER}")
NEW = parse_ring(OTHER_MASTER)
DAY = 86400.0
PREFIX = "k:"


@dataclass(slots=True)
class Crowd:
    """Who there is by now. ``away``: nobody says who somebody is that was not looked up."""

    now: dict[str, Identity] = field(default_factory=lambda: {"1": ADA, "2": BOB})
    looked_up: set[str] | None = None
    away: bool = False
    follows: bool = True

    def is_followed(self, user: Identity) -> bool:
        return self.follows

    def is_known(self, user: Identity) -> bool:
        return self.looked_up is None or user.id in self.looked_up

    def person(self, user: Identity) -> Identity | None:
        return self.now.get(user.id)

    async def learn(self, user: Identity) -> None:
        if self.away:
            raise SourceUnavailable("away")
        assert self.looked_up is not None
        self.looked_up.add(user.id)


@dataclass(slots=True)
class Process:
    """What one gateway has of API keys."""

    keys: ApiKeys
    book: ApiKeyBook
    store: ApiKeyStore
    people: Crowd
    link: RedisLink | None = None


@asynccontextmanager
async def process(
    server: RedisServer | RedisOptions | None, ring: KeyRing = OLD, **given: Any
) -> AsyncIterator[Process]:
    """``server`` None: engine memory."""
    people, clock = given.pop("people", None) or Crowd(), given.pop("clock", time.time)
    access, most = given.pop("access", Access()), given.pop("most", 5)
    records, invalidations, link = Records(ring), None, None
    store: ApiKeyStore = MemoryApiKeyStore()
    if server is not None:
        link = RedisLink(server if isinstance(server, RedisOptions) else RedisOptions(server.url))
        store, prefix = RedisApiKeyStore(link, PREFIX), tracked_prefix(PREFIX.encode())

        def told(names: Sequence[bytes]) -> None:
            keys.changed([name[len(prefix) :].decode() for name in names])

        invalidations = Invalidations(link, prefix, on_names=told, on_lost=lambda: keys.anything_changed())

    def is_live() -> bool:
        if invalidations is not None:
            invalidations.note_use()
        return invalidations is None or invalidations.is_live

    keys = ApiKeys(store, records, people, access=access, is_live=is_live, clock=clock)
    book = ApiKeyBook(store, records, people, access=access, most=most, on_changed=keys.changed, clock=clock)
    if invalidations is not None:
        invalidations.start()
    try:
        yield Process(keys, book, store, people, link)
    finally:
        await keys.close()
        if invalidations is not None:
            await invalidations.close()
        if link is not None:
            await link.close()


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """Empty."""
    return redis_server


@pytest.fixture(params=["redis", "memory"])
def either(request: pytest.FixtureRequest) -> RedisServer | None:
    """Each store."""
    server: RedisServer | None = request.getfixturevalue("server") if request.param == "redis" else None
    return server


async def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


def code(found: ApiKey | BadToken | None) -> str:
    return found.event if isinstance(found, BadToken) else "good" if found is not None else "ask"


# -- every store
async def test_a_key_opens_what_its_user_may_until_it_is_revoked(either: RedisServer | None) -> None:
    async with process(either) as one:
        key, text = await one.book.make(ADA, "backup", ["orders"], None)
        found = await one.keys.find(text)
        assert isinstance(found, ApiKey)
        assert (found.id, found.name, found.user, found.routes) == (key.id, "backup", ADA, frozenset({"orders"}))
        assert await one.book.revoke(key.id, ADA) == key
        assert code(await one.keys.find(text)) == "api_key_unknown"
        assert await one.book.revoke(key.id, ADA) is None
        assert await one.book.of(ADA) == await one.book.everybodys() == []


async def test_what_was_found_is_known_without_asking_and_is_the_same_object(either: RedisServer | None) -> None:
    async with process(either) as one:
        _, text = await one.book.make(ADA, "backup", [], None)
        one.keys.known(text)
        await one.keys.find(text)
        found: list[ApiKey] = []

        def is_known() -> bool:
            known = one.keys.known(text)
            if isinstance(known, ApiKey):
                found.append(known)
            return bool(found)

        async with asyncio.timeout(10):
            while not is_known():
                await one.keys.find(text)
                await asyncio.sleep(0.01)
        assert one.keys.known(text) is one.keys.known(text)


async def test_another_secret_under_the_id_of_a_key_opens_nothing(either: RedisServer | None) -> None:
    async with process(either) as one:
        id_bytes = bytes(range(8))
        key_id, text = make_key(id_bytes, bytes(32))
        key = ApiKey(key_id, "x", ADA, created=time.time(), hash=hash_of(text))
        records = Records(OLD)
        sealed = Sealed(key_id, records.owners(ADA)[0], records.seal(key), None)
        assert await one.store.create(sealed, 0, 5, time.time())
        assert code(await one.keys.find(text)) == "good"
        assert code(await one.keys.find(make_key(id_bytes, bytes(range(32)))[1])) == "api_key_unknown"


async def test_a_key_ends_at_its_time_also_when_it_is_known(either: RedisServer | None) -> None:
    ahead = 0.0
    async with process(either, clock=lambda: time.time() + ahead) as one:
        _, text = await one.book.make(ADA, "backup", [], time.time() + 3600)
        assert code(await one.keys.find(text)) == "good"
        ahead = 3601.0
        assert code(one.keys.known(text)) in ("api_key_expired", "ask")
        assert code(await one.keys.find(text)) == "api_key_expired"
        (listed,) = await one.book.of(ADA)
        assert listed.is_over(time.time() + ahead)


async def test_nobody_has_more_living_keys_than_he_may(either: RedisServer | None) -> None:
    ahead = 0.0
    async with process(either, clock=lambda: time.time() + ahead, most=2) as one:
        first, _ = await one.book.make(ADA, "1", [], time.time() + 60)
        await one.book.make(ADA, "2", [], None)
        for _ in range(2):
            with pytest.raises(RequestError) as caught:
                await one.book.make(ADA, "3", [], None)
            assert caught.value.reason.code == "too_many_keys"
        await one.book.make(BOB, "his own", [], None)
        assert [key.name for key in await one.book.of(ADA)] == ["2", "1"]
        ahead = 61.0
        await one.book.make(ADA, "3", [], None)  # one has expired
        await one.book.revoke(first.id, ADA)
        assert {key.name for key in await one.book.of(ADA)} == {"2", "3"}


async def test_many_at_once_get_no_more_than_one_may_have(either: RedisServer | None) -> None:
    async with process(either, most=3) as one:
        asked = (one.book.make(ADA, str(n), [], None) for n in range(10))
        made = [made for made in await asyncio.gather(*asked, return_exceptions=True) if isinstance(made, tuple)]
        assert len(made) == len(await one.book.of(ADA)) == 3
        assert {code(await one.keys.find(text)) for _, text in made} == {"good"}


async def test_everybody_sees_and_revokes_his_own_keys_only(either: RedisServer | None) -> None:
    async with process(either) as one:
        key, text = await one.book.make(ADA, "hers", [], None)
        assert await one.book.of(BOB) == []
        assert await one.book.revoke(key.id, BOB) is None
        other_source = replace(ADA, source="file:b")
        assert await one.book.of(other_source) == []
        assert await one.book.revoke(key.id, other_source) is None
        assert code(await one.keys.find(text)) == "good"
        assert [known.id for known in await one.book.everybodys()] == [key.id]


async def test_when_a_key_was_used_last_is_told(either: RedisServer | None) -> None:
    async with process(either) as one:
        key, text = await one.book.make(ADA, "backup", [], time.time() + DAY)
        found = await one.keys.find(text)
        assert isinstance(found, ApiKey)
        assert (await one.book.of(ADA))[0].last_used is None
        before = int(time.time())
        one.keys.note_use(found)
        async with asyncio.timeout(10):
            while (used := (await one.book.of(ADA))[0].last_used) is None:
                await asyncio.sleep(0.01)
        assert before <= used <= time.time()
        assert code(await one.keys.find(text)) == "good"
        await one.book.revoke(key.id)


@pytest.mark.parametrize("key_id", ["", "all", "*", "x" * 11, "u:abc", "\0", "é" * 11, "a" * 1000])
async def test_no_such_key_can_be_revoked(either: RedisServer | None, key_id: str) -> None:
    async with process(either) as one:
        await one.book.make(ADA, "backup", [], None)
        assert await one.book.revoke(key_id) is None
        assert len(await one.book.everybodys()) == 1


# -- whose it is
async def test_the_rights_are_those_of_today(either: RedisServer | None) -> None:
    async with process(either) as one:
        _, text = await one.book.make(ADA, "backup", [], None)
        await one.keys.find(text)
        one.people.now["1"] = now = replace(ADA, usertype="", groups=("other",), generation=7)
        found = await one.keys.find(text)
        assert isinstance(found, ApiKey)
        assert found.user is now, "also after a change of the password"
        del one.people.now["1"]
        assert code(await one.keys.find(text)) == "api_key_user"


async def test_who_may_not_have_keys_any_more_has_none_that_works(either: RedisServer | None) -> None:
    async with process(either, access=Access(groups=frozenset({"sales"}))) as one:
        _, text = await one.book.make(ADA, "backup", [], None)
        with pytest.raises(RequestError) as caught:
            await one.book.make(BOB, "backup", [], None)
        assert caught.value.reason.code == "keys_not_allowed"
        assert code(await one.keys.find(text)) == "good"
        one.people.now["1"] = replace(ADA, groups=())
        assert code(await one.keys.find(text)) == "api_key_user"


async def test_nobody_gets_a_key_whose_source_could_not_say_later_who_he_is() -> None:
    async with process(None, people=Crowd(follows=False)) as one:
        assert not one.book.may_make(ADA)
        with pytest.raises(RequestError):
            await one.book.make(ADA, "backup", [], None)


async def test_who_was_not_looked_up_yet_is_looked_up_before_his_key_opens_anything() -> None:
    people = Crowd(looked_up=set())
    async with process(None, people=people) as one:
        _, text = await one.book.make(ADA, "backup", [], None)
        people.now["1"] = demoted = replace(ADA, usertype="")
        assert code(one.keys.known(text)) == "ask"
        people.away = True
        with pytest.raises(StoreUnavailable):
            await one.keys.find(text)
        people.away = False
        found = await one.keys.find(text)
        assert isinstance(found, ApiKey)
        assert found.user is demoted
        assert one.keys.known(text) is found


async def test_a_stranger_who_knows_an_id_has_nobody_looked_up() -> None:
    people = Crowd(looked_up=set())
    async with process(None, people=people) as one:
        key, _ = await one.book.make(ADA, "backup", [], None)
        text = forged_text(key.id)
        assert code(await one.keys.find(text)) == "api_key_unknown"
        assert people.looked_up == set()


def forged_text(key_id: str) -> str:
    """A well-formed key with this id and a secret of our own."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for digit in key_id:
        number = number * 62 + digits.index(digit)
    made, text = make_key(number.to_bytes(8, "big"), bytes(32))
    assert made == key_id
    return text


# -- what stands in Redis
def record_of(redis: Redis, key: ApiKey) -> bytes:
    value = redis.get(f"{PREFIX}apikey:{key.id}")
    assert isinstance(value, bytes)
    return value


async def test_neither_the_secret_nor_who_has_keys_can_be_read_in_redis(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        key, text = await one.book.make(ADA, "backup of orders", [], None)
        one.keys.note_use(key)
        await until(lambda: len(redis.keys(PREFIX + "*")) == 4)
        names = redis.keys(PREFIX + "*")
        values: list[Any] = [redis.dump(name) for name in names]
        for word in (text.encode(), text[15:58].encode(), hash_of(text), b"ada", b"backup", b"file:a"):
            assert not any(word in part for part in (*names, *values)), word


async def test_everything_in_redis_ends_by_itself(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        for expires in (time.time() + DAY, None):
            key, _ = await one.book.make(ADA, "backup", [], expires)
            one.keys.note_use(key)
        await until(lambda: len(redis.keys(PREFIX + "*")) == 6)
        ends = {name: redis.pttl(name) for name in redis.keys(PREFIX + "*")}
        assert all(end > 0 for end in ends.values()), ends
        assert sum(7 * DAY < end / 1000 <= 8 * DAY for end in ends.values()) == 2, (
            "the record and its use: a week later"
        )


async def test_a_revoked_key_leaves_nothing_behind(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        key, _ = await one.book.make(ADA, "backup", [], None)
        one.keys.note_use(key)
        await until(lambda: len(redis.keys(PREFIX + "*")) == 4)
        await one.book.revoke(key.id)
        assert redis.keys(PREFIX + "*") == []


async def test_who_can_write_to_redis_can_forge_no_key(server: RedisServer, redis: Redis) -> None:
    """Another's record under a key of one's own, one sealed with another master key, one that is cut or changed."""
    async with process(server) as one:
        hers, _ = await one.book.make(ADA, "admin", [], None)
        his, text = await one.book.make(BOB, "mine", [], None)
        name, good = f"{PREFIX}apikey:{his.id}", record_of(redis, his)
        forged = [record_of(redis, hers), b"", b"K", good[:20], good[:-1], good + b"\0"]
        forged += [bytes([*good[:at], good[at] ^ 1, *good[at + 1 :]]) for at in (0, 6, 17, 40, len(good) - 1)]
        for value in forged:
            redis.set(name, value)
            assert code(await one.keys.find(text)) == "api_key_unknown", value
        stranger = Records(NEW).seal(replace(his, user=ADA))
        redis.set(name, stranger)
        with pytest.raises(StoreUnavailable):
            await one.keys.find(text)
        redis.set(name, good)
        assert code(await one.keys.find(text)) == "good"


async def test_an_entry_in_somebody_elses_list_shows_him_nothing(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        hers, _ = await one.book.make(ADA, "hers", [], None)
        his, _ = await one.book.make(BOB, "his", [], None)
        for owner in Records(OLD).owners(BOB):
            redis.zadd(f"{PREFIX}apikeys:u:{owner.decode()}", {hers.id: 1e15, "no id at all": 1e15, "x" * 11: 1e15})
        assert [key.id for key in await one.book.of(BOB)] == [his.id]


async def test_what_nobody_can_read_any_more_can_still_be_removed(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        key, _ = await one.book.make(ADA, "backup", [], None)
        redis.set(f"{PREFIX}apikey:{key.id}", b"nonsense")
        assert await one.book.revoke(key.id, ADA) is None
        assert await one.book.revoke(key.id) is not None
        assert redis.exists(f"{PREFIX}apikey:{key.id}") == 0


# -- several processes
async def test_a_key_revoked_in_one_process_is_refused_by_another_within_a_second(server: RedisServer) -> None:
    async with process(server) as one, process(server) as two:
        key, text = await one.book.make(ADA, "backup", [], None)
        async with asyncio.timeout(10):
            while code(two.keys.known(text)) != "good":  # from memory
                await two.keys.find(text)
                await asyncio.sleep(0.01)
        await one.book.revoke(key.id, ADA)
        began = time.monotonic()
        await until(lambda: code(two.keys.known(text)) != "good")
        assert time.monotonic() - began < 1.0
        assert code(await two.keys.find(text)) == "api_key_unknown"


async def test_who_only_asks_what_is_known_gets_an_answer_soon(server: RedisServer) -> None:
    """As for what a key holds open: nobody presents it again, and it must end when the key is revoked."""
    async with process(server) as one, process(server) as two:
        key, text = await one.book.make(ADA, "backup", [], None)
        await until(lambda: code(two.keys.known(text)) == "good")
        await one.book.revoke(key.id)
        await until(lambda: code(two.keys.known(text)) == "api_key_unknown", 1.0)


async def test_a_key_that_was_unknown_a_moment_ago_is_known_as_soon_as_it_is_made(server: RedisServer) -> None:
    async with process(server) as one, process(server) as two:
        key_id, text = make_key(bytes(range(8)), bytes(32))
        async with asyncio.timeout(10):
            while code(two.keys.known(text)) != "api_key_unknown":
                await two.keys.find(text)
                await asyncio.sleep(0.01)
        records, key = Records(OLD), ApiKey(key_id, "x", ADA, created=time.time(), hash=hash_of(text))
        await one.store.create(Sealed(key_id, records.owners(ADA)[0], records.seal(key), None), 0, 5, time.time())
        await until(lambda: code(two.keys.known(text)) == "good", 1.0)


async def test_without_redis_nobody_can_say_and_a_typo_is_still_a_typo(own_redis: RedisServer) -> None:
    async with process(own_redis) as one:
        _, text = await one.book.make(ADA, "backup", [], None)
        own_redis.kill()
        with pytest.raises(StoreUnavailable):
            await one.keys.find(text)
        assert code(await one.keys.find(text[:-1] + "0" if text[-1] != "0" else text[:-1] + "1")) == "api_key_malformed"


async def test_keys_outlive_their_master_key_once_a_process_has_begun_with_the_new_one(server: RedisServer) -> None:
    async with process(server) as one:
        key, text = await one.book.make(ADA, "backup", ["orders"], time.time() + DAY)
    async with process(server, BOTH) as two:
        assert code(await two.keys.find(text)) == "good"
        assert [known.id for known in await two.book.of(ADA)] == [key.id]
        assert await two.book.seal_again() == 1
        assert await two.book.seal_again() == 0
        assert [known.id for known in await two.book.of(ADA)] == [key.id], "once"
    async with process(server, NEW, most=1) as three:
        assert code(await three.keys.find(text)) == "good"
        assert [known.id for known in await three.book.of(ADA)] == [key.id]
        with pytest.raises(RequestError):
            await three.book.make(ADA, "one more", [], None)


async def test_the_limit_counts_keys_under_an_older_master_key(server: RedisServer) -> None:
    async with process(server, most=1) as one:
        await one.book.make(ADA, "backup", [], None)
    async with process(server, BOTH, most=1) as two:
        with pytest.raises(RequestError):
            await two.book.make(ADA, "one more", [], None)


async def test_a_record_that_was_revoked_meanwhile_is_not_sealed_again(server: RedisServer, redis: Redis) -> None:
    async with process(server) as one:
        key, _ = await one.book.make(ADA, "backup", [], None)
        record = record_of(redis, key)
        await one.book.revoke(key.id)
        sealed = Sealed(key.id, Records(BOTH).owners(ADA)[0], Records(BOTH).seal(key), None)
        await one.store.replace(sealed, record, time.time())
        assert redis.exists(f"{PREFIX}apikey:{key.id}") == 0


async def test_in_a_cluster_keys_are_made_found_listed_and_revoked() -> None:
    lab = Lab()
    try:
        nodes = lab.cluster(3)
        options = RedisOptions("redis://127.0.0.1", cluster=True, nodes=tuple(node.address for node in nodes))
        async with process(options, most=8) as one, process(options, most=8) as two:
            made = [await one.book.make(ADA, str(n), [], None) for n in range(8)]
            with pytest.raises(RequestError):
                await two.book.make(ADA, "one more", [], None)
            assert {code(await two.keys.find(text)) for _, text in made} == {"good"}
            two.keys.note_use(made[0][0])
            assert {key.name for key in await two.book.of(ADA)} == {str(n) for n in range(8)}
            for key, _ in made:
                await one.book.revoke(key.id, ADA)
            assert {code(await two.keys.find(text)) for _, text in made} == {"api_key_unknown"}
            assert await two.book.everybodys() == []
    finally:
        lab.close()


async def test_the_rights_that_the_documentation_gives_are_enough(server: RedisServer, redis: Redis) -> None:
    found = re.search(r"^user gateway on >PASSWORD (.+)$", (ROOT / "docs/redis.md").read_text(), re.M)
    assert found is not None
    operator: Any = redis
    operator.execute_command(
        "ACL", "SETUSER", "keys", "reset", "on", ">secret", *found[1].replace("gw:", PREFIX).split()
    )
    try:
        async with process(RedisOptions(server.url, "keys", password="secret")) as one:
            key, text = await one.book.make(ADA, "backup", [], time.time() + DAY)
            async with asyncio.timeout(10):
                while code(one.keys.known(text)) != "good":
                    await one.keys.find(text)
                    await asyncio.sleep(0.01)
            one.keys.note_use(key)
            await until(lambda: redis.exists(f"{PREFIX}apikeyused:{key.id}") == 1)
            assert [known.id for known in await one.book.of(ADA)] == [key.id]
            sealed = Sealed(key.id, Records(OLD).owners(ADA)[0], Records(OLD).seal(key), key.expires)
            await one.store.replace(sealed, record_of(redis, key), time.time())
            assert await one.book.revoke(key.id, ADA) is not None
    finally:
        operator.execute_command("ACL", "DELUSER", "keys")


# -- pure
def test_a_record_opens_under_its_own_id_only() -> None:
    records, (key_id, text) = Records(OLD), make_key(bytes(8), bytes(32))
    value = records.seal(ApiKey(key_id, "x", ADA, hash=hash_of(text)))
    assert records.open(key_id, value).user == ADA
    with pytest.raises(SealBroken):
        records.open(make_key(bytes([1] * 8), bytes(32))[0], value)


def test_an_answer_that_its_revocation_has_overtaken_is_not_kept() -> None:
    cache, key = ApiKeyCache(), ApiKey("a" * 11, "x", ADA)
    asking = cache.asking(key.id)
    cache.forget([key.id])
    cache.asked(key.id, asking, key, 0.0)
    assert cache.get(key.id) is None
    again = cache.asking(key.id)
    cache.forget_all()
    cache.asked(key.id, again, None, 0.0)
    assert not cache.is_unknown(key.id, 0.0)


def test_what_is_kept_is_bounded_and_the_unknown_are_asked_about_again() -> None:
    cache = ApiKeyCache(size=3)
    for number in range(10):
        known, unknown = f"k{number}", f"u{number}"
        cache.asked(known, cache.asking(known), ApiKey(known, "x", ADA), 0.0)
        cache.asked(unknown, cache.asking(unknown), None, 0.0)
    assert len(cache) == 6
    assert cache.get("k9") is not None
    assert cache.get("k0") is None
    assert cache.is_unknown("u9", 29.0)
    assert not cache.is_unknown("u9", 31.0)
