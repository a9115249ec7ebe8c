"""Access tokens: what is issued is verified with all that it says, until it ends or its key is retired."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import jwt
from gateway.core.access_tokens import AccessClaims, AccessTokens
from gateway.core.identity import Identity
from gateway.core.jwt import ALGORITHMS, Algorithm
from gateway.core.keys import from_b64url
from gateway.core.signing_keys import SigningKeys
from tests.core.forge import ALICE, AUDIENCE, CLAIMS, ISSUER, NOW, Clock, entropy, event_of, key, ring, token, tokens
from tests.core.tables import table


def issue(made: AccessTokens, **options: Any) -> str:
    """For Alice."""
    given_options = {"client_id": "page", "ends_at": NOW + 9999, **options}
    return made.issue(ALICE, "s-1", **given_options)[0]


def said(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, as anybody can read them."""
    header, claims, _ = (json.loads(from_b64url(part) or b"0") if number < 2 else {} for number, part in enumerate(text.split(".")))  # fmt: skip
    return header, claims


# -- round trips
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_issued_is_verified_with_all_that_it_says(algorithm: Algorithm) -> None:
    made = tokens(ring(algorithm))
    text, lasts = made.issue(ALICE, "s-1", client_id="page", scope=("read", "write"), ends_at=NOW + 9999)
    assert lasts == 300
    claims = made.verify(text)
    assert claims == AccessClaims(
        ALICE, "s-1", said(text)[1]["jti"], "page", ("read", "write"), issued=NOW, expires=NOW + 300
    )
    assert not claims.is_foreign
    assert said(text)[0] == {"typ": "at+jwt", "alg": algorithm, "kid": ring(algorithm).active.kid}


def test_the_claims_are_those_of_rfc_9068_and_what_the_gateway_needs() -> None:
    _, claims = said(issue(tokens(), scope=["read"]))
    jti = claims.pop("jti")
    expected = {**CLAIMS, "scope": "read", "iat": NOW, "exp": NOW + 300}
    del expected["jti"]
    assert claims == expected
    assert len(jti) == 22
    assert jti != said(issue(tokens()))[1]["jti"], "each has an id of its own"


texts = st.text()
users = st.builds(
    Identity,
    id=st.text(min_size=1),
    username=st.text(min_size=1),
    name=texts,
    email=texts,
    usertype=texts,
    groups=st.lists(texts, max_size=5).map(tuple),
    source=texts,
    generation=st.integers(0, 2**40),
)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(users, st.text(min_size=1), st.text(min_size=1), st.lists(words, max_size=3))
def test_every_user_comes_back_as_he_was(user: Identity, sid: str, client_id: str, scope: list[str]) -> None:
    made = tokens(ring("HS256"))
    text, _ = made.issue(user, sid, client_id=client_id, scope=scope, ends_at=float("inf"))
    claims = made.verify(text)
    assert (claims.user, claims.sid, claims.client_id, claims.scope) == (user, sid, client_id, tuple(scope))
    assert text.isascii()


@pytest.mark.parametrize(("ends", "lasts"), [(9999, 300), (300, 300), (299.9, 299), (120, 120), (0.5, 0), (-5, 0)])
def test_a_token_ends_with_its_session_at_the_latest(ends: float, lasts: int) -> None:
    text, expires_in = tokens().issue(ALICE, "s-1", client_id="page", ends_at=NOW + ends)
    assert expires_in == lasts
    assert said(text)[1]["exp"] == NOW + lasts


def test_a_time_between_two_seconds_is_the_one_before() -> None:
    text = issue(tokens(clock=Clock(NOW + 0.9)))
    assert (said(text)[1]["iat"], said(text)[1]["exp"]) == (NOW, NOW + 300)


def test_a_user_whose_claims_no_request_could_carry_gets_no_token() -> None:
    crowd = replace(ALICE, groups=tuple(f"group-{number}" for number in range(900)))
    with pytest.raises(ValueError, match="do not fit"):
        tokens().issue(crowd, "s-1", client_id="page", ends_at=NOW + 9999)


# -- what it refuses
BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "over": ({"exp": NOW - 10}, "token_expired"),
    "not yet": ({"iat": NOW + 11, "exp": NOW + 300}, "token_not_yet"),
    "nbf in the future": ({"nbf": NOW + 60}, "token_not_yet"),
    "forever": ({"exp": NOW + 86_400}, "token_forever"),
    "no end": ({"exp": ...}, "token_claims"),
    "an end beyond all years": ({"exp": 1e300}, "token_claims"),
    "no beginning": ({"iat": ...}, "token_claims"),
    "another issuer": ({"iss": "https://evil.test"}, "token_issuer"),
    "no issuer": ({"iss": ...}, "token_claims"),
    "another audience": ({"aud": "other"}, "token_audience"),
    "an empty list of audiences": ({"aud": []}, "token_audience"),
    "no audience": ({"aud": ...}, "token_claims"),
    "an audience that is a number": ({"aud": 1}, "token_claims"),
    **{f"no {name}": ({name: ...}, "token_claims") for name in ("sub", "sid", "jti", "client_id", "preferred_username")},
    **{f"empty {name}": ({name: ""}, "token_claims") for name in ("sub", "sid", "jti", "client_id", "preferred_username")},
    **{f"no {name}": ({name: ...}, "token_claims") for name in ("name", "email", "usertype", "src", "groups", "gen")},
    **{f"{name}: null": ({name: None}, "token_claims") for name in ("name", "email", "usertype", "src", "groups", "gen", "scope")},
    "a name that is a number": ({"name": 5}, "token_claims"),
    "groups as a text": ({"groups": "staff"}, "token_claims"),
    "a group that is none": ({"groups": ["staff", None]}, "token_claims"),
    "groups in groups": ({"groups": [["staff"]]}, "token_claims"),
    "a generation as a text": ({"gen": "3"}, "token_claims"),
    "a generation that is true": ({"gen": True}, "token_claims"),
    "a scope as a list": ({"scope": ["read"]}, "token_claims"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "event"), table(BAD_CLAIMS))
def test_p82_a_signed_token_that_says_too_little_or_is_for_others_is_refused(
    changes: dict[str, Any], event: str
) -> None:
    made = tokens()
    assert made.verify(token()).user == ALICE, "without the change it is good"
    for _ in range(2):
        assert event_of(made.verify, token(**changes)) == event


@pytest.mark.parametrize("typ", ["JWT", "assertion+jwt", ""])
def test_p82_another_token_under_the_same_key_is_no_access_token(typ: str) -> None:
    text = jwt.sign(CLAIMS, key("EdDSA"), typ)
    assert event_of(tokens().verify, text) == "token_type"


def test_no_scope_is_an_empty_one() -> None:
    assert tokens().verify(token(scope=...)).scope == ()
    assert tokens().verify(token(scope="")).scope == ()
    assert tokens().verify(token(scope=" read  write ")).scope == ("read", "write")


def test_a_token_for_several_is_for_us_too() -> None:
    assert tokens().verify(token(aud=["other", AUDIENCE])).user == ALICE


# -- what is known
def test_a_known_token_is_the_same_object_and_still_ends() -> None:
    clock = Clock()
    made = tokens(clock=clock)
    text = issue(made)
    claims = made.verify(text)
    assert made.verify(text) is claims
    clock.now = NOW + 309.9
    assert made.verify(text) is claims, "the leeway"
    clock.now = NOW + 310
    assert event_of(made.verify, text) == "token_expired"
    assert made._known == {}, "what is over takes no room"
    clock.now = NOW
    assert made.verify(text) == claims


def test_a_known_token_is_known_by_all_of_its_text() -> None:
    made = tokens()
    text = issue(made)
    made.verify(text)
    for changed in (text[:-2], text + "A", text[:-6] + "AAAAAA", text + " ", text.swapcase()):
        event_of(made.verify, changed)
    assert list(made._known) == [text]


def test_no_more_tokens_are_remembered_than_there_is_room_for() -> None:
    made = tokens(ring("HS256"), max_known=3)
    texts_made = [issue(made) for _ in range(10)]
    for text in texts_made:
        assert made.verify(text).user == ALICE
        assert len(made._known) <= 3
    assert list(made._known) == texts_made[-3:]
    assert made.verify(texts_made[0]).user == ALICE, "forgotten is not refused"


def test_when_the_keys_change_everything_is_verified_anew() -> None:
    clock, first, second = Clock(), key("EdDSA"), key("ES256", "next")
    now = SigningKeys([first, second])
    made = AccessTokens(lambda: now, ISSUER, AUDIENCE, clock=clock, entropy=entropy)
    text = issue(made)
    made.verify(text)
    now = SigningKeys([replace(first, state="old"), replace(second, state="active")])
    assert made.verify(text).user == ALICE, "an old key still verifies"
    newer = issue(made)
    assert said(newer)[0]["kid"] == second.kid
    now = SigningKeys([replace(second, state="active")])
    assert event_of(made.verify, text) == "token_unknown_key", "a retired one does not"
    assert made.verify(newer).user == ALICE


def test_a_token_under_the_key_that_comes_next_is_good_already() -> None:
    """Another worker may have read the rotated file a moment earlier."""
    coming = key("ES256", "next")
    made = tokens(SigningKeys([key("EdDSA"), coming]))
    assert made.verify(token(coming)).user == ALICE


def hopeless() -> dict[str, Callable[[], str]]:
    return {
        "nothing": lambda: "",
        "a megabyte of dots": lambda: "." * 2**20,
        "an opaque token": lambda: "gwk_0123456789abcdef",
        "two tokens": lambda: f"{token()}, {token()}",
        "with its scheme": lambda: f"Bearer {token()}",
    }


@pytest.mark.parametrize("make", table(hopeless()))
def test_what_was_never_a_token_is_refused_and_not_remembered(make: Callable[[], str]) -> None:
    made = tokens()
    for _ in range(2):
        assert event_of(made.verify, make()) in ("token_malformed", "token_too_long")
    assert made._known == {}


def test_a_token_from_days_of_longer_lives_does_not_outlive_the_list_of_what_was_revoked() -> None:
    keys, clock = ring("EdDSA"), Clock()
    old = AccessTokens(lambda: keys, ISSUER, AUDIENCE, clock=clock, entropy=entropy, lifetime=3600, leeway=10)
    text = old.issue(ALICE, "s-1", client_id="page", ends_at=NOW + 9999)[0]
    made = AccessTokens(lambda: keys, ISSUER, AUDIENCE, clock=clock, entropy=entropy, lifetime=300, leeway=10)
    assert made.verify(text).sid == "s-1"
    clock.now = NOW + 310
    assert event_of(made.verify, text) == "token_expired"
    fresh = AccessTokens(lambda: keys, ISSUER, AUDIENCE, clock=clock, entropy=entropy, lifetime=300, leeway=10)
    assert event_of(fresh.verify, text) == "token_expired"
    assert old.verify(text).sid == "s-1"
