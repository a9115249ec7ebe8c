"""The page where a password is changed, ``/auth/password`` (docs/http-api.md): mistakes in words, and the way on."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from gateway.core.identity import Identity
from gateway.identity.source import RemoteSource
from gateway.identity.users import Users
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, Gateway, session_cookie
from tests.quick import cheap_users

PASSWORD = "/auth/password"
NEW = "a new secret of hers"
FIELDS = {"old_password": ALICE["password"], "new_password": NEW, "again": NEW}
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return cheap_users(tmp_path / "users.yaml")


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path) -> Gateway:
    """With a users file that it may change; nobody waits for a failed attempt."""
    users = [{"source": "file", "path": str(users_file)}]
    return await make_gateway(backend.url, users=users, login={"failure_time": 0.01})


async def send(gateway: Gateway, cookie: str, path: str = PASSWORD, **fields: str) -> ClientResponse:
    return await gateway.post(path, data={**FIELDS, **fields}, cookie=cookie, headers=PAGE)


async def test_the_page_has_the_rules_and_the_form(gateway: Gateway) -> None:
    response = await gateway.get(PASSWORD, cookie=await gateway.sign_in(), headers=PAGE)
    html = unescape(await response.text())
    assert (response.status, response.content_type) == (200, "text/html")
    assert response.headers["Cache-Control"] == "no-store"
    assert "8" in html.partition('id="rules"')[2].partition("</ul>")[0]
    for name in ("old_password", "new_password", "again"):
        assert f'name="{name}" type="password" required' in html


async def test_a_stranger_is_sent_to_the_sign_in_page_and_comes_back(gateway: Gateway) -> None:
    response = await gateway.get(PASSWORD, headers=PAGE)
    assert (response.status, response.headers["Location"]) == (302, "/auth/login?next=%2Fauth%2Fpassword")
    posted = await send(gateway, "")
    assert (posted.status, (await posted.json())["reason"]) == (302, "no_session")


async def test_what_is_done_leads_to_my_account_and_the_other_sessions_are_over(gateway: Gateway) -> None:
    here, phone = await gateway.sign_in(), await gateway.sign_in()
    response = await send(gateway, here)
    assert (response.status, response.headers["Location"]) == (303, "/auth/account?said=password")
    renewed = session_cookie(response)
    account = await gateway.get(
        "/auth/account?said=password", cookie=renewed, headers={**PAGE, "Referer": gateway.url + PASSWORD}
    )
    assert "Your password was changed. Your other devices were signed out." in await account.text()
    assert (await gateway.get("/orders", cookie=phone)).status == 302
    assert (await gateway.post("/auth/login", json={**ALICE, "password": NEW})).status == 200


MISTAKES = [
    ({"old_password": "a guess"}, 401, "That is not your current password", "old_password"),
    ({"old_password": ""}, 400, "Current password: is missing", "old_password"),
    ({"new_password": ""}, 400, "New password: is missing", "new_password"),
    ({"new_password": "short"}, 400, "New password: must have 8 to 1024 characters", "new_password"),
    ({"new_password": "password1"}, 400, "New password: is one of those that are tried first", "new_password"),
    ({"again": "something else"}, 400, "New password again: is not the same as the first one", "again"),
    ({"again": ""}, 400, "New password again: is not the same as the first one", "again"),
]


@pytest.mark.parametrize(("fields", "status", "words", "wrong"), MISTAKES, ids=lambda one: str(one)[:40])
async def test_a_mistake_shows_the_page_again_with_words_at_its_field(
    gateway: Gateway, fields: dict[str, str], status: int, words: str, wrong: str
) -> None:
    cookie = await gateway.sign_in()
    response = await send(gateway, cookie, **fields)
    html = unescape(await response.text())
    assert (response.status, response.content_type) == (status, "text/html")
    assert f'role="alert">{words}' in html
    assert f'name="{wrong}" type="password" required' in html.partition('aria-invalid="true"')[0]
    assert html.count('aria-invalid="true"') == 1
    assert NEW not in html
    assert ALICE["password"] not in html
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200, "the old one is still good"


async def test_mistakes_are_told_in_chinese_too(gateway: Gateway) -> None:
    response = await send(gateway, await gateway.sign_in(), PASSWORD + "?lang=zh", again="something else")
    html = unescape(await response.text())
    assert "再次输入新密码：两次输入的密码不一致" in html
    assert 'action="/auth/password?lang=zh"' in html


async def test_a_program_may_leave_out_the_second_one_but_not_contradict_itself(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    wrong = await gateway.post(PASSWORD, json={**FIELDS, "again": "other"}, cookie=cookie)
    body = await wrong.json()
    assert (wrong.status, body["reason"], body["msg"].partition(":")[0]) == (400, "bad_field", "again")
    done = await gateway.post(PASSWORD, json={"old_password": ALICE["password"], "new_password": NEW}, cookie=cookie)
    assert (done.status, await done.json()) == (200, {"ret": 0, "ended": 0})


async def test_another_sites_form_changes_nothing(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    headers = {**PAGE, "Sec-Fetch-Site": "cross-site"}
    response = await gateway.post(PASSWORD, data=FIELDS, cookie=cookie, headers=headers)
    assert (response.status, response.content_type) == (403, "text/html")
    assert "For your safety this was not done" in await response.text()
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200


async def test_a_file_that_cannot_be_written_gets_the_page_without_a_form(gateway: Gateway, users_file: Path) -> None:
    cookie = await gateway.sign_in()
    before = users_file.read_bytes()
    users_file.unlink()
    users_file.mkdir()
    response = await send(gateway, cookie)
    html = unescape(await response.text())
    users_file.rmdir()
    users_file.write_bytes(before)
    assert (response.status, response.content_type) == (501, "text/html")
    assert "The password of this account is not kept here." in html
    assert "<form" not in html


async def test_sources_that_are_asked_elsewhere_keep_no_password_here() -> None:
    class Elsewhere(RemoteSource):
        """As a directory or a web service is."""

    users = Users([Elsewhere("ldap:example")])
    assert not users.can_change_password(Identity("1", "alice", source="ldap:example"))
    assert not users.can_change_password(Identity("1", "alice", source="gone"))
