"""The keys of foreign issuers: fetched from a real server that changes, hangs, lies and goes away."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from aiohttp import web

from gateway.core.signing_keys import new_signing_key
from gateway.errors import StoreUnavailable
from gateway.identity.foreign_keys import Pace
from tests.harness import free_port
from tests.identity.foreign_lab import QUICK, Lab, MakeLab, issuer, lab, told, until
from tests.identity.token_issuer import TokenIssuer

__all__ = ["issuer", "lab"]


# -- keys that change
async def test_a_key_that_is_published_first_costs_nobody_a_question(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(QUICK)
    old = issuer.key
    new = issuer.new_key()
    issuer.jwks = {"keys": [old.public_jwk(), new.public_jwk()]}
    await until(lambda: new.kid in one.keys.by_kid)
    assert told(one.tokens.known(issuer.token(new))) == "francine"
    assert told(one.tokens.known(issuer.token(old))) == "francine"


async def test_a_key_that_was_withdrawn_is_believed_no_more(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(QUICK)
    token = issuer.token()
    assert await one.verdict(token) == "francine"
    old = issuer.key
    issuer.jwks = {"keys": [issuer.new_key().public_jwk()]}
    await until(lambda: old.kid not in one.keys.by_kid)
    assert await one.verdict(token) == "token_unknown_key"


async def test_an_unknown_key_is_asked_for_once_a_minute_by_all_together(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab()
    assert issuer.asked == 1
    known = issuer.token()
    new = issuer.new_key()
    issuer.jwks = {"keys": [new.public_jwk()]}
    issuer.holds.clear()
    tokens = [issuer.token(new, jti=str(number)) for number in range(20)]
    assert [one.tokens.known(token) for token in tokens] == [None] * 20
    waiting = [asyncio.create_task(one.tokens.find(token)) for token in tokens]
    await until(lambda: issuer.asked == 2)
    assert told(one.tokens.known(known)) == "francine"  # who has a known key waits for nobody
    waiting.pop().cancel()  # a client that went away takes the question away from nobody
    issuer.holds.set()
    assert [told(found) for found in await asyncio.gather(*waiting)] == ["francine"] * 19
    stranger = new_signing_key("EdDSA", "active", "")
    for number in range(50):
        assert told(one.tokens.known(issuer.token(stranger, jti=str(number)))) == "token_unknown_key"
    assert issuer.asked == 2


async def test_an_unknown_key_is_asked_for_again_after_its_minute(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(Pace(unknown=0.05))
    strangers = [issuer.token(new_signing_key("EdDSA", "active", "")) for _ in range(2)]
    assert await one.verdict(strangers[0]) == "token_unknown_key"
    await until(one.keys.may_ask)
    assert await one.verdict(strangers[1]) == "token_unknown_key"
    assert issuer.asked == 3


# -- an issuer in trouble
async def test_keys_stay_while_their_issuer_is_away(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(QUICK)
    await issuer.stop()
    await until(lambda: one.keys.is_away)
    assert told(one.tokens.known(issuer.token())) == "francine"
    stranger = issuer.token(new_signing_key("EdDSA", "active", ""))
    assert one.tokens.known(stranger) is None
    with pytest.raises(StoreUnavailable):
        await one.tokens.find(stranger)  # perhaps it is good: an outage, no bad token


async def test_an_issuer_that_is_away_at_the_start_is_an_outage_and_is_found_later(lab: MakeLab) -> None:
    port = free_port()
    late = TokenIssuer(port)
    late.url, late.issuer = f"http://127.0.0.1:{port}/keys", f"http://127.0.0.1:{port}"
    one = Lab(late, QUICK)
    one.watch()
    try:
        with pytest.raises(StoreUnavailable):
            await one.verdict(late.token())
        await late.start()
        await until(one.keys.are_believed)
        assert await one.verdict(late.token()) == "francine"
    finally:
        await one.close()
        await late.stop()


async def test_keys_that_nobody_could_fetch_for_a_day_are_an_outage(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(Pace(every=0.05, again=0.05, stale=0.3))
    token = issuer.token()
    await until(one.keys.are_believed)
    await issuer.stop()
    await until(lambda: one.keys.is_away and not one.keys.are_believed())
    with pytest.raises(StoreUnavailable):
        await one.verdict(token)


async def test_an_issuer_that_hangs_holds_nobody_up(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(Pace(every=0.05, again=0.05, timeout=0.2))
    known = issuer.token()
    issuer.holds.clear()
    asked = issuer.asked
    await until(lambda: issuer.asked > asked)
    assert told(one.tokens.known(known)) == "francine"
    await until(lambda: one.keys.is_away)
    with pytest.raises(StoreUnavailable):
        await one.tokens.find(issuer.token(issuer.new_key()))


def answers() -> dict[str, web.Response]:
    """Made anew for each test: an answer is sent once."""
    return {
        "an error": web.Response(status=500),
        "nothing": web.Response(body=b""),
        "no JSON": web.Response(body=b"<html>"),
        "another JSON": web.Response(body=b"[]"),
        "a name twice": web.Response(body=b'{"keys": [], "keys": []}'),
        "no keys": web.Response(body=b'{"keys": []}'),
        "nothing but junk": web.Response(body=b'{"keys": [1, null, {}, {"kty": "OKP"}, []]}'),
        "too many keys": web.Response(body=json.dumps({"keys": [{}] * 101}).encode()),
        "too much": web.Response(body=b" " * (256 * 1024 + 1)),
        "too deep": web.Response(body=b"[" * 100_000),
        "packed": web.Response(body=gzip.compress(b'{"keys": []}'), headers={"Content-Encoding": "gzip"}),
        "somewhere else": web.Response(status=302, headers={"Location": "/other"}),
    }


@pytest.mark.parametrize("name", answers())
async def test_what_is_no_key_set_changes_nothing(name: str, issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(is_watched=False)
    assert await one.verdict(issuer.token()) == "francine"  # nobody watches: the first token asks
    before, issuer.answer = one.keys.by_kid, answers()[name]
    one.watch()
    await until(lambda: one.keys.is_away)
    assert one.keys.by_kid is before
    assert await one.verdict(issuer.token()) == "francine"


async def test_a_redirect_is_not_followed(issuer: TokenIssuer, lab: MakeLab) -> None:
    issuer.answer = web.Response(status=307, headers={"Location": issuer.url})
    one = await lab()
    assert one.keys.is_away
    assert issuer.asked == 1


async def test_junk_among_the_keys_is_left_out_and_of_two_with_one_id_the_first_counts(
    issuer: TokenIssuer, lab: MakeLab
) -> None:
    good, other = issuer.key.public_jwk() or {}, new_signing_key("EdDSA", "active", "")
    twin = {**(other.public_jwk() or {}), "kid": good["kid"]}
    nameless = {name: value for name, value in (other.public_jwk() or {}).items() if name != "kid"}
    sealing = {**(other.public_jwk() or {}), "kid": "e", "use": "enc"}
    weak = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "w"}
    issuer.jwks = {"keys": ["x", {"kty": "EC"}, good, twin, nameless, sealing, weak, other.private_jwk()]}
    one = await lab()
    assert list(one.keys.by_kid) == [good["kid"]]
    assert await one.verdict(issuer.token()) == "francine"
    assert await one.verdict(issuer.token(other)) == "token_unknown_key"


async def test_the_same_keys_fetched_again_leave_verified_what_was_verified(issuer: TokenIssuer, lab: MakeLab) -> None:
    one = await lab(QUICK)
    token = issuer.token()
    found, asked = one.tokens.known(token), issuer.asked
    await until(lambda: issuer.asked > asked + 1)
    assert one.tokens.known(token) is found
