"""Who brings a token is judged by it alone, on every gateway, and no longer than its session lives."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from redis import Redis

from gateway.core.keys import b64url, from_b64url
from gateway.store.redis_server import RedisServer
from tests.behaviour.test_open_connections import events
from tests.behaviour.token_lab import bearer, new_token, token_of, with_tokens
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway

PROMISED, MARGIN = 1.0, 3
ROUTES: list[dict[str, Any]] = [
    {"path": "/", "access": "authenticated"},
    {"path": "/mgr/", "access": {"usertype": "mgr"}},
    {"path": "/public/", "access": "public"},
    {"path": "/shown/", "access": "public", "identity": "optional"},
    {"path": "/theirs/", "authorization": "backend"},
]


@pytest.fixture
async def site(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> Gateway:
    return await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path))


async def until_refused(gateway: Gateway, headers: dict[str, str]) -> float:
    """Seconds until the token is refused there."""
    begun = time.monotonic()
    while (response := await gateway.get("/", headers=headers)).status == 200:
        assert time.monotonic() - begun < 20
        await asyncio.sleep(0.02)
    assert (response.status, (await response.json())["reason"]) == (401, "bad_token")
    return time.monotonic() - begun


async def test_a_token_stands_for_its_user_and_does_not_reach_the_backend(
    site: Gateway, backend: RecordingBackend
) -> None:
    _, token = await new_token(site)
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await site.get("/orders", headers={"Authorization": f"{scheme} {token}"})
        assert response.status == 200
        assert "Set-Cookie" not in response.headers
        sent = dict(backend.last.headers)
        assert sent["X-Forwarded-Preferred-Username"] == "alice"
        assert "Authorization" not in sent


async def test_a_bad_token_is_refused_even_beside_a_good_cookie(site: Gateway, backend: RecordingBackend) -> None:
    cookie = await site.sign_in()
    response = await site.get("/orders", cookie=cookie, headers=bearer("nonsense"))
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "Location" not in response.headers
    assert "Set-Cookie" not in response.headers
    body = await response.json()
    assert (body["ret"], body["reason"], body["redirect"]) == (401, "bad_token", "/auth/login?next=%2F")
    assert backend.requests == []


async def test_a_good_token_of_somebody_with_too_few_rights_is_403(site: Gateway, backend: RecordingBackend) -> None:
    _, token = await new_token(site)
    mgr_cookie, _ = await new_token(site, MANAGER)
    response = await site.get("/mgr/", cookie=mgr_cookie, headers=bearer(token))
    assert response.status == 403
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert (await response.json())["reason"] == "insufficient_scope"
    assert backend.requests == []


async def test_where_the_header_is_the_backends_or_nobody_is_asked_it_passes_as_it_came(
    site: Gateway, backend: RecordingBackend
) -> None:
    cookie = await site.sign_in()
    for path in ("/theirs/", "/public/"):
        assert (await site.get(path, cookie=cookie, headers=bearer("of the backend"))).status == 200
        assert dict(backend.last.headers)["Authorization"] == "Bearer of the backend"


async def test_where_identity_is_optional_a_token_tells_it_and_a_bad_one_is_refused(
    site: Gateway, backend: RecordingBackend
) -> None:
    _, token = await new_token(site)
    assert (await site.get("/shown/", headers=bearer(token))).status == 200
    assert dict(backend.last.headers)["X-Forwarded-Preferred-Username"] == "alice"
    assert (await site.get("/shown/", headers=bearer("nonsense"))).status == 401


async def test_another_scheme_is_nothing_to_us(site: Gateway, backend: RecordingBackend) -> None:
    cookie = await site.sign_in()
    headers = {"Authorization": "Basic YTpi"}
    assert (await site.get("/", cookie=cookie, headers=headers)).status == 200
    assert (await site.get("/", headers=headers)).status == 302


def _part(token: str, number: int) -> dict[str, Any]:
    found = from_b64url(token.split(".")[number])
    assert found is not None
    return dict(json.loads(found))


def _again(token: str, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    """The token with members of its header or claims replaced, under its old signature."""
    parts = token.split(".")
    for number, changed in ((0, header), (1, claims)):
        if changed:
            parts[number] = b64url(json.dumps({**_part(token, number), **changed}).encode())
    return ".".join(parts)


def _none(token: str) -> str:
    return _again(token, {"alg": "none"}).rpartition(".")[0] + "."


SPOILT = {
    "empty": lambda token: "",
    "no token": lambda token: "a.b",
    "cut": lambda token: token[:-1],
    "without a signature": lambda token: token.rpartition(".")[0] + ".",
    "alg none": _none,
    "alg none in other letters": lambda token: _again(token, {"alg": "nOnE"}).rpartition(".")[0] + ".",
    "HS256": lambda token: _again(token, {"alg": "HS256"}),
    "an unknown kid": lambda token: _again(token, {"kid": "x"}),
    "a kid that is a path": lambda token: _again(token, {"kid": "../../dev/null"}),
    "a kid that is SQL": lambda token: _again(token, {"kid": "' OR 1=1 --"}),
    "its own key": lambda token: _again(token, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}),
    "a key elsewhere": lambda token: _again(token, {"jku": "https://evil.example/jwks.json"}),
    "another type": lambda token: _again(token, {"typ": "JWT"}),
    "somebody else's claims": lambda token: _again(token, claims={"sub": "1"}),
    "padding": lambda token: token + "==",
    "a blank inside": lambda token: token.replace(".", ". ", 1),
    "a megabyte of dots": lambda token: "." * 12_000,
    "huge": lambda token: token + "A" * 12_000,
}


@pytest.mark.parametrize("spoil", table(SPOILT))
async def test_a_spoilt_token_is_refused_with_one_word_in_the_log(
    site: Gateway, backend: RecordingBackend, caplog: pytest.LogCaptureFixture, spoil: Any
) -> None:
    cookie, token = await new_token(site)
    caplog.set_level(logging.INFO, "gateway.access")
    caplog.clear()
    response = await site.get("/", cookie=cookie, headers=bearer(spoil(token)))
    assert response.status == 401
    assert (await response.json())["reason"] == "bad_token"
    assert backend.requests == []
    lines = [record.fields for record in caplog.records if record.name == "gateway.access"]
    assert [line["detail"].startswith("token_") for line in lines] == [True]


async def test_two_authorization_headers_are_one_too_many(site: Gateway) -> None:
    _, token = await new_token(site)
    for pair in (("Bearer", "Bearer"), ("Bearer", "Basic"), ("Basic", "bearer")):
        lines = "".join(f"Authorization: {scheme} {token}\r\n" for scheme in pair)
        head = f"GET / HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n"
        answer = await site.raw(head.encode())
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"bad_token" in answer


async def test_a_token_in_the_address_is_refused(site: Gateway, backend: RecordingBackend) -> None:
    cookie, token = await new_token(site)
    response = await site.get(f"/?access_token={token}", cookie=cookie)
    assert (response.status, (await response.json())["reason"]) == (401, "bad_token")
    assert backend.requests == []
    assert (await site.get("/?access_token=the-backends-own", cookie=cookie)).status == 200


async def test_a_token_may_stand_in_a_header_or_a_cookie_of_its_own(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    tokens = with_tokens(tmp_path, header="JWT", cookie="api_token")
    site = await make_gateway(backend.url, routes=ROUTES, tokens=tokens)
    _, token = await new_token(site)
    for given in (
        {"headers": {"JWT": token}},
        {"headers": {"jwt": f"Bearer {token}"}},
        {"cookie": f"api_token={token}"},
    ):
        assert (await site.get("/", **given)).status == 200
        assert dict(backend.last.headers)["X-Forwarded-Preferred-Username"] == "alice"
        assert token not in str(backend.last.headers)
    assert (await site.get("/", headers={"JWT": token, **bearer(token)})).status == 200
    assert (await site.get("/", headers={"JWT": "another", **bearer(token)})).status == 401


async def test_a_session_that_ends_in_one_gateway_ends_its_tokens_in_another(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    one, two = [await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path)) for _ in range(2)]
    cookie, token = await new_token(one)
    _, other = await new_token(one)
    assert (await two.get("/", headers=bearer(token))).status == 200
    assert (await one.post("/auth/logout", cookie=cookie, headers={"Accept": "application/json"})).status == 200
    took = await until_refused(two, bearer(token))
    print(f"a revoked token was refused elsewhere after {took * 1000:.0f} ms")
    assert took < PROMISED * MARGIN
    assert (await one.get("/", headers=bearer(token))).status == 401
    assert (await two.get("/", headers=bearer(other))).status == 200


async def test_a_gateway_that_starts_later_knows_what_was_revoked(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    one = await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path))
    cookie, token = await new_token(one)
    assert (await one.post("/auth/logout", cookie=cookie, headers={"Accept": "application/json"})).status == 200
    late = await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path))
    assert (await late.get("/", headers=bearer(token))).status == 401


async def test_with_the_store_away_a_token_is_503_and_good_again_afterwards(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, own_redis: RedisServer
) -> None:
    site = await make_gateway(backend.url, redis_url=own_redis.url, routes=ROUTES, tokens=with_tokens(tmp_path))
    _, token = await new_token(site)
    assert (await site.get("/", headers=bearer(token))).status == 200
    own_redis.stop()
    begun = time.monotonic()
    while (response := await site.get("/", headers=bearer(token))).status == 200:
        assert time.monotonic() - begun < PROMISED * MARGIN
        await asyncio.sleep(0.02)
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert "Retry-After" in response.headers
    own_redis.start()
    begun = time.monotonic()
    while (response := await site.get("/", headers=bearer(token))).status != 200:
        assert response.status == 503
        assert time.monotonic() - begun < 20
        await asyncio.sleep(0.05)


async def test_a_disabled_users_token_is_refused(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    people = yaml.safe_load((ROOT / "config/users.yaml").read_text(encoding="utf-8"))
    users = tmp_path / "users.yaml"
    users.write_text(yaml.safe_dump(people), encoding="utf-8")
    source = [{"source": "file", "path": str(users)}]
    site = await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path), users=source)
    _, token = await new_token(site)
    assert (await site.get("/", headers=bearer(token))).status == 200
    next(one for one in people["users"] if one["username"] == "alice")["disabled"] = True
    users.write_text(yaml.safe_dump(people), encoding="utf-8")
    await until_refused(site, bearer(token))


async def test_what_a_token_holds_open_ends_with_its_session(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    backend.answer = events
    site = await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path))
    cookie, token = await new_token(site)
    response = await site.get("/", headers=bearer(token))
    assert await response.content.readany()
    await asyncio.sleep(0.6)  # past the moment in which it is not watched yet
    assert (await site.post("/auth/logout", cookie=cookie, headers={"Accept": "application/json"})).status == 200
    begun = time.monotonic()
    async with asyncio.timeout(20):
        assert await response.content.read() == b""
    assert time.monotonic() - begun < PROMISED * MARGIN


async def test_the_gateway_without_keys_for_tokens_knows_none(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    assert (await gateway.get("/", cookie=cookie, headers=bearer("of somebody else"))).status == 200
    assert (await gateway.post("/auth/token", cookie=cookie, json={})).status == 404


async def test_a_token_is_read_by_todays_clients(site: Gateway) -> None:
    _, token = await new_token(site)
    head = jwt.get_unverified_header(token)
    assert (head["typ"], head["alg"]) == ("at+jwt", "EdDSA")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert {"iss", "aud", "sub", "client_id", "sid", "jti", "iat", "exp", "usertype", "groups"} <= claims.keys()
    assert 0 < claims["exp"] - claims["iat"] <= 300


async def test_a_new_token_comes_for_the_asking(site: Gateway) -> None:
    cookie, token = await new_token(site)
    assert await token_of(site, cookie) != token
    assert ALICE["username"] in jwt.decode(token, options={"verify_signature": False})["preferred_username"]


@pytest.mark.parametrize("kind", ["token", "API key"])
async def test_where_redis_may_not_tell_of_changes_what_is_open_still_ends(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, own_redis: RedisServer, kind: str
) -> None:
    """An ACL without ``client tracking`` (docs/redis.md): somebody is asked about once a second."""
    with Redis(unix_socket_path=str(own_redis.socket)) as redis:
        redis.execute_command("ACL", "SETUSER", "default", "~*", "&*", "+@all", "-client", "+client|id")
    backend.answer = events
    over = {"routes": ROUTES, "tokens": with_tokens(tmp_path), "api_keys": {"enabled": True}}
    one, two = [await make_gateway(backend.url, redis_url=own_redis.url, **over) for _ in range(2)]
    cookie, given = await new_token(one)
    if kind == "API key":
        made = await (await one.post("/auth/keys", cookie=cookie, json={"name": "script"})).json()
        given = made["api_key"]
    response = await two.get("/", headers=bearer(given))
    assert await response.content.readany()
    await asyncio.sleep(0.6)  # past the moment in which it is not watched yet
    path, method = (f"/auth/keys/{made['key']['id']}", "DELETE") if kind == "API key" else ("/auth/logout", "POST")
    assert (await one.request(method, path, cookie=cookie, headers={"Accept": "application/json"})).status == 200
    async with asyncio.timeout(20):
        assert await response.content.read() == b""


@pytest.mark.parametrize("path", ["/public/", "/theirs/"])
async def test_a_key_or_refresh_token_reaches_no_backend_on_any_route(
    site: Gateway, backend: RecordingBackend, path: str
) -> None:
    cookie = await site.sign_in()
    for secret in ("gwk_abc", "gwr_abc"):
        assert (await site.get(path, cookie=cookie, headers={"Authorization": f"BEARER {secret}"})).status == 200
        assert "Authorization" not in dict(backend.last.headers)


async def test_another_sites_page_can_neither_guess_passwords_nor_secrets_here(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    tokens = with_tokens(tmp_path, password_grant=True, clients=[{"id": "app", "secret": "0123456789abcdef"}])
    site = await make_gateway(backend.url, routes=ROUTES, tokens=tokens)
    elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for path, fields in (
        ("/auth/token", {"grant_type": "password", **ALICE}),
        ("/auth/token/introspect", {"client_id": "app", "client_secret": "wrong", "token": "x"}),
    ):
        response = await site.post(path, data=fields, headers=elsewhere)
        assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
