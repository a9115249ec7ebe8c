"""What every session engine promises (gateway/store/engine.py), against every engine there is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.store.engine import Entry, Gone, Kept, SessionDirectory, SessionEngine, Write, version_of
from tests.store.engines import COLUMNS, ENGINES, WITH_DIRECTORY, Case, Place, declared, documented, fresh, number_in

LONG = 600.0
LINGER = 60.0
SHORT_LINGER = 0.5
ALL_BYTES = bytes(range(256))


@pytest.fixture(params=ENGINES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    made: Case = request.param
    return made


@pytest.fixture
def place(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.getfixturevalue("redis_server").url if case.needs_redis else "")


@pytest.fixture
async def engine(case: Case, place: Place) -> AsyncIterator[SessionEngine]:
    async with case.open(place, LINGER) as made:
        yield made


@pytest.fixture
async def other(case: Case, place: Place, engine: SessionEngine) -> AsyncIterator[SessionEngine]:
    """As another process sees the same store, where there can be one."""
    if not case.shared:
        yield engine
        return
    async with case.open(place, LINGER) as made:
        yield made


@pytest.fixture
async def fleeting(case: Case, place: Place) -> AsyncIterator[SessionEngine]:
    """Keeps values ``SHORT_LINGER`` seconds after their end."""
    async with case.open(place, SHORT_LINGER) as made:
        yield made


async def look_up(engine: SessionEngine, name: bytes) -> Kept | Gone:
    (found,) = await engine.load([name])
    return found


async def kept(engine: SessionEngine, name: bytes) -> Kept:
    found = await look_up(engine, name)
    assert isinstance(found, Kept), found
    return found


async def make(engine: SessionEngine, name: bytes, rest: bytes = b"value", ttl: float = LONG) -> bytes:
    value = fresh(rest)
    assert await engine.create(name, value, b"seen", ttl)
    return value


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until_gone(engine: SessionEngine, name: bytes, seconds: float = 5.0) -> None:
    async def is_gone() -> bool:
        return isinstance(await look_up(engine, name), Gone)

    await until(is_gone, seconds)


# -- keeping and finding
async def test_under_a_name_that_nobody_used_is_nothing(engine: SessionEngine) -> None:
    assert await engine.load([b"n"]) == [Gone("")]
    assert await engine.delete(b"n") is None


@pytest.mark.parametrize(
    ("rest", "seen"),
    [
        (b"", b"seen"),
        (b"value", b""),
        (ALL_BYTES, ALL_BYTES),
        (b"\r\n\x00'\"\\%{}", b"\r\n\x00'\"\\%{}"),
        (bytes(1 << 20), b"s"),
        (ALL_BYTES * 4096, bytes(1024)),
    ],
    ids=["empty", "nothing seen", "every byte", "delimiters", "a MiB of zeros", "a MiB of every byte"],
)
async def test_every_byte_comes_back_as_it_was(
    engine: SessionEngine, other: SessionEngine, rest: bytes, seen: bytes
) -> None:
    value, second = fresh(rest), fresh(rest)
    assert await engine.create(b"n", value, seen, LONG)
    assert await other.load([b"n"]) == [Kept(value, seen)]
    assert await other.update(b"n", second, seen[::-1], LONG, version_of(value)) is Write.DONE
    assert await engine.load([b"n"]) == [Kept(second, seen[::-1])]
    await engine.touch(b"n", seen, LONG)
    assert await other.load([b"n"]) == [Kept(second, seen)]
    await other.shorten(b"n", LONG)
    assert await engine.load([b"n"]) == [Kept(second, None)]
    assert await engine.delete(b"n") == second


async def test_versions_that_no_text_can_hold_are_told_apart(engine: SessionEngine) -> None:
    """Compared as bytes: not as text, not up to a NUL, not without regard to case."""
    first = b"\x00" * 16 + b"a"
    assert await engine.create(b"n", first + b"1", b"", LONG)
    for wrong in (b"\x00" * 16 + b"A", b"\x00" * 17, b"\xff" * 17, b"\x00" * 16 + b" "):
        assert await engine.update(b"n", wrong + b"2", b"", LONG, wrong) is Write.CHANGED
    assert await engine.update(b"n", b"\xff\xfe" + bytes(15) + b"3", b"", LONG, first) is Write.DONE


async def test_names_that_resemble_each_other_are_different_names(engine: SessionEngine) -> None:
    names = [b"n", b"N", b"nn", b"n-", b"n_", b"_n", b"-", b"0", b"00", b"A" * 43, b"A" * 42 + b"a"]
    values = [await make(engine, name) for name in names]
    assert await engine.load(names) == [Kept(value, b"seen") for value in values]
    assert await engine.delete(b"N") == values[1]
    assert await kept(engine, b"n") == Kept(values[0], b"seen")


async def test_many_names_are_answered_in_order_also_unknown_ones_and_the_same_again(engine: SessionEngine) -> None:
    values = {b"%d" % number: await make(engine, b"%d" % number) for number in range(10)}
    names = [b"%d" % random.randrange(15) for _ in range(200)]
    expected = [Kept(values[name], b"seen") if name in values else Gone("") for name in names]
    assert await engine.load(names) == expected
    assert await engine.load([]) == []


# -- creating
async def test_what_is_there_is_not_created_again(engine: SessionEngine, other: SessionEngine) -> None:
    value = await make(engine, b"n")
    assert not await engine.create(b"n", fresh(), b"stolen", LONG)
    assert not await other.create(b"n", value, b"stolen", LONG)
    assert await engine.load([b"n"]) == [Kept(value, b"seen")]


async def test_of_twenty_creators_at_once_one_wins_and_its_value_stays(
    engine: SessionEngine, other: SessionEngine
) -> None:
    for name in (b"a", b"b", b"c"):
        values = [fresh() for _ in range(20)]
        won = await asyncio.gather(
            *((engine, other)[turn % 2].create(name, value, value, LONG) for turn, value in enumerate(values))
        )
        assert won.count(True) == 1
        winner = values[won.index(True)]
        assert await engine.load([name]) == [Kept(winner, winner)]


async def test_a_name_is_free_again_after_a_delete(engine: SessionEngine) -> None:
    await make(engine, b"n")
    await engine.delete(b"n")
    value = await make(engine, b"n", b"second")
    assert await engine.load([b"n"]) == [Kept(value, b"seen")]


# -- compare-and-set
async def test_an_update_of_the_version_that_is_there_replaces_value_and_seen(engine: SessionEngine) -> None:
    first, second = await make(engine, b"n"), fresh(b"longer than the first")
    assert await engine.update(b"n", second, b"later", LONG, version_of(first)) is Write.DONE
    assert await engine.load([b"n"]) == [Kept(second, b"later")]


async def test_an_update_of_another_version_writes_nothing(engine: SessionEngine) -> None:
    first, second = await make(engine, b"n"), fresh()
    assert await engine.update(b"n", second, b"later", LONG, version_of(first)) is Write.DONE
    for stale in (version_of(first), version_of(fresh())):
        assert await engine.update(b"n", fresh(), b"stale", LONG, stale) is Write.CHANGED
    assert await engine.load([b"n"]) == [Kept(second, b"later")]


async def test_an_update_of_what_never_was_writes_nothing(engine: SessionEngine) -> None:
    value = fresh()
    assert await engine.update(b"n", value, b"", LONG, version_of(value)) is Write.GONE
    assert await engine.load([b"n"]) == [Gone("")]


async def count_up(engine: SessionEngine, times: int) -> None:
    done = 0
    while done < times:
        found = await kept(engine, b"n")
        after = fresh(b"%d" % (number_in(found.value) + 1))
        result = await engine.update(b"n", after, b"", LONG, version_of(found.value))
        assert result is not Write.GONE
        done += result is Write.DONE


async def test_of_writers_at_once_none_loses_what_another_wrote(engine: SessionEngine, other: SessionEngine) -> None:
    await make(engine, b"n", b"0")
    await asyncio.gather(*(count_up((engine, other)[turn % 2], 6) for turn in range(8)))
    assert number_in((await kept(engine, b"n")).value) == 48


async def test_touches_beside_writers_undo_nothing(engine: SessionEngine, other: SessionEngine) -> None:
    await make(engine, b"n", b"0")

    async def touch(times: int) -> None:
        for turn in range(times):
            await other.touch(b"n", b"%d" % turn, LONG)

    await asyncio.gather(count_up(engine, 20), touch(20), touch(20))
    assert number_in((await kept(engine, b"n")).value) == 20


# -- nothing resurrects
async def test_after_a_delete_nothing_but_a_create_brings_it_back(engine: SessionEngine, other: SessionEngine) -> None:
    value = await make(engine, b"n")
    assert await engine.delete(b"n") == value
    assert await other.update(b"n", fresh(), b"x", LONG, version_of(value)) is Write.GONE
    await other.touch(b"n", b"x", LONG)
    await other.shorten(b"n", LONG)
    assert await other.load([b"n"]) == [Gone("")]
    await engine.bury(b"n", "flushed", LONG)
    await engine.touch(b"n", b"x", LONG)
    assert await engine.update(b"n", fresh(), b"x", LONG, version_of(value)) is Write.GONE
    assert await engine.load([b"n"]) == [Gone("flushed")]


async def test_a_delete_among_writes_ends_it(engine: SessionEngine, other: SessionEngine) -> None:
    for turn in range(15):
        name = b"%d" % turn
        version = version_of(await make(engine, name))
        writes = [
            other.update(name, fresh(), b"x", LONG, version),
            other.touch(name, b"x", LONG),
            engine.delete(name),
            engine.touch(name, b"y", LONG),
            other.shorten(name, LONG),
        ]
        random.shuffle(writes)
        await asyncio.gather(*writes)
        assert await engine.load([name]) == await other.load([name]) == [Gone("")]


async def test_a_delete_returns_the_value_it_ended_to_one_caller_only(
    engine: SessionEngine, other: SessionEngine
) -> None:
    value = await make(engine, b"n")
    answers = await asyncio.gather(*((engine, other)[turn % 2].delete(b"n") for turn in range(20)))
    assert [answer for answer in answers if answer is not None] == [value]
    assert await engine.delete(b"n") is None


# -- seen, and the end
async def test_a_touch_replaces_what_is_seen_and_not_the_value(engine: SessionEngine, other: SessionEngine) -> None:
    value = await make(engine, b"n")
    await engine.touch(b"n", b"later", LONG)
    assert await other.load([b"n"]) == [Kept(value, b"later")]
    assert await engine.update(b"n", fresh(), b"", LONG, version_of(value)) is Write.DONE, "a touch moved the version"


async def test_a_touch_of_nothing_is_nothing(engine: SessionEngine) -> None:
    await engine.touch(b"n", b"seen", LONG)
    await engine.shorten(b"n", LONG)
    assert await engine.load([b"n"]) == [Gone("")]


SEEN = [b"seen", b"\x00", b" ", b"0", bytes(300)]  # what a careless comparison takes for nothing


@pytest.mark.parametrize("seen", SEEN, ids=["text", "a NUL", "a blank", "a zero", "zeros"])
async def test_a_touch_makes_no_session_of_a_pointer_and_no_pointer_of_a_session(
    engine: SessionEngine, other: SessionEngine, seen: bytes
) -> None:
    pointer, session = fresh(b"pointer"), fresh(b"session")
    assert await engine.create(b"pointer", pointer, b"", LONG)
    assert await engine.create(b"session", session, seen, LONG)
    await other.touch(b"pointer", seen, LONG)
    await other.touch(b"session", b"", LONG)
    both = [Kept(pointer, b""), Kept(session, seen)]
    assert await engine.load([b"pointer", b"session"]) == await other.load([b"pointer", b"session"]) == both
    await other.touch(b"pointer", b"", LONG)
    await other.touch(b"session", seen[::-1] + b"x", LONG)
    assert await engine.load([b"pointer", b"session"]) == [Kept(pointer, b""), Kept(session, seen[::-1] + b"x")]


async def test_a_session_that_became_a_pointer_is_not_revived_by_a_touch_that_comes_late(
    engine: SessionEngine, other: SessionEngine
) -> None:
    version, pointer = version_of(await make(engine, b"n")), fresh(b"pointer")
    assert await engine.update(b"n", pointer, b"", LONG, version) is Write.DONE
    await other.touch(b"n", b"late", LONG)
    assert await engine.load([b"n"]) == [Kept(pointer, b"")]


async def test_only_the_right_touch_moves_the_end(fleeting: SessionEngine) -> None:
    """Those that do nothing must not let it live longer, either."""
    for name, seen in ((b"pointer", b""), (b"led on", b""), (b"session", b"seen"), (b"in use", b"seen")):
        assert await fleeting.create(name, fresh(), seen, 0.5)
    await fleeting.touch(b"pointer", b"late", LONG)
    await fleeting.touch(b"session", b"", LONG)
    await fleeting.touch(b"led on", b"", LONG)
    await fleeting.touch(b"in use", b"later", LONG)
    await until_gone(fleeting, b"pointer")
    await until_gone(fleeting, b"session")
    assert (await kept(fleeting, b"led on")).seen == b""
    assert (await kept(fleeting, b"in use")).seen == b"later"


@pytest.mark.parametrize("seen", [b"", b"seen"], ids=["pointer", "session"])
async def test_what_was_shortened_has_nothing_seen_until_a_real_touch(
    engine: SessionEngine, other: SessionEngine, seen: bytes
) -> None:
    value = fresh()
    assert await engine.create(b"n", value, seen, LONG)
    await engine.shorten(b"n", 30)
    for _ in range(20):  # an engine that makes copies has one by and by
        assert await engine.load([b"n"]) == await other.load([b"n"]) == [Kept(value, None)]
        await asyncio.sleep(0.01)
    await other.touch(b"n", b"", LONG)
    assert await engine.load([b"n"]) == await other.load([b"n"]) == [Kept(value, None)]
    await other.touch(b"n", b"real", LONG)
    assert await engine.load([b"n"]) == await other.load([b"n"]) == [Kept(value, b"real")]
    await engine.shorten(b"n", 30)
    assert await other.update(b"n", value, b"", LONG, version_of(value)) is Write.DONE
    assert await engine.load([b"n"]) == [Kept(value, b"")], "an update says what is seen"


async def test_pointers_that_are_shortened_among_their_touches_end(engine: SessionEngine, other: SessionEngine) -> None:
    names = [b"%d" % number for number in range(15)]
    for name in names:
        assert await engine.create(name, fresh(), b"", LONG)
        calls = [*(some.touch(name, b"", LONG) for some in (engine, other) * 3), other.shorten(name, 0.5)]
        random.shuffle(calls)
        await asyncio.gather(*calls)
    for name in names:
        await other.touch(name, b"", LONG)
        await until_gone(engine, name)


async def test_a_value_stays_until_its_end_and_the_linger_and_no_longer(fleeting: SessionEngine) -> None:
    started = time.time()
    for name in (b"plain", b"touched", b"updated", b"long"):
        value = await make(fleeting, name, ttl=LONG if name == b"long" else 0.1)
    await fleeting.touch(b"touched", b"later", LONG)
    assert (
        await fleeting.update(b"updated", fresh(), b"", LONG, version_of((await kept(fleeting, b"updated")).value))
        is Write.DONE
    )
    while isinstance(await look_up(fleeting, b"plain"), Kept):
        assert time.time() - started < 5
        await asyncio.sleep(0.02)
    assert time.time() - started > 0.1 + SHORT_LINGER - 0.02, "its reason could not be told any more"
    assert (await kept(fleeting, b"touched")).seen == b"later"
    await kept(fleeting, b"updated")
    assert (await kept(fleeting, b"long")).value == value
    assert await fleeting.update(b"plain", fresh(), b"", LONG, b"?" * 17) is Write.GONE
    await fleeting.touch(b"plain", b"seen", LONG)
    assert await fleeting.delete(b"plain") is None
    assert await fleeting.create(b"plain", fresh(b"new"), b"", LONG), "the name is free again"


async def test_what_is_shortened_ends_without_lingering(engine: SessionEngine, other: SessionEngine) -> None:
    value = await make(engine, b"n")
    await engine.shorten(b"n", 30)
    assert await other.load([b"n"]) == [Kept(value, None)]
    await engine.shorten(b"n", 0.1)
    await until_gone(engine, b"n")
    await until_gone(other, b"n")
    assert await other.update(b"n", fresh(), b"", LONG, version_of(value)) is Write.GONE


# -- notes
async def test_a_note_says_why_it_is_gone(engine: SessionEngine, other: SessionEngine) -> None:
    await make(engine, b"n")
    await engine.delete(b"n")
    await engine.bury(b"n", "revoked:by-admin", LONG)
    assert await other.load([b"n", b"m"]) == [Gone("revoked:by-admin"), Gone("")]
    await other.bury(b"n", "expired_idle", LONG)
    assert await engine.load([b"n"]) == [Gone("expired_idle")]


async def test_a_note_never_hides_a_session(engine: SessionEngine, other: SessionEngine) -> None:
    value = await make(engine, b"living")
    await engine.bury(b"living", "revoked", LONG)
    await engine.bury(b"later", "revoked", LONG)
    later = await make(engine, b"later")
    assert await other.load([b"living", b"later"]) == [Kept(value, b"seen"), Kept(later, b"seen")]


async def test_a_note_ends(engine: SessionEngine) -> None:
    await engine.bury(b"n", "revoked", 0.1)

    async def is_forgotten() -> bool:
        return await look_up(engine, b"n") == Gone("")

    await until(is_forgotten, 5.0)


# -- key ids
async def test_key_ids_are_told_to_everybody_and_taken_back(engine: SessionEngine, other: SessionEngine) -> None:
    assert await engine.announced() == frozenset()
    await engine.announce(["k1", "K1", "k-_2"])
    await other.announce(["k1", "k3"])
    assert await other.announced() == await engine.announced() == {"k1", "K1", "k-_2", "k3"}
    await other.withdraw("k1")
    await other.withdraw("never there")
    assert await engine.announced() == await other.announced() == {"K1", "k-_2", "k3"}
    await engine.announce([])
    await make(engine, b"k3")
    assert await engine.delete(b"k3")
    assert await engine.announced() == {"K1", "k-_2", "k3"}, "key ids and names are apart"


# -- the broom
async def test_the_broom_takes_what_is_over_says_how_many_and_leaves_the_living(
    case: Case, fleeting: SessionEngine
) -> None:
    values = [await make(fleeting, b"living%d" % number) for number in range(3)]
    for number in range(5):
        await make(fleeting, b"over%d" % number, ttl=0.05)
    await make(fleeting, b"shortened")
    await fleeting.shorten(b"shortened", 0.05)
    await until_gone(fleeting, b"over4")
    before = [await look_up(fleeting, b"living%d" % number) for number in range(3)]
    # Looking at what is over may have removed it: the one that was looked at is not counted here.
    assert await fleeting.clear_expired() in ([0] if case.expires_itself else [5, 6])
    assert await fleeting.clear_expired() == 0
    assert before == [Kept(value, b"seen") for value in values]
    assert await fleeting.load([b"living%d" % number for number in range(3)]) == before
    assert await fleeting.load([b"over%d" % number for number in range(5)]) == [Gone("")] * 5


async def test_the_broom_leaves_what_still_lingers(engine: SessionEngine) -> None:
    value = await make(engine, b"n", ttl=0.01)
    await asyncio.sleep(0.03)
    assert await engine.clear_expired() == 0
    assert (await kept(engine, b"n")).value == value


# -- all of it
async def test_it_says_that_it_answers(engine: SessionEngine) -> None:
    await engine.ping()


async def test_it_says_whether_it_has_a_directory(case: Case, engine: SessionEngine) -> None:
    assert engine.capabilities.directory is case.directory
    assert (engine.directory is not None) is case.directory
    assert set(declared(engine.capabilities)) == set(COLUMNS)


async def test_after_cancelled_calls_every_answer_belongs_to_who_asked(engine: SessionEngine) -> None:
    """Hazards R2, P63: whoever goes away must leave nothing behind that the next one takes for his own."""
    names = [b"name-%d" % number for number in range(20)]
    for name in names:
        assert await engine.create(name, fresh(name), name, LONG)

    def some_call() -> Awaitable[object]:
        name = random.choice(names)
        return random.choice(
            [
                lambda: engine.load([name]),
                lambda: engine.load(random.sample(names, 5)),
                lambda: engine.touch(name, name, LONG),
                lambda: engine.update(name, fresh(name), name, LONG, b"?" * 17),
                lambda: engine.create(fresh().hex().encode(), fresh(), b"", LONG),
                lambda: engine.announced(),
            ]
        )()

    for _ in range(30):
        calls = [asyncio.ensure_future(some_call()) for _ in range(10)]
        for call in calls:
            await asyncio.sleep(random.choice([0, 0, random.random() / 1000]))
            call.cancel()
        asked = random.sample(names, 3)
        answers = await asyncio.gather(*(look_up(engine, name) for name in asked), return_exceptions=False)
        for name, answer in zip(asked, answers, strict=True):
            assert isinstance(answer, Kept)
            assert (answer.value[17:], answer.seen) == (name, name)
        for call in calls:
            with suppress(asyncio.CancelledError):
                await call
    for name, found in zip(names, await engine.load(names), strict=True):
        assert isinstance(found, Kept)
        assert (await engine.update(name, fresh(name), name, LONG, version_of(found.value))) is Write.DONE


# -- the directory
@pytest.fixture
def directory(engine: SessionEngine) -> SessionDirectory:
    assert engine.directory is not None
    return engine.directory


with_directory = pytest.mark.parametrize("case", WITH_DIRECTORY, indirect=True, ids=str)
U = [b"user"]


async def sign_in(
    engine: SessionEngine, name: bytes, owners: list[bytes] = U, *, limit: int | None = None, evict: bool = False
) -> list[bytes] | None:
    """As the gateway does: the session first, then its place in the directory."""
    assert engine.directory is not None
    await make(engine, name)
    taken_out = await engine.directory.add(owners, name, LONG, limit=limit, evict=evict)
    await asyncio.sleep(0.003)  # two sign-ins of one user in the same millisecond have no order
    return taken_out


async def names_of(directory: SessionDirectory | None, owners: list[bytes] = U) -> list[bytes]:
    assert directory is not None
    return [entry.name for entry in await directory.entries(owners)]


@with_directory
async def test_a_user_has_the_sessions_that_were_noted_oldest_first(
    engine: SessionEngine, other: SessionEngine, directory: SessionDirectory
) -> None:
    assert await directory.entries(U) == []
    for name in (b"z", b"a", b"m"):
        assert await sign_in(engine, name) == []
    await sign_in(engine, b"foreign", [b"User"])
    await engine.touch(b"a", b"later", LONG)
    assert other.directory is not None
    assert await other.directory.entries(U) == [Entry(b"z", b"seen"), Entry(b"a", b"later"), Entry(b"m", b"seen")]


@with_directory
async def test_a_session_that_was_noted_twice_is_listed_once(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    await sign_in(engine, b"a")
    await sign_in(engine, b"b")
    assert await directory.add(U, b"a", LONG) == []
    assert sorted(await names_of(directory)) == [b"a", b"b"]


@with_directory
async def test_who_is_removed_is_listed_no_more_and_lives_on(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    await sign_in(engine, b"a")
    await sign_in(engine, b"b")
    await directory.remove(U, b"a")
    await directory.remove(U, b"unknown")
    await directory.remove([b"nobody"], b"b")
    assert await names_of(directory) == [b"b"]
    await kept(engine, b"a")


@with_directory
async def test_the_dead_are_not_listed_and_take_no_place(engine: SessionEngine, directory: SessionDirectory) -> None:
    for name in (b"deleted", b"ended", b"living"):
        await sign_in(engine, name)
    await engine.delete(b"deleted")
    await engine.shorten(b"ended", 0.05)
    await until_gone(engine, b"ended")
    assert await sign_in(engine, b"second", limit=2) == []
    assert await names_of(directory) == [b"living", b"second"]


@with_directory
async def test_a_note_in_the_directory_ends(engine: SessionEngine, directory: SessionDirectory) -> None:
    await sign_in(engine, b"a")
    await make(engine, b"b")
    await directory.add(U, b"b", 0.1)

    async def is_over() -> bool:
        return await names_of(directory) == [b"a"]

    await until(is_over, 5.0)
    assert await sign_in(engine, b"c", limit=2) == []


@with_directory
async def test_at_the_limit_the_oldest_are_taken_out_and_named(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    for name in (b"a", b"b", b"c", b"d"):
        assert await sign_in(engine, name) == []
    assert await sign_in(engine, b"e", limit=4, evict=True) == [b"a"]
    assert await sign_in(engine, b"f", limit=2, evict=True) == [b"b", b"c", b"d"]
    assert await names_of(directory) == [b"e", b"f"]
    assert await sign_in(engine, b"g", limit=1, evict=True) == [b"e", b"f"]


@with_directory
async def test_at_the_limit_one_more_is_refused_and_not_noted(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    assert await sign_in(engine, b"a", limit=2) == []
    assert await sign_in(engine, b"b", limit=2) == []
    assert await sign_in(engine, b"c", limit=2) is None
    assert await sign_in(engine, b"d", limit=1) is None
    assert await names_of(directory) == [b"a", b"b"]
    await engine.delete(b"c")
    assert await sign_in(engine, b"other", [b"other"], limit=1) == []


@with_directory
@pytest.mark.parametrize("evict", [False, True])
async def test_who_is_noted_already_stays_whatever_the_limit(
    engine: SessionEngine, directory: SessionDirectory, evict: bool
) -> None:
    for name in (b"a", b"b", b"c"):
        await sign_in(engine, name)
    for name in (b"a", b"c"):
        assert await directory.add(U, name, LONG, limit=3, evict=evict) == []
    assert sorted(await names_of(directory)) == [b"a", b"b", b"c"]


@with_directory
@pytest.mark.parametrize("evict", [False, True])
async def test_twenty_at_once_never_exceed_the_limit(
    engine: SessionEngine, other: SessionEngine, directory: SessionDirectory, evict: bool
) -> None:
    names = [b"%02d" % number for number in range(20)]
    for name in names:
        await make(engine, name)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(await names_of(directory)))

    watcher = asyncio.ensure_future(watch())
    directories = [directory, other.directory or directory]
    answers = await asyncio.gather(
        *(directories[turn % 2].add(U, name, LONG, limit=3, evict=evict) for turn, name in enumerate(names))
    )
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
    listed = await names_of(directory)
    assert len(listed) == 3
    assert most <= 3
    if evict:
        out = [name for answer in answers if answer for name in answer]
        assert sorted(out + listed) == names, "each one is listed, or somebody was told to end it, once"
    else:
        accepted = [name for name, answer in zip(names, answers, strict=True) if answer is not None]
        assert sorted(accepted) == sorted(listed)


@with_directory
async def test_a_user_under_several_owners_is_one_user(engine: SessionEngine, directory: SessionDirectory) -> None:
    """After a rotation of keys the same user stands for another owner."""
    await sign_in(engine, b"old1", [b"before"])
    await sign_in(engine, b"old2", [b"before"])
    both = [b"after", b"before"]
    await sign_in(engine, b"new", both)
    assert await names_of(directory, both) == [b"old1", b"old2", b"new"]
    assert await names_of(directory, [b"after"]) == [b"new"], "written under the first"
    await directory.remove(both, b"old1")
    assert await names_of(directory, both) == [b"old2", b"new"]


@with_directory
async def test_the_limit_counts_a_user_under_all_his_owners(engine: SessionEngine, directory: SessionDirectory) -> None:
    both = [b"after", b"before"]
    await sign_in(engine, b"old1", [b"before"])
    await sign_in(engine, b"old2", [b"before"])
    assert await sign_in(engine, b"new1", both, limit=2) is None
    assert await sign_in(engine, b"new2", both, limit=2, evict=True) == [b"old1"]
    assert await names_of(directory, both) == [b"old2", b"new2"]
    assert await directory.add(both, b"old2", LONG, limit=2) == [], "it is noted already"


async def point(engine: SessionEngine, *names: bytes) -> None:
    """As a rotation does, but for the new session."""
    for name in names:
        version = version_of((await kept(engine, name)).value)
        assert await engine.update(name, fresh(b"pointer"), b"", LONG, version) is Write.DONE


@with_directory
async def test_pointers_are_listed_as_such_also_when_touched_late(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    for name in (b"old", b"new"):
        await sign_in(engine, name)
    await point(engine, b"old")
    await engine.touch(b"old", b"late", LONG)
    expected = [Entry(b"old", b""), Entry(b"new", b"seen")]
    assert await directory.entries(U) == expected
    assert sorted([entry async for entry in directory.everything()], key=expected.index) == expected


@with_directory
@pytest.mark.parametrize("evict", [False, True])
async def test_pointers_do_not_count_against_the_limit_and_are_not_taken_out_for_it(
    engine: SessionEngine, directory: SessionDirectory, evict: bool
) -> None:
    for name in (b"p1", b"a", b"p2"):
        await sign_in(engine, name)
    await point(engine, b"p1", b"p2")
    assert await sign_in(engine, b"b", limit=2, evict=evict) == []
    assert [name for name in await names_of(directory) if name not in (b"p1", b"p2")] == [b"a", b"b"]
    assert await sign_in(engine, b"c", limit=2, evict=evict) == ([b"a"] if evict else None)


@with_directory
@pytest.mark.parametrize("evict", [False, True])
async def test_pointers_under_an_older_owner_do_not_count_either(
    engine: SessionEngine, directory: SessionDirectory, evict: bool
) -> None:
    both = [b"after", b"before"]
    for name in (b"p1", b"old", b"p2"):
        await sign_in(engine, name, [b"before"])
    await point(engine, b"p1", b"p2")
    assert await sign_in(engine, b"new", both, limit=2, evict=evict) == []
    assert await sign_in(engine, b"newer", both, limit=2, evict=evict) == ([b"old"] if evict else None)


@with_directory
async def test_a_pointer_that_is_noted_already_stays_whatever_the_limit(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    for name in (b"p", b"a", b"b"):
        await sign_in(engine, name)
    await point(engine, b"p")
    assert await directory.add(U, b"p", LONG, limit=1) == []
    assert sorted(await names_of(directory)) == [b"a", b"b", b"p"]


@with_directory
async def test_what_was_shortened_is_dead_for_the_directory_while_it_is_still_kept(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    for name in (b"p", b"a"):
        await sign_in(engine, name)
    await point(engine, b"p")
    await engine.shorten(b"p", LINGER / 2)
    await kept(engine, b"p")
    assert [entry async for entry in directory.everything()] == [Entry(b"a", b"seen")]
    assert await sign_in(engine, b"b", limit=2) == []
    assert await names_of(directory) == [b"a", b"b"]


@with_directory
async def test_everything_is_every_living_session_of_every_user(
    engine: SessionEngine, directory: SessionDirectory
) -> None:
    expected = set()
    for number in range(30):
        name = b"%d" % number
        await make(engine, name)
        await directory.add([b"user%d" % (number % 7)], name, LONG)
        expected.add(Entry(name, b"seen"))
    await engine.delete(b"0")
    found = [entry async for entry in directory.everything()]
    assert len(found) == len(set(found))
    assert set(found) == expected - {Entry(b"0", b"seen")}


# -- the table in the docs
def test_the_table_of_capabilities_is_read_as_it_stands() -> None:
    text = (
        "# x\n\n| a | b |\n| --- | --- |\n| engine | 1 |\n\n"
        "| engine | directory and cap | revoked within a second | merge, no resurrection | survives the loss of Redis | several processes |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| `redis` | yes | yes | yes | no | yes |\n"
        "| `memory` | no | yes | yes | yes | no |\n\ntext | with | bars\n"
    )
    table = documented(text)
    assert list(table) == ["redis", "memory"]
    assert list(table["memory"].values()) == ["no", "yes", "yes", "yes", "no"]


async def test_the_docs_say_what_it_can_do(case: Case, engine: SessionEngine) -> None:
    table = documented((Path(__file__).parents[2] / "docs/sessions.md").read_text(encoding="utf-8"))
    assert table[case.documented_as] == declared(engine.capabilities)
