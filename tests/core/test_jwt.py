"""Tokens are read strictly: everything that an attacker was ever known to send is refused, with an event of its own."""

from __future__ import annotations

import ast
import hmac
import inspect
import json
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm, get_default_algorithms

from gateway.core import access_tokens, jwk, jwt, signing_keys
from gateway.core.jwt import ALGORITHMS, MAX_TOKEN, PUBLIC_ALGORITHMS, Algorithm, BadToken, check_claims, read, sign
from gateway.core.keys import b64url, from_b64url
from tests.core.forge import (
    AUDIENCE,
    CLAIMS,
    ISSUER,
    NOW,
    event_of,
    forged,
    header_of,
    key,
    part,
    public_pem,
    ring,
    token,
)
from tests.core.tables import table

ED, EC, RSA, HS = (key("EdDSA"), key("ES256", "old"), key("RS256", "old"), key("HS256", "old"))
HEADER = header_of(ED)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4 D.1.2.3)."""


def read_here(text: str, **options: Any) -> dict[str, Any]:
    return read(text, lambda kid, _: ring().get(kid), **options)


def hmac_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(secret, message, "sha256")


def headed(**changes: Any) -> str:
    """Signed by us, with a header that we would not write."""
    header = {name: value for name, value in header_of(ED, **changes).items() if value is not ...}
    return forged(header, CLAIMS, ED.sign)


def cut(text: str, start: int = 0, end: int | None = None) -> str:
    """Some of the three parts."""
    return ".".join(text.split(".")[start:end])


# -- what is good
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_we_sign_with_each_algorithm_we_read(algorithm: Algorithm) -> None:
    active = ring(algorithm).active
    assert active.algorithm == algorithm
    assert read(sign(CLAIMS, active, "at+jwt"), lambda kid, _: ring(algorithm).get(kid)) == CLAIMS


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_pyjwt_verifies_our_tokens_with_the_jwks_alone(algorithm: Algorithm) -> None:
    keys = ring(algorithm)
    text = sign({**CLAIMS, "iat": 1, "exp": 4_000_000_000}, keys.active, "at+jwt")
    published = pyjwt.PyJWKSet.from_dict(json.loads(json.dumps(keys.jwks())))
    header = pyjwt.get_unverified_header(text)
    assert header == {"typ": "at+jwt", "alg": algorithm, "kid": keys.active.kid}
    found = pyjwt.decode(text, published[header["kid"]], algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)
    assert found == {**CLAIMS, "iat": 1, "exp": 4_000_000_000}


def test_pyjwt_verifies_a_token_under_the_shared_secret_which_no_jwks_shows() -> None:
    text = sign({**CLAIMS, "iat": 1, "exp": 4_000_000_000}, HS, "at+jwt")
    shared = pyjwt.PyJWK(HS.private_jwk(), "HS256")
    assert pyjwt.decode(text, shared, algorithms=["HS256"], audience=AUDIENCE)["sub"] == "u-1"
    assert HS.kid not in [published["kid"] for published in ring().jwks()["keys"]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_read_what_pyjwt_signs_with_our_keys(algorithm: Algorithm) -> None:
    signer = {one.algorithm: one for one in ring()}[algorithm]
    private = pyjwt.PyJWK(signer.private_jwk(), algorithm)
    text = pyjwt.encode(CLAIMS, private.key, algorithm, headers={"typ": "at+jwt", "kid": signer.kid})
    assert read_here(text) == CLAIMS


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_a_type_is_a_media_type_in_any_case_with_or_without_application(typ: str) -> None:
    assert read_here(headed(typ=typ)) == CLAIMS


def test_a_header_may_hold_members_that_change_nothing() -> None:
    assert read_here(headed(x5t="abc", cty="JSON", other=[1, {"a": None}])) == CLAIMS


def test_who_reads_foreign_tokens_says_which_types_and_algorithms_are_good() -> None:
    text = sign(CLAIMS, EC, "JWT")
    assert read_here(text, types=None, algorithms=("ES256",)) == CLAIMS
    assert read_here(text, types={"jwt"}) == CLAIMS
    assert event_of(read_here, text, types=None, algorithms=("EdDSA", "RS256")) == "token_algorithm"
    assert event_of(read_here, text) == "token_type"


def test_characters_beyond_ascii_and_pairs_of_surrogates_are_read() -> None:
    text = forged(HEADER, r'{"name": "\ud83d\ude00 李"}', ED.sign)
    assert read_here(text) == {"name": "😀 李"}


# -- which algorithm
@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "NONE", "", None, 0, ["none"], {"alg": "EdDSA"}, "EdDSA ", "eddsa", ...]
)
@pytest.mark.parametrize("signature", [b"", bytes(64)], ids=["no signature", "zeros"])
def test_p74_no_algorithm_is_none(alg: Any, signature: bytes) -> None:
    header = {name: value for name, value in header_of(ED, alg=alg).items() if value is not ...}
    assert event_of(read_here, forged(header, CLAIMS, signature)) == "token_algorithm"


@pytest.mark.parametrize("signer", [ED, EC, RSA], ids=lambda one: one.algorithm)
def test_p74_a_public_key_is_never_the_secret_of_an_hmac(signer: signing_keys.SigningKey) -> None:
    published = signer.public_jwk()
    assert published
    raw = from_b64url(published.get("x") or published["n"])
    assert raw
    compact = json.dumps(published, separators=(",", ":")).encode()
    for secret in (public_pem(signer), public_pem(signer).strip(), json.dumps(published).encode(), compact, raw, b""):
        for kid in (signer.kid, HS.kid):
            text = forged(header_of(signer, alg="HS256", kid=kid), CLAIMS, hmac_with(secret))
            assert event_of(read_here, text) in ("token_algorithm", "token_signature")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_p74_a_key_is_used_with_its_own_algorithm_only(algorithm: Algorithm) -> None:
    for signer in ring():
        if signer.algorithm != algorithm:
            text = forged(header_of(signer, alg=algorithm), CLAIMS, signer.sign)
            assert event_of(read_here, text) == "token_algorithm"


@pytest.mark.parametrize(
    "alg", sorted({*get_default_algorithms(), "Ed25519", "Ed448", "HS1", "RSA1_5"} - {*ALGORITHMS})
)
def test_what_a_library_knows_beyond_our_list_is_refused(alg: str) -> None:
    assert event_of(read_here, headed(alg=alg)) == "token_algorithm"


@pytest.mark.parametrize("alg", ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW", "RSA-OAEP", "dir", "A256GCMKW", "ECDH-ES"])
def test_p77_encrypted_tokens_are_not_ours_to_open(alg: str) -> None:
    header = {"alg": alg, "enc": "A256GCM", "p2c": 2_147_483_647, "p2s": "AAAA", "zip": "DEF", "kid": ED.kid}
    assert event_of(read_here, forged(header, CLAIMS, ED.sign)) == "token_algorithm"
    five = f"{part(header)}.AAAA.AAAA.AAAA.AAAA"
    assert event_of(read_here, five) == "token_malformed"


# -- the header
REFUSED = {
    "jwk": ED.public_jwk(),
    "jku": "https://evil.test/jwks.json",
    "x5u": "https://evil.test/cert.pem",
    "x5c": ["MIIB"],
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
    "enc": "A256GCM",
    "p2c": 2_147_483_647,
}


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_p77_a_header_brings_no_key_and_changes_no_reading(name: str, value: Any) -> None:
    assert [event_of(read_here, headed(**{name: one})) for one in (value, None, "")] == ["token_header"] * 3


def test_a_key_that_the_token_brings_itself_is_not_asked() -> None:
    own = signing_keys.new_signing_key("EdDSA", "active", "")
    for changes in ({}, {"kid": own.kid}, {"kid": ...}):
        made = {**header_of(ED, jwk=own.public_jwk()), **changes}
        header = {name: value for name, value in made.items() if value is not ...}
        assert event_of(read_here, forged(header, CLAIMS, own.sign)) == "token_header"


KIDS = {
    "none": ...,
    "null": None,
    "empty": "",
    "unknown": "another",
    "path": "../../../../dev/null",
    "file": "/etc/passwd",
    "sql": "x' UNION SELECT 'secret",
    "command": "key.pem|id",
    "long": "a" * 201,
    "number": 0,
    "list": [ED.kid],
    "object": {ED.kid: ED.kid},
    "true": True,
    "with a blank": f"{ED.kid} ",
    "with a NUL": f"{ED.kid}\0",
    "other case": ED.kid.swapcase(),
}


@pytest.mark.parametrize("kid", table(KIDS))
def test_a_key_that_we_do_not_have_is_unknown_whatever_its_id(kid: Any) -> None:
    assert event_of(read_here, headed(kid=kid)) == "token_unknown_key"
    text = forged(header_of(ED, alg="HS256", kid=None if kid is ... else kid), CLAIMS, hmac_with(b""))
    assert event_of(read_here, text) == "token_unknown_key"


def test_an_id_that_is_too_long_is_not_even_looked_for() -> None:
    asked: list[str] = []
    event_of(read, headed(kid="a" * 201), lambda kid, _: asked.append(kid))
    assert asked == []


@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "jwt",
        "",
        None,
        ...,
        "at+jwt ",
        "application/jwt",
        "logout+jwt",
        1,
        ["at+jwt"],
        "application/application/at+jwt",
    ],
)
def test_p82_another_kind_of_token_of_ours_is_no_access_token(typ: Any) -> None:
    assert event_of(read_here, headed(typ=typ)) == "token_type"


# -- form
def good() -> str:
    return token()


def grown(signer: signing_keys.SigningKey, size: int) -> str:
    """A good token of nearly this many characters."""
    return forged(header_of(signer), {**CLAIMS, "fill": "x" * (size * 3 // 4 - 620)}, signer.sign)


FORMS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "one part": lambda: cut(good(), 0, 1),
    "two parts": lambda: cut(good(), 0, 2),
    "four parts": lambda: f"{good()}.AAAA",
    "a dot more": lambda: f"{good()}.",
    "a dot before": lambda: f".{good()}",
    "dots": lambda: "..",
    "no header": lambda: f".{cut(good(), 1)}",
    "a blank before": lambda: f" {good()}",
    "a blank after": lambda: f"{good()} ",
    "a line after": lambda: f"{good()}\n",
    "a NUL after": lambda: f"{good()}\0",
    "a quote around": lambda: f'"{good()}"',
    "padding of the header": lambda: padded(good(), 0),
    "padding of the payload": lambda: padded(good(), 1),
    "padding of the signature": lambda: padded(good(), 2),
    "the other alphabet": lambda: forged(HEADER, {"a": "???>>>"}, ED.sign).replace("_", "/").replace("-", "+"),
    "junk in the signature": lambda: f"{good()[:-1]}*",
    "junk in the payload": lambda: f"{cut(good(), 0, 1)}.!{cut(good(), 1)}",
    "a blank in the payload": lambda: good().replace(".", ". ", 1),
    "bits that count for nothing": lambda: loosened(good()),
    "other digits": lambda: good().replace(".", ".４", 1),
    "half a character": lambda: good().replace(".", ".\udc80", 1),
    "JSON serialisation": lambda: json.dumps({"protected": part(HEADER), "payload": part(CLAIMS), "signature": "AA"}),
    "header: text": lambda: forged('"EdDSA"', CLAIMS, ED.sign),
    "header: list": lambda: forged([HEADER], CLAIMS, ED.sign),
    "header: null": lambda: forged("null", CLAIMS, ED.sign),
    "header: not JSON": lambda: forged("{", CLAIMS, ED.sign),
    "header: more after it": lambda: forged(json.dumps(HEADER) + "{}", CLAIMS, ED.sign),
    "header: not UTF-8": lambda: forged(b'{"a": "\xff"}', CLAIMS, ED.sign),
    "header: UTF-16": lambda: forged(json.dumps(HEADER).encode("utf-16"), CLAIMS, ED.sign),
    "header: BOM": lambda: forged(b"\xef\xbb\xbf" + json.dumps(HEADER).encode(), CLAIMS, ED.sign),
    "header: NaN": lambda: forged(json.dumps({**HEADER, "x": float("nan")}), CLAIMS, ED.sign),
    "header: half a surrogate": lambda: forged(json.dumps({**HEADER, "x": "\ud800"}), CLAIMS, ED.sign),
    "header: alg twice": lambda: forged('{"alg": "none", ' + json.dumps(HEADER)[1:], CLAIMS, ED.sign),
    "header: kid twice": lambda: forged(f'{json.dumps(HEADER)[:-1]}, "kid": "{HS.kid}"}}', CLAIMS, ED.sign),
    "header: alg twice, escaped": lambda: forged(r'{"\u0061lg": "none", ' + json.dumps(HEADER)[1:], CLAIMS, ED.sign),
    "header: twice inside": lambda: forged(json.dumps(HEADER)[:-1] + ', "x": [{"a": 1, "a": 2}]}', CLAIMS, ED.sign),
    "header: deep": lambda: forged(f'{{"x": {"[" * 2000}{"]" * 2000}}}', CLAIMS, ED.sign),
    "header: a long number": lambda: forged(f'{{"x": {"9" * 5000}}}', {}, ED.sign),
}


def padded(text: str, number: int) -> str:
    parts = text.split(".")
    parts[number] += "=" * (-len(parts[number]) % 4 or 1)
    return ".".join(parts)


def loosened(text: str) -> str:
    """The signature's last letter with a bit that no byte has: 64 bytes are 86 letters, four bits too many."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


@pytest.mark.parametrize("make", table(FORMS))
def test_what_is_not_in_the_one_form_of_a_token_is_malformed(make: Callable[[], str]) -> None:
    assert event_of(read_here, make()) == "token_malformed"


@pytest.mark.parametrize(
    "text", ["." * 2**20, "a" * 2**20, "a." * 2**19, "😀" * 2**18], ids=["dots", "a", "a.", "emoji"]
)
def test_p76_a_megabyte_is_refused_before_anything_is_read(text: str) -> None:
    asked: list[str] = []
    assert event_of(read, text, lambda kid, _: asked.append(kid)) == "token_too_long"
    assert asked == []


def test_p76_the_limit_is_eight_kibibytes() -> None:
    assert len(grown(ED, MAX_TOKEN)) <= MAX_TOKEN
    assert read_here(grown(ED, MAX_TOKEN))["sub"] == "u-1"
    longer = grown(ED, MAX_TOKEN + 700)
    assert len(longer) > MAX_TOKEN
    assert event_of(read_here, longer) == "token_too_long"
    for text in ("." * MAX_TOKEN, "a." * (MAX_TOKEN // 2)):
        assert event_of(read_here, text) == "token_malformed"


# -- the signature
@pytest.mark.parametrize("signer", [ED, EC, RSA, HS], ids=lambda one: one.algorithm)
def test_p78_a_signature_of_another_length_fits_nothing(signer: signing_keys.SigningKey) -> None:
    message = f"{part(header_of(signer))}.{part(CLAIMS)}"
    right = signer.sign(message.encode())
    assert read_here(f"{message}.{b64url(right)}") == CLAIMS
    for wrong in (
        b"",
        right[:-1],
        right + b"\0",
        b"\0" + right,
        right * 2,
        right[:32] + right,
        bytes(len(right)),
        b"\xff" * len(right),
    ):
        assert event_of(read_here, f"{message}.{b64url(wrong)}") == "token_signature"


@pytest.mark.parametrize("signer", [ED, EC, RSA, HS], ids=lambda one: one.algorithm)
def test_p78_a_signature_of_other_claims_another_header_or_another_key_is_none(signer: signing_keys.SigningKey) -> None:
    text, other = token(signer), token(signer, sub="u-2")
    mixed = [
        f"{cut(text, 0, 2)}.{cut(other, 2)}",
        f"{cut(text, 0, 1)}.{cut(other, 1, 2)}.{cut(text, 2)}",
        forged(header_of(signer, typ="AT+JWT"), CLAIMS, lambda _: signer.sign(cut(text, 0, 2).encode())),
        forged(header_of(signer), CLAIMS, signing_keys.new_signing_key(signer.algorithm, "active", "").sign),
        forged(header_of(signer), CLAIMS, lambda message: signer.sign(message.replace(b".", b""))),
    ]
    assert [event_of(read_here, one) for one in mixed] == ["token_signature"] * len(mixed)


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
def test_p83_no_trivial_pair_is_a_signature(r: int, s: int) -> None:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert event_of(read_here, forged(header_of(EC), CLAIMS, signature)) == "token_signature"


def test_p83_a_half_of_a_signature_that_is_zero_is_refused() -> None:
    message = f"{part(header_of(EC))}.{part(CLAIMS)}"
    right = EC.sign(message.encode())
    for wrong in (bytes(32) + right[32:], right[:32] + bytes(32)):
        assert event_of(read_here, f"{message}.{b64url(wrong)}") == "token_signature"


def test_a_signature_in_the_form_of_certificates_is_none() -> None:
    """DER (RFC 3279 §2.2.3) instead of r ‖ s (RFC 7518 §3.4): one signature, two texts."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    message = f"{part(header_of(EC))}.{part(CLAIMS)}"
    right = EC.sign(message.encode())
    der = encode_dss_signature(int.from_bytes(right[:32], "big"), int.from_bytes(right[32:], "big"))
    assert event_of(read_here, f"{message}.{b64url(der)}") == "token_signature"


def test_a_signature_of_ed448_is_none() -> None:
    other = ed448.Ed448PrivateKey.generate()
    assert event_of(read_here, forged(HEADER, CLAIMS, other.sign)) == "token_signature"


def test_p81_a_mac_is_compared_in_constant_time_and_nothing_secret_otherwise() -> None:
    assert "hmac.compare_digest(" in inspect.getsource(HMACAlgorithm.verify)
    compared: dict[str, set[str]] = {"==": set(), "is": set()}
    for module in (jwt, jwk, signing_keys, access_tokens):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Compare):
                kind = "is" if isinstance(node.ops[0], ast.Is | ast.IsNot) else "=="
                operands = (node.left, *node.comparators)
                compared[kind] |= {operand.id for operand in operands if isinstance(operand, ast.Name)}
    assert {"algorithm", "expires"} <= compared["=="], "the search finds what is compared"
    assert "signature" in compared["is"]
    assert not compared["=="] & {"signature", "secret", "private", "data", "message", "payload", "token"}


# -- the claims
@pytest.mark.parametrize(
    "payload",
    ["", "null", "true", "1", '"x"', "[]", "[{}]", "{", "{}{}", b"\xff", '{"sub": NaN}', '{"a": -Infinity}', '{"sub": "a", "sub": "b"}',
     r'{"sub": "a", "su\u0062": "b"}', '{"x": {"y": [{"a": 1, "a": 1}]}}', r'{"sub": "\ud800"}', f'{{"x": {"[" * 2000}{"]" * 2000}}}', f'{{"exp": {"9" * 5000}}}'],
)  # fmt: skip
def test_p80_claims_are_one_json_object_with_each_name_once(payload: str | bytes) -> None:
    assert event_of(read_here, forged(HEADER, payload, ED.sign)) == "token_claims"


def test_claims_are_not_looked_at_before_the_signature_is_good() -> None:
    for payload in ("{", "[]", {**CLAIMS, "exp": 1}):
        assert event_of(read_here, forged(HEADER, payload, bytes(64))) == "token_signature"


def judged(**changes: Any) -> tuple[int, int]:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return check_claims(claims, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=10, texts=("sub", "jti", "sid"))


def test_times_are_judged_with_leeway_on_both_sides() -> None:
    assert judged() == (NOW - 60, NOW + 240)
    assert judged(exp=NOW - 9)[1] == NOW - 9
    assert event_of(judged, exp=NOW - 10) == "token_expired"
    assert judged(iat=NOW + 10)[0] == NOW + 10
    assert event_of(judged, iat=NOW + 11) == "token_not_yet"
    assert judged(nbf=NOW + 10)
    assert event_of(judged, nbf=NOW + 11) == "token_not_yet"
    assert judged(nbf=0)
    assert event_of(judged, nbf=0, iat=NOW + 11) == "token_not_yet"


def test_p80_a_token_that_lasts_forever_is_refused() -> None:
    assert judged(iat=NOW, exp=NOW + 86_400)
    for end in (NOW + 86_401, 2**53 - 1):
        assert event_of(judged, iat=NOW, exp=end) == "token_forever"
    assert event_of(judged, exp=NOW - 61) == "token_claims", "it ends before it begins"


NO_TIMES: list[Any] = [
    ...,
    None,
    True,
    False,
    "1800000240",
    1800000240.0,
    1e300,
    -1,
    2**53,
    10**400,
    [NOW + 240],
    {},
    float("inf"),
]


@pytest.mark.parametrize("value", NO_TIMES, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", ["exp", "iat"])
def test_p80_a_time_is_a_whole_number_of_seconds_and_there(name: str, value: Any) -> None:
    assert event_of(judged, **{name: value}) == "token_claims"


@pytest.mark.parametrize("value", [one for one in NO_TIMES if one is not ...], ids=lambda value: str(value)[:20])
def test_p80_not_before_may_be_away_but_is_a_time_where_it_is_there(value: Any) -> None:
    assert event_of(judged, nbf=value) == "token_claims"


@pytest.mark.parametrize("name", ["iss", "sub", "jti", "sid"])
@pytest.mark.parametrize("value", [..., None, "", 1, True, ["x"], {}], ids=str)
def test_p82_a_claim_that_has_to_be_there_is_a_text(name: str, value: Any) -> None:
    assert event_of(judged, **{name: value}) == "token_claims"


def test_p75_an_audience_is_a_text_or_a_list_of_texts_with_ours_among_them() -> None:
    for aud in (AUDIENCE, [AUDIENCE], ["other", AUDIENCE]):
        assert judged(aud=aud)
    for aud in ("other", "", AUDIENCE + " ", AUDIENCE[:-1], AUDIENCE.upper(), [], ["other"], [""]):
        assert event_of(judged, aud=aud) == "token_audience"
    for junk in (
        ...,
        None,
        1,
        0,
        True,
        {},
        {AUDIENCE: 1},
        [AUDIENCE, None],
        [AUDIENCE, 1],
        [[AUDIENCE]],
        [{AUDIENCE: 1}],
    ):
        assert event_of(judged, aud=junk) == "token_claims"


@pytest.mark.parametrize(
    "iss", ["https://evil.test", ISSUER + "/", ISSUER.upper(), ISSUER + "\n", "https://site.test.evil.test"]
)
def test_p82_a_token_of_another_issuer_is_refused(iss: str) -> None:
    assert event_of(judged, iss=iss) == "token_issuer"


# -- in general
@given(st.data())
def test_p78_no_mutation_of_a_good_token_verifies(data: st.DataObject) -> None:
    text = token(data.draw(st.sampled_from([ED, EC, RSA, HS])))
    at = data.draw(st.integers(0, len(text) - 1))
    how = data.draw(st.sampled_from(["change", "insert", "remove", "swap"]))
    letter = data.draw(st.one_of(st.sampled_from("ABab01-_=.+/ \n"), st.characters()))
    changed = {
        "change": text[:at] + letter + text[at + 1 :],
        "insert": text[:at] + letter + text[at:],
        "remove": text[:at] + text[at + 1 :],
        "swap": text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
    }[how]
    if changed != text:
        assert event_of(read_here, changed).startswith("token_")


@given(
    st.one_of(
        st.text(), st.binary().map(lambda data: data.decode("latin-1")), st.lists(st.text(max_size=9)).map(".".join)
    )
)
def test_no_text_at_all_is_more_than_refused(text: str) -> None:
    assert event_of(read_here, text) in ("token_malformed", "token_algorithm")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid"]), JSON),
    st.dictionaries(st.sampled_from([*CLAIMS, "nbf"]), JSON),
)
def test_whatever_json_stands_in_a_signed_token_it_is_judged_or_refused(header: Any, claims: Any) -> None:
    """Never another error, and never claims of other types than those that were asked for."""
    made = {**header_of(ED), **header}
    text = forged(made, {**CLAIMS, **claims}, ED.sign)
    try:
        found = read_here(text)
        issued, expires = check_claims(
            found, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=10, texts=("sub", "sid")
        )
    except BadToken:
        return
    assert (made["alg"], made["kid"]) == ("EdDSA", ED.kid)
    assert type(issued) is type(expires) is int
    assert issued - 10 <= NOW < expires + 10
    assert found["iss"] == ISSUER
    assert all(isinstance(found[name], str) and found[name] for name in ("sub", "sid"))


def test_a_refusal_shows_nothing_of_the_token() -> None:
    for text in (token(exp="secret-1"), headed(kid="secret-2"), forged('{"secret-3', CLAIMS, b""), "secret-4"):
        with pytest.raises(BadToken) as caught:
            check_claims(read_here(text), issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=10)
        error = caught.value
        assert error.__cause__ is error.__context__ is None, "what is chained would be shown with it"
        assert str(error) == error.event
        assert repr(error) == f"BadToken({error.event!r})"


def test_what_is_no_json_is_not_signed() -> None:
    for junk in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):
            sign({"sub": junk}, ED, "at+jwt")
