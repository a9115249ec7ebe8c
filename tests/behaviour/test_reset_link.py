"""A link that sets a new password, once (docs/users.md)."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from aiohttp import ClientResponse
from click.testing import CliRunner

from gateway.cli import cli
from gateway.core.keys import parse_ring
from gateway.core.tickets import session_tickets
from gateway.errors import SettingsError, StartError
from gateway.identity.hashes import hash_password
from gateway.identity.passwords import PasswordChecker
from gateway.identity.reset_links import ResetLinks
from gateway.identity.users import Users
from gateway.settings import Settings
from gateway.user_sources import make_sources
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, MASTER, OTHER_MASTER, ROOT, Gateway, GatewayProcess, run_gateway
from tests.identity.sql_lab import sql_lab

SHIPPED = (ROOT / "config/users.yaml").read_text()
ALICE_ID = "377ce22669eec229"
NEW = "a new secret of hers"
RENEWED = {**ALICE, "password": NEW}
QUICK = {"failure_time": 0.05, "throttle": {"enabled": False}}
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
FORM = {**PAGE, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text(SHIPPED)
    return path


@pytest.fixture
def users(users_file: Path) -> list[dict[str, str]]:
    return [{"source": "file", "path": str(users_file)}]


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, users: Any) -> Gateway:
    return await make_gateway(backend.url, users=users, login=QUICK)


async def token_for(
    settings: Settings, username: str = "alice", seconds: int = 60, *, ring: str = MASTER, clock: Any = time.time
) -> str:
    """As the command makes it: from what is stored now, and nothing else."""
    checker = PasswordChecker(1)
    users = Users(make_sources(settings, checker))
    found = await users.sources[0].find(username)
    assert found is not None
    token = await ResetLinks(users, parse_ring(ring), clock).make(users.sources[0], found.identity.id, seconds)
    checker.close()
    assert token is not None
    return token


async def use(gateway: Gateway, token: Any, password: str = NEW, **more: Any) -> ClientResponse:
    return await gateway.post("/auth/reset", json={"token": token, "new_password": password}, **more)


async def can_sign_in(gateway: Gateway, fields: dict[str, str]) -> bool:
    return (await gateway.post("/auth/login", json=fields)).status == 200


async def is_over(response: ClientResponse) -> bool:
    """Is that the one answer for links that are not good? Of a page load it is a page."""
    if response.content_type == "text/html":
        return response.status == 410 and "<form" not in await response.text()
    body = await response.json()
    known = {"ret": 410, "reason": "bad_reset_link", "msg": "This link is not valid any more; please ask for a new one"}
    return response.status == 410 and {**body, "request_id": ""} == {**known, "request_id": ""}


# -- it works
async def test_the_new_password_counts_and_every_session_of_that_user_ends(gateway: Gateway) -> None:
    phone, tablet, manager = await gateway.sign_in(), await gateway.sign_in(), await gateway.sign_in(MANAGER)
    response = await use(gateway, await token_for(gateway.settings))
    assert (response.status, await response.json()) == (200, {"ret": 0, "ended": 2, "redirect": "/auth/login"})
    assert response.headers["Cache-Control"] == "no-store"
    for cookie in (phone, tablet):
        assert (await gateway.get("/orders", cookie=cookie)).status == 302
    assert (await gateway.get("/mgr/index.html", cookie=manager)).status == 200
    assert not await can_sign_in(gateway, ALICE)
    assert await can_sign_in(gateway, RENEWED)


@pytest.mark.parametrize("engine", ["memory", "cookie"])
async def test_without_a_list_of_sessions_they_are_older_than_the_password(
    make_gateway: MakeGateway, backend: RecordingBackend, users: Any, engine: str
) -> None:
    gateway = await make_gateway(backend.url, users=users, login=QUICK, session={"engine": engine})
    cookie = await gateway.sign_in()
    assert (await use(gateway, await token_for(gateway.settings))).status == 200
    assert (await (await gateway.get("/orders", cookie=cookie)).json())["reason"] == "revoked"


async def test_a_browser_that_is_signed_in_as_that_user_loses_its_cookie_and_another_one_does_not(
    gateway: Gateway,
) -> None:
    own, other = await gateway.sign_in(), await gateway.sign_in(MANAGER)
    response = await use(gateway, await token_for(gateway.settings), cookie=own)
    assert response.cookies["gw_session"]["max-age"] == "0"
    response = await use(gateway, await token_for(gateway.settings), "yet another secret", cookie=other)
    assert (response.status, "gw_session" in response.cookies) == (200, False)
    assert (await gateway.get("/mgr/index.html", cookie=other)).status == 200


async def test_looking_at_the_page_spends_nothing(gateway: Gateway) -> None:
    """Programs that read mail follow the links in it."""
    token = await token_for(gateway.settings)
    for method in ("GET", "HEAD", "GET"):
        assert (await gateway.request(method, f"/auth/reset?token={token}", headers=PAGE)).status == 200
    told = await (await gateway.get(f"/auth/reset?token={token}")).json()
    assert told == {"ret": 0, "username": "alice"}
    assert (await use(gateway, token)).status == 200


async def test_who_has_tried_in_vain_too_often_may_sign_in_from_the_browser_with_the_link(
    make_gateway: MakeGateway, backend: RecordingBackend, users: Any
) -> None:
    gateway = await make_gateway(backend.url, users=users, login={"failure_time": 0.05, "throttle": {"enabled": True}})
    for _ in range(20):
        wrong = await gateway.post("/auth/login", json={**ALICE, "password": "a guess"})
        if wrong.status == 429:
            break
    assert wrong.status == 429
    response = await use(gateway, await token_for(gateway.settings))
    assert (response.status, "gw_session" in response.cookies) == (200, False)
    assert not await can_sign_in(gateway, RENEWED), "from any other browser"
    cookie = "; ".join(f"{one.key}={one.value}" for one in response.cookies.values())
    assert (await gateway.post("/auth/login", json=RENEWED, cookie=cookie)).status == 200


async def test_every_key_of_the_ring_is_good(make_gateway: MakeGateway, backend: RecordingBackend, users: Any) -> None:
    gateway = await make_gateway(backend.url, users=users, login=QUICK, keys={"master": f"{OTHER_MASTER}\n{MASTER}"})
    assert (await use(gateway, await token_for(gateway.settings))).status == 200


# -- once
async def test_used_twice_it_is_over(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    assert (await use(gateway, token)).status == 200
    assert await is_over(await use(gateway, token, "yet another secret"))
    assert await can_sign_in(gateway, RENEWED)


async def test_of_two_who_use_it_at_once_exactly_one_wins(
    make_gateway: MakeGateway, backend: RecordingBackend, users: Any
) -> None:
    """On two gateways with one users file, three times each."""
    gateways = [await make_gateway(backend.url, users=users, login=QUICK) for _ in range(2)]
    token = await token_for(gateways[0].settings)
    passwords = [f"secret of number {number}" for number in range(6)]
    answers = await asyncio.gather(
        *(use(gateways[number % 2], token, password) for number, password in enumerate(passwords))
    )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [200, 410, 410, 410, 410, 410]
    winner = statuses.index(200)
    await becomes(lambda: can_sign_in(gateways[0], {**ALICE, "password": passwords[winner]}))
    losers = [password for number, password in enumerate(passwords) if number != winner]
    assert not [one for one in losers if await can_sign_in(gateways[0], {**ALICE, "password": one})]


@pytest.mark.parametrize("with_generation", [True, False])
async def test_in_a_database_it_is_the_same(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, with_generation: bool
) -> None:
    """A table of an application, with and without a column that counts new passwords; two gateways."""
    columns = {"id": "INTEGER", "username": "VARCHAR(99)", "password": "VARCHAR(200)"}
    row: dict[str, Any] = {"id": 7, "username": "alice", "password": hash_password(ALICE["password"])}
    if with_generation:
        columns, row = {**columns, "generation": "INTEGER"}, {**row, "generation": 3}
    async with sql_lab("sqlite", tmp_path) as lab:
        table = await lab.table(columns, row)
        source = {"source": "sql", "url": lab.url, "table": table, "columns": {name: name for name in columns}}
        users = [{**source, "writable": True}]
        one, two = [await make_gateway(backend.url, users=users, login=QUICK) for _ in range(2)]
        cookie, token = await two.sign_in(), await token_for(one.settings)
        answers = await asyncio.gather(*(use(gateway, token, f"{NEW} {gateway.port}") for gateway in (one, two)))
        assert sorted(answer.status for answer in answers) == [200, 410]
        winner = one if answers[0].status == 200 else two
        assert (await two.get("/orders", cookie=cookie)).status == 302
        for gateway in (one, two):
            assert await can_sign_in(gateway, {**ALICE, "password": f"{NEW} {winner.port}"})
            assert not await can_sign_in(gateway, ALICE)
        assert (await use(two, await token_for(one.settings), "yet another secret")).status == 200


async def becomes(question: Callable[[], Any]) -> bool:
    """The other gateway reads the file a moment later."""
    deadline = time.monotonic() + 30
    while not await question():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return True


async def test_a_change_of_the_password_on_another_way_spends_it(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    change = {"old_password": ALICE["password"], "new_password": NEW}
    assert (await gateway.post("/auth/password", json=change, cookie=await gateway.sign_in())).status == 200
    assert await is_over(await use(gateway, token, "yet another secret"))


async def test_a_password_that_is_refused_leaves_it_as_it_was(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    for fields in ({}, {"new_password": "short"}, {"new_password": "password1"}, {"new_password": "alice@example.org"}):
        response = await gateway.post("/auth/reset", json={"token": token, **fields})
        body = await response.json()
        assert (response.status, body["reason"], "new_password" in body["msg"]) == (400, "bad_field", True)
    response = await gateway.post("/auth/reset", json={"token": token, "new_password": NEW, "again": NEW + "x"})
    assert (response.status, "again" in (await response.json())["msg"]) == (400, True)
    assert await can_sign_in(gateway, ALICE)
    assert (await use(gateway, token)).status == 200


# -- what is no link
async def test_after_its_time_it_is_over(gateway: Gateway) -> None:
    late = await token_for(gateway.settings, seconds=1, clock=lambda: time.time() - 1.5)
    assert await is_over(await use(gateway, late))
    token = await token_for(gateway.settings, seconds=3)
    assert (await gateway.get(f"/auth/reset?token={token}")).status == 200
    await becomes(lambda: gone(gateway, token))
    assert await is_over(await use(gateway, token))
    assert await can_sign_in(gateway, ALICE)


async def gone(gateway: Gateway, token: str) -> bool:
    return (await gateway.get(f"/auth/reset?token={token}")).status == 410


EDITS: dict[str, Callable[[str], str]] = {
    "removed": lambda text: text[: text.index("- username: alice")],
    "disabled": lambda text: text.replace(f"id: {ALICE_ID}", f"id: {ALICE_ID}\n  disabled: true"),
    "a newer generation": lambda text: text.replace(f"id: {ALICE_ID}", f"id: {ALICE_ID}\n  generation: 1"),
    "somebody else of that name": lambda text: text.replace(ALICE_ID, "somebody-else"),
    "another hash": lambda text: text.replace(re.findall("password: (.*)", text)[1], hash_password("alice-demo")),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_a_user_who_is_not_as_he_was_has_no_link(
    gateway: Gateway, users_file: Path, edit: Callable[[str], str]
) -> None:
    token = await token_for(gateway.settings)
    users_file.write_text(edit(SHIPPED))
    await becomes(lambda: gone(gateway, token))
    assert await is_over(await use(gateway, token))


def broken(token: str) -> dict[str, Any]:
    return {
        "changed": token[:40] + ("A" if token[40] != "A" else "B") + token[41:],
        "cut": token[:-1],
        "longer": token + "A",
        "padded": token + "=",
        "NUL": "\0",
        "with a NUL behind it": token + "\0",
        "10 kB": "A" * 10_000,
        "ten of them": token * 10,
        "empty": "",
        "no base64": "?&=%%%",
        "Chinese": "链接",
        "half a character": "\ud800",
        "a session's ticket": session_tickets(parse_ring(MASTER)).sign(bytes(32)),
        "no text": 7,
        "a list": [token],
        "a mapping": {"token": token},
        "nothing": None,
        "true": True,
    }


async def test_whatever_is_wrong_with_a_link_the_answer_is_the_same(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    foreign = await token_for(gateway.settings, ring=OTHER_MASTER)
    for name, bad in {**broken(token), "another site's": foreign}.items():
        assert await is_over(await use(gateway, bad)), name
        if isinstance(bad, str) and "\ud800" not in bad:
            assert await is_over(await gateway.get(f"/auth/reset?token={quote(bad)}")), name
            assert await is_over(await gateway.get(f"/auth/reset?token={quote(bad)}", headers=PAGE)), name
    assert await is_over(await gateway.post("/auth/reset", json={"new_password": NEW}))
    assert await is_over(await gateway.get("/auth/reset"))
    assert (await use(gateway, token)).status == 200


async def test_another_source_of_the_same_name_on_another_place_has_no_part_in_it(
    make_gateway: MakeGateway, backend: RecordingBackend, users: Any, tmp_path: Path
) -> None:
    gateway = await make_gateway(backend.url, users=users, login=QUICK)
    other = tmp_path / "others.yaml"
    other.write_text(SHIPPED)
    elsewhere = await make_gateway(backend.url, users=[{"source": "file", "path": str(other)}], login=QUICK)
    assert await is_over(await use(elsewhere, await token_for(gateway.settings)))


async def test_without_the_store_nothing_is_changed_and_the_link_stays_good(
    make_gateway: MakeGateway, backend: RecordingBackend, users: Any
) -> None:
    away = await make_gateway(backend.url, users=users, login=QUICK, redis={"url": "redis://127.0.0.1:1/0"})
    token = await token_for(away.settings)
    response = await use(away, token)
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    here = await make_gateway(backend.url, users=users, login=QUICK)
    assert await can_sign_in(here, ALICE)
    assert (await use(here, token)).status == 200


async def test_a_page_of_another_site_cannot_send_it(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        response = await use(gateway, token, headers=headers)
        assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    response = await gateway.post("/auth/reset", data={"token": token, "new_password": NEW})
    assert (response.status, (await response.json())["reason"]) == (403, "cross_site")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_do_nothing(gateway: Gateway, method: str) -> None:
    assert (await gateway.request(method, "/auth/reset")).status == 405


# -- the page
def hidden(html: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', html)
    assert found, html
    return found[1]


async def open_page(gateway: Gateway, token: str, **kwargs: Any) -> tuple[str, str]:
    """Its HTML, and the Cookie header it leaves behind."""
    response = await gateway.get(f"/auth/reset?token={token}", headers={**PAGE, **kwargs.pop("headers", {})}, **kwargs)
    assert (response.status, response.headers["Referrer-Policy"]) == (200, "strict-origin")
    assert response.headers["Cache-Control"] == "no-store"
    return await response.text(), "; ".join(f"{one.key}={one.value}" for one in response.cookies.values())


async def test_the_form_sets_it_and_leads_to_the_sign_in_page_which_says_so(gateway: Gateway) -> None:
    token = await token_for(gateway.settings)
    html, cookies = await open_page(gateway, token)
    assert "alice" in html
    assert hidden(html, "token") == token
    fields = {"token": token, "csrf": hidden(html, "csrf"), "new_password": NEW, "again": NEW}
    response = await gateway.post("/auth/reset", data=fields, headers=FORM, cookie=cookies)
    assert (response.status, response.headers["Location"]) == (303, "/auth/login?said=reset")
    assert response.headers["Referrer-Policy"] == "strict-origin", "or the next page would be told the link"
    there = response.headers["Location"]
    page = await (await gateway.get(there, headers={**PAGE, "Referer": f"{gateway.url}/"})).text()
    assert "Your new password is set" in page
    for referer in ({}, {"Referer": "https://evil.example/"}):
        assert "Your new password" not in await (await gateway.get(there, headers={**PAGE, **referer})).text()
    assert await can_sign_in(gateway, RENEWED)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "New password: must have 8 to 1024 characters"), ("zh", "新密码：长度须为 8 至 1024 个字符")],
)
async def test_the_page_says_what_is_wrong_and_the_link_stays_good(gateway: Gateway, language: str, words: str) -> None:
    token = await token_for(gateway.settings)
    html, cookies = await open_page(gateway, token, headers={"Accept-Language": language})
    fields = {"token": token, "csrf": hidden(html, "csrf"), "new_password": "short", "again": "short"}
    response = await gateway.post(
        "/auth/reset", data=fields, headers={**FORM, "Accept-Language": language}, cookie=cookies
    )
    html = await response.text()
    assert (response.status, response.headers["Referrer-Policy"]) == (400, "strict-origin")
    assert words in html
    assert "short" not in html
    assert hidden(html, "token") == token
    assert (await use(gateway, token)).status == 200


async def test_a_page_that_is_over_leads_to_the_sign_in_page_and_shows_no_token(gateway: Gateway) -> None:
    response = await gateway.get("/auth/reset?token=not-a-token", headers=PAGE)
    html = await response.text()
    assert (response.status, "/auth/login" in html, "not-a-token" in html) == (410, True, False)


# -- the command
def config_file(folder: Path, redis_url: str = "redis://127.0.0.1:1/0", **more: str) -> Path:
    (folder / "users.yaml").write_text(SHIPPED)
    lines = {
        "site": "{url: 'http://localhost:8080'}",
        "server": "{port: 0}",
        "management": "{port: 0}",
        "redis": f"{{url: '{redis_url}'}}",
        "keys": f"{{master: {MASTER}}}",
        "users": "[{source: file, path: users.yaml}]",
        "upstreams": "{app: {url: 'http://127.0.0.1:1'}}",
        "routes": "[{path: /}]",
        **more,
    }
    path = folder / "gateway.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return path


def reset_link(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, and what a person reads on standard error."""
    result = CliRunner().invoke(cli, ["users", "reset-link", *map(str, arguments)])
    if isinstance(result.exception, StartError | SettingsError):
        return 1, result.stdout, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


async def test_the_command_prints_a_link_that_the_gateway_takes(gateway: Gateway, tmp_path: Path) -> None:
    config = config_file(tmp_path)  # on the file of the gateway
    code, out, err = await asyncio.to_thread(reset_link, "Alice@Example.org", "--config", config, "--valid", "10m")
    assert (code, "alice of file:users.yaml" in err) == (0, True)
    link = urlsplit(out.strip())
    assert (link.scheme, link.netloc, link.path) == ("http", "localhost:8080", "/auth/reset")
    assert (await use(gateway, parse_qs(link.query)["token"][0])).status == 200


@pytest.mark.parametrize("valid", ["", "0h", "24", "h", "1w", "31d", "-1h", "1.5h", "99999999999h"])
def test_a_time_that_is_none_is_a_usage_error(tmp_path: Path, valid: str) -> None:
    code, out, err = reset_link("alice", "--config", config_file(tmp_path), "--valid", valid)
    assert (code, out, "Usage:" in err) == (2, "", True)


IMPOSSIBLE: dict[str, tuple[dict[str, str], list[str], str]] = {
    "nobody of that name": ({}, ["bob"], "no user bob"),
    "no such source": ({}, ["alice", "--source", "sql:users"], "file:users.yaml"),
    "no address of the site": ({"site": "{}"}, ["alice"], "site.url"),
}


@pytest.mark.parametrize(("more", "arguments", "words"), table(IMPOSSIBLE))
def test_what_cannot_be_is_said(tmp_path: Path, more: dict[str, str], arguments: list[str], words: str) -> None:
    code, out, err = reset_link(*arguments, "--config", config_file(tmp_path, **more))
    assert (code, out, words in err) == (1, "", True), err


def test_who_is_disabled_gets_no_link(tmp_path: Path) -> None:
    config = config_file(tmp_path)
    (tmp_path / "users.yaml").write_text(EDITS["disabled"](SHIPPED))
    code, out, err = reset_link("alice", "--config", config)
    assert (code, out, "disabled" in err) == (1, "", True)


def test_no_log_holds_the_link_and_the_audit_log_says_that_there_was_one(tmp_path: Path, redis_server: Any) -> None:
    """Two processes, as an operator runs them."""
    import requests

    audit = tmp_path / "audit.log"
    config = config_file(tmp_path, redis_server.url, log=f"{{format: json, level: debug, audit: '{audit}'}}")
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        made = run_gateway("users", "reset-link", "alice", "--config", str(config))
        assert made.returncode == 0, made.stderr
        token = parse_qs(urlsplit(made.stdout.strip()).query)["token"][0]
        assert requests.get(f"{gateway.url}/auth/reset?token={token}", headers=PAGE, timeout=20).status_code == 200
        sent = {"token": token, "new_password": NEW}
        assert requests.post(f"{gateway.url}/auth/reset", json=sent, timeout=20).status_code == 200
        assert requests.post(f"{gateway.url}/auth/reset", json=sent, timeout=20).status_code == 410
    lines = audit.read_text()
    assert [line.count('"') > 0 for line in lines.splitlines()] == [True, True]
    assert ("reset_link_made" in lines, "password_reset" in lines) == (True, True)
    for written in (gateway.output, lines, made.stderr):
        assert token not in written
        assert NEW not in written


def test_a_link_for_somebody_with_an_unreadable_hash_says_whose_it_is_and_where(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "u.db")) as database, database:
        database.execute("CREATE TABLE people (id TEXT, username TEXT, password TEXT)")
        database.execute("INSERT INTO people VALUES ('1', 'eve', 'no-hash')")
    columns = "{id: id, username: username, password: password}"
    source = f"[{{source: sql, url: 'sqlite:///u.db', table: people, writable: true, columns: {columns}}}]"
    made = run_gateway("users", "reset-link", "eve", "--config", str(config_file(tmp_path, users=source)))
    assert made.returncode == 0, made.stderr
    assert "eve of sql:people: a stored password hash is of no kind that is read here" in made.stderr
    assert "no-hash" not in made.stderr


def test_a_link_for_a_users_file_that_cannot_be_written_is_made_with_a_warning(short_folder: Path) -> None:
    (short_folder / "users.yaml").write_text(SHIPPED)
    config = config_file(short_folder)
    assert "will not work" not in _reset_link_as_nobody_special(config, 0o777)
    assert "the link will not work" in _reset_link_as_nobody_special(config, 0o555)


def _reset_link_as_nobody_special(config: Path, mode: int) -> str:
    """Standard error. Root makes a link first, so that everything is imported: others may not be able to read this Python."""
    config.parent.chmod(mode)
    script = (
        "import os; from gateway.cli import cli\n"
        "if os.getuid() == 0: cli(standalone_mode=False); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "cli()"
    )
    command = [sys.executable, "-c", script, "users", "reset-link", "alice", "--config", str(config)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    config.parent.chmod(0o700)
    assert made.returncode == 0, made.stderr
    return made.stderr
