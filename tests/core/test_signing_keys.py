"""The ring of signing keys and its file: one is active, all verify, and no private part is ever shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.core.jwk import PRIVATE_MEMBERS, PUBLIC_ALGORITHMS, public_members, signature_fits, thumbprint
from gateway.core.jwt import ALGORITHMS, Algorithm, public_key_from_jwk
from gateway.core.keys import b64url, from_b64url
from gateway.core.signing_keys import (
    SigningKey,
    SigningKeys,
    dump_signing_keys,
    new_signing_key,
    parse_signing_keys,
)
from tests.core.forge import key, ring
from tests.core.tables import table

MESSAGE = b"header.payload"
PEM = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
AT = "2026-11-20T12:00:00Z"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def private(algorithm: Algorithm, **changes: Any) -> dict[str, Any]:
    """An entry of the file with changes; ``...`` leaves a member out."""
    made = {**key(algorithm).private_jwk(), **changes}
    return {name: value for name, value in made.items() if value is not ...}


def public(algorithm: Algorithm, **changes: Any) -> dict[str, Any]:
    """An entry of a JWKS with changes."""
    found = key(algorithm).public_jwk()
    assert found
    return {name: value for name, value in {**found, **changes}.items() if value is not ...}


def file_of(*entries: Any) -> str:
    return json.dumps({"keys": list(entries)})


def number(value: int, size: int | None = None) -> str:
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8 or 1, "big"))


# -- the ring
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_verifies_what_it_signed_and_nothing_else(algorithm: Algorithm) -> None:
    signer = key(algorithm)
    signature = signer.sign(MESSAGE)
    assert signer.verifies(MESSAGE, signature)
    assert not signer.verifies(MESSAGE + b" ", signature)
    assert not signer.verifies(MESSAGE, b"")
    assert not signer.verifies(MESSAGE, bytes([signature[0] ^ 1]) + signature[1:])
    assert not key(algorithm, "active", 1).verifies(MESSAGE, signature), "another key of the same kind"


def test_a_ring_finds_its_keys_by_id_whatever_their_state() -> None:
    for one in ring():
        assert ring().get(one.kid) is one
    assert ring().get("another") is None
    assert ring().active is key("EdDSA")
    assert len(ring()) == 4


def test_a_ring_has_exactly_one_active_key_and_no_id_twice() -> None:
    old, coming = (replace(key("EdDSA"), state=state) for state in ("old", "next"))
    for keys in ([], [old], [coming], [old, key("ES256", "next")], [key("EdDSA"), key("ES256")]):
        with pytest.raises(ValueError, match="exactly one signing key is active"):
            SigningKeys(keys)
    for keys in ([key("EdDSA"), old], [key("EdDSA"), replace(key("ES256", "old"), kid=key("EdDSA").kid)]):
        with pytest.raises(ValueError, match="the same kid"):
            SigningKeys(keys)


def test_a_rotation_is_a_change_of_states_and_never_loses_a_key() -> None:
    first, second = key("EdDSA"), key("EdDSA", "next", 1)
    before = SigningKeys([first, second])
    after = SigningKeys([replace(second, state="active", at=AT), replace(first, state="old", at=AT)])
    signatures = [before.active.sign(MESSAGE), after.active.sign(MESSAGE)]
    for keys in (before, after):
        assert [keys.get(signer.kid).verifies(MESSAGE, s) for signer, s in zip((first, second), signatures, strict=True)] == [True, True]  # fmt: skip
    assert (before.active.kid, after.active.kid) == (first.kid, second.kid)
    assert {one["kid"] for one in before.jwks()["keys"]} == {one["kid"] for one in after.jwks()["keys"]}


def test_the_jwks_shows_every_public_key_and_nothing_private() -> None:
    published = ring().jwks()["keys"]
    assert [one["alg"] for one in published] == ["EdDSA", "ES256", "RS256"], "a shared secret is in no JWKS"
    for one in published:
        assert not {*PRIVATE_MEMBERS, "k", "state", "at", "oth"} & one.keys()
        assert one["use"] == "sig"
        assert public_key_from_jwk(one).kid == one["kid"]
    assert key("HS256").public_jwk() is None


def test_nothing_shows_a_private_part() -> None:
    for one in ring():
        shown = f"{one!r} {one} {ring()!r} {one._verifier!r} {[one]}"
        assert f"SigningKey(kid='{one.kid}', algorithm='{one.algorithm}', state='{one.state}')" in shown
        hidden = [value for name, value in one.private_jwk().items() if name in (*PRIVATE_MEMBERS, "k")]
        assert hidden
        assert not [value for value in hidden if value in shown or str(from_b64url(value)) in shown]


# -- ids
def test_an_id_is_the_thumbprint_of_rfc_7638() -> None:
    """Its own example (§3.1), and that of RFC 8037 (A.3)."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst"
        "n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91"
        "CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert thumbprint({"n": modulus, "kty": "RSA", "e": "AQAB"}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert thumbprint({"kty": "OKP", "x": x, "crv": "Ed25519"}) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_a_new_key_s_id_is_its_thumbprint(algorithm: Algorithm) -> None:
    members = {name: value for name, value in public(algorithm).items() if name not in ("kid", "alg", "use")}
    assert list(members) == sorted(members)
    assert key(algorithm).kid == thumbprint(members)


def test_the_id_of_a_shared_secret_tells_nothing_about_it() -> None:
    shared = key("HS256").private_jwk()
    assert thumbprint({"kty": "oct", "k": shared["k"]}) != shared["kid"]
    assert len(from_b64url(shared["k"]) or b"") == 32
    assert len({new_signing_key("HS256", "active", AT).kid for _ in range(10)}) == 10


# -- the file
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_file_that_we_wrote_we_read(algorithm: Algorithm) -> None:
    text = dump_signing_keys(ring(algorithm))
    found = parse_signing_keys(text)
    assert list(found) == list(ring(algorithm))
    assert found.active.at == "2026-11-20T12:00:00Z"
    assert found.jwks() == ring(algorithm).jwks()
    assert dump_signing_keys(found) == text
    for one in ring(algorithm):
        again = found.get(one.kid)
        assert again
        assert again.verifies(MESSAGE, one.sign(MESSAGE))
        assert one.verifies(MESSAGE, again.sign(MESSAGE))


def test_the_file_is_a_json_web_key_set() -> None:
    [entry] = json.loads(dump_signing_keys([key("EdDSA")]))["keys"]
    assert entry.keys() == {"kty", "crv", "x", "d", "kid", "alg", "use", "state", "at"}
    assert (entry["kty"], entry["crv"], entry["alg"], entry["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert (entry["state"], entry["at"]) == ("active", "2026-11-20T12:00:00Z")
    materials: tuple[tuple[Algorithm, set[str]], ...] = (
        ("ES256", {"crv", "x", "y", "d"}),
        ("RS256", {"n", "e", *PRIVATE_MEMBERS}),
        ("HS256", {"k"}),
    )
    for algorithm, material in materials:
        assert private(algorithm).keys() - entry.keys() - material == set()
        assert material <= private(algorithm).keys()


def test_members_that_we_do_not_know_are_left_alone() -> None:
    entry = private("EdDSA", comment="x", at=..., alg=..., use=...)
    found = parse_signing_keys(json.dumps({"keys": [entry], "note": 1}))
    assert found.active == replace(key("EdDSA"), at="")


NO_FILES = {
    "empty": "",
    "a text": '"keys"',
    "a list": "[]",
    "no keys": "{}",
    "keys of another kind": '{"keys": {}}',
    "null": '{"keys": null}',
    "cut": file_of(private("EdDSA"))[:-2],
    "keys twice": '{"keys": [], "keys": []}',
    "a name twice in a key": file_of(private("EdDSA")).replace('"kid"', '"kid": "a", "kid"'),
}


@pytest.mark.parametrize("text", table(NO_FILES))
def test_what_is_no_key_set_is_no_ring(text: str) -> None:
    with pytest.raises(ValueError, match="not a JSON Web Key Set"):
        parse_signing_keys(text)


def other(algorithm: Algorithm, name: str) -> Any:
    """The same member of another key."""
    return key(algorithm, "active", 1).private_jwk()[name]


# lazily, as an RSA key takes its time
BAD_ENTRIES: dict[str, tuple[Callable[[], Any], str]] = {
    "no object": (lambda: "x", "not a JSON object"),
    "null": (lambda: None, "not a JSON object"),
    "no kty": (lambda: private("EdDSA", kty=...), "not a kind of key"),
    "kty of another kind": (lambda: private("EdDSA", kty=["OKP"]), "not a kind of key"),
    "another kty": (lambda: private("EdDSA", kty="EC"), "not a kind of key"),
    "no crv": (lambda: private("ES256", crv=...), "not a kind of key"),
    "crv of another kind": (lambda: private("EdDSA", crv={}), "not a kind of key"),
    "Ed448": (lambda: {**private("EdDSA"), **jwk_of(ed448.Ed448PrivateKey.generate())}, "not a kind of key"),
    "P-384": (lambda: {**private("ES256"), **jwk_of(ec.generate_private_key(ec.SECP384R1()))}, "not a kind of key"),
    "secp256k1": (lambda: {**private("ES256"), **jwk_of(ec.generate_private_key(ec.SECP256K1()))}, "not a kind of key"),
    "X25519": (lambda: private("EdDSA", crv="X25519"), "not a kind of key"),
    "another alg": (lambda: private("EdDSA", alg="HS256"), "its alg is not EdDSA"),
    "alg none": (lambda: private("EdDSA", alg="none"), "its alg is not EdDSA"),
    "a secret as RS256": (lambda: private("HS256", alg="RS256"), "its alg is not HS256"),
    "for encryption": (lambda: private("EdDSA", use="enc"), "its use is not sig"),
    "no kid": (lambda: private("EdDSA", kid=...), "its kid is not"),
    "empty kid": (lambda: private("EdDSA", kid=""), "its kid is not"),
    "kid of another kind": (lambda: private("EdDSA", kid=1), "its kid is not"),
    "long kid": (lambda: private("EdDSA", kid="a" * 201), "its kid is not"),
    "kid with a line": (lambda: private("EdDSA", kid="a\nb"), "its kid is not"),
    "no state": (lambda: private("EdDSA", state=...), "its state is not one of next, active, old"),
    "another state": (lambda: private("EdDSA", state="retired"), "its state is not one of"),
    "state of another kind": (lambda: private("EdDSA", state=["active"]), "its state is not one of"),
    "at of another kind": (lambda: private("EdDSA", at=1), "its at is not"),
    "no private part": (lambda: private("EdDSA", d=...), "it has no d"),
    "no private part, RSA": (lambda: private("RS256", d=...), "it has no d"),
    "private part null": (lambda: private("EdDSA", d=None), "its d is not base64url"),
    "padding": (lambda: private("EdDSA", x=private("EdDSA")["x"] + "="), "its x is not base64url"),
    "the other alphabet": (lambda: private("EdDSA", d="+" * 43), "its d is not base64url"),
    "empty d": (lambda: private("EdDSA", d=""), "its d is not base64url"),
    "short d": (lambda: private("EdDSA", d=b64url(bytes(31))), "no key"),
    "another's x": (lambda: private("EdDSA", x=other("EdDSA", "x")), "no key"),
    "another's d": (lambda: private("ES256", d=other("ES256", "d")), "no key"),
    "zero d": (lambda: private("ES256", d=number(0, 32)), "no key"),
    "d of the order": (lambda: private("ES256", d=number(P256_ORDER, 32)), "no key"),
    "another's n": (lambda: private("RS256", n=other("RS256", "n")), "no key"),
    "some primes": (lambda: private("RS256", p=...), "no key"),
    "a short secret": (lambda: private("HS256", k=b64url(bytes(31))), "a secret of less than 32 bytes"),
    "no secret": (lambda: private("HS256", k=""), "its k is not base64url"),
    "a public key as secret": (lambda: private("HS256", k=b64url(PEM)), "no key"),
    "RSA of 1024 bits": (lambda: {**private("RS256"), **jwk_of(rsa.generate_private_key(65537, 1024))}, "not an RSA key of 2048"),
}  # fmt: skip


def jwk_of(made: Any) -> dict[str, Any]:
    """Any key as PyJWT writes it."""
    if isinstance(made, ec.EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(made, as_dict=True)
    scheme = RSAAlgorithm if isinstance(made, rsa.RSAPrivateKey) else OKPAlgorithm
    return scheme.to_jwk(made, as_dict=True)


@pytest.mark.parametrize(("make", "words"), table(BAD_ENTRIES))
def test_a_bad_key_is_named_by_its_number_and_never_shown(make: Callable[[], Any], words: str) -> None:
    entry = make()
    with pytest.raises(ValueError) as caught:
        parse_signing_keys(file_of(private("ES256", state="old"), entry))
    said = str(caught.value)
    assert said.startswith("key 2: ")
    assert words in said
    shown = f"{said} {caught.value!r} {caught.value.__cause__!r}"
    if isinstance(entry, dict):
        assert not [name for name in (*PRIVATE_MEMBERS, "k", "x", "n") if len(str(entry.get(name) or "")) > 9 and str(entry[name]) in shown]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "size"), [("EdDSA", 64), ("ES256", 64), ("RS256", 256)])
def test_a_signature_is_looked_at_before_it_is_computed_with(algorithm: Algorithm, size: int) -> None:
    verifying = public_key_from_jwk(public(algorithm))._public
    assert [length for length in range(600) if signature_fits(algorithm, verifying, b"x" * length)] == [size]
    for r, s in ((0, 0), (0, 1), (1, 0)):
        zero = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert signature_fits(algorithm, verifying, zero) is (algorithm == "EdDSA")
    assert signature_fits(algorithm, verifying, (b"x" * 31 + b"\0") * (size // 32))


# -- public keys of others
@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_a_public_key_verifies_what_its_private_one_signed(algorithm: Algorithm) -> None:
    found = public_key_from_jwk(public(algorithm))
    assert (found.kid, found.algorithm) == (key(algorithm).kid, algorithm)
    signature = key(algorithm).sign(MESSAGE)
    assert found.verifies(MESSAGE, signature)
    assert not found.verifies(MESSAGE + b"x", signature)
    assert not found.verifies(MESSAGE, b"")
    assert not found.verifies(MESSAGE, bytes(len(signature)))
    assert repr(found) == f"VerifyingKey(kid='{found.kid}', algorithm='{algorithm}')"


def test_a_public_key_may_come_with_no_more_than_its_numbers() -> None:
    for algorithm in PUBLIC_ALGORITHMS:
        bare = public(algorithm, kid=..., alg=..., use=...)
        assert public_key_from_jwk(bare).kid == ""
        more = {**bare, "key_ops": ["verify"], "x5t": "abc", "x5c": ["…"], "nbf": 1, "kid": "any id at all"}
        assert public_key_from_jwk(more).kid == "any id at all"


BAD_PUBLIC: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "a text": lambda: "x",
    "a list": lambda: [public("EdDSA")],
    "empty": dict,
    "a shared secret": lambda: {"kty": "oct", "k": b64url(bytes(32))},
    "a private key": lambda: private("EdDSA"),
    "a private RSA key": lambda: private("RS256"),
    "no x": lambda: public("EdDSA", x=...),
    "x of another kind": lambda: public("EdDSA", x=1),
    "a short x": lambda: public("EdDSA", x=b64url(bytes(31))),
    "a long x": lambda: public("EdDSA", x=b64url(bytes(33))),
    "padding": lambda: public("EdDSA", x=public("EdDSA")["x"] + "="),
    "Ed448": lambda: public("EdDSA", crv="Ed448", x=b64url(bytes(57))),
    "X25519": lambda: public("EdDSA", crv="X25519"),
    "crv of another kind": lambda: public("EdDSA", crv=["Ed25519"]),
    "another alg": lambda: public("RS256", alg="PS256"),
    "alg for encryption": lambda: public("RS256", alg="RSA-OAEP"),
    "HS256": lambda: public("RS256", alg="HS256"),
    "alg of another kind": lambda: public("RS256", alg=["RS256"]),
    "for encryption": lambda: public("RS256", use="enc"),
    "to sign only": lambda: public("EdDSA", key_ops=["sign"]),
    "key_ops of another kind": lambda: public("EdDSA", key_ops="verify"),
    "kid of another kind": lambda: public("EdDSA", kid=7),
    "a long kid": lambda: public("EdDSA", kid="a" * 201),
    "P-384": lambda: public("ES256", crv="P-384"),
    "secp256k1": lambda: public("ES256", crv="secp256k1"),
    "no y": lambda: public("ES256", y=...),
    "not on the curve": lambda: public("ES256", y=public("ES256")["x"]),
    "no point": lambda: public("ES256", x=number(0, 32), y=number(0, 32)),
    "beyond the field": lambda: public("ES256", x=number(P256_PRIME, 32)),
    "a short coordinate": lambda: public("ES256", x=b64url(bytes(31))),
    "RSA of 1024 bits": lambda: public("RS256", n=number(2**1023 + 1)),
    "RSA of 2047 bits": lambda: public("RS256", n=number(2**2046 + 1)),
    "RSA of 16384 bits": lambda: public("RS256", n=number(2**16383 + 1)),
    "no e": lambda: public("RS256", e=...),
    "e of 1": lambda: public("RS256", e=number(1)),
    "an even e": lambda: public("RS256", e=number(65536)),
    "a huge e": lambda: public("RS256", e=number(2**32 + 1)),
    "x as list": lambda: public("EdDSA", x=["a"]),
}


@pytest.mark.parametrize("make", table(BAD_PUBLIC))
def test_junk_is_no_public_key(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        public_key_from_jwk(make())


def test_the_members_of_a_public_key_are_those_of_its_kind() -> None:
    kinds = {algorithm: tuple(public_members(parts_of(key(algorithm)), algorithm)) for algorithm in PUBLIC_ALGORITHMS}
    assert kinds == {"EdDSA": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y"), "RS256": ("e", "kty", "n")}


def parts_of(signer: SigningKey) -> Any:
    return signer._private.public_key()
