"""Tokens of foreign issuers: which are good, and who their claims say somebody is."""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.foreign_tokens import ClaimNames
from gateway.core.signing_keys import new_signing_key
from gateway.store.bearers import Bearer
from tests.identity.foreign_lab import SELDOM, MakeLab, issuer, lab
from tests.identity.token_issuer import AUDIENCE, TokenIssuer

__all__ = ["issuer", "lab"]


async def test_who_it_is_follows_from_the_claims(issuer: TokenIssuer, lab: MakeLab) -> None:
    names = ClaimNames(usertype="/gateway/usertype", groups="/realm_access/roles")
    one = await lab(names=names)
    token = issuer.token(gateway={"usertype": "mgr"}, realm_access={"roles": ["a", "b"]}, sid="s1", jti="j1")
    assert one.tokens.takes(token)
    found = one.tokens.known(token)
    assert isinstance(found, Bearer)
    user = found.user
    assert (user.id, user.username, user.name, user.email) == ("f1", "francine", "Françoise", "f@other.example")
    assert (user.usertype, user.groups, user.source) == ("mgr", ("a", "b"), f"token:{issuer.issuer}")
    assert found.claims is not None
    assert (found.claims.is_foreign, found.claims.sid, found.claims.jti) == (True, "s1", "j1")
    assert one.tokens.known(token) is found  # one object for all requests


async def test_a_prefix_keeps_their_users_apart_from_ours(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(prefix="partner:")
    found = one.tokens.known(issuer.token(sub="mgr", preferred_username="mgr"))
    assert isinstance(found, Bearer)
    assert (found.user.id, found.user.username) == ("partner:mgr", "partner:mgr")


async def test_claims_that_were_not_named_mean_nothing(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab()
    found = one.tokens.known(issuer.token(usertype="mgr", groups=["admin"], src="file", gen=7))
    assert isinstance(found, Bearer)
    assert (found.user.usertype, found.user.groups, found.user.generation) == ("", (), 0)


@pytest.mark.parametrize(
    ("claims", "event"),
    [
        ({"iat": timedelta(seconds=-120), "exp": timedelta(seconds=-60)}, "token_expired"),
        ({"exp": None}, "token_claims"),
        ({"exp": 10**300}, "token_claims"),
        ({"aud": "https://other.example"}, "token_audience"),
        ({"aud": [AUDIENCE, 1]}, "token_claims"),
        ({"aud": None}, "token_claims"),
        ({"sub": None}, "token_claims"),
        ({"sub": "x" * 255}, "token_claims"),
        ({"preferred_username": None}, "token_claims"),
        ({"preferred_username": ""}, "token_claims"),
        ({"preferred_username": ["francine"]}, "token_claims"),
        ({"email": 7}, "token_claims"),
        ({"roles": "one"}, "francine"),
        ({"roles": None}, "francine"),
        ({"roles": ["a", 1]}, "token_claims"),
        ({"roles": {"a": 1}}, "token_claims"),
        ({"roles": ["a"] * 501}, "token_claims"),
        ({"nbf": timedelta(seconds=600)}, "token_not_yet"),
        ({"aud": ["x", AUDIENCE]}, "francine"),
    ],
)
async def test_a_token_is_read_strictly(claims: dict[str, Any], event: str, issuer: TokenIssuer, lab: MakeLab) -> None:
    """A ``timedelta`` is from now: tests are collected long before they run."""
    one, now = await lab(names=ClaimNames(groups="roles")), int(time.time())
    given = {
        name: now + int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    assert await one.verdict(issuer.token(**given)) == event


async def test_p82_a_token_of_another_kind_is_none_for_us_unless_that_was_said(
    issuer: TokenIssuer, lab: MakeLab
) -> None:
    strict, lenient = await lab(), await lab(types=frozenset({"jwt"}))
    assert await strict.verdict(issuer.token(typ="JWT")) == "token_type"
    assert await lenient.verdict(issuer.token(typ="JWT")) == "francine"


async def test_a_token_of_nobody_here_is_left_to_others(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab()
    others = [issuer.token(iss="https://other.example"), issuer.token(iss=["x"]), "", "a.b.c", "." * 100_000, "gwk_1"]
    assert [one.tokens.takes(token) for token in others] == [False] * len(others)
    assert await one.verdict(others[0]) == "token_issuer"


async def test_a_token_that_was_good_ends_when_it_says(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab()
    token = issuer.token()
    assert await one.verdict(token) == "francine"
    one.now = 305
    assert await one.verdict(token) == "francine"
    one.now = 311
    assert await one.verdict(token) == "token_expired"


async def test_p74_the_public_key_is_nobodys_secret(issuer: TokenIssuer, lab: MakeLab) -> None:
    public = issuer.key.public_jwk() or {}
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode(), "kid": "h", "alg": "HS256"}
    issuer.jwks = {"keys": [public, secret]}
    one = await lab()
    shared = new_signing_key("HS256", "active", "")
    assert list(one.keys.by_kid) == [issuer.key.kid]
    assert await one.verdict(issuer.token(shared)) == "token_algorithm"


async def test_only_the_algorithms_that_were_named_count(issuer: TokenIssuer, lab: MakeLab) -> None:
    elliptic, edwards = new_signing_key("ES256", "active", ""), issuer.key
    issuer.jwks = {"keys": [edwards.public_jwk(), elliptic.public_jwk()]}
    one = await lab(SELDOM, frozenset({"ES256"}))
    assert list(one.keys.by_kid) == [elliptic.kid]
    assert await one.verdict(issuer.token(elliptic)) == "francine"
    assert await one.verdict(issuer.token(edwards)) == "token_algorithm"
