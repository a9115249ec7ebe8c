"""Changing the password over HTTP (docs/http-api.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import ClientResponse

from gateway.identity.hashes import hash_password
from gateway.identity.users_file import UsersFile, read_users
from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, session_cookie

NEW = "a new secret of hers"
CHANGE = {"old_password": ALICE["password"], "new_password": NEW}
RENEWED = {**ALICE, "password": NEW}
OVER = {"revoked", "unknown_session"}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text())
    return path


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path) -> Gateway:
    """With a users file that it may change."""
    return await make_gateway(backend.url, users=[{"source": "file", "path": str(users_file)}])


async def change(gateway: Gateway, cookie: str, fields: Any = None, **kwargs: Any) -> ClientResponse:
    return await gateway.post("/auth/password", json=CHANGE if fields is None else fields, cookie=cookie, **kwargs)


async def test_the_new_password_counts_and_the_old_one_no_more(gateway: Gateway) -> None:
    response = await change(gateway, await gateway.sign_in())
    assert (response.status, await response.json()) == (200, {"ret": 0, "ended": 0})
    assert response.headers["Cache-Control"] == "no-store"
    assert (await gateway.post("/auth/login", json=ALICE)).status == 401
    assert (await gateway.post("/auth/login", json=RENEWED)).status == 200


async def test_all_other_sessions_of_that_user_end_and_this_one_goes_on_under_a_new_id(gateway: Gateway) -> None:
    here, phone, tablet = [await gateway.sign_in() for _ in range(3)]
    manager = await gateway.sign_in(MANAGER)
    began = (await (await gateway.get("/auth/session", cookie=here)).json())["created"]
    response = await change(gateway, here)
    assert (response.status, (await response.json())["ended"]) == (200, 2)
    renewed = session_cookie(response)
    assert renewed != here
    for over in (phone, tablet, here):
        refused = await gateway.get("/orders", cookie=over)
        reason = (await refused.json())["reason"]
        assert (refused.status, reason in (OVER if over != here else {"replaced"})) == (302, True)
        assert session_cookie_is_deleted(refused) is (over != here), "here the browser has the new cookie by now"
    assert (await gateway.get("/orders", cookie=renewed)).status == 200
    assert (await gateway.get("/mgr/index.html", cookie=manager)).status == 200
    about = await (await gateway.get("/auth/session", cookie=renewed)).json()
    assert (about["user"]["username"], about["created"]) == ("alice", began)


def session_cookie_is_deleted(response: ClientResponse) -> bool:
    return any(name.endswith("gw_session") and not morsel.value for name, morsel in response.cookies.items())


async def test_it_can_be_changed_again_and_again(gateway: Gateway, users_file: Path) -> None:
    cookie, password = await gateway.sign_in(), ALICE["password"]
    for number in range(1, 4):
        new = f"secret number {number}"
        response = await change(gateway, cookie, {"old_password": password, "new_password": new})
        assert response.status == 200
        cookie, password = session_cookie(response), new
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
    generations = {entry.username: entry.generation for entry in read_users(users_file).by_id.values()}
    assert generations == {"alice": 3, "mgr": 0}


async def test_a_form_changes_it_too(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    response = await gateway.post("/auth/password", data=CHANGE, cookie=cookie, headers={"Origin": gateway.url})
    assert (response.status, (await response.json())["ret"]) == (200, 0)
    assert (await gateway.post("/auth/login", json=RENEWED)).status == 200


@pytest.mark.parametrize("wrong", ["wrong-demo", "Alice-demo", "alice-demo ", NEW, MANAGER["password"], "密码" * 100])
async def test_a_wrong_old_password_is_a_401_and_changes_nothing(
    gateway: Gateway, users_file: Path, wrong: str
) -> None:
    before = users_file.read_bytes()
    cookie, other = await gateway.sign_in(), await gateway.sign_in()
    response = await change(gateway, cookie, {**CHANGE, "old_password": wrong})
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (401, 1, "bad_credentials")
    assert body["msg"] == "That is not your current password", "no username was given that could be wrong"
    assert "WWW-Authenticate" in response.headers
    assert "Set-Cookie" not in response.headers
    assert users_file.read_bytes() == before
    for living in (cookie, other):
        assert (await gateway.get("/orders", cookie=living)).status == 200


async def test_a_wrong_old_password_is_told_in_chinese(gateway: Gateway) -> None:
    fields, cookie = {**CHANGE, "old_password": "wrong-demo"}, await gateway.sign_in()
    response = await gateway.post("/auth/password", json=fields, cookie=cookie, headers={"Accept-Language": "zh-CN"})
    assert (await response.json())["msg"] == "当前密码错误"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "old_password: is missing"),
    "no old one": ({"new_password": NEW}, "old_password: is missing"),
    "an empty old one": ({**CHANGE, "old_password": ""}, "old_password: is missing"),
    "no new one": ({"old_password": ALICE["password"]}, "new_password: is missing"),
    "an empty new one": ({**CHANGE, "new_password": ""}, "new_password: is missing"),
    "too short": ({**CHANGE, "new_password": "1234567"}, "new_password: must have 8 to 1024 characters"),
    "too long": ({**CHANGE, "new_password": "x" * 1025}, "new_password: is longer than 1024 characters"),
    "an old one too long": ({**CHANGE, "old_password": "x" * 1025}, "old_password: is longer than 1024 characters"),
    "a tab": ({**CHANGE, "new_password": "tab\tinside"}, "new_password: holds a character that no text has"),
    "not printable": ({**CHANGE, "new_password": "next\x85line"}, "new_password: must not hold control characters"),
    "a surrogate": ({**CHANGE, "new_password": "lone \ud800"}, "new_password: holds a character that no text has"),
    "a number": ({**CHANGE, "new_password": 12345678}, "new_password: must be a text"),
    "a list": ({**CHANGE, "old_password": [ALICE["password"]]}, "old_password: must be a text"),
}


@pytest.mark.parametrize(("fields", "words"), table(BAD))
async def test_fields_that_will_not_do_are_named(
    gateway: Gateway, users_file: Path, fields: dict[str, Any], words: str
) -> None:
    before = users_file.read_bytes()
    response = await change(gateway, await gateway.sign_in(), fields)
    body = await response.json()
    assert (response.status, body["reason"], body["msg"]) == (400, "bad_field", words)
    assert users_file.read_bytes() == before


@pytest.mark.parametrize("fields", [CHANGE, {}], ids=["well", "badly"])
async def test_a_stranger_gets_the_refusal_that_every_route_gives(gateway: Gateway, fields: dict[str, str]) -> None:
    response = await gateway.post("/auth/password", json=fields)
    asked = await gateway.get("/auth/session")
    assert (response.status, asked.status) == (302, 302)
    mine, theirs = await response.json(), await asked.json()
    assert (mine["ret"], mine["reason"]) == (theirs["ret"], theirs["reason"]) == (302, "no_session")
    assert mine["redirect"].startswith("/auth/login")
    assert "Location" not in response.headers


async def test_a_session_that_has_ended_changes_nothing_and_its_cookie_goes(gateway: Gateway, users_file: Path) -> None:
    before = users_file.read_bytes()
    cookie = await gateway.sign_in()
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    response = await change(gateway, cookie)
    assert (response.status, (await response.json())["reason"] in OVER) == (302, True)
    assert session_cookie_is_deleted(response)
    assert users_file.read_bytes() == before


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
    ids=["cross-site", "same-site", "origin"],
)
@pytest.mark.parametrize("kind", ["json", "data"])
async def test_another_site_cannot_change_it(
    gateway: Gateway, users_file: Path, headers: dict[str, str], kind: str
) -> None:
    before = users_file.read_bytes()
    cookie = await gateway.sign_in()
    response = await gateway.post("/auth/password", cookie=cookie, headers=headers, **{kind: CHANGE})
    assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    assert users_file.read_bytes() == before


async def test_a_form_that_says_nothing_about_its_origin_is_not_believed(gateway: Gateway, users_file: Path) -> None:
    before = users_file.read_bytes()
    response = await gateway.post("/auth/password", data=CHANGE, cookie=await gateway.sign_in())
    assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    assert users_file.read_bytes() == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_do_nothing(gateway: Gateway, method: str) -> None:
    response = await gateway.request(method, "/auth/password", cookie=await gateway.sign_in())
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_with_the_store_away_nothing_is_changed(
    make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path, own_redis: RedisServer
) -> None:
    """A password that is changed while sessions cannot be ended would leave the thief signed in."""
    before = users_file.read_bytes()
    users = [{"source": "file", "path": str(users_file)}]
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, users=users)
    cookie = await gateway.sign_in()
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    own_redis.kill()
    response = await change(gateway, cookie)
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert "Set-Cookie" not in response.headers
    assert users_file.read_bytes() == before


async def test_where_the_file_cannot_be_changed_the_answer_says_so(gateway: Gateway, users_file: Path) -> None:
    cookie = await gateway.sign_in()
    users_file.write_text("users: [")
    response = await change(gateway, cookie)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (501, 501, "not_possible")
    assert str(users_file) not in await response.text()
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200


async def test_of_two_who_change_it_at_once_one_wins_and_stays(gateway: Gateway, users_file: Path) -> None:
    cookies = [await gateway.sign_in() for _ in range(2)]
    wishes = [{**CHANGE, "new_password": f"the wish of number {number}"} for number in range(2)]
    headers = [{"Cookie": cookie} for cookie in cookies]
    url = f"{gateway.url}/auth/password"
    responses = await asyncio.gather(
        *(
            gateway.client.session.post(url, json=wish, headers=header, allow_redirects=False)
            for wish, header in zip(wishes, headers, strict=True)
        )
    )
    won = [number for number, response in enumerate(responses) if response.status == 200]
    assert len(won) == 1, [response.status for response in responses]
    assert (await gateway.get("/orders", cookie=session_cookie(responses[won[0]]))).status == 200
    assert (await gateway.get("/orders", cookie=cookies[1 - won[0]])).status == 302
    password = wishes[won[0]]["new_password"]
    assert (await gateway.post("/auth/login", json={**ALICE, "password": password})).status == 200
    assert {entry.username: entry.generation for entry in read_users(users_file).by_id.values()}["alice"] == 1


async def test_more_tries_than_the_queue_holds_are_asked_to_come_back(
    make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path
) -> None:
    users = [{"source": "file", "path": str(users_file)}]
    gateway = await make_gateway(backend.url, users=users, login={"threads": 1})
    headers = {"Cookie": await gateway.sign_in()}

    async def one(number: int) -> ClientResponse:
        fields = {**CHANGE, "old_password": f"guess {number}"}
        return await gateway.client.session.post(f"{gateway.url}/auth/password", json=fields, headers=headers)

    responses = await asyncio.gather(*(one(number) for number in range(60)))
    busy = [response for response in responses if response.status == 503]
    assert busy
    assert {response.status for response in responses} == {401, 503}
    assert all(response.headers["Retry-After"] == "1" for response in busy)


async def test_a_sign_in_that_is_overtaken_by_a_change_is_none(gateway: Gateway, users_file: Path) -> None:
    """The old password is right while it is checked, which takes a while here, and wrong when the session is opened."""
    slow = bcrypt.hashpw(ALICE["password"].encode(), bcrypt.gensalt(13)).decode()
    assert UsersFile(users_file).set_password("alice", slow)
    signing_in = asyncio.create_task(gateway.post("/auth/login", json=ALICE))
    await asyncio.sleep(0.1)
    assert UsersFile(users_file).set_password("alice", hash_password(NEW))
    response = await signing_in
    assert (response.status, (await response.json())["reason"]) == (401, "bad_credentials")
    assert not response.cookies


async def test_a_sign_in_that_began_before_a_change_does_not_outlive_it(gateway: Gateway) -> None:
    """The old password was checked, then changed, then a session was to be opened: whoever wins, no session of the old
    password is left."""
    cookie = await gateway.sign_in()
    url = f"{gateway.url}/auth/login"
    tries = [asyncio.create_task(gateway.client.session.post(url, json=ALICE)) for _ in range(8)]
    response = await change(gateway, cookie)
    assert response.status == 200
    for answer in await asyncio.gather(*tries):
        assert answer.status in (200, 401)
        if answer.status == 200:
            refused = await gateway.get("/orders", cookie=session_cookie(answer))
            assert (refused.status, (await refused.json())["reason"] in OVER) == (302, True)
        else:
            assert not any(name.endswith("gw_session") and m.value for name, m in answer.cookies.items())
    assert (await gateway.get("/orders", cookie=session_cookie(response))).status == 200
