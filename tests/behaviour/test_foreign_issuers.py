"""Tokens of another issuer at the gateway: who brings one is known by it alone, and an issuer in trouble is an outage."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.core.signing_keys import SigningKeys, dump_signing_keys, new_signing_key
from gateway.errors import SettingsError
from tests.behaviour.test_websockets import Echo, closed, echo, open_one
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway, free_port, make_settings
from tests.identity.token_issuer import AUDIENCE, TokenIssuer

__all__ = ["echo"]


@pytest.fixture
async def issuer() -> AsyncIterator[TokenIssuer]:
    running = await TokenIssuer().start()
    yield running
    await running.stop()


def row(issuer: TokenIssuer, **over: Any) -> dict[str, Any]:
    return {"issuer": issuer.issuer, "jwks_url": issuer.url, "audience": AUDIENCE, **over}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def reason(gateway: Gateway, token: str, path: str = "/") -> tuple[int, str]:
    response = await gateway.get(path, headers=bearer(token))
    return response.status, (await response.json())["reason"]


async def test_a_user_of_another_issuer_passes_and_is_told_to_the_backend(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer
) -> None:
    gateway = await make_gateway(
        backend.url, tokens={"issuers": [row(issuer, usertype_claim="kind", groups_claim="/realm/roles")]}
    )
    token = issuer.token(kind="mgr", realm={"roles": ["a", "b"]})
    assert (await gateway.get("/mgr/list", headers=bearer(token))).status == 200
    told = {
        name: backend.last.value(f"X-Forwarded-{name}") for name in ("User", "Preferred-Username", "Usertype", "Groups")
    }
    assert told == {"User": "f1", "Preferred-Username": "francine", "Usertype": "mgr", "Groups": "a,b"}


async def test_a_bad_token_of_another_issuer_is_refused_as_one_of_ours(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer
) -> None:
    gateway = await make_gateway(backend.url, tokens={"issuers": [row(issuer)]})
    assert (await gateway.get("/", headers=bearer(issuer.token()))).status == 200
    backend.requests.clear()
    stranger = new_signing_key("EdDSA", "active", "")
    for token in (issuer.token(aud="https://other.example"), issuer.token(typ="JWT"), issuer.token(stranger)):
        assert await reason(gateway, token) == (401, "bad_token")
    assert await reason(gateway, issuer.token(iss="https://nobody.example")) == (401, "bad_token")
    assert await reason(gateway, issuer.token(), "/mgr/list") == (403, "insufficient_scope")
    assert backend.requests == []


async def test_an_id_of_another_issuer_is_not_that_of_a_user_of_ours(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer
) -> None:
    gateway = await make_gateway(backend.url, tokens={"issuers": [row(issuer)]})
    await gateway.sign_in({"username": "mgr", "password": "mgr-demo"})
    token = issuer.token(sub="mgr", preferred_username="mgr", usertype="mgr", src="file:users.yaml")
    assert await reason(gateway, token, "/mgr/list") == (403, "insufficient_scope")


async def test_a_key_that_the_issuer_changed_is_found_with_the_first_token(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer
) -> None:
    gateway = await make_gateway(backend.url, tokens={"issuers": [row(issuer)]})
    assert (await gateway.get("/", headers=bearer(issuer.token()))).status == 200
    issuer.jwks = {"keys": [issuer.new_key("ES256").public_jwk()]}
    assert (await gateway.get("/", headers=bearer(issuer.token()))).status == 200


async def test_an_issuer_that_is_away_is_an_outage_and_no_bad_token(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/keys"
    gateway = await make_gateway(backend.url, tokens={"issuers": [row(issuer, jwks_url=nowhere)]})
    response = await gateway.get("/", headers=bearer(issuer.token()))
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert "Retry-After" in response.headers
    cookie = await gateway.sign_in()
    assert (await gateway.get("/", cookie=cookie)).status == 200  # everybody else is not concerned


async def test_our_own_tokens_pass_beside_those_of_others(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer, tmp_path: Path
) -> None:
    keys = tmp_path / "signing.json"
    keys.write_text(dump_signing_keys(SigningKeys([new_signing_key("EdDSA", "active", "")])))
    keys.chmod(0o600)
    tokens = {"keys_file": str(keys), "password_grant": True, "issuers": [row(issuer)]}
    gateway = await make_gateway(backend.url, tokens=tokens)
    made = await gateway.post(
        "/auth/token", data={"grant_type": "password", "username": "alice", "password": "alice-demo"}
    )
    assert made.status == 200, await made.text()
    own = (await made.json())["access_token"]
    assert (await gateway.get("/", headers=bearer(own))).status == 200
    assert (await gateway.get("/", headers=bearer(issuer.token()))).status == 200


async def test_what_a_token_of_another_issuer_holds_open_ends_with_it(
    make_gateway: MakeGateway, echo: Echo, issuer: TokenIssuer
) -> None:
    tokens = {"issuers": [row(issuer)], "leeway": 0}
    gateway = await make_gateway(echo.url, tokens=tokens, routes=[{"path": "/"}])
    short, long = issuer.token(exp=int(time.time()) + 4), issuer.token()
    async with (
        open_one(gateway, headers=bearer(short)) as client,
        open_one(gateway, headers=bearer(long)) as bystander,
    ):
        await client.send("hello")
        assert await client.recv() == "hello"
        assert await closed(client) == (4401, "bad_token")
        await bystander.send("still here")
        assert await bystander.recv() == "still here"


# -- settings
GOOD = {"issuer": "https://id.example.com", "jwks_url": "https://id.example.com/keys", "audience": "app"}


@pytest.mark.parametrize(
    ("issuers", "said"),
    [
        ([{**GOOD, "jwks_url": "http://id.example.com/keys"}], "jwks_url: must be https://"),
        ([{**GOOD, "jwks_url": "http://keycloak:8080/keys"}], "jwks_url: must be https://"),
        ([{**GOOD, "jwks_url": "https://user:secret@id.example.com/keys"}], "jwks_url: must be https://"),
        ([{**GOOD, "jwks_url": "file:///etc/passwd"}], "jwks_url: must be https://"),
        ([{**GOOD, "jwks_url": "https://id.example.com:x/"}], "jwks_url: must be https://"),
        ([{**GOOD, "algorithms": ["HS256"]}], "algorithms.0: must be EdDSA, ES256 or RS256"),
        ([{**GOOD, "algorithms": []}], "algorithms: "),
        ([{**GOOD, "groups_claim": "/a~b"}], "groups_claim: must be the name of a claim, or a JSON pointer"),
        ([{**GOOD, "issuer": "a b"}], "issuer: must be printable ASCII"),
        ([{**GOOD, "prefix": "our partner:"}], "prefix: must be printable ASCII"),
        ([GOOD, GOOD], "tokens.issuers.1.issuer: given twice"),
        ([{**GOOD, "issuer": "https://app.example.com"}], "issuer: is the issuer of our own tokens"),
        ([{"issuer": "x"}], "jwks_url: is needed"),
    ],
)
def test_what_cannot_be_an_issuer_is_said(issuers: list[dict[str, Any]], said: str) -> None:
    site = {"url": "https://app.example.com"}
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1", "http://127.0.0.1:1", tokens={"issuers": issuers}, site=site)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/keys", "http://localhost/keys", "http://[::1]:1/keys"])
def test_an_issuer_on_this_machine_needs_no_https(url: str) -> None:
    tokens = {"issuers": [{**GOOD, "jwks_url": url}]}
    settings = make_settings("redis://127.0.0.1", "http://127.0.0.1:1", tokens=tokens)
    assert settings.tokens.issuers[0].types == ("at+jwt",)


async def test_with_a_prefix_an_issuer_speaks_for_no_address_and_no_session_of_ours(
    make_gateway: MakeGateway, backend: RecordingBackend, issuer: TokenIssuer, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_text(dump_signing_keys([new_signing_key("EdDSA", "active", "2026-01-01T00:00:00Z")]), encoding="utf-8")
    routes = [{"path": "/", "assertion": {"audience": "shop"}}]
    told = {}
    for claim in ({}, {"email_claim": "email"}):
        tokens = {"keys_file": str(keys), "issuers": [row(issuer, prefix="partner:", **claim)]}
        gateway = await make_gateway(backend.url, routes=routes, tokens=tokens)
        token = issuer.token(email="alice@example.org", sid="handle of a session of ours")
        assert (await gateway.get("/", headers=bearer(token))).status == 200
        told[len(claim)] = backend.last.value("X-Forwarded-Email")
        said = jwt.decode(backend.last.value("X-Gateway-Assertion") or "", options={"verify_signature": False})
        assert "sid" not in said
        assert said["sub"] == "partner:f1"
    assert told == {0: "", 1: "alice@example.org"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (None, "gateway"),
        ("https://app.example.com/", "https://app.example.com"),
        ("HTTPS://APP.example.com", "https://app.example.com"),
    ],
)
def test_no_issuer_is_our_own_however_that_is_written(url: str | None, name: str) -> None:
    foreign = {"issuer": name, "jwks_url": "https://id.example.com/jwks", "audience": "us"}
    over = {"tokens": {"issuers": [foreign]}, **({"site": {"url": url}} if url else {})}
    with pytest.raises(SettingsError, match="is the issuer of our own tokens"):
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", **over)
