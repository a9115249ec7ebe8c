"""Is it alive, and if not, why: around each boundary, and as a property over whole lives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Identity
from gateway.core.sessions import (
    Session,
    SessionPolicy,
    SessionRecord,
    cookie_age,
    ends_at,
    needs_touch,
    time_to_live,
    why_over,
)
from tests.core.tables import table

POLICY = SessionPolicy(age=5000, idle_timeout=100, absolute_timeout=10_000, touch_interval=10)
ALICE = Identity("7", "alice", groups=("sales",))
NOW = 1_000_000.0


def record(created: float = NOW, modified: float = NOW, expiry: int | None = None) -> SessionRecord:
    return SessionRecord(created, modified, ALICE, expiry)


ENDS = {
    # record, last seen, the moment and the reason
    "idle, and the touch that may not be written yet": (record(), NOW, NOW + 110, "expired_idle"),
    "idle counts from the last request": (record(), NOW + 50, NOW + 160, "expired_idle"),
    "age": (record(), NOW + 4990, NOW + 5000, "expired_age"),
    "age counts from the last write": (record(modified=NOW + 7), NOW + 5000, NOW + 5007, "expired_age"),
    "absolute": (record(modified=NOW + 9000), NOW + 9990, NOW + 10_000, "expired_absolute"),
    "absolute counts from sign-in": (
        record(created=NOW - 1, modified=NOW + 9000),
        NOW + 9990,
        NOW + 9999,
        "expired_absolute",
    ),
    "own expiry": (record(expiry=60), NOW, NOW + 60, "expired_age"),
    "own expiry slides with writes": (record(modified=NOW + 30, expiry=60), NOW + 30, NOW + 90, "expired_age"),
    "own expiry is capped by idle": (record(expiry=10**9), NOW, NOW + 110, "expired_idle"),
    "own expiry is capped by the absolute timeout": (
        record(modified=NOW + 9950, expiry=10**9),
        NOW + 9950,
        NOW + 10_000,
        "expired_absolute",
    ),
    "with the browser keeps the policy's age": (record(expiry=0), NOW + 4990, NOW + 5000, "expired_age"),
    "already over": (record(expiry=-1), NOW, NOW - 1, "expired_age"),
}


@pytest.mark.parametrize(("what", "last_seen", "end", "code"), table(ENDS))
def test_a_session_ends_at_the_earliest_of_age_idle_and_absolute_timeout(
    what: SessionRecord, last_seen: float, end: float, code: str
) -> None:
    assert ends_at(what, last_seen, POLICY) == (end, code)
    assert why_over(what, last_seen, POLICY, end - 0.001) is None
    assert why_over(what, last_seen, POLICY, end) == code
    assert why_over(what, last_seen, POLICY, end + 1e9) == code


@pytest.mark.parametrize(("what", "last_seen", "end", "code"), table(ENDS))
def test_the_stores_broom_comes_one_touch_interval_after_the_end(
    what: SessionRecord, last_seen: float, end: float, code: str
) -> None:
    for now in (last_seen, end - 5):
        assert time_to_live(what, last_seen, POLICY, now) == pytest.approx(max(end - now, 0) + 10)
    assert time_to_live(what, last_seen, POLICY, end + 1e6) == 10, "never nothing: a store might keep it for ever"


TOUCHES = {
    "at once": (0.0, False),
    "just before": (9.999, False),
    "just then": (10.0, True),
    "later": (99.0, True),
    "the clock went back": (-50.0, False),
}


@pytest.mark.parametrize(("seconds", "wanted"), table(TOUCHES))
def test_activity_is_written_at_most_every_touch_interval(seconds: float, wanted: bool) -> None:
    assert needs_touch(Session(b"x", record(), NOW), POLICY, NOW + seconds) is wanted


BROWSER = replace(POLICY, expire_at_browser_close=True)
AGES = {
    "policy's age": (record(), POLICY, NOW, 5000),
    "time goes on": (record(), POLICY, NOW + 1000, 4000),
    "a part of a second is not promised": (record(), POLICY, NOW + 0.5, 4999),
    "counts from the last write": (record(modified=NOW + 100), POLICY, NOW + 100, 5000),
    "never more than the absolute timeout allows": (record(modified=NOW + 9000), POLICY, NOW + 9000, 1000),
    "own expiry": (record(expiry=60), POLICY, NOW, 60),
    "own expiry, capped": (record(expiry=10**9), POLICY, NOW, 10_000),
    "own expiry over": (record(expiry=60), POLICY, NOW + 61, 0),
    "own expiry long over": (record(expiry=-5), POLICY, NOW, 0),
    "with the browser": (record(expiry=0), POLICY, NOW, None),
    "policy says with the browser": (record(), BROWSER, NOW, None),
    "own expiry beats the policy": (record(expiry=60), BROWSER, NOW, 60),
    "own browser session and policy": (record(expiry=0), BROWSER, NOW, None),
}


@pytest.mark.parametrize(("what", "policy", "now", "age"), table(AGES))
def test_the_cookie_says_the_real_time_left(
    what: SessionRecord, policy: SessionPolicy, now: float, age: int | None
) -> None:
    assert cookie_age(what, policy, now) == age


GAPS = st.lists(st.floats(0, 99.9, allow_nan=False), max_size=40)


@given(GAPS, st.integers(1, 60), st.floats(0, 200, allow_nan=False))
def test_nobody_is_signed_out_before_the_idle_timeout_nor_much_later(
    gaps: list[float], touch_interval: int, silence: float
) -> None:
    """A life of requests, each noted only when a touch is due; then silence."""
    policy = replace(POLICY, touch_interval=touch_interval, absolute_timeout=10**6, age=10**6)
    now = NOW
    session = Session(b"x", record(), now)
    for gap in gaps:
        now += gap
        assert why_over(session.record, session.last_seen, policy, now) is None, "signed out while in use"
        if needs_touch(session, policy, now):
            session = session.with_record(session.record, now)
    over = why_over(session.record, session.last_seen, policy, now + silence)
    if silence < 100:
        assert over is None
    if silence > 100 + touch_interval + 0.001:
        assert over == "expired_idle"


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.one_of(st.none(), st.integers(-10, 10**6)), st.floats(0, 1e5))
def test_nothing_outlives_the_absolute_timeout_and_no_cookie_outlives_its_session_by_age(
    modified: float, last_seen: float, expiry: int | None, after: float
) -> None:
    what = record(modified=NOW + modified, expiry=expiry)
    assert why_over(what, NOW + last_seen, POLICY, NOW + 10_000) is not None
    age = cookie_age(what, POLICY, NOW + after)
    if age:
        assert after + age <= 10_000.001
        assert after + age <= modified + (expiry or POLICY.age) + 0.001


DATA = st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
RECORDS = st.builds(
    SessionRecord,
    st.floats(0, 1e10),
    st.floats(0, 1e10),
    st.none() | st.builds(Identity, st.text(), st.text(), groups=st.lists(st.text()).map(tuple)),
    st.none() | st.integers(),
    DATA,
)


@given(RECORDS)
def test_a_record_comes_back_the_same_through_json(what: SessionRecord) -> None:
    assert SessionRecord.load(json.loads(json.dumps(what.dump()))) == what


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in record().dump().items() if name != key}


BAD = {
    "nothing": None,
    "a number": 7,
    "a text": "x",
    "a list": [1, 2],
    "an empty mapping": {},
    "no version": without("v"),
    "another version": {**record().dump(), "v": 2},
    "version as text": {**record().dump(), "v": "1"},
    "no creation": without("c"),
    "creation of words": {**record().dump(), "c": "yesterday"},
    "creation of nothing": {**record().dump(), "c": None},
    "creation that is no number": {**record().dump(), "c": float("nan")},
    "creation that is never over": {**record().dump(), "c": float("inf")},
    "creation beyond all numbers": {**record().dump(), "c": 10**400},
    "no modification": without("m"),
    "modification that is no number": {**record().dump(), "m": float("nan")},
    "no user": without("u"),
    "user of nothing but a name": {**record().dump(), "u": "alice"},
    "user of no fields": {**record().dump(), "u": {}},
    "user of false": {**record().dump(), "u": False},
    "user of a list": {**record().dump(), "u": ["alice"]},
    "user whose name is no text": {**record().dump(), "u": {**ALICE.dump(), "username": None}},
    "no expiry": without("e"),
    "expiry of words": {**record().dump(), "e": "never"},
    "expiry that is no number": {**record().dump(), "e": float("nan")},
    "no data": without("d"),
    "data of nothing": {**record().dump(), "d": None},
    "data of a list": {**record().dump(), "d": []},
    "data of pairs": {**record().dump(), "d": [["a", 1]]},
}


@pytest.mark.parametrize("raw", table(BAD))
def test_what_is_no_record_is_a_value_error_and_nothing_else(raw: Any) -> None:
    with pytest.raises(ValueError, match="not a session record"):
        SessionRecord.load(raw)


def test_a_session_shows_its_user_and_never_its_id() -> None:
    session = Session(b"secret-id", record(), NOW)
    assert "secret" not in repr(session)
    assert "alice" in repr(session)


def test_a_session_after_a_write_has_the_new_record_and_the_same_id() -> None:
    after = Session(b"x", record(), NOW).with_record(record(modified=NOW + 5), NOW + 5)
    assert after == Session(b"x", record(modified=NOW + 5), NOW + 5)


def test_the_defaults_are_those_of_the_docs() -> None:
    assert SessionPolicy() == SessionPolicy(14 * 86400, 30 * 60, 12 * 3600, 60, False)
