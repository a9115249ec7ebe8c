"""``docs/verifying-tokens.md``: each example takes a good token and refuses every other; none takes an outage for a bad token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.core.access_tokens import AccessTokens
from gateway.core.identity import Identity
from gateway.core.signing_keys import SigningKey, SigningKeys, new_signing_key
from tests.harness import free_port
from tests.token_verifiers import LANGUAGES, KeyServer, Verifier, command_for, examples

NOW = "2026-11-20T00:00:00Z"
ACTIVE, NEXT = new_signing_key("EdDSA", "active", NOW), new_signing_key("EdDSA", "next", NOW)
ELLIPTIC, STRANGER = new_signing_key("ES256", "old", NOW), new_signing_key("EdDSA", "active", NOW)
KEYS = SigningKeys([ACTIVE, NEXT, ELLIPTIC])
ALICE = Identity("u1", "alice", "Алиса", "alice@example.com", "mgr", ("staff", "ops"), "file")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(data: Any) -> str:
    return b64(json.dumps(data).encode())


def joined(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    message = f"{part(header)}.{part(claims)}"
    return f"{message}.{b64(sign(message.encode()))}"


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


class Tokens:
    """Good and bad ones for a gateway at ``site``."""

    def __init__(self, site: str) -> None:
        self.site = site
        now = int(time.time())
        self.claims: dict[str, Any] = {"iss": site, "aud": site, "sub": "u1", "iat": now, "exp": now + 300}

    def good(self) -> str:
        tokens = AccessTokens(lambda: KEYS, self.site, self.site, clock=time.time, entropy=os.urandom)
        return tokens.issue(ALICE, "session", client_id="app", ends_at=time.time() + 3600)[0]

    def made(self, key: SigningKey = ACTIVE, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Signed with a key; ``None`` removes a member of header or claims."""
        head = {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid, **(header or {})}
        body = {**self.claims, **claims}
        return joined(without_none(head), without_none(body), key.sign)

    def hmac(self, secret: bytes) -> str:
        """P74: the public key as the secret."""
        header = {"typ": "at+jwt", "alg": "HS256", "kid": ACTIVE.kid}
        return joined(header, self.claims, lambda data: hmac.new(secret, data, hashlib.sha256).digest())

    def bad(self) -> dict[str, str]:
        public = (ACTIVE.public_jwk() or {})["x"]
        head, body, signature = self.good().split(".")
        pem = _pem(public)
        return {
            "expired": self.made(exp=int(time.time()) - 11),
            "without exp": self.made(exp=None),
            "exp as a text": self.made(exp="soon"),
            "without sub": self.made(sub=None),
            "for another audience": self.made(aud="https://other.example"),
            "without aud": self.made(aud=None),
            "of another issuer": self.made(iss="https://other.example"),
            "without iss": self.made(iss=None),
            "of another kind": self.made(header={"typ": "JWT"}),
            "without typ": self.made(header={"typ": None}),
            "alg none": f"{part({'typ': 'at+jwt', 'alg': 'none', 'kid': ACTIVE.kid})}.{part(self.claims)}.",
            "alg none, with a signature": self.made(header={"alg": "none"}),
            "no alg": self.made(header={"alg": None}),
            "HS256 with the public key": self.hmac(base64.urlsafe_b64decode(public + "=")),
            "HS256 with the public key as it is written": self.hmac(public.encode()),
            "HS256 with the public key as PEM": self.hmac(pem),
            "another algorithm of ours": self.made(ELLIPTIC),
            "a key of another algorithm": self.made(ACTIVE, {"kid": ELLIPTIC.kid}),
            "signed with r = s = 0": joined(
                {"typ": "at+jwt", "alg": "ES256", "kid": ELLIPTIC.kid}, self.claims, _zeros
            ),
            "signed with nothing": joined({"typ": "at+jwt", "alg": "EdDSA", "kid": ACTIVE.kid}, self.claims, _zeros),
            "another key under our kid": self.made(STRANGER, {"kid": ACTIVE.kid}),
            "another key under its own kid": self.made(STRANGER),
            "another key in the header": self.made(STRANGER, {"kid": ACTIVE.kid, "jwk": STRANGER.public_jwk()}),
            "no kid": self.made(header={"kid": None}),
            "a kid that is no text": self.made(header={"kid": [ACTIVE.kid]}),
            "with something critical": self.made(header={"crit": ["exp2"], "exp2": 1}),
            "changed": f"{head}.{part({**self.claims, 'usertype': 'root'})}.{signature}",
            "without its signature": f"{head}.{body}.",
            "with a cut signature": f"{head}.{body}.{signature[:-4]}",
            "with a fourth part": f"{head}.{body}.{signature}.{signature}",
            "of two parts": f"{head}.{body}",
            "a list": joined({"typ": "at+jwt", "alg": "EdDSA", "kid": ACTIVE.kid}, [self.claims], ACTIVE.sign),
            "no JSON": f"{b64(b'{')}.{body}.{signature}",
            "a word": "token",
            "nothing": "",
            "a hundred thousand dots": "." * 100_000,
        }


def _zeros(_: bytes) -> bytes:
    return bytes(64)


def _pem(x: str) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


COMPILED = {"go", "java"}
"""What takes its time, and is not on every machine."""


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=pytest.mark.slow if one in COMPILED else ()) for one in LANGUAGES]
)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with KeyServer(KEYS.jwks) as server:
        yield server.url


@pytest.fixture(scope="module")
def verifier(language: str, site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    folder = tmp_path_factory.mktemp(language)
    running = Verifier(command_for(language, site, folder), folder)
    yield running
    running.stop()


def test_every_example_of_the_document_is_run_here() -> None:
    assert examples().keys() == LANGUAGES.keys()


def test_an_example_takes_good_tokens(verifier: Verifier, site: str) -> None:
    tokens = Tokens(site)
    given = [tokens.good(), tokens.made(), tokens.made(NEXT), tokens.made(exp=int(time.time()) - 2), tokens.good()]
    assert [verifier.ask(token) for token in given] == ["good u1"] * len(given)


def test_an_example_refuses_every_other_token(verifier: Verifier, site: str) -> None:
    bad = Tokens(site).bad()
    assert {name: verifier.ask(token) for name, token in bad.items()} == dict.fromkeys(bad, "bad")
    assert verifier.ask(Tokens(site).good()) == "good u1"


@pytest.mark.parametrize("outage", ["nobody listens", "another answer"])
def test_an_example_does_not_take_an_outage_for_a_bad_token(
    outage: str, language: str, site: str, tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}" if outage == "nobody listens" else f"{site}/nothing-here"
    running = Verifier(command_for(language, away, tmp_path), tmp_path)
    try:
        assert running.ask(Tokens(away).good()) == "away"
        assert running.ask(Tokens(away).good()) == "away"
    finally:
        running.stop()
