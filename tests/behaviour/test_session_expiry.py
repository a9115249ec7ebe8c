"""``set_expiry`` and what follows from it: the end, the cookie's age, and when the record is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.sessions import SessionPolicy, cookie_age
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Lost, Sessions
from gateway.web.session import WebSession
from tests.behaviour.session_lab import Clock, living_records, open_sessions
from tests.core.tables import table

AGE, ABSOLUTE = 3600, 2 * 3600
POLICY = SessionPolicy(age=AGE, idle_timeout=ABSOLUTE, absolute_timeout=ABSOLUTE)
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
TOKYO = timezone(timedelta(hours=9))


class Stopped(Clock):
    """A clock that stands still until it is moved."""

    def __call__(self) -> float:
        return NOON.timestamp() + self.ahead


@pytest.fixture
def clock() -> Stopped:
    return Stopped()


@pytest.fixture
async def sessions(redis_server: RedisServer, clock: Stopped) -> AsyncIterator[Sessions]:
    async with open_sessions(redis_server, POLICY, clock=clock) as opened:
        yield opened


@pytest.fixture
def session(sessions: Sessions, clock: Stopped) -> WebSession:
    made = WebSession(sessions, None, clock=clock)
    made["a"] = 1
    return made


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


EXPIRIES: dict[str, tuple[Any, int, bool]] = {
    # given: (the value, seconds left at once, does the cookie end with the browser)
    "never said": ("never", AGE, False),
    "None": (None, AGE, False),
    "0": (0, AGE, True),
    "1": (1, 1, False),
    "seconds": (300, 300, False),
    "more seconds than the default age": (AGE + 1, AGE + 1, False),
    "more seconds than the absolute timeout": (1_000_000_000, ABSOLUTE, False),
    "a timedelta": (timedelta(minutes=5), 300, False),
    "a timedelta with a fraction": (seconds(1.5), 1, False),
    "a timedelta of nothing": (timedelta(0), 0, False),
    "a timedelta beyond the absolute timeout": (timedelta(days=90), ABSOLUTE, False),
    "a datetime": (NOON + seconds(300), 300, False),
    "a datetime of another zone": ((NOON + seconds(300)).astimezone(TOKYO), 300, False),
    "a datetime without a zone is UTC": ((NOON + seconds(300)).replace(tzinfo=None), 300, False),
    "a datetime beyond every limit": (datetime.max.replace(tzinfo=UTC), ABSOLUTE, False),
    "a negative number": (-1, -1, False),
    "a negative timedelta": (-timedelta(minutes=5), -300, False),
    "a datetime in the past": (NOON - seconds(300), -300, False),
    "the first datetime of all": (
        datetime.min.replace(tzinfo=UTC),
        int((datetime.min.replace(tzinfo=UTC) - NOON).total_seconds()),
        False,
    ),
}


@pytest.mark.parametrize(("value", "left", "with_browser"), table(EXPIRIES))
async def test_what_an_expiry_means(
    session: WebSession, sessions: Sessions, clock: Stopped, value: Any, left: int, with_browser: bool
) -> None:
    if value != "never":
        session.set_expiry(value)
    assert session.get_expiry_age() == left
    assert session.get_expiry_date() == NOON + seconds(
        left if not isinstance(value, timedelta) else min(value.total_seconds(), ABSOLUTE)
    )
    assert session.get_expire_at_browser_close() is with_browser
    saved = await session.save()
    assert cookie_age(saved.record, POLICY, clock()) == (None if with_browser else max(left, 0))
    for ahead, alive in ((left - 1, True), (left + 1, False)):
        clock.ahead = max(ahead, 0)
        assert isinstance(await sessions.find_id(saved.id), Lost) is not (alive and ahead >= 0), ahead


FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "True": (True, TypeError, "not bool"),
    "False": (False, TypeError, "not bool"),
    "a text": ("300", TypeError, "not str"),
    "an ISO date": ("2026-07-01T12:00:00", TypeError, "not str"),
    "a float": (1.5, TypeError, "not float"),
    "NaN": (float("nan"), TypeError, "not float"),
    "infinity": (float("inf"), TypeError, "not float"),
    "a date": (NOON.date(), TypeError, "not date"),
    "bytes": (b"1", TypeError, "not bytes"),
    "a list": ([1], TypeError, "not list"),
    "microseconds by mistake": (10**12, ValueError, "at most"),
    "a huge number": (10**400, ValueError, "at most"),
    "a huge negative number": (-(10**400), ValueError, "at most"),
    "a timedelta beyond the last year": (timedelta.max, ValueError, "no date"),
    "a timedelta before the first year": (timedelta.min, ValueError, "no date"),
}


@pytest.mark.parametrize(("value", "error", "words"), table(FAULTS))
def test_what_is_no_expiry_is_refused_in_words_and_changes_nothing(
    session: WebSession, value: Any, error: type[Exception], words: str
) -> None:
    session.set_expiry(60)
    session.modified = False
    with pytest.raises(error, match=words):
        session.set_expiry(value)
    with pytest.raises(error, match=words):
        session.get_expiry_age(expiry=value)
    assert (session.get_expiry_age(), session.modified) == (60, False)


PASSED: dict[str, tuple[dict[str, Any], int]] = {
    # keywords: seconds from the modification to the end, of a session whose own expiry is 300
    "nothing": ({}, 300),
    "a modification": ({"modification": NOON - seconds(100)}, 300),
    "a modification without a zone is UTC": ({"modification": (NOON - seconds(100)).replace(tzinfo=None)}, 300),
    "a modification near the absolute timeout": ({"modification": NOON + seconds(ABSOLUTE - 100)}, 100),
    "an expiry is used as it is": ({"expiry": 10 * AGE}, 10 * AGE),
    "an expiry of 0 is the default age": ({"expiry": 0}, AGE),
    "an expiry of None is the default age": ({"expiry": None}, AGE),
    "a negative expiry": ({"expiry": -5}, -5),
    "a timedelta": ({"expiry": timedelta(minutes=1)}, 60),
    "a datetime": ({"expiry": NOON + seconds(60)}, 60),
    "both": ({"modification": NOON + seconds(10), "expiry": NOON + seconds(60)}, 50),
    "both, in seconds": ({"modification": NOON + seconds(10), "expiry": 60}, 60),
    "fractions are rounded down": ({"modification": NOON, "expiry": NOON + seconds(59.9)}, 59),
}


@pytest.mark.parametrize(("passed", "age"), table(PASSED))
async def test_an_age_may_be_asked_for_another_modification_or_expiry(
    session: WebSession, passed: dict[str, Any], age: int
) -> None:
    session.set_expiry(300)
    await session.save()
    assert session.get_expiry_age(**passed) == age
    start = passed.get("modification", NOON).replace(tzinfo=UTC)
    end = session.get_expiry_date(**passed)
    assert end.tzinfo is UTC
    assert int((end - start).total_seconds()) == age


async def test_seconds_slide_with_every_save_and_a_moment_does_not(
    sessions: Sessions, session: WebSession, clock: Stopped
) -> None:
    session.set_expiry(300)
    await session.save()
    clock.ahead = 200
    session["a"] = 2
    saved = await session.save()
    assert cookie_age(saved.record, POLICY, clock()) == 300
    session.set_expiry(timedelta(seconds=300))
    await session.save()
    clock.ahead = 400
    session["a"] = 3
    saved = await session.save()
    assert cookie_age(saved.record, POLICY, clock()) == 100
    assert (session.max_age, session.get_expiry_age()) == (None, 100)


async def test_the_expiry_is_remembered_and_none_goes_back_to_the_policy(
    sessions: Sessions, session: WebSession
) -> None:
    session.set_expiry(300)
    saved = await session.save()
    found = await sessions.find_id(saved.id)
    assert not isinstance(found, Lost)
    later = WebSession(sessions, found, clock=session._clock)
    assert (later.max_age, later.get_expiry_age()) == (300, 300)
    later.set_expiry(None)
    await later.save()
    assert (later.max_age, later.get_expiry_age()) == (None, AGE)


async def test_with_expire_at_browser_close_only_an_own_expiry_gives_the_cookie_an_age(
    redis_server: RedisServer, clock: Stopped
) -> None:
    policy = SessionPolicy(age=AGE, expire_at_browser_close=True)
    async with open_sessions(redis_server, policy, clock=clock) as sessions:
        session = WebSession(sessions, None, clock=clock)
        assert session.get_expire_at_browser_close()
        session.set_expiry(300)
        assert not session.get_expire_at_browser_close()
        session.set_expiry(0)
        assert session.get_expire_at_browser_close()
        session.set_expiry(timedelta(minutes=5))
        assert not session.get_expire_at_browser_close()
        session.set_expiry(None)
        assert session.get_expire_at_browser_close()


async def test_an_expiry_alone_is_nothing_to_keep(sessions: Sessions, clock: Stopped) -> None:
    session = WebSession(sessions, None, clock=clock)
    session.set_expiry(300)
    assert session.is_empty()


async def test_a_sign_in_may_say_any_expiry(sessions: Sessions, clock: Stopped, redis: Redis) -> None:
    user = Identity("1", "alice")
    session = WebSession(sessions, None, clock=clock)
    await session.sign_in(user, timedelta(minutes=5))
    assert session.get_expiry_age() == 300
    await session.sign_in(user)
    assert session.get_expiry_age() == AGE
    with pytest.raises(TypeError):
        await session.sign_in(user, "60")  # type: ignore[arg-type]
    assert len(living_records(redis)) == 1
