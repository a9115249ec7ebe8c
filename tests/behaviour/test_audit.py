"""The audit log of a running gateway and of its commands: who did what, from where, and no secret of anybody's."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from argon2 import PasswordHasher

from gateway.errors import SettingsError
from gateway.store.redis_server import RedisServer
from gateway.telemetry.audit import EVENTS
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import MASTER, ROOT, Gateway, GatewayProcess, make_settings, run_gateway

ALICE = {"username": "alice", "password": "alices-secret-1"}
TYPED_BY_MISTAKE = "my-Secret-password-9"


class Trail:
    """The file, and what was used that must not be in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.secrets: list[str] = []

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text("ascii").splitlines()] if self.file.exists() else []

    async def until(self, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """All lines, once there are so many; a line follows its answer."""
        deadline = time.monotonic() + seconds
        while len(rows := self.rows()) < count:
            assert time.monotonic() < deadline, rows
            await asyncio.sleep(0.01)
        assert len(rows) == count, rows
        return rows


@pytest.fixture
def trail(tmp_path: Path) -> Any:
    found = Trail(tmp_path / "audit.jsonl")
    yield found
    text = found.file.read_text() if found.file.exists() else ""
    assert [secret for secret in found.secrets if secret.lower() in text.lower()] == []


@pytest.fixture
def users(tmp_path: Path) -> Path:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    rows = [
        {"username": "alice", "password": cheap.hash(ALICE["password"]), "id": "a3f1", "email": "alice@example.org"},
        {"username": "bob", "password": cheap.hash("bobs-secret-1"), "id": "b3f1", "disabled": True},
    ]
    file = tmp_path / "users.yaml"
    file.write_text(json.dumps({"users": rows}))
    return file


Make = Callable[..., Any]


@pytest.fixture
def make(make_gateway: MakeGateway, backend: RecordingBackend, trail: Trail, users: Path) -> Make:
    async def made(**over: Any) -> Gateway:
        trail.secrets += [MASTER, ALICE["password"], "bobs-secret-1", TYPED_BY_MISTAKE]
        source = {"source": "file", "path": str(users)}
        return await make_gateway(backend.url, users=[source], log={"audit": str(trail.file)}, **over)

    return made


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    assert time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")
    return {name: value for name, value in row.items() if name != "time"}


WHO = {"user_id": "a3f1", "username": "alice", "source": "file:users.yaml", "address": "127.0.0.1"}


async def handles_of(gateway: Gateway, cookie: str) -> dict[bool, str]:
    """By whether it is the session that asks; of two sessions."""
    response = await gateway.get("/auth/sessions", cookie=cookie)
    return {row["this"]: row["handle"] for row in (await response.json())["sessions"]}


async def test_signing_in_and_out_is_noted_with_the_handle_of_the_session(make: Make, trail: Trail) -> None:
    gateway = await make()
    response = await gateway.post("/auth/login", json={"email": "Alice@Example.org", "password": ALICE["password"]})
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in response.cookies.items())
    trail.secrets += [morsel.value for morsel in response.cookies.values()]
    handle = (await handles_of(gateway, cookie))[True]
    left = await gateway.post("/auth/logout", cookie=cookie)
    signed_in, signed_out = map(without_time, await trail.until(2))
    of_login = {"request_id": response.headers["X-Request-Id"], "session": handle}
    assert signed_in == {"event": "sign_in", "outcome": "success", **WHO, **of_login}
    of_logout = {"request_id": left.headers["X-Request-Id"], "session": handle}
    assert signed_out == {"event": "sign_out", "outcome": "success", **WHO, **of_logout}


async def test_who_signs_out_without_a_session_leaves_no_trace(make: Make, trail: Trail) -> None:
    gateway = await make()
    assert (await gateway.post("/auth/logout")).status == 200
    await gateway.sign_in(ALICE)
    assert [row["event"] for row in await trail.until(1)] == ["sign_in"]


async def test_a_failed_sign_in_names_a_user_that_there_is(make: Make, trail: Trail) -> None:
    gateway = await make()
    for name, reason in (("ALICE", "bad_credentials"), ("bob", "disabled")):
        await gateway.post("/auth/login", json={"username": name, "password": "wrong-password-1"})
        row = (await trail.until(1 if name == "ALICE" else 2))[-1]
        assert (row["event"], row["outcome"], row["reason"]) == ("sign_in_failed", "failure", reason)
        assert row["username"] == name.lower()
        assert "typed" not in row
    trail.secrets.append("wrong-password-1")


@pytest.mark.parametrize("how", ["json", "page", "alias"])
async def test_a_name_that_nobody_has_is_a_hash_as_it_may_be_a_password(make: Make, trail: Trail, how: str) -> None:
    gateway = await make()
    wrong = {"username": TYPED_BY_MISTAKE, "password": "x"}
    for _ in range(2):
        if how == "json":
            await gateway.post("/auth/login", json=wrong)
        elif how == "alias":
            await gateway.post("/api/mgr/signin", json={**wrong, "username": TYPED_BY_MISTAKE.upper()})
        else:
            headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
            await gateway.post("/auth/login", data=wrong, headers=headers)
    first, second = await trail.until(2)
    assert first["typed"] == second["typed"]
    assert first["typed"].startswith("hmac:")
    assert "username" not in first


async def test_who_has_to_wait_is_noted_with_whose_account_it_is(make: Make, trail: Trail) -> None:
    gateway = await make(login={"throttle": {"account_at_address": {"burst": 1, "every": 600}}})
    for name in ("alice", "Alice", TYPED_BY_MISTAKE, TYPED_BY_MISTAKE):
        await gateway.post("/auth/login", json={"username": name, "password": "wrong-password-1"})
    rows = await trail.until(4)
    assert [row["reason"] for row in rows] == ["bad_credentials", "throttled"] * 2
    assert [row.get("username") for row in rows] == ["alice", "alice", None, None]
    assert rows[2]["typed"] == rows[3]["typed"]


async def test_what_is_ended_on_the_account_page_is_noted_too(make: Make, trail: Trail) -> None:
    gateway = await make()
    cookies = [await gateway.sign_in(ALICE) for _ in range(2)]
    handles = await handles_of(gateway, cookies[0])
    for body in ({"action": "revoke", "handle": handles[False]}, {"action": "revoke_all"}):
        assert (await gateway.post("/auth/account", json=body, cookie=cookies[0])).status == 200
    rows = (await trail.until(5))[2:]
    assert [row["event"] for row in rows] == ["session_revoked", "sessions_revoked", "sign_out"]
    assert [row["session"] for row in rows] == [handles[False], handles[True], handles[True]]
    assert all(row.items() >= WHO.items() for row in rows)


async def test_sessions_that_a_user_ends_are_noted(make: Make, trail: Trail) -> None:
    gateway = await make()
    cookies = [await gateway.sign_in(ALICE) for _ in range(2)]
    trail.secrets += [cookie.partition("=")[2] for cookie in cookies]
    handles = await handles_of(gateway, cookies[0])
    await gateway.request("DELETE", f"/auth/sessions/{handles[False]}", cookie=cookies[0])
    await gateway.request("DELETE", "/auth/sessions", cookie=cookies[0])
    one, others = map(without_time, (await trail.until(4))[2:])
    assert (one["event"], one["session"], one["count"]) == ("session_revoked", handles[False], 1)
    assert (others["event"], others["session"], others["count"]) == ("sessions_revoked", handles[True], 0)
    assert all(one.items() >= WHO.items() for one in (one, others))


async def test_a_new_password_is_noted_and_so_is_one_that_was_refused(make: Make, trail: Trail) -> None:
    gateway = await make()
    cookie = await gateway.sign_in(ALICE)
    for old in ("not-the-old-one-1", ALICE["password"]):
        body = {"old_password": old, "new_password": "another-secret-27"}
        await gateway.post("/auth/password", json=body, cookie=cookie)
    _, refused, changed = map(without_time, await trail.until(3))
    assert (refused["event"], refused["reason"]) == ("password_refused", "bad_credentials")
    assert (changed["event"], changed["outcome"]) == ("password_changed", "success")
    assert changed.items() >= WHO.items()
    assert changed["session"]
    trail.secrets += ["not-the-old-one-1", "another-secret-27"]


async def test_a_store_that_is_away_is_noted_with_whose_sign_in_it_failed(
    make_gateway: MakeGateway, backend: RecordingBackend, trail: Trail, users: Path, own_redis: RedisServer
) -> None:
    source = {"source": "file", "path": str(users)}
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, users=[source], log={"audit": str(trail.file)})
    own_redis.kill()
    assert (await gateway.post("/auth/login", json=ALICE)).status == 503
    (row,) = await trail.until(1)
    assert (row["event"], row["reason"]) == ("sign_in_failed", "store_unavailable")
    trail.secrets.append(ALICE["password"])


async def test_a_log_that_cannot_be_written_fails_no_request(make: Make, trail: Trail) -> None:
    gateway = await make()
    await gateway.sign_in(ALICE)
    await trail.until(1)
    trail.file.unlink()
    trail.file.mkdir()
    assert (await gateway.get("/orders", cookie=await gateway.sign_in(ALICE))).status == 200
    trail.file.rmdir()
    await gateway.sign_in(ALICE)
    lost, row = await trail.until(2)
    assert (lost["event"], lost["count"], row["event"]) == ("lines_lost", 1, "sign_in")


# -- as a process
def config(tmp_path: Path, redis: RedisServer, backend: RecordingBackend, users: Path, audit: str, **over: Any) -> Path:
    settings = {
        "site": {"url": "http://gateway.example"},
        "keys": {"master": MASTER},
        "redis": {"url": redis.url},
        "server": {"port": 0, "workers": 2, **over},
        "management": {"port": 0},
        "users": [{"source": "file", "path": str(users)}],
        "upstreams": {"app": {"url": backend.url}},
        "routes": [{"path": "/"}],
        "log": {"audit": audit, "level": "warning"},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(settings))
    return file


def _sign_in(url: str) -> None:
    answer = _post(f"{url}/auth/login", ALICE)
    assert answer["ret"] == 0, answer


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    command = ["curl", "-s", "--max-time", "20", "-d", json.dumps(body), "-H", "Content-Type: application/json", url]
    return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


async def test_what_was_noted_is_written_before_the_gateway_ends(
    tmp_path: Path, redis_server: RedisServer, backend: RecordingBackend, users: Path, trail: Trail
) -> None:
    file = config(tmp_path, redis_server, backend, users, str(trail.file))
    with GatewayProcess("serve", "--config", str(file)) as gateway:
        for _ in range(5):
            await asyncio.to_thread(_sign_in, gateway.url)
        assert await asyncio.to_thread(gateway.stop) == 0
    assert [row["event"] for row in trail.rows()] == ["sign_in"] * 5


async def test_stdout_is_a_stream_of_its_own(
    tmp_path: Path, redis_server: RedisServer, backend: RecordingBackend, users: Path
) -> None:
    file = config(tmp_path, redis_server, backend, users, "stdout")
    with GatewayProcess("serve", "--config", str(file)) as gateway:
        await asyncio.to_thread(_sign_in, gateway.url)
        await asyncio.to_thread(gateway.stop)
        rows = [json.loads(line) for line in gateway.output.splitlines() if line.startswith("{")]
    assert [(row["event"], row["username"]) for row in rows if "logger" not in row] == [("sign_in", "alice")]


# -- commands
def operator() -> str:
    name = pwd.getpwuid(os.getuid()).pw_name
    sudo = os.environ.get("SUDO_USER")
    return f"{name} (sudo: {sudo})" if sudo and os.getuid() == 0 else name


def run(*arguments: str, **kwargs: Any) -> str:
    done = run_gateway(*arguments, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_commands_about_users_write_where_they_are_told(tmp_path: Path, trail: Trail) -> None:
    file = str(tmp_path / "users.yaml")
    where = {"environment": {"GATEWAY__LOG__AUDIT": str(trail.file)}}
    run("users", "add", "carol", "--file", file, "--password-stdin", input="carols-secret-1\n", **where)
    shown = run("users", "passwd", "carol", "--file", file, "--generate", "--audit", str(trail.file))
    for command in ("disable", "enable", "remove", "list"):
        run("users", command, *(["carol"] if command != "list" else []), "--file", file, **where)
    events = {
        "add": "user_added",
        "passwd": "password_set",
        "disable": "user_disabled",
        "enable": "user_enabled",
        "remove": "user_removed",
    }
    for row, (command, event) in zip(trail.rows(), events.items(), strict=True):
        assert (row["event"], row["command"]) == (event, f"gateway users {command}")
        assert (row["username"], row["file"], row["by"]) == ("carol", file, operator())
    trail.secrets += ["carols-secret-1", shown.split()[-1]]


def test_commands_without_a_place_to_write_write_nothing(tmp_path: Path) -> None:
    file = str(tmp_path / "users.yaml")
    said = run("users", "add", "carol", "--file", file, "--password-stdin", input="carols-secret-1\n")
    assert said == f"{file}: added carol\n"
    assert [path.name for path in tmp_path.iterdir()] == ["users.yaml"]


async def test_commands_about_sessions_write_where_the_configuration_says(
    tmp_path: Path, redis_server: RedisServer, backend: RecordingBackend, users: Path, trail: Trail
) -> None:
    file = str(config(tmp_path, redis_server, backend, users, str(trail.file)))
    with GatewayProcess("serve", "--config", file) as gateway:
        await asyncio.to_thread(_sign_in, gateway.url)
        await asyncio.to_thread(_sign_in, gateway.url)
        await asyncio.to_thread(run, "sessions", "revoke", "--config", file, "--user", "alice")
        await asyncio.to_thread(run, "sessions", "revoke", "--config", file, "--all", "--yes")
        await asyncio.to_thread(run, "clearsessions", "--config", file)
    theirs, everybodys, cleared = [row for row in trail.rows() if "by" in row]
    assert (theirs["event"], theirs["count"], theirs["user_id"]) == ("sessions_revoked", 2, "a3f1")
    assert (everybodys["event"], everybodys["count"]) == ("sessions_revoked", 0)
    assert "username" not in everybodys
    assert (cleared["event"], cleared["command"], cleared["by"]) == (
        "sessions_cleared",
        "gateway clearsessions",
        operator(),
    )


async def test_a_link_for_a_new_password_is_noted_when_it_is_made_and_when_it_is_used_and_never_shown(
    tmp_path: Path, redis_server: RedisServer, backend: RecordingBackend, users: Path, trail: Trail
) -> None:
    file = str(config(tmp_path, redis_server, backend, users, str(trail.file)))
    link = (await asyncio.to_thread(run, "users", "reset-link", "alice", "--config", file)).split()[0]
    token = parse_qs(link.partition("?")[2])["token"][0]
    with GatewayProcess("serve", "--config", file) as gateway:
        body = {"token": token, "new_password": "another-secret-27"}
        answer = await asyncio.to_thread(_post, f"{gateway.url}/auth/reset", body)
        assert answer["ret"] == 0, answer
        await asyncio.to_thread(gateway.stop)
    made, used = trail.rows()
    assert (made["event"], made["user_id"], made["by"]) == ("reset_link_made", "a3f1", operator())
    assert (used["event"], used["user_id"], used["address"]) == ("password_reset", "a3f1", "127.0.0.1")
    trail.secrets += [token, *token.split("."), "another-secret-27"]


def test_a_command_that_could_not_do_it_says_so_in_the_audit_log(tmp_path: Path, trail: Trail, users: Path) -> None:
    settings = {
        "keys": {"master": MASTER},
        "redis": {"url": "redis://127.0.0.1:1/0"},
        "users": [{"source": "file", "path": str(users)}],
        "upstreams": {"app": {"url": "http://127.0.0.1:1"}},
        "routes": [{"path": "/"}],
        "log": {"audit": str(trail.file)},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    done = run_gateway("sessions", "revoke", "--config", str(tmp_path / "c.yaml"), "--user", "alice")
    assert done.returncode == 1
    (row,) = trail.rows()
    assert (row["event"], row["outcome"], row["count"]) == ("sessions_revoked", "failure", 0)


def test_commands_about_keys_are_noted_without_the_keys(tmp_path: Path, trail: Trail) -> None:
    file = tmp_path / "master.key"
    file.write_text(f"{MASTER}\n")
    file.chmod(0o600)
    where = {"environment": {"GATEWAY__LOG__AUDIT": str(trail.file)}}
    run("keys", "new", "--file", str(file), **where)
    run("keys", "rotate", "--file", str(file), **where)
    old = next(row for row in run("keys", "list", "--file", str(file)).splitlines() if " opens" in row).split()[1]
    run("keys", "retire", old, "--file", str(file), "--force", **where)
    run("keys", "retire", old, "--file", str(file), "--force", **where)  # again: nothing happens
    rows = trail.rows()
    assert [row["event"] for row in rows] == ["key_added", "key_activated", "key_retired"]
    assert rows[0]["key"] == rows[1]["key"] != rows[2]["key"] == old
    trail.secrets += [line.split()[0] for line in file.read_text().splitlines() if line and not line.startswith("#")]
    trail.secrets.append(MASTER)


def test_a_command_writes_beside_its_answer_where_the_audit_log_is_stdout(tmp_path: Path) -> None:
    arguments = ["users", "add", "carol", "--file", str(tmp_path / "u.yaml"), "--generate", "--audit", "stdout"]
    done = run_gateway(*arguments)
    assert "user_added" not in done.stdout
    assert json.loads(done.stderr)["event"] == "user_added"


# -- settings
@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ("var/audit.jsonl", "log.audit: must be off, stdout, or the whole path of a file, from /"),
        ("", "log.audit: must be off, stdout, or the whole path of a file, from /"),
        ("stderr", "log.audit: must be off, stdout, or the whole path of a file, from /"),
        ("/no/such/folder/audit.jsonl", "log.audit: there is no folder /no/such/folder"),
        ("/tmp", "log.audit: /tmp is a folder; give the path of a file"),
    ],
)
def test_a_place_that_cannot_be_is_named(audit: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", log={"audit": audit})
    assert said in str(caught.value)


def test_the_documentation_names_every_event() -> None:
    page = (ROOT / "docs/users.md").read_text(encoding="utf-8").partition("## Audit")[2]
    assert [event for event in EVENTS if f"`{event}`" not in page] == []
