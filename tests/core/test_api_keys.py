"""API keys: their form, and what is kept of one."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.api_keys import ApiKey, hash_of, is_key_id, looks_like_key, make_key, parse_key
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken

KEY_ID, TEXT = make_key(bytes(range(8)), bytes(range(32)))
USER = Identity("1", "ada", "Ada L.", "ada@example.org", "mgr", ("sales",), "file:users.yaml", 3)
KEY = ApiKey(KEY_ID, "backup", USER, frozenset({"orders"}), 1000.0, 2000.0, hash=hash_of(TEXT))


def test_a_key_of_today_is_read_by_every_later_version() -> None:
    assert TEXT == "gwk_001IYT0XLWR003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf1FZLEJ"
    presented = parse_key(TEXT)
    assert presented.id == KEY_ID
    assert presented.hash == sha256(TEXT.encode()).digest()


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_every_key_is_read_as_what_it_is(id_bytes: bytes, secret: bytes) -> None:
    key_id, text = make_key(id_bytes, secret)
    assert looks_like_key(text)
    assert is_key_id(key_id)
    assert len(text) == 64
    assert parse_key(text).id == key_id


@pytest.mark.parametrize("at", range(4, 64))
def test_one_wrong_character_anywhere_is_found_without_asking_anybody(at: int) -> None:
    for other in "0Zz":
        if TEXT[at] != other:
            with pytest.raises(BadToken) as caught:
                parse_key(TEXT[:at] + other + TEXT[at + 1 :])
            assert caught.value.event == "api_key_malformed"


def test_two_neighbours_that_changed_places_are_found() -> None:
    for at in range(4, 63):
        if TEXT[at] != TEXT[at + 1]:
            with pytest.raises(BadToken):
                parse_key(TEXT[:at] + TEXT[at + 1] + TEXT[at] + TEXT[at + 2 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gwk_",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        TEXT.lower(),
        TEXT.replace("gwk_", "gwk-"),
        "ghp_" + TEXT[4:],
        TEXT[:10] + "é" + TEXT[11:],
        TEXT[:10] + "٣" + TEXT[11:],
        TEXT[:10] + "\0" + TEXT[11:],
        "gwk_" + "z" * 60,
        "gwk_" * 100_000,
    ],
    ids=range(15),
)
def test_what_is_no_key_is_malformed(text: str) -> None:
    with pytest.raises(BadToken) as caught:
        parse_key(text)
    assert caught.value.event == "api_key_malformed"


def test_nothing_that_is_shown_of_a_key_holds_its_secret() -> None:
    for shown in (repr(parse_key(TEXT)), repr(KEY), str(KEY), json.dumps(KEY.dump())):
        assert TEXT[15:] not in shown
    assert hash_of(TEXT).hex() not in repr(KEY) + repr(parse_key(TEXT))


def test_a_key_fits_what_was_shown_and_nothing_else() -> None:
    assert KEY.fits(parse_key(TEXT))
    assert not KEY.fits(parse_key(make_key(bytes(range(8)), bytes(32))[1])), "the same id, another secret"


def test_a_key_ends_at_its_moment_or_never() -> None:
    assert not KEY.is_over(1999.9)
    assert KEY.is_over(2000.0)
    assert not replace(KEY, expires=None).is_over(1e12)


@pytest.mark.parametrize("key", [KEY, replace(KEY, expires=None, routes=frozenset()), replace(KEY, name="密钥 🗝")])
def test_what_is_kept_of_a_key_is_read_back(key: ApiKey) -> None:
    assert ApiKey.load(KEY_ID, json.loads(json.dumps(key.dump()))) == key


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "xyz"},
        {"hash": None},
        {"name": None},
        {"user": None},
        {"user": {}},
        {"routes": None},
        {"routes": [1]},
        {"created": None},
        {"created": "today"},
        {"expires": "never"},
        {"expires": []},
    ],
    ids=str,
)
def test_what_is_no_record_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ApiKey.load(KEY_ID, {**KEY.dump(), **change})


def test_a_record_without_a_field_is_a_value_error() -> None:
    for name in KEY.dump():
        with pytest.raises(ValueError, match="not a key"):
            ApiKey.load(KEY_ID, {key: value for key, value in KEY.dump().items() if key != name})


@pytest.mark.parametrize("text", ["", "*", "all", KEY_ID + "0", KEY_ID[:-1], KEY_ID[:-1] + ":", "é" * 11])
def test_what_no_key_can_be_called_is_no_id(text: str) -> None:
    assert not is_key_id(text)
