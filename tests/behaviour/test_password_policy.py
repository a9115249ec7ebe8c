"""What may be a new password, on every way in: over HTTP and by the commands (docs/users.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.core.passwords import MAX_LENGTH
from gateway.errors import StartError
from gateway.identity.hashes import hash_password, verify_password
from gateway.identity.users_file import UsersFile, read_users
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, ROOT, Gateway

PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text())
    return path


async def gateway_with(make: MakeGateway, backend: RecordingBackend, users_file: Path, **passwords: Any) -> Gateway:
    users = [{"source": "file", "path": str(users_file)}]
    login = {"failure_time": 0.05, "throttle": {"enabled": False}}
    return await make(backend.url, users=users, passwords=passwords, login=login)


async def change(gateway: Gateway, new: str, **kwargs: Any) -> tuple[int, str]:
    """Status and words."""
    fields = {"old_password": ALICE["password"], "new_password": new}
    cookie = await gateway.sign_in()
    response = await gateway.post("/auth/password", json=fields, cookie=cookie, **kwargs)
    return response.status, str((await response.json()).get("msg", ""))


REFUSED: dict[str, tuple[str, str, str]] = {
    "short": ("1234567", "must have 8 to 1024 characters", "长度须为 8 至 1024 个字符"),
    "long": ("x" * (MAX_LENGTH + 1), "is longer than 1024 characters", "长度不能超过 1024 个字符"),
    "common": ("Password1", "is one of those that are tried first", "过于常见"),
    "one character": ("aaaaaaaaaaaa", "is one of those that are tried first", "过于常见"),
    "e-mail address": ("ALICE@example.org", "must not be your own name", "不能与您的姓名"),
    "name": ("alice archer", "must not be your own name", "不能与您的姓名"),
    "control character": ("next\x85line in it", "must not hold control characters", "不能含有控制字符"),
}


@pytest.mark.parametrize(("new", "english", "chinese"), table(REFUSED))
async def test_what_is_wrong_is_a_400_that_says_so_and_changes_nothing(
    gateway: Gateway, users_file: Path, new: str, english: str, chinese: str
) -> None:
    for language, words in (("en", english), ("zh", chinese)):
        status, said = await change(gateway, new, headers={"Accept-Language": language})
        assert (status, said.startswith("new_password"), words in said) == (400, True, True), said
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200


@pytest.mark.parametrize(
    "new", ["蓝色的鲸鱼在唱歌", "whales sing of the sea", "x1!" * 300, "alice archer sings", " blanks around it "]
)
async def test_nobody_asks_for_digits_or_capitals_and_long_ones_are_welcome(
    make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path, new: str
) -> None:
    gateway = await gateway_with(make_gateway, backend, users_file)
    assert (await change(gateway, new))[0] == 200
    assert (await gateway.post("/auth/login", json={**ALICE, "password": new})).status == 200


async def test_the_operator_asks_for_more_or_allows_what_is_common(
    make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours.txt"
    ours.write_text("acme welcomes you\n")
    strict = await gateway_with(make_gateway, backend, users_file, min_length=12, common_file=str(ours))
    assert "must have 12 to 1024" in (await change(strict, "eleven char"))[1]
    assert "tried first" in (await change(strict, "ACME welcomes you"))[1]
    lax = await gateway_with(make_gateway, backend, users_file, common="allow")
    assert (await change(lax, "password"))[0] == 200


async def test_a_password_from_before_the_policy_goes_on_signing_in(
    make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path
) -> None:
    UsersFile(users_file).set_password("alice", hash_password("1234"))
    gateway = await gateway_with(make_gateway, backend, users_file, min_length=20)
    assert (await gateway.post("/auth/login", json={**ALICE, "password": "1234"})).status == 200


async def test_a_password_at_sign_in_that_nobody_can_have_is_a_clear_400_before_any_hashing(gateway: Gateway) -> None:
    for password, status in (("x" * MAX_LENGTH, 401), ("x" * (MAX_LENGTH + 1), 400), ("x" * 60_000, 400)):
        response = await gateway.post("/auth/login", json={**ALICE, "password": password})
        body = await response.json()
        assert response.status == status
        assert body["reason"] == ("bad_field" if status == 400 else "bad_credentials")
        assert "password" in body["msg"]
        assert "xxx" not in body["msg"]


async def test_the_page_says_what_holds(make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path) -> None:
    gateway = await gateway_with(make_gateway, backend, users_file, min_length=14)
    response = await gateway.get("/auth/password", headers=PAGE, cookie=await gateway.sign_in())
    assert (response.status, "At least 14 characters" in await response.text()) == (200, True)


# -- the commands
def users(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["users", *map(str, arguments)], input=stdin)


COMMANDS: dict[str, tuple[list[str], str, str]] = {
    "a new user's, common": (["add", "bob"], "letmein1", "tried first"),
    "a new user's, his name": (["add", "bob.builder"], "Bob.Builder", "your own name"),
    "a new user's, his address": (["add", "bob", "--email", "bob@example.org"], "bob@example.org", "your own name"),
    "another one, short": (["passwd", "alice"], "short", "8 to 1024"),
    "another one, his name": (["passwd", "alice"], "alice@example.org", "your own name"),
}


@pytest.mark.parametrize(("arguments", "password", "words"), table(COMMANDS))
def test_the_commands_ask_for_the_same(users_file: Path, arguments: list[str], password: str, words: str) -> None:
    before = users_file.read_text()
    done = users(*arguments, "--file", users_file, "--password-stdin", stdin=password + "\n")
    assert isinstance(done.exception, StartError)
    assert words in str(done.exception)
    assert users_file.read_text() == before


def test_with_a_configuration_its_policy_counts_and_a_generated_one_keeps_it(users_file: Path) -> None:
    config = users_file.with_name("gateway.yaml")
    config.write_text(
        f"keys: {{master: {MASTER}}}\nusers: [{{source: file, path: users.yaml}}]\npasswords: {{min_length: 40}}\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    done = users("passwd", "alice", "--config", config, "--password-stdin", stdin="quite a good one\n")
    assert "40 to 1024" in str(done.exception)
    done = users("passwd", "alice", "--config", config, "--generate")
    assert done.exit_code == 0, done.exception
    made = done.output.split()[-1]
    assert len(made) == 40
    (alice,) = (entry for entry in read_users(users_file).by_id.values() if entry.username == "alice")
    assert verify_password(alice.password, made)
