"""Access tokens: who gets one, of what shape, and what is refused (docs/tokens.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from redis import Redis
from ruamel.yaml import YAML

from tests.behaviour.token_site import MakeSite, grant, oauth_error, token_settings
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, session_cookie

ENDPOINTS = ("/auth/token", "/auth/token/refresh", "/auth/token/revoke", "/auth/token/introspect")
FORM = "application/x-www-form-urlencoded"


async def verified(gateway: Gateway, token: str) -> dict[str, Any]:
    """The claims, as a client reads them that knows the JWKS alone."""
    keys = jwt.PyJWKSet.from_dict(await (await gateway.get("/auth/jwks.json")).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key.key, algorithms=["EdDSA"], audience="gateway", issuer="gateway")
    return claims


# -- from a session
async def test_a_page_of_somebody_signed_in_gets_a_token_for_its_session(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    answer = await gateway.post("/auth/token", cookie=cookie, headers={"Sec-Fetch-Site": "same-origin"})
    body = await answer.json()
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert body.keys() == {"ret", "access_token", "token_type", "expires_in", "scope"}
    assert (body["ret"], body["token_type"], body["expires_in"], body["scope"]) == (0, "Bearer", 300, "")
    claims = await verified(gateway, body["access_token"])
    assert (claims["preferred_username"], claims["client_id"], claims["exp"] - claims["iat"]) == (
        "alice",
        "session",
        300,
    )
    listed = await (await gateway.get("/auth/sessions", cookie=cookie)).json()
    assert claims["sid"] in {one["handle"] for one in listed["sessions"]}


async def test_a_token_never_outlives_its_session(make_site: MakeSite) -> None:
    gateway = await make_site({"session": {"absolute_timeout": 60}})
    body = await (await gateway.post("/auth/token", cookie=await gateway.sign_in())).json()
    assert 50 <= body["expires_in"] <= 60


async def test_a_stranger_gets_the_refusal_that_every_route_gives(make_site: MakeSite) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/token")
    body = await answer.json()
    assert (answer.status, body["ret"], body["reason"], body["redirect"]) == (
        302,
        302,
        "no_session",
        "/auth/login?next=%2F",
    )
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Referer": "https://evil.example/x"},
        {"Content-Type": FORM},
        {"Content-Type": "text/plain"},
    ],
    ids=str,
)
async def test_another_site_gets_no_token_for_a_session(make_site: MakeSite, headers: dict[str, str]) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    status, error, reason = await oauth_error(await gateway.post("/auth/token", cookie=cookie, headers=headers))
    assert (status, error, reason) == (403, "access_denied", "cross_site")


# -- from a username and password
async def test_a_script_signs_in_and_gets_both_tokens_but_no_cookie(make_site: MakeSite) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/token", data={"grant_type": "password", **ALICE})
    body = await answer.json()
    assert body.keys() == {"ret", "access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert "Set-Cookie" not in answer.headers
    assert body["refresh_token"].startswith("gwr_")
    claims = await verified(gateway, body["access_token"])
    assert (claims["preferred_username"], claims["client_id"]) == ("alice", "password")


async def test_a_sign_in_for_tokens_opens_a_session_of_its_own(make_site: MakeSite) -> None:
    gateway = await make_site()
    cookie = await gateway.sign_in()
    made = await grant(gateway, cookie=cookie)
    listed = (await (await gateway.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    sid = (await verified(gateway, made["access_token"]))["sid"]
    assert [one["this"] for one in listed if one["handle"] == sid] == [False]


async def test_a_sign_in_for_tokens_is_not_judged_by_where_it_comes_from(make_site: MakeSite) -> None:
    gateway = await make_site()
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}
    assert "refresh_token" in await grant(gateway, headers=headers)


@pytest.mark.parametrize("fields", [{"password": "wrong"}, {"username": "nobody"}], ids=str)
async def test_wrong_credentials_are_an_invalid_grant_whatever_is_wrong(
    make_site: MakeSite, fields: dict[str, str]
) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/token", json={"grant_type": "password", **ALICE, **fields})
    assert await oauth_error(answer) == (400, "invalid_grant", "bad_credentials")
    assert "WWW-Authenticate" not in answer.headers


async def test_passwords_are_looked_at_only_where_the_operator_says_so(make_site: MakeSite) -> None:
    gateway = await make_site(password_grant=False)
    for password in (ALICE["password"], "wrong"):
        answer = await gateway.post("/auth/token", json={"grant_type": "password", **ALICE, "password": password})
        assert await oauth_error(answer) == (400, "unsupported_grant_type", "unsupported_grant_type")


async def test_guessing_is_throttled_as_at_the_sign_in(make_site: MakeSite) -> None:
    limits = {"account_at_address": {"burst": 2, "every": 60}}
    gateway = await make_site({"login": {"failure_time": 0.01, "throttle": limits}})
    wrong = {"grant_type": "password", **ALICE, "password": "wrong"}
    for _ in range(2):
        assert (await gateway.post("/auth/token", json=wrong)).status == 400
    answer = await gateway.post("/auth/token", json={**wrong, **ALICE})
    assert await oauth_error(answer) == (429, "slow_down", "throttled")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await gateway.post("/auth/login", json=ALICE)).status == 429


async def test_who_has_too_many_sessions_gets_no_more_by_tokens(make_site: MakeSite) -> None:
    gateway = await make_site({"session": {"max_per_user": 1, "on_limit": "refuse"}})
    await grant(gateway)
    answer = await gateway.post("/auth/token", json={"grant_type": "password", **ALICE})
    assert await oauth_error(answer) == (403, "access_denied", "too_many_sessions")


async def test_sign_ins_for_tokens_stand_in_the_audit_log(make_site: MakeSite, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    gateway = await make_site({"log": {"audit": str(audit)}})
    await grant(gateway)
    await gateway.post("/auth/token", json={"grant_type": "password", **ALICE, "password": "wrong"})
    await gateway.client.close()
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["event"], line["username"]) for line in lines] == [("sign_in", "alice"), ("sign_in_failed", "alice")]
    assert lines[0]["session"]


# -- tokens and cookies keep apart
async def test_a_session_cookie_that_comes_with_credentials_is_neither_read_nor_changed(
    make_site: MakeSite, redis: Redis
) -> None:
    gateway = await make_site({"session": {"save_every_request": True}})
    cookie = await gateway.sign_in(MANAGER)
    for fields in ({"grant_type": "password", **ALICE}, {"grant_type": "refresh_token", "refresh_token": "x"}):
        for cookies in (cookie, "gw_session=rubbish", f"{cookie[:-4]}AAAA"):
            answer = await gateway.post("/auth/token", json=fields, cookie=cookies)
            assert "Set-Cookie" not in answer.headers
    shown = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert shown["user"]["username"] == "mgr"


# -- for front ends that exist already
async def test_sign_in_and_token_answers_carry_the_token_in_the_header_of_the_operator(make_site: MakeSite) -> None:
    gateway = await make_site(response_header="JWT")
    for path in ("/auth/login", "/api/mgr/signin"):
        answer = await gateway.post(path, json=ALICE)
        assert (await verified(gateway, answer.headers["JWT"]))["preferred_username"] == "alice"
    answer = await gateway.post("/auth/token", cookie=session_cookie(answer))
    assert answer.headers["JWT"] == (await answer.json())["access_token"]
    wrong = await gateway.post("/auth/login", json={**ALICE, "password": "wrong"})
    assert "JWT" not in wrong.headers


async def test_whose_groups_do_not_fit_into_a_token_is_signed_in_without_one(
    make_site: MakeSite, tmp_path: Path
) -> None:
    data = YAML(typ="safe", pure=True).load((ROOT / "config/users.yaml").read_text())
    alice = next(user for user in data["users"] if user["username"] == "alice")
    alice["groups"] = [f"a-rather-long-name-of-a-group-{number}" for number in range(2000)]
    users = tmp_path / "users.yaml"
    users.write_text(json.dumps(data))
    gateway = await make_site({"users": [{"source": "file", "path": str(users)}]}, response_header="JWT")
    answer = await gateway.post("/auth/login", json=ALICE)
    assert (answer.status, "JWT" in answer.headers) == (200, False)
    refused = await gateway.post("/auth/token", cookie=session_cookie(answer))
    assert await oauth_error(refused) == (501, "server_error", "not_possible")


async def test_without_the_setting_no_header_carries_a_token(make_site: MakeSite) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/login", json=ALICE)
    assert not any(value.startswith("eyJ") for value in answer.headers.values())


# -- bad input
BAD: dict[str, dict[str, Any]] = {
    "a number for the kind": {"json": {"grant_type": 1}},
    "a list for the kind": {"json": {"grant_type": ["password"]}},
    "an unknown kind": {"json": {"grant_type": "implicit"}},
    "a kind of 10 kB": {"json": {"grant_type": "x" * 10_000}},
    "a NUL in the kind": {"json": {"grant_type": "pass\0word"}},
    "half a surrogate": {"data": b'{"grant_type": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
    "two kinds in a form": {
        "data": b"grant_type=password&grant_type=refresh_token",
        "headers": {"Content-Type": FORM},
    },
    "two kinds in JSON": {
        "data": b'{"grant_type": "password", "grant_type": "refresh_token"}',
        "headers": {"Content-Type": "application/json"},
    },
    "no kind": {"json": {**ALICE}},
    "no kind, a refresh token": {"json": {"refresh_token": "x"}},
    "no password": {"json": {"grant_type": "password", "username": "alice"}},
    "no username": {"json": {"grant_type": "password", "password": "x"}},
    "a number for the password": {"json": {"grant_type": "password", "username": "alice", "password": 1}},
    "a password of 10 kB": {"json": {"grant_type": "password", "username": "alice", "password": "x" * 10_000}},
    "a NUL in the name": {"json": {"grant_type": "password", "username": "al\0ice", "password": "x"}},
    "no refresh token": {"json": {"grant_type": "refresh_token"}},
    "a number for the refresh token": {"json": {"grant_type": "refresh_token", "refresh_token": 7}},
    "a refresh token that is none": {"json": {"grant_type": "refresh_token", "refresh_token": "gwr_" + "A" * 120}},
    "a refresh token of 10 kB": {"json": {"grant_type": "refresh_token", "refresh_token": "gwr_" + "x" * 10_000}},
    "a NUL in the refresh token": {"json": {"grant_type": "refresh_token", "refresh_token": "gwr_\0"}},
    "no ASCII in the refresh token": {"json": {"grant_type": "refresh_token", "refresh_token": "gwr_é"}},
    "a list for the body": {"json": [1]},
    "no JSON": {"data": b"{", "headers": {"Content-Type": "application/json"}},
    "no form": {"data": "é".encode(), "headers": {"Content-Type": FORM}},
    "another type": {"data": b"x", "headers": {"Content-Type": "text/csv"}},
    "a body of 100 kB": {"data": b"a=" + b"x" * 100_000, "headers": {"Content-Type": FORM}},
}


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_bad_input_is_an_error_of_oauth_and_never_a_500(make_site: MakeSite, path: str) -> None:
    gateway = await make_site()
    for name, sent in BAD.items():
        status, error, _ = await oauth_error(await gateway.post(path, **sent))
        assert status in (400, 401, 413, 415), name
        assert error in ("invalid_request", "invalid_grant", "unsupported_grant_type", "invalid_client"), name


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_the_endpoints_take_post_alone(make_site: MakeSite, path: str) -> None:
    gateway = await make_site()
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        answer = await gateway.request(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        if method != "HEAD":
            assert (await answer.json())["error"] == "invalid_request"


async def test_a_browser_gets_json_there_too(make_site: MakeSite) -> None:
    gateway = await make_site()
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Accept-Language": "zh"}
    answer = await gateway.post("/auth/token", data={"grant_type": "x"}, headers=headers)
    assert (await oauth_error(answer))[1] == "unsupported_grant_type"
    assert (await answer.json())["msg"] == "不支持该 grant_type"


async def test_without_signing_keys_there_are_no_such_endpoints(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url)
    for path in ENDPOINTS:
        answer = await gateway.post(path)
        assert (answer.status, (await answer.json())["reason"]) == (404, "no_route")


async def test_with_redis_away_nobody_is_told_that_his_token_is_bad(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    gateway = await make_gateway(
        backend.url, redis_url="redis://127.0.0.1:1/0", tokens=token_settings(tmp_path), session={"cache_size": 0}
    )
    answer = await gateway.post("/auth/token", json={"grant_type": "password", **ALICE})
    assert await oauth_error(answer) == (503, "temporarily_unavailable", "store_unavailable")
    assert answer.headers["Retry-After"]
