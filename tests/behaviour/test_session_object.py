"""The session object, method by method (docs/sessions-for-django-users.md), on a real store and outside any request."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.keys import b64url
from gateway.core.sessions import Visitor
from gateway.errors import SessionInterrupted, StoreUnavailable, TooManySessions
from gateway.store.directory import Cap
from gateway.store.redis_server import RedisServer
from gateway.store.serializers import UnwritableValue
from gateway.store.sessions import Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession
from gateway.web.storage import SessionStorage, with_session
from tests.behaviour.session_lab import RECORDS, Clock, open_sessions
from tests.core.tables import table

ALICE = Identity("1", "alice", usertype="user", source="file")
BOB = Identity("2", "bob", source="file")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(redis_server: RedisServer, clock: Clock) -> AsyncIterator[Sessions]:
    async with open_sessions(redis_server, clock=clock) as opened:
        yield opened


@pytest.fixture
def fresh(sessions: Sessions, clock: Clock) -> WebSession:
    return WebSession(sessions, None, clock=clock)


async def saved(sessions: Sessions, clock: Callable[[], float] = time.time, **data: Any) -> WebSession:
    """A session with these data, as the next request would find it."""
    session = WebSession(sessions, None, clock=clock)
    session.update(data)
    await session.save()
    return await again(session)


async def again(session: WebSession) -> WebSession:
    """The same session in another request."""
    assert session.found is not None
    found = await session._sessions.find_id(session.found.id)
    return WebSession(session._sessions, found if not hasattr(found, "code") else None, clock=session._clock)


# -- the mapping
Act = Callable[[WebSession], Any]
MAPPING: dict[str, tuple[Act, Any, dict[str, Any], bool, bool]] = {
    # what is done: (the act, what it returns, the data afterwards, accessed, modified); the data before are {"a": 1, "b": []}
    "nothing": (lambda s: None, None, {"a": 1, "b": []}, False, False),
    "s[k]": (lambda s: s["a"], 1, {"a": 1, "b": []}, True, False),
    "s[k] = v": (lambda s: s.__setitem__("c", 3), None, {"a": 1, "b": [], "c": 3}, True, True),
    "s[k] = the same": (lambda s: s.__setitem__("a", 1), None, {"a": 1, "b": []}, True, True),
    "del s[k]": (lambda s: s.__delitem__("a"), None, {"b": []}, True, True),
    "k in s": (lambda s: ("a" in s, "c" in s), (True, False), {"a": 1, "b": []}, True, False),
    "has_key": (lambda s: (s.has_key("a"), s.has_key("c")), (True, False), {"a": 1, "b": []}, True, False),
    "get": (lambda s: (s.get("a"), s.get("c"), s.get("c", 7)), (1, None, 7), {"a": 1, "b": []}, True, False),
    "pop of what is there": (lambda s: s.pop("a"), 1, {"b": []}, True, True),
    "pop of what is not there": (lambda s: s.pop("c", 7), 7, {"a": 1, "b": []}, True, False),
    "setdefault of what is there": (lambda s: s.setdefault("a", 7), 1, {"a": 1, "b": []}, True, False),
    "setdefault of what is not there": (lambda s: s.setdefault("c", 7), 7, {"a": 1, "b": [], "c": 7}, True, True),
    "update": (lambda s: s.update({"c": 3}, d=4), None, {"a": 1, "b": [], "c": 3, "d": 4}, True, True),
    "keys": (lambda s: sorted(s.keys()), ["a", "b"], {"a": 1, "b": []}, True, False),
    "values": (lambda s: list(s.values()), [1, []], {"a": 1, "b": []}, True, False),
    "items": (lambda s: sorted(s.items()), [("a", 1), ("b", [])], {"a": 1, "b": []}, True, False),
    "iteration": (lambda s: sorted(s), ["a", "b"], {"a": 1, "b": []}, True, False),
    "clear": (lambda s: s.clear(), None, {}, True, True),
    "len": (len, 2, {"a": 1, "b": []}, True, False),
    "bool": (bool, True, {"a": 1, "b": []}, True, False),
    "a change inside a value": (lambda s: s["b"].append(1), None, {"a": 1, "b": [1]}, True, True),
    "user": (lambda s: s.user, None, {"a": 1, "b": []}, True, False),
    "changed": (lambda s: s.changed(), None, {"a": 1, "b": []}, False, True),
    "modified = True": (lambda s: setattr(s, "modified", True), None, {"a": 1, "b": []}, False, True),
    "set_expiry": (lambda s: s.set_expiry(60), None, {"a": 1, "b": []}, True, True),
    "get_expiry_age": (lambda s: s.get_expiry_age() > 60, True, {"a": 1, "b": []}, True, False),
    "set_test_cookie": (lambda s: s.set_test_cookie(), None, {"a": 1, "b": [], "testcookie": "worked"}, True, True),
    "test_cookie_worked": (lambda s: s.test_cookie_worked(), False, {"a": 1, "b": []}, True, False),
}


@pytest.mark.parametrize(("act", "returned", "data", "accessed", "modified"), table(MAPPING))
async def test_it_is_a_mapping_that_knows_what_was_read_and_written(
    sessions: Sessions, act: Act, returned: Any, data: dict[str, Any], accessed: bool, modified: bool
) -> None:
    session = await saved(sessions, a=1, b=[])
    key = session.session_key
    assert act(session) == returned
    assert (session.accessed, session.modified) == (accessed, modified)
    await session.save()
    assert (session.modified, session.session_key) == (False, key)
    assert dict(await again(session)) == data


FAULTS: dict[str, tuple[Act, type[Exception]]] = {
    "reading a key that is not there": (lambda s: s["c"], KeyError),
    "deleting a key that is not there": (lambda s: s.__delitem__("c"), KeyError),
    "pop of a key that is not there": (lambda s: s.pop("c"), KeyError),
    "deleting a test cookie that is not there": (lambda s: s.delete_test_cookie(), KeyError),
    "writing the key": (lambda s: setattr(s, "session_key", "x"), AttributeError),
    "writing the date of birth": (lambda s: setattr(s, "created", 0), AttributeError),
    "changing the user without a sign-in": (lambda s: s.set_user(ALICE), ValueError),
}


@pytest.mark.parametrize(("act", "error"), table(FAULTS))
async def test_what_cannot_be_done_raises_and_changes_nothing(
    sessions: Sessions, act: Act, error: type[Exception]
) -> None:
    session = await saved(sessions, a=1)
    with pytest.raises(error):
        act(session)
    assert not session.modified
    assert dict(session) == {"a": 1}


async def test_modified_set_to_false_forgets_what_was_changed_until_then(sessions: Sessions) -> None:
    session = await saved(sessions, a=1, b=[])
    session["b"].append(1)
    session.modified = False
    assert not session.modified
    session["b"].append(2)
    assert session.modified


async def test_one_and_true_are_two_values(sessions: Sessions) -> None:
    session = await saved(sessions, inner={"a": 1})
    session["inner"]["a"] = True
    assert session.modified


async def test_a_value_at_hand_stays_the_one_in_the_session_after_saving(sessions: Sessions) -> None:
    session = await saved(sessions, cart=[])
    cart = session["cart"]
    cart.append("tea")
    await session.save()
    cart.append("salt")
    assert session.modified
    await session.save()
    assert (await again(session))["cart"] == ["tea", "salt"]


async def test_clearing_keeps_the_id_and_ends_the_sign_in(sessions: Sessions) -> None:
    session = await saved(sessions, a=1)
    await session.sign_in(ALICE)
    session.set_expiry(60)
    key, created = session.session_key, session.created
    session.clear()
    await session.save()
    later = await again(session)
    assert (later.session_key, later.created, later.user, dict(later)) == (key, created, None, {})
    assert not later.is_empty()
    assert later.max_age is None


# -- what it is
async def test_a_session_that_was_never_written_has_neither_id_nor_record(fresh: WebSession, redis: Redis) -> None:
    assert (fresh.session_key, fresh.identity, fresh.is_empty(), fresh.new, fresh.last_seen) == (
        None,
        None,
        True,
        True,
        None,
    )
    fresh["a"] = 1
    assert (fresh.session_key, fresh.is_empty()) == (None, False)
    assert redis.keys(RECORDS) == []


async def test_created_never_moves_and_last_seen_does(sessions: Sessions, clock: Clock) -> None:
    session = await saved(sessions, clock, a=1)
    created = session.created
    clock.ahead += 100
    session["a"] = 2
    await session.save()
    later = await again(session)
    assert later.created == created
    assert later.last_seen is not None
    assert later.last_seen - created >= 100


# -- the store
async def test_create_writes_at_once_under_a_new_id(fresh: WebSession, redis: Redis) -> None:
    await fresh.create()
    first = fresh.session_key
    assert first is not None
    assert (len(redis.keys(RECORDS)), fresh.modified) == (1, False)
    await fresh.create()
    assert fresh.session_key != first
    assert await fresh.exists(first)


async def test_save_creates_what_has_no_record_or_has_to_have_another(fresh: WebSession) -> None:
    fresh["a"] = 1
    await fresh.save()
    key = fresh.session_key
    await fresh.save()
    assert fresh.session_key == key
    await fresh.save(must_create=True)
    assert fresh.session_key != key
    assert dict(await again(fresh)) == {"a": 1}


async def test_saving_a_session_that_was_deleted_meanwhile_writes_nothing(sessions: Sessions, redis: Redis) -> None:
    session = await saved(sessions, a=1)
    await (await again(session)).flush()
    session["a"] = 2
    with pytest.raises(SessionInterrupted):
        await session.save()
    assert redis.keys(RECORDS) == []
    assert session.modified


async def test_two_requests_that_write_different_keys_both_win_and_see_each_other(sessions: Sessions) -> None:
    one = await saved(sessions, a=1, shared=1, gone=1)
    other = await again(one)
    one["mine"], one["shared"] = 1, 2
    del one["gone"]
    other["yours"] = 1
    await one.save()
    await other.save()
    assert dict(other) == {"a": 1, "shared": 2, "mine": 1, "yours": 1}
    assert dict(await again(one)) == dict(other)


async def test_load_takes_what_is_in_the_store_and_drops_what_was_not_saved(sessions: Sessions) -> None:
    session = await saved(sessions, a=1)
    other = await again(session)
    other["a"] = 2
    await other.save()
    session["b"] = 1
    assert await session.load() == {"a": 2}
    assert (dict(session), session.modified) == ({"a": 2}, False)


async def test_delete_ends_the_record_and_what_is_in_memory_cannot_be_saved_any_more(sessions: Sessions) -> None:
    session = await saved(sessions, a=1)
    key = session.session_key
    assert key is not None
    await session.delete()
    assert (dict(session), await session.exists(key)) == ({"a": 1}, False)
    session["a"] = 2
    with pytest.raises(SessionInterrupted):
        await session.save()


async def test_delete_and_exists_take_the_key_of_another_session(sessions: Sessions) -> None:
    session, other = await saved(sessions, a=1), await saved(sessions, b=1)
    assert other.session_key is not None
    assert await session.exists(other.session_key)
    await session.delete(other.session_key)
    assert not await session.exists(other.session_key)
    session["a"] = 2
    await session.save()


FOREIGN_KEYS = {
    "empty": "",
    "garbage": "garbage",
    "not ASCII": "é" * 43,
    "too short": b64url(bytes(31)),
    "too long": b64url(bytes(33)),
    "unknown": b64url(bytes(32)),
    "with a break": b64url(bytes(32)) + "\n",
    "a path": "../../etc/passwd",
    "a surrogate": "\udc80" * 43,
    "very long": "A" * 100_000,
}


@pytest.mark.parametrize("key", table(FOREIGN_KEYS))
async def test_a_key_that_names_nothing_is_dropped_and_never_adopted(sessions: Sessions, key: str) -> None:
    session = WebSession.for_key(sessions, key)
    assert not await session.exists(key)
    await session.delete(key)
    assert await session.load() == {}
    assert (session.session_key, session.is_empty()) == (None, True)
    session["a"] = 1
    await session.save()
    assert session.session_key not in (None, key)


async def test_flush_leaves_nothing(sessions: Sessions, redis: Redis) -> None:
    session = await saved(sessions, a=1)
    await session.sign_in(ALICE, 60)
    await session.flush()
    assert [key for key in redis.keys(RECORDS) if not (redis.get(key) or b"").startswith(b"X")] == []
    assert (session.is_empty(), session.user, session.max_age, session.modified) == (True, None, None, False)
    session["b"] = 1
    await session.save()
    assert dict(await again(session)) == {"b": 1}


async def test_cycle_key_keeps_data_and_age_and_kills_the_old_id(sessions: Sessions, clock: Clock) -> None:
    session = await saved(sessions, clock, a=1)
    session.set_expiry(600)
    await session.save()
    key, created = session.session_key, session.created
    assert key is not None
    clock.ahead += 60
    session["b"] = 2
    await session.cycle_key()
    assert session.session_key != key
    assert not await session.exists(key)
    later = await again(session)
    assert (dict(later), later.created, later.max_age) == ({"a": 1, "b": 2}, created, 600)


async def test_encode_seals_and_decode_opens_its_own_only(fresh: WebSession) -> None:
    data = {"a": [1, "ü", None], "b": {"c": True}}
    text = fresh.encode(data)
    assert "ü" not in text
    assert fresh.decode(text) == data
    for foreign in ("", "x", text[:-2], text[2:], text.swapcase(), text + "A", "é", "\n"):
        assert fresh.decode(foreign) == {}


UNWRITABLE = {
    "an object": object(),
    "a lock": threading.Lock(),
    "a set": {1},
    "bytes": b"x",
    "NaN": float("nan"),
    "a key that is no text": {1: 2},
    "a class": int,
}


@pytest.mark.parametrize("value", table(UNWRITABLE))
async def test_a_value_that_cannot_be_written_is_named_and_nothing_is_stored(
    fresh: WebSession, redis: Redis, value: Any
) -> None:
    fresh["good"], fresh["bad"] = 1, value
    with pytest.raises(UnwritableValue, match="bad"):
        await fresh.save()
    assert redis.keys(RECORDS) == []
    fresh["bad"] = 1
    await fresh.save()
    assert dict(await again(fresh)) == {"good": 1, "bad": 1}


async def test_an_outage_is_an_error_and_never_an_empty_session(own_redis: RedisServer) -> None:
    async with open_sessions(own_redis) as sessions:
        session = await saved(sessions, a=1)
        own_redis.stop()
        for act in (session.load, session.save, session.flush, session.cycle_key, session.create, session.delete):
            with pytest.raises(StoreUnavailable):
                await act()
        with pytest.raises(StoreUnavailable):
            await session.exists(b64url(bytes(32)))
        with pytest.raises(StoreUnavailable):
            await session.sign_in(ALICE)
    assert (dict(session), session.user) == ({"a": 1}, None)
    assert session.found is not None


async def test_django_s_names_for_asynchronous_code_do_the_same(sessions: Sessions) -> None:
    session = WebSession(sessions, None)
    await session.aset("a", 1)
    await session.aupdate({"b": 2})
    await session.aset_test_cookie()
    assert await session.atest_cookie_worked()
    await session.adelete_test_cookie()
    await session.aset_expiry(60)
    assert (await session.aget("a"), await session.ahas_key("b"), await session.apop("b")) == (1, True, 2)
    assert (await session.asetdefault("c", 3), sorted(await session.akeys())) == (3, ["a", "c"])
    assert (sorted(await session.avalues()), sorted(await session.aitems())) == ([1, 3], [("a", 1), ("c", 3)])
    assert await session.aget_expiry_age() == 60
    assert not await session.aget_expire_at_browser_close()
    assert (await session.aget_expiry_date()).timestamp() == pytest.approx(time.time() + 60, abs=5)
    await session.asave()
    key = session.session_key
    assert key is not None
    await session.acycle_key()
    assert not await session.aexists(key)
    assert await session.aload() == {"a": 1, "c": 3}
    await session.acreate()
    await session.adelete()
    await session.aflush()
    assert session.is_empty()


async def test_what_is_written_while_a_save_is_under_way_is_not_lost(sessions: Sessions) -> None:
    session = await saved(sessions, a=1, b=[])
    session["a"] = 2
    saving = asyncio.create_task(session.save())
    await asyncio.sleep(0)
    session["late"] = True
    session["b"].append("late")
    await saving
    assert dict(await again(session)) == {"a": 2, "b": []}
    assert (dict(session), session.modified) == ({"a": 2, "b": ["late"], "late": True}, True)
    await session.save()
    assert dict(await again(session)) == {"a": 2, "b": ["late"], "late": True}


# -- outside any request
async def test_a_script_loads_changes_and_saves(sessions: Sessions, redis: Redis) -> None:
    key = (await saved(sessions, a=1)).session_key
    session = WebSession.for_key(sessions, key)
    for act in (lambda: session["a"], lambda: session.set_expiry(1), lambda: session.user, session.clear):
        with pytest.raises(RuntimeError, match="load"):
            act()
    with pytest.raises(RuntimeError, match="load"):
        await session.save()
    assert session.session_key == key
    assert await session.load() == {"a": 1}
    session["a"] = 2
    await session.save()
    assert (await WebSession.for_key(sessions, key).load(), session.session_key) == ({"a": 2}, key)
    await WebSession.for_key(sessions, key).delete()
    assert redis.keys(RECORDS) == []


async def test_a_session_that_is_over_loads_as_an_empty_one_that_knows_why(sessions: Sessions, clock: Clock) -> None:
    key = (await saved(sessions, clock, a=1)).session_key
    clock.ahead += 3600
    session = WebSession.for_key(sessions, key)
    assert await session.load() == {}
    assert (session.session_key, session.lost) == (None, "expired_idle")


# -- the user
@pytest.mark.parametrize(
    ("before", "user", "kept"),
    table(
        {
            "a stranger signs in: what is on the allow-list stays": (None, ALICE, {"cart": ["tea"]}),
            "the same user signs in again: everything stays": (ALICE, ALICE, {"cart": ["tea"], "x": 1}),
            "with other rights he is the same": (ALICE, replace(ALICE, usertype="mgr"), {"cart": ["tea"], "x": 1}),
            "another user signs in: nothing stays, whatever is on the list": (BOB, ALICE, {}),
            "the same id of another source is another user": (replace(ALICE, source="sql"), ALICE, {}),
        }
    ),
)
async def test_what_stays_at_a_sign_in(
    sessions: Sessions, clock: Clock, before: Identity | None, user: Identity, kept: dict[str, Any]
) -> None:
    session = WebSession(sessions, None, keep_at_sign_in=frozenset({"cart", "other"}), clock=clock)
    if before is not None:
        await session.sign_in(before)
    session.update({"cart": ["tea"], "x": 1})
    await session.save()
    key, created = session.session_key, session.created
    assert key is not None
    clock.ahead += 60
    await session.sign_in(user, 300)
    assert not await session.exists(key)
    later = await again(session)
    assert (dict(later), later.user, later.max_age) == (kept, user, 300)
    assert later.created >= created + 60
    assert dict(session) == kept


async def test_who_signs_in_while_his_session_is_ended_gets_a_new_and_empty_one(sessions: Sessions) -> None:
    session = await saved(sessions, a=1)
    await session.sign_in(ALICE)
    session["a"] = 1
    await session.save()
    await (await again(session)).flush()
    await session.sign_in(ALICE)
    assert (await again(session)).user == ALICE
    assert dict(await again(session)) == {}


async def test_a_refused_sign_in_leaves_the_session_as_it_was(redis_server: RedisServer) -> None:
    async with open_sessions(redis_server, cap=Cap(1, evict=False)) as sessions:
        await WebSession(sessions, None).sign_in(ALICE)
        session = await saved(sessions, a=1)
        key = session.session_key
        assert key is not None
        with pytest.raises(TooManySessions):
            await session.sign_in(ALICE)
        assert (session.user, dict(session), session.session_key) == (None, {"a": 1}, key)
        assert await session.exists(key)


async def test_changed_rights_are_written_under_a_new_id(sessions: Sessions) -> None:
    session = WebSession(sessions, None)
    await session.sign_in(ALICE)
    key, manager = session.session_key, replace(ALICE, usertype="mgr")
    session.set_user(manager)
    assert (session.modified, session.needs_new_id) == (True, True)
    await session.cycle_key()
    assert (session.user, session.needs_new_id, session.session_key == key) == (manager, False, False)
    with pytest.raises(ValueError):
        session.set_user(BOB)


async def test_an_old_id_that_gets_new_rights_cannot_come_back_after_a_parallel_sign_out(sessions: Sessions) -> None:
    session = WebSession(sessions, None)
    await session.sign_in(ALICE)
    await (await again(session)).flush()
    with pytest.raises(SessionInterrupted):
        await session.cycle_key()


async def test_the_store_is_told_who_came(sessions: Sessions) -> None:
    session = WebSession(sessions, None, visitor=lambda: Visitor("192.0.2.1", "Firefox on Linux"))
    await session.sign_in(ALICE)
    later = await again(session)
    assert later.found is not None
    assert (later.found.card.address, later.found.card.device) == ("192.0.2.1", "Firefox on Linux")
    later["a"] = 1
    await later.cycle_key()
    assert later.found.card.device == "Firefox on Linux"


# -- the documentation
PAGE = (Path(__file__).resolve().parents[2] / "docs/sessions-for-django-users.md").read_text(encoding="utf-8")


async def test_the_example_of_the_documentation_works(aiohttp_client: Any, sessions: Sessions) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE, flags=re.S)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    app = web.Application()
    app.router.add_get("/", with_session(SessionStorage(sessions, CookieOptions("sid")), names["add_to_cart"]))
    client = await aiohttp_client(app)
    assert [await (await client.get(f"/?item={item}")).json() for item in ("tea", "salt")] == [["tea"], ["tea", "salt"]]


def test_the_documentation_names_every_public_name_of_a_session_and_none_that_is_not_there() -> None:
    theirs = {"max_age", "changed", "empty", "identity", "invalidate", "new", "set_new_identity", "popitem"}
    inner = {"for_key", "found", "needs_new_id", "is_over", "TEST_COOKIE_NAME", "TEST_COOKIE_VALUE"}
    public = {name for name in dir(WebSession) if not name.startswith("_")} - theirs - inner
    named = set(re.findall(r"`(?:await )?s\.(\w+)", PAGE)) | set(re.findall(r"`(a\w+)`", PAGE))
    assert public - named == set()
    attributes = {"accessed", "lost"}
    assert {name for name in re.findall(r"`(?:await )?s\.(\w+)", PAGE) if not hasattr(WebSession, name)} == attributes
