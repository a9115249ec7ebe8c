"""``POST /auth/token/introspect`` (RFC 7662): for the clients that the operator named, and it never says why."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.behaviour.token_site import CLIENT, MakeSite, basic, grant, introspect, oauth_error, refresh
from tests.harness import ALICE, Gateway

DEAD = {"ret": 0, "active": False}
ODD = ("odd", "a+b%20c:d/e=f&g~0123")
REFUSED = (401, "invalid_client", "invalid_client")


async def ask(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return await gateway.post("/auth/token/introspect", data={"token": "x", **fields}, headers=headers)


async def test_an_access_token_is_described(make_site: MakeSite) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    told = await introspect(gateway, made["access_token"])
    assert told.pop("exp") - told.pop("iat") == 300
    assert told.pop("jti")
    assert told.pop("sid")
    assert told == {
        "ret": 0,
        "active": True,
        "sub": "377ce22669eec229",
        "username": "alice",
        "usertype": "user",
        "groups": told["groups"],
        "token_type": "Bearer",
        "client_id": "password",
        "scope": "",
        "iss": "gateway",
        "aud": "gateway",
    }


async def test_a_refresh_token_is_described_and_not_used_by_it(make_site: MakeSite) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    for _ in range(2):
        told = await introspect(gateway, made["refresh_token"])
        assert (told["active"], told["token_type"], told["username"]) == (True, "refresh_token", "alice")
    after = await (await refresh(gateway, made["refresh_token"])).json()
    assert await introspect(gateway, made["refresh_token"]) == DEAD
    assert (await introspect(gateway, after["refresh_token"]))["active"]


async def test_nothing_else_is_active(make_site: MakeSite) -> None:
    gateway, other = await make_site(), await make_site({"site": {"url": "https://other.example"}})
    made = await grant(gateway)
    cookie = (await gateway.sign_in()).partition("=")[2]
    foreign = await grant(other)
    for token in ("x", "a.b.c", "x" * 10_000, cookie, made["access_token"][:-2], foreign["access_token"]):
        assert await introspect(gateway, token) == DEAD


async def test_a_token_that_is_over_is_not_active(make_site: MakeSite) -> None:
    gateway = await make_site({"session": {"absolute_timeout": 1}}, leeway=0)
    made = await grant(gateway)
    for name in ("access_token", "refresh_token"):
        told = await introspect(gateway, made[name])
        while told["active"]:
            told = await introspect(gateway, made[name])
        assert told == DEAD


# -- who may ask
@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(CLIENT[0], "wrong-secret-0123456789"),
        basic("nobody", CLIENT[1]),
        basic(CLIENT[1], CLIENT[0]),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!!"},
        {"Authorization": "Basic " + "A" * 10_000},
        {"Authorization": "Basic b3JkZXJz"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic 4pg6w6k="},
    ],
    ids=lambda headers: str(headers)[:50],
)
async def test_whoever_is_no_client_is_refused_with_a_challenge(make_site: MakeSite, headers: dict[str, str]) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    for token in (made["access_token"], "x"):
        answer = await ask(gateway, headers, token=token)
        assert await oauth_error(answer) == REFUSED
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="gateway"'


async def test_a_client_says_its_secret_in_the_header_or_in_the_body(make_site: MakeSite) -> None:
    clients = [{"id": one[0], "secret": one[1]} for one in (CLIENT, ODD)]
    gateway = await make_site(clients=clients)
    for name, secret in (CLIENT, ODD):
        for headers in (basic(name, secret), basic(quote_plus(name), quote_plus(secret))):
            assert (await ask(gateway, headers)).status == 200
            assert (await ask(gateway, headers, client_id=name)).status == 200
        assert (await ask(gateway, client_id=name, client_secret=secret)).status == 200
    assert await oauth_error(await ask(gateway, client_id=CLIENT[0], client_secret=ODD[1])) == REFUSED
    both = await ask(gateway, basic(*CLIENT), client_id=CLIENT[0], client_secret=CLIENT[1])
    assert await oauth_error(both) == (400, "invalid_request", "bad_request")
    other = await ask(gateway, basic(*CLIENT), client_id=ODD[0])
    assert await oauth_error(other) == (400, "invalid_request", "bad_field")


async def test_a_session_or_a_token_is_no_client(make_site: MakeSite) -> None:
    gateway = await make_site()
    made = await grant(gateway)
    cookie = await gateway.sign_in()
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    answer = await gateway.post("/auth/token/introspect", data={"token": "x"}, headers=headers, cookie=cookie)
    assert await oauth_error(answer) == REFUSED


async def test_without_clients_nobody_may_ask(make_site: MakeSite) -> None:
    gateway = await make_site(clients=[])
    assert await oauth_error(await ask(gateway, basic(*CLIENT))) == REFUSED


async def test_guessing_a_secret_is_throttled_by_address_and_a_client_that_asks_often_is_not(
    make_site: MakeSite,
) -> None:
    throttle = {"address": {"burst": 3, "every": 60}}
    gateway = await make_site({"login": {"failure_time": 0.01, "throttle": throttle}})
    for _ in range(20):
        assert (await ask(gateway, basic(*CLIENT))).status == 200
    for _ in range(3):
        assert (await ask(gateway, basic(CLIENT[0], "wrong-secret-0123456789"))).status == 401
    for secret in ("wrong-secret-0123456789", CLIENT[1]):
        answer = await ask(gateway, basic(CLIENT[0], secret))
        assert await oauth_error(answer) == (429, "slow_down", "throttled")
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "token",
    [None, "", 1, ["x"], {"a": 1}, "a\0b", "\ud800", "x" * 40_000],
    ids=lambda one: str(one)[:9].encode("ascii", "replace").decode(),
)
async def test_bad_tokens_of_a_client_are_invalid_requests(make_site: MakeSite, token: Any) -> None:
    gateway = await make_site()
    answer = await gateway.post("/auth/token/introspect", json={"token": token}, headers=basic(*CLIENT))
    assert await oauth_error(answer) == (400, "invalid_request", "bad_field")


async def test_the_secret_of_a_client_can_stand_in_a_file(make_site: MakeSite, tmp_path: Any) -> None:
    (tmp_path / "secret").write_text(CLIENT[1] + "\n")
    gateway = await make_site(clients=[{"id": CLIENT[0], "secret_file": str(tmp_path / "secret")}])
    made = await grant(gateway, ALICE)
    assert (await introspect(gateway, made["access_token"]))["active"]
    assert CLIENT[1] not in repr(gateway.settings)
