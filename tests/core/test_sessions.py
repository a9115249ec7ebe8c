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
    Card,
    Limits,
    Session,
    SessionPolicy,
    SessionRecord,
    cookie_age,
    ends_at,
    merged,
    needs_touch,
    rotation_is_due,
    same,
    time_to_live,
    why_over,
)
from tests.core.tables import table

POLICY = SessionPolicy(
    age=5000, idle_timeout=100, absolute_timeout=10_000, touch_interval=10, remember=Limits(70_000, 2000, 50_000)
)
ALICE = Identity("7", "alice", groups=("sales",))
NOW = 1_000_000.0


def record(created: float = NOW, modified: float = NOW, expiry: int | None = None) -> SessionRecord:
    return SessionRecord(created, modified, ALICE, expiry)


def kept(created: float = NOW, modified: float = NOW, expiry: int | None = None) -> SessionRecord:
    """Of somebody who asked to be kept signed in."""
    return replace(record(created, modified, expiry), remembered=True)


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
    "remembered: idle": (kept(), NOW, NOW + 2010, "expired_idle"),
    "remembered: idle counts from the last request": (kept(), NOW + 1500, NOW + 3510, "expired_idle"),
    "remembered: its own age, not everybody's": (kept(), NOW + 6000, NOW + 8010, "expired_idle"),
    "remembered: absolute": (kept(), NOW + 49_990, NOW + 50_000, "expired_absolute"),
    "remembered: a write does not move the absolute end": (
        kept(modified=NOW + 49_000),
        NOW + 49_990,
        NOW + 50_000,
        "expired_absolute",
    ),
    "remembered: own expiry": (kept(expiry=60), NOW, NOW + 60, "expired_age"),
    "remembered: own expiry is capped by idle": (kept(expiry=10**9), NOW, NOW + 2010, "expired_idle"),
    "remembered: already over": (kept(expiry=-1), NOW, NOW - 1, "expired_age"),
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
    "a clock a little behind": (-9.999, False),
    "a clock that far behind: another process wrote it": (-10.0, True),
    "the clock went back": (-50.0, True),
}


@pytest.mark.parametrize(("seconds", "wanted"), table(TOUCHES))
def test_activity_is_written_at_most_every_touch_interval(seconds: float, wanted: bool) -> None:
    assert needs_touch(Session(b"x", record(), NOW), POLICY, NOW + seconds) is wanted


BROWSER = replace(POLICY, expire_at_browser_close=True)
USUAL = replace(POLICY, remember=None)
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
    "remembered": (kept(), POLICY, NOW, 50_000),
    "remembered: time goes on": (kept(), POLICY, NOW + 1000, 49_000),
    "remembered: a write does not move the end": (kept(modified=NOW + 9000), POLICY, NOW + 9000, 41_000),
    "remembered: beats a policy that ends with the browser": (kept(), BROWSER, NOW, 50_000),
    "remembered: own expiry": (kept(expiry=60), BROWSER, NOW, 60),
    "remembered: own browser session": (kept(expiry=0), POLICY, NOW, None),
    "remembered: over": (kept(), POLICY, NOW + 50_000, 0),
    "remembered, but nobody is any more": (kept(), USUAL, NOW, 5000),
    "remembered, but nobody is any more, nor has the cookie an age": (
        kept(),
        replace(USUAL, expire_at_browser_close=True),
        NOW,
        None,
    ),
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
            session = session.seen_at(now)
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


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
DATA = st.dictionaries(st.text(), JSON)
MOMENTS = st.integers(0, 10**13).map(lambda milliseconds: milliseconds / 1000)
RECORDS = st.builds(
    SessionRecord,
    MOMENTS,
    MOMENTS,
    st.none() | st.builds(Identity, st.text(), st.text(), groups=st.lists(st.text()).map(tuple)),
    st.none() | st.integers(),
    DATA,
    until=st.none() | MOMENTS,
    issued=MOMENTS,
    before=st.text("abc-_"),
    remembered=st.booleans(),
)


@given(RECORDS)
def test_a_record_comes_back_the_same_through_json(what: SessionRecord) -> None:
    assert SessionRecord.load(json.loads(json.dumps(what.dump())), what.data) == what


@pytest.mark.parametrize("mark", [0, 1, "yes", None, [], {}])
def test_only_true_is_the_mark_of_a_remembered_session(mark: Any) -> None:
    assert SessionRecord.load({**record().dump(), "r": mark}, {}).remembered is False


def test_records_of_older_gateways_are_not_remembered_and_they_can_read_ours() -> None:
    """They look at the keys they know; what the mark adds is one of its own, and only where there is one."""
    assert kept().dump() == {**record().dump(), "r": True}
    assert SessionRecord.load(record().dump(), {}) == record()


@pytest.mark.parametrize(("what", "last_seen", "end", "code"), table(ENDS))
def test_without_such_limits_a_remembered_session_is_like_any_other(
    what: SessionRecord, last_seen: float, end: float, code: str
) -> None:
    assert ends_at(what, last_seen, USUAL) == ends_at(replace(what, remembered=False), last_seen, POLICY)
    assert ends_at(replace(what, remembered=False), last_seen, POLICY)[0] <= end


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in record().dump().items() if name != key}


BAD = {
    "nothing": None,
    "a number": 7,
    "a text": "x",
    "a list": [1, 2],
    "an empty mapping": {},
    "no version": without("v"),
    "another version": {**record().dump(), "v": 1},
    "version as text": {**record().dump(), "v": "2"},
    "no creation": without("c"),
    "creation of words": {**record().dump(), "c": "yesterday"},
    "creation of nothing": {**record().dump(), "c": None},
    "creation that is no number": {**record().dump(), "c": float("nan")},
    "creation that is never over": {**record().dump(), "c": float("inf")},
    "creation beyond all numbers": {**record().dump(), "c": 10**400},
    "no modification": without("m"),
    "modification that is no number": {**record().dump(), "m": float("nan")},
    "user of nothing but a name": {**record().dump(), "u": "alice"},
    "user of no fields": {**record().dump(), "u": {}},
    "user of false": {**record().dump(), "u": False},
    "user of a list": {**record().dump(), "u": ["alice"]},
    "user whose name is no text": {**record().dump(), "u": {**ALICE.dump(), "username": None}},
    "expiry of words": {**record().dump(), "e": "never"},
    "expiry that is no number": {**record().dump(), "e": float("nan")},
    "expiry of yes": {**record().dump(), "e": True},
    "an end that is no moment": {**record().dump(), "t": float("inf")},
    "an id issued at no moment": {**record().dump(), "i": "today"},
    "a predecessor that is no name": {**record().dump(), "b": 7},
}


@pytest.mark.parametrize("raw", table(BAD))
def test_what_is_no_record_is_a_value_error_and_nothing_else(raw: Any) -> None:
    with pytest.raises(ValueError, match="not a session record"):
        SessionRecord.load(raw, {})


@pytest.mark.parametrize("data", [None, [], [["a", 1]], 7, "x"])
def test_data_that_are_no_mapping_are_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match="not a session record"):
        SessionRecord.load(record().dump(), data)


def test_a_session_shows_its_user_and_never_its_id_nor_its_data() -> None:
    what = replace(record(), data={"cart": "secret-data"})
    session = Session(b"secret-id", what, NOW, Card("secret-handle"), b"secret-version", b"secret-old")
    assert "secret" not in repr(session)
    assert "alice" in repr(session)


def test_a_session_seen_now_shows_it_in_the_list_too() -> None:
    after = Session(b"x", record(), NOW, Card("h", last_seen=NOW)).seen_at(NOW + 5)
    assert (after.last_seen, after.card) == (NOW + 5, Card("h", last_seen=NOW + 5))


CARDS = st.builds(Card, *[st.text()] * 6, MOMENTS, MOMENTS)


@given(CARDS)
def test_a_card_comes_back_the_same_through_json(card: Card) -> None:
    assert Card.load(json.loads(json.dumps(card.dump()))) == card


@given(CARDS, st.floats(0, 1e10), st.floats(0, 1e10))
def test_a_cards_moments_are_kept_to_the_millisecond(card: Card, created: float, last_seen: float) -> None:
    dumped = replace(card, created=created, last_seen=last_seen).dump()
    read = Card.load(json.loads(json.dumps(dumped)))
    assert abs(read.created - created) <= 0.000_51
    assert abs(read.last_seen - last_seen) <= 0.000_51
    assert all(len(json.dumps(moment)) <= len("9999999999.999") for moment in dumped[6:])


GOOD = Card("h", "s", "u", "n", "a", "d", 1.0, 2.0).dump()


@pytest.mark.parametrize(
    "raw", [None, 7, "x", {}, [], GOOD[:-1], [*GOOD, 1], [None, *GOOD[1:]], [*GOOD[:7], "x"], [*GOOD[:7], float("nan")]]
)
def test_what_is_no_card_is_a_value_error(raw: Any) -> None:
    with pytest.raises(ValueError, match="not a card"):
        Card.load(raw)


MERGES = {
    # read, written here, written there meanwhile, what counts
    "different keys both win": ({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    "the same key: the last one": ({"a": 0}, {"a": 1}, {"a": 2}, {"a": 1}),
    "what is only read here stays as it is there": ({"a": 0}, {"a": 0, "b": 1}, {"a": 5}, {"a": 5, "b": 1}),
    "deleted here": ({"a": 0, "b": 0}, {"b": 0}, {"a": 0, "b": 7}, {"b": 7}),
    "deleted here, changed there": ({"a": 0}, {}, {"a": 7}, {}),
    "deleted there": ({"a": 0}, {"a": 0, "b": 1}, {}, {"b": 1}),
    "deleted there, changed here": ({"a": 0}, {"a": 1}, {}, {"a": 1}),
    "cleared here": ({"a": 0, "b": 0}, {}, {"a": 0, "b": 0, "c": 1}, {"c": 1}),
    "1 and True are two": ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
    "deep inside": ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a": [{"b": 1}], "c": 1}, {"a": [{"b": 2}], "c": 1}),
}


@pytest.mark.parametrize(("base", "mine", "theirs", "both"), table(MERGES))
def test_concurrent_writers_are_merged_by_key(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], both: dict[str, Any]
) -> None:
    records = [replace(record(), data=data) for data in (base, mine, theirs)]
    found = merged(*records).data
    assert json.dumps(found, sort_keys=True) == json.dumps(both, sort_keys=True)


def test_the_later_modification_and_ones_own_expiry_win_in_a_merge() -> None:
    base = record(expiry=60)
    mine, theirs = replace(base, modified=NOW + 1, until=NOW + 99), replace(base, modified=NOW + 5, expiry=7)
    assert merged(base, mine, theirs) == replace(base, modified=NOW + 5, until=NOW + 99)
    assert merged(base, base, theirs) == theirs


@pytest.mark.parametrize("mine", [True, False])
def test_a_merge_keeps_the_mark_that_somebody_changed(mine: bool) -> None:
    base, changed = replace(record(), remembered=not mine), replace(record(), remembered=mine)
    assert merged(base, changed, base).remembered is merged(base, base, changed).remembered is mine


@given(DATA, DATA, DATA)
def test_a_merge_loses_nothing_that_only_one_side_changed(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    both = merged(*(replace(record(), data=data) for data in (base, mine, theirs))).data
    for key in {*base, *mine, *theirs}:
        changed_here = (key in base) != (key in mine) or (key in base and not same(base[key], mine[key]))
        wanted = mine if changed_here else theirs
        assert (key in both) == (key in wanted)
        assert key not in both or same(both[key], wanted[key])


ROTATIONS = {
    "at once": (0.0, 900, False),
    "just before": (899.9, 900, False),
    "just then": (900.0, 900, True),
    "never": (10**9, 0, False),
    "the clock went back": (-5.0, 900, False),
}


@pytest.mark.parametrize(("seconds", "interval", "due"), table(ROTATIONS))
def test_an_id_is_old_after_the_rotate_interval(seconds: float, interval: int, due: bool) -> None:
    session = Session(b"x", replace(record(), issued=NOW), NOW)
    assert rotation_is_due(session, replace(POLICY, rotate_interval=interval), NOW + seconds) is due


UNTIL = replace(record(expiry=60), until=NOW + 70.5)


def test_a_moment_given_to_set_expiry_does_not_slide() -> None:
    assert ends_at(replace(UNTIL, modified=NOW + 50), NOW + 50, POLICY) == (NOW + 70.5, "expired_age")
    assert cookie_age(replace(UNTIL, expiry=0), BROWSER, NOW) == 70, "and its cookie has an age"


def test_the_defaults_are_those_of_the_docs() -> None:
    assert SessionPolicy() == SessionPolicy(14 * 86400, 30 * 60, 12 * 3600, 60, False, False, 15 * 60, 10)
