"""What stands in Redis: it gives nothing away, and whatever has become of it is an unknown session, never a wrong one."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing, MasterKey, b64url
from gateway.core.sessions import Card, Session, SessionRecord, Visitor
from gateway.core.tickets import session_tickets
from gateway.store.announcements import Announcements
from gateway.store.engine import SessionEngine
from gateway.store.redis_server import RedisServer
from gateway.store.serializers import serializer_named
from gateway.store.sessions import Lost, Sessions
from gateway.store.values import NAME_BYTES, Pointer, SealBroken, UnknownKey, Values, name_of, pointed_name
from tests.core.tables import table
from tests.store.engines import REDIS, Place
from tests.store.session_lab import (
    ALICE,
    BOB,
    FIREFOX,
    NEW_KEY,
    OLD_KEY,
    REVOKED,
    RING,
    UNKNOWN,
    Clock,
    find,
    fresh_record,
    informed,
    living,
    make_sessions,
    settled,
)

JSON = serializer_named("json")
VALUES = Values(RING, JSON)
SECRETIVE = Identity("id-of-somebody", "name-of-somebody", "shown-of-somebody", "mail@of-somebody", source="src-of-it")


@pytest.fixture
async def engine(redis_server: RedisServer, tmp_path: Any) -> AsyncIterator[SessionEngine]:
    async with REDIS.open(Place(tmp_path, redis_server.url), 60.0) as made:
        await made.announce([OLD_KEY.id.hex()])
        yield made


@pytest.fixture
async def sessions(engine: SessionEngine) -> Sessions:
    return await informed(make_sessions(engine, clock=Clock()))


def key_of(session: Session, kind: str = "s") -> bytes:
    return kind.join(("t:", ":{")).encode() + name_of(session.id) + b"}"


async def sign_in(sessions: Sessions, user: Identity = ALICE, **data: Any) -> Session:
    return await sessions.create(fresh_record(sessions._clock, user, **data), FIREFOX)


def corruptions(caplog: pytest.LogCaptureFixture) -> int:
    return sum(
        entry.name == "gateway.sessions" and entry.levelno == logging.ERROR and "session_corrupt" in entry.getMessage()
        for entry in caplog.records
    )


# -- a value alone
def test_a_record_comes_back_under_its_id_and_name_only() -> None:
    record = SessionRecord(1.5, 2.5, ALICE, 60, {"x": [1]}, None, 2.0, "before")
    mine, other = os.urandom(32), os.urandom(32)
    value = VALUES.record(mine, name_of(mine), record)
    assert VALUES.open(mine, name_of(mine), value) == record
    for session_id, name in [(other, name_of(mine)), (mine, name_of(other)), (other, name_of(other))]:
        with pytest.raises(SealBroken):
            VALUES.open(session_id, name, value)


def test_a_pointer_comes_back_and_its_name_can_be_read_without_a_key() -> None:
    old, new = os.urandom(32), os.urandom(32)
    value = VALUES.pointer(old, name_of(old), new)
    assert VALUES.open(old, name_of(old), value) == Pointer(new)
    assert pointed_name(value) == name_of(new)
    assert new not in value
    assert pointed_name(VALUES.record(old, name_of(old), SessionRecord(1, 1))) is None


@pytest.mark.parametrize(
    "value", [b"", b"P", b"P" * 17, b"P" * 38, b"P" * 17 + b"\xff" * 22, b"P" * 17 + b"=" * 22, b"P" + bytes(100)]
)
def test_what_only_begins_like_a_pointer_points_nowhere(value: bytes) -> None:
    assert pointed_name(value) is None


def test_every_truncation_and_every_changed_byte_is_found_out() -> None:
    session_id, new_id = os.urandom(32), os.urandom(32)
    name = name_of(session_id)
    record = VALUES.record(session_id, name, SessionRecord(1, 1, ALICE, data={"x": 1}))
    for value in (record, VALUES.pointer(session_id, name, new_id)):
        bad = [value[:length] for length in range(len(value))] + [value + b"\x00", value + value]
        bad += [
            value[:at] + bytes([value[at] ^ flip]) + value[at + 1 :] for at in range(len(value)) for flip in (1, 128)
        ]
        for each in bad:
            with pytest.raises((SealBroken, UnknownKey)):
                VALUES.open(session_id, name, each)
        kinds = [bytes([kind]) + value[1:] for kind in range(256) if kind != value[0]]
        for each in kinds:
            with pytest.raises(SealBroken):
                VALUES.open(session_id, name, each)


def test_a_card_opens_under_its_name_only_and_says_nothing_else() -> None:
    session_id = os.urandom(32)
    name = name_of(session_id)
    card = Card("h", "s", "7", "alice", "192.0.2.7", "Firefox", 1.5, 2.5)
    seen = VALUES.card(name, card)
    assert VALUES.open_card(name, seen) == card
    assert VALUES.open_card(name_of(os.urandom(32)), seen) is None
    changed = [seen[:at] + bytes([seen[at] ^ 1]) + seen[at + 1 :] for at in range(len(seen))]
    for bad in [None, b"", b"C", *(seen[:length] for length in range(len(seen))), *changed, os.urandom(99)]:
        assert VALUES.open_card(name, bad) is None
    assert Values(KeyRing([NEW_KEY]), JSON).open_card(name, seen) is None


def test_no_two_values_and_no_two_versions_are_alike() -> None:
    session_id = os.urandom(32)
    values = [VALUES.record(session_id, name_of(session_id), SessionRecord(1, 1)) for _ in range(1000)]
    assert len({value[:17] for value in values}) == 1000


# -- whatever stands in Redis in place of a record
class OtherVersion(Values):
    """Writes what a later version might."""

    def plain(self, record: SessionRecord) -> bytes:
        frame = json.dumps({**record.dump(), "v": 3}).encode()
        return len(frame).to_bytes(4, "big") + frame


def sealed(plain: bytes) -> Callable[[Session, bytes], bytes]:
    """By somebody who has the key, so that only the content is wrong."""

    class Whatever(Values):
        def plain(self, record: SessionRecord) -> bytes:
            return plain

    return lambda session, value: Whatever(RING, JSON).record(session.id, name_of(session.id), session.record)


def framed(frame: Any, data: bytes = b"") -> bytes:
    text = json.dumps(frame).encode()
    return len(text).to_bytes(4, "big") + text + data


GOOD = {"v": 2, "c": 1.0, "m": 1.0}
PUT: dict[str, Callable[[Session, bytes], bytes]] = {
    "empty": lambda session, value: b"",
    "garbage": lambda session, value: os.urandom(200),
    "text": lambda session, value: b'{"user": "admin"}',
    "a pickle": lambda session, value: b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
    "zeros": lambda session, value: bytes(300),
    "huge": lambda session, value: value[:17] + os.urandom(8 << 20),
    "the head alone": lambda session, value: value[:17],
    "cut": lambda session, value: value[:-1],
    "longer": lambda session, value: value + b"\x00",
    "twice": lambda session, value: value + value,
    "another id": lambda session, value: VALUES.record(os.urandom(32), name_of(session.id), session.record),
    "another name": lambda session, value: VALUES.record(session.id, name_of(os.urandom(32)), session.record),
    "a card": lambda session, value: VALUES.card(name_of(session.id), session.card),
    "a card that says record": lambda session, value: b"R" + VALUES.card(name_of(session.id), session.card)[1:],
    "a pointer of somebody else": lambda session, value: VALUES.pointer(
        os.urandom(32), name_of(session.id), session.id
    ),
    "a pointer with another's name": lambda session, value: _renamed(
        VALUES.pointer(session.id, name_of(session.id), os.urandom(32))
    ),
    "a pointer to itself": lambda session, value: VALUES.pointer(session.id, name_of(session.id), session.id),
    "a key that nobody announced": lambda session, value: Values(KeyRing([NEW_KEY]), JSON).record(
        session.id, name_of(session.id), session.record
    ),
    "a changed key id": lambda session, value: value[:1] + bytes([value[1] ^ 1]) + value[2:],
    "another version": lambda session, value: OtherVersion(RING, JSON).record(
        session.id, name_of(session.id), session.record
    ),
    "another serializer": lambda session, value: Values(RING, serializer_named("msgpack")).record(
        session.id, name_of(session.id), session.record
    ),
    "sealed nothing": sealed(b""),
    "sealed garbage": sealed(b"\xff" * 50),
    "a length too long": sealed(b"\xff\xff\xff\xff{}"),
    "no object": sealed(framed([])),
    "null": sealed(framed(None)),
    "no times": sealed(framed({"v": 2})),
    "a time that is none": sealed(framed({**GOOD, "c": "x"})),
    "a time without end": sealed(framed({**GOOD, "c": 1e999})),
    "a user that is none": sealed(framed({**GOOD, "u": {"id": "1"}})),
    "a user of numbers": sealed(framed({**GOOD, "u": {**ALICE.dump(), "id": 7}})),
    "an expiry that is none": sealed(framed({**GOOD, "e": "never"})),
    "data that are a list": sealed(framed(GOOD, b"[1]")),
    "data that are cut": sealed(framed(GOOD, b'{"a": ')),
    "data nested without end": sealed(framed(GOOD, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}")),
    "a frame nested without end": sealed((10000).to_bytes(4, "big") + b"[" * 5000 + b"]" * 5000),
}


def _renamed(pointer: bytes) -> bytes:
    return pointer[:17] + name_of(os.urandom(32)) + pointer[17 + NAME_BYTES :]


@pytest.mark.parametrize("put", table(PUT))
async def test_whatever_is_put_in_place_of_a_record_is_an_unknown_session_and_said_once(
    sessions: Sessions, redis: Redis, caplog: pytest.LogCaptureFixture, put: Callable[[Session, bytes], bytes]
) -> None:
    session, bystander = await sign_in(sessions, x=1), await sign_in(sessions, BOB)
    key = key_of(session)
    value = redis.get(key)
    assert isinstance(value, bytes)
    redis.set(key, put(session, value), keepttl=True)
    for _ in range(3):
        assert await find(sessions, sessions.cookie_value(session)) == UNKNOWN
    await settled(sessions)
    assert corruptions(caplog) == 1
    assert (await living(sessions, sessions.cookie_value(bystander))).record.user == BOB
    await sessions.delete(session)
    assert isinstance(await find(sessions, sessions.cookie_value(session)), Lost)
    left = redis.get(key)
    assert left is None or (isinstance(left, bytes) and pointed_name(left)), "it can be ended all the same"


async def test_every_truncation_and_every_changed_byte_in_redis_is_an_unknown_session(
    engine: SessionEngine, redis: Redis
) -> None:
    sessions = await informed(make_sessions(engine))
    session = await sign_in(sessions, x=1)
    key, cookie = key_of(session), sessions.cookie_value(session)
    value = redis.get(key)
    assert isinstance(value, bytes)
    bad = [value[:length] for length in range(len(value))]
    bad += [value[:at] + bytes([value[at] ^ random.randrange(1, 256)]) + value[at + 1 :] for at in range(len(value))]
    for each in bad:
        redis.set(key, each)
        assert await find(sessions, cookie) == UNKNOWN
    redis.set(key, value)
    assert (await living(sessions, cookie)).record.data == {"x": 1}


async def test_the_record_of_one_under_the_key_of_another_is_nobodys(sessions: Sessions, redis: Redis) -> None:
    mine, theirs = await sign_in(sessions, x=1), await sign_in(sessions, BOB)
    redis.copy(key_of(mine).decode(), key_of(theirs).decode(), replace=True)
    redis.copy(key_of(mine, "t").decode(), key_of(theirs, "t").decode(), replace=True)
    assert await find(sessions, sessions.cookie_value(theirs)) == UNKNOWN
    assert (await living(sessions, sessions.cookie_value(mine))).record.user == ALICE


async def test_an_older_record_of_the_same_session_is_no_other_user(sessions: Sessions, redis: Redis) -> None:
    """What cannot be prevented by sealing (a copy put back) stays within one session."""
    session = await sign_in(sessions, x=1)
    old = redis.get(key_of(session))
    assert isinstance(old, bytes)
    await sessions.save(session, replace(session.record, data={"x": 2}))
    redis.set(key_of(session), old)
    found = await living(sessions, sessions.cookie_value(session))
    assert (found.record.user, found.record.data) == (ALICE, {"x": 1})


@pytest.mark.parametrize("what", [b"junk", os.urandom(120), b"C" + bytes(80)])
async def test_a_spoilt_card_ends_no_session(sessions: Sessions, redis: Redis, what: bytes) -> None:
    session = await sign_in(sessions)
    redis.set(key_of(session, "t"), what, keepttl=True)
    found = await living(sessions, sessions.cookie_value(session))
    assert (found.card.username, found.card.user_id) == (ALICE.username, ALICE.id)
    await sessions.touch(found)
    assert sessions.users is not None
    assert [one.card.username for one in await sessions.users.of(ALICE)] == [ALICE.username]


# -- eviction
async def test_an_evicted_record_is_an_unknown_session_and_nothing_corrupt(
    sessions: Sessions, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    session = await sign_in(sessions)
    redis.delete(key_of(session))
    assert await find(sessions, sessions.cookie_value(session)) == UNKNOWN
    assert corruptions(caplog) == 0
    assert sessions.users is not None
    assert await sessions.users.of(ALICE) == []


async def test_a_session_whose_activity_was_evicted_lives_and_can_be_ended_by_its_user(
    sessions: Sessions, redis: Redis
) -> None:
    session, keeper = await sign_in(sessions), await sign_in(sessions)
    redis.delete(key_of(session, "t"))
    assert sessions.users is not None
    assert len(await sessions.users.of(ALICE)) == 2
    assert len(await sessions.users.of(ALICE)) == 2, "it is still noted after it was looked at"
    await living(sessions, sessions.cookie_value(session))
    assert await sessions.end_others(keeper) == 1
    assert not isinstance(await find(sessions, sessions.cookie_value(session)), Session)


async def test_an_evicted_activity_comes_back_with_the_next_touch(sessions: Sessions, redis: Redis) -> None:
    session = await sign_in(sessions)
    redis.delete(key_of(session, "t"))
    await sessions.touch(await living(sessions, sessions.cookie_value(session)))
    assert redis.exists(key_of(session, "t"))


# -- who reads Redis learns nothing
async def everything_in_redis(redis: Redis) -> bytes:
    parts: list[Any] = []
    for key in redis.keys("*"):
        kind = redis.type(key)
        parts.append(key)
        if kind == b"string":
            parts.append(redis.get(key))
        elif kind == b"zset":
            parts += [member for member, _ in redis.zrange(key, 0, -1, withscores=True)]
        else:
            assert kind == b"hash", kind
            parts += [part for pair in redis.hgetall(key).items() for part in pair]
    return b"\n".join(parts)


async def make_history(sessions: Sessions) -> list[Session]:
    visitor = Visitor("203.0.113.77", "browser-of-somebody")
    made = [await sessions.create(fresh_record(sessions._clock, SECRETIVE, key_of_data="secret-data"), visitor)]
    made.append(await sessions.rotate(made[0]))
    made.append(await sessions.save(made[1], replace(made[1].record, data={"other_key": "second-secret"})))
    made.append(await sessions.create(fresh_record(sessions._clock, None, key_of_data="secret-data"), visitor))
    await sessions.touch(made[2])
    await sessions.delete(made[3])
    return made


async def test_redis_sees_neither_ids_nor_users_nor_data_nor_addresses(sessions: Sessions, redis: Redis) -> None:
    made = await make_history(sessions)
    seen = await everything_in_redis(redis)
    assert len(seen) > 500
    for session in made:
        ticket = sessions.cookie_value(session).encode()
        for secret in (session.id, session.id.hex().encode(), b64url(session.id).encode(), ticket, ticket[8:40]):
            assert secret not in seen
        assert session.card.handle.encode() not in seen
    for word in (b"somebody", b"secret", b"key_of_data", b"203.0.113.77", b"src-of-it"):
        assert word not in seen
    assert OLD_KEY._secret not in seen


async def test_a_copy_of_redis_and_the_master_key_without_the_cookies_open_no_record(
    sessions: Sessions, redis: Redis
) -> None:
    """Founding decision 3: the key of a record is derived from its id, which is not in Redis."""
    await make_history(sessions)
    keys = [OLD_KEY._secret, *(OLD_KEY.derived(purpose) for purpose in (b"session record", b"session card"))]
    tried = 0
    for name in redis.keys("t:s:{*}"):
        value = redis.get(name)
        assert isinstance(value, bytes)
        for session_id in (bytes(32), name[5:27].ljust(32, b"\0"), OLD_KEY._secret):
            with pytest.raises(SealBroken):
                VALUES.open(session_id, name[5:-1], value)
        for key in keys:
            with pytest.raises(Exception):  # noqa: B017 - whatever the cipher says
                AESGCM(key).decrypt(value[5:17], value[17:], b"R" + name[5:-1])
            tried += 1
    assert tried >= 6


async def test_a_copy_of_redis_under_another_master_key_reveals_nothing(
    sessions: Sessions, engine: SessionEngine, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    made = await make_history(sessions)
    ring = KeyRing([MasterKey(os.urandom(32))])
    thief = make_sessions(engine, ring=ring, announcements=Announcements(engine, ring, poll=None))
    assert thief.users is not None
    redis.delete("t:s:=keys")
    await informed(thief)
    assert await thief.users.of(SECRETIVE) == []
    assert {one.card.username for one in [one async for one in thief.users.everything()]} == {""}
    for session in made:
        assert thief.presented([sessions.cookie_value(session)]) is None
        assert await find(thief, session_tickets(ring).sign(session.id)) in (UNKNOWN, *_revoked(session, made))
    assert corruptions(caplog) >= 1


def _revoked(session: Session, made: list[Session]) -> list[Any]:
    return [REVOKED] if session is made[3] else []
