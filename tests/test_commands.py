"""The commands as a person runs them: processes, real sockets, real files."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.options import table
from gateway.store.redis_server import RedisServer
from tests.harness import ALICE, MANAGER, MASTER, ROOT, GatewayProcess, run_gateway


def ask(
    url: str, path: str, *, method: str = "GET", cookie: str = "", fields: Any = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers, body (JSON if it is)."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    headers = {"Content-Type": "application/json"} if fields is not None else {}
    if cookie:
        headers["Cookie"] = cookie
    connection.request(method, path, json.dumps(fields) if fields is not None else None, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    sent = {name.lower(): value for name, value in response.getheaders()}
    return response.status, sent, json.loads(text) if text.startswith("{") else text


def sign_in(url: str, user: dict[str, str]) -> str:
    status, headers, body = ask(url, "/auth/login", method="POST", fields=user)
    assert status == 200, body
    return headers["set-cookie"].partition(";")[0]


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer) -> Path:
    """A configuration in a folder of its own: relative paths, secrets in files."""
    (tmp_path / "master.key").write_text(MASTER + "\n")
    (tmp_path / "users.yaml").write_text((ROOT / "config/users.yaml").read_text())
    (tmp_path / "gateway.yaml").write_text(
        f"server: {{port: 0}}\nmanagement: {{port: 0}}\nredis: {{url: 'unix://{redis_server.socket}'}}\n"
        "keys: {master_file: master.key}\nusers: [{source: file, path: users.yaml}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    return tmp_path / "gateway.yaml"


# -- demo
def test_the_demo_runs_as_the_readme_says() -> None:
    with GatewayProcess("demo", "--port", "0") as demo:
        assert "mgr / mgr-demo" in demo.output
        assert "alice / alice-demo" in demo.output
        assert ask(demo.url, "/api/mgr/customers")[2]["redirect"] == "/mgr/sign.html"
        alice, manager = sign_in(demo.url, ALICE), sign_in(demo.url, MANAGER)
        assert ask(demo.url, "/api/mgr/customers", cookie=alice)[2]["reason"] == "wrong_usertype"
        assert ask(demo.url, "/api/mgr/customers", cookie=manager)[2]["retlist"]
        assert ask(demo.url, "/public/about.html")[0] == 200
        assert ask(demo.management, "/readyz")[2]["status"] == "ok"
        children = _children(demo.pid)
        assert len(children) == 2, "the backend and Redis"
    assert _gone(children)


def test_ctrl_c_stops_everything_with_exit_code_0() -> None:
    demo = GatewayProcess("demo", "--port", "0").start()
    children = _children(demo.pid)
    assert demo.process is not None
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(30) == 0
    assert _gone(children)
    assert "Traceback" not in demo.output


def test_a_demo_killed_with_9_leaves_nothing_behind() -> None:
    demo = GatewayProcess("demo", "--port", "0").start()
    children = _children(demo.pid)
    demo.kill()
    if sys.platform == "linux":
        assert _gone(children)


def test_a_taken_port_is_told_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in (["demo", "--port", port], ["demo", "--port", "0", "--backend-port", port]):
            done = run_gateway(*command)
            assert done.returncode == 1
            assert port in done.stderr
            assert ("--port" if command[2] == port else "--backend-port") in done.stderr
            assert "Traceback" not in done.stderr


def test_demos_on_one_redis_are_one_site_and_alone_each_is_its_own(redis_server: RedisServer) -> None:
    arguments = ("demo", "--port", "0", "--redis", redis_server.url)
    with (
        GatewayProcess(*arguments) as one,
        GatewayProcess(*arguments) as two,
        GatewayProcess("demo", "--port", "0") as alone,
    ):
        cookie = sign_in(one.url, ALICE)
        assert ask(two.url, "/orders", cookie=cookie)[0] == 200
        assert ask(alone.url, "/orders", cookie=cookie)[2]["reason"] == "no_session"
        assert ask(two.url, "/auth/logout", method="POST", cookie=cookie)[0] == 200
        assert ask(one.url, "/orders", cookie=cookie)[2]["reason"] == "revoked"


def test_the_demo_s_redis_comes_back_when_it_dies_and_nobody_is_signed_out() -> None:
    with GatewayProcess("demo", "--port", "0") as demo:
        cookie = sign_in(demo.url, ALICE)
        assert ask(demo.url, "/orders", cookie=cookie)[0] == 200
        time.sleep(1.1)  # appendfsync everysec
        redis = next(pid for pid in _children(demo.pid) if "redis" in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(redis, signal.SIGKILL)
        statuses = set()
        deadline = time.monotonic() + 30
        while (status := ask(demo.url, "/orders", cookie=cookie)[0]) != 200 or len(statuses) == 0:
            statuses.add(status)
            assert status in (200, 503)
            assert time.monotonic() < deadline
            time.sleep(0.05)


# -- serve --upstream
@pytest.fixture
def upstream() -> Any:
    """A backend process without any login: the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    yield found[0]
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_one_command_puts_a_sign_in_before_a_backend_and_keeps_its_data(upstream: str, short_folder: Path) -> None:
    arguments = ("serve", "--upstream", upstream, "--port", "0", "--state", str(short_folder / "state"))
    with GatewayProcess(*arguments) as first:
        account = re.search(r"shown only now: (\S+) / (\S+)", first.output)
        assert account, first.output
        user = {"username": account[1], "password": account[2]}
        assert ask(first.url, "/public/about.html")[0] == 302, "everything needs sign-in"
        cookie = sign_in(first.url, user)
        assert ask(first.url, "/orders", cookie=cookie)[0] == 200
        again = run_gateway(*arguments)
        assert again.returncode == 1
        assert "--state" in again.stderr
    assert _modes(short_folder / "state") == {"master.key": 0o600, "users.yaml": 0o600, "redis": 0o700}
    with GatewayProcess(*arguments) as second:
        assert "shown only now" not in second.output
        assert ask(second.url, "/orders", cookie=cookie)[0] == 200, "the session survived the restart"
        sign_in(second.url, user)


def test_a_start_that_fails_does_not_lose_the_first_password(upstream: str, short_folder: Path) -> None:
    state = ("--state", str(short_folder / "state"))
    assert run_gateway("serve", "--upstream", "nonsense", *state).returncode == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run_gateway("serve", "--upstream", upstream, "--port", port, *state).returncode == 1
    with GatewayProcess("serve", "--upstream", upstream, "--port", "0", *state) as gateway:
        account = re.search(r"shown only now: (\S+) / (\S+)", gateway.output)
        assert account, gateway.output
        sign_in(gateway.url, {"username": account[1], "password": account[2]})
    assert not (short_folder / "state" / "first-password").exists()


def test_a_master_key_that_others_can_read_or_write_is_not_used(short_folder: Path) -> None:
    (short_folder / "master.key").write_text(MASTER + "\n")
    (short_folder / "master.key").chmod(0o644)
    done = run_gateway("serve", "--upstream", "http://127.0.0.1:1", "--state", str(short_folder))
    assert done.returncode == 1
    assert "chmod 600" in done.stderr
    assert MASTER not in done.stderr


def test_a_second_ctrl_c_ends_what_the_first_one_waits_for(config: Path, upstream: str) -> None:
    gateway = GatewayProcess(
        "serve", "--config", str(config), environment={"GATEWAY__UPSTREAMS__APP__URL": upstream}
    ).start()
    cookie = sign_in(gateway.url, ALICE)
    with socket.create_connection(("127.0.0.1", gateway.port)) as stream:
        stream.sendall(f"GET /events HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(1.5)
        assert "a second signal stops at once" in gateway.output
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(10) == 0


def test_a_redis_that_is_not_there_is_told_at_the_start_and_with_its_cause(config: Path) -> None:
    environment = {"GATEWAY__REDIS__URL": "redis://127.0.0.1:1/0"}
    with GatewayProcess("serve", "--config", str(config), environment=environment) as gateway:
        deadline = time.monotonic() + 10
        while "the session store cannot be used yet" not in gateway.output:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "Connect call failed" in gateway.output or "refused" in gateway.output


def test_killed_with_9_between_sign_in_and_the_next_request_nobody_is_signed_out(
    upstream: str, short_folder: Path
) -> None:
    arguments = ("serve", "--upstream", upstream, "--port", "0", "--state", str(short_folder / "state"))
    arguments += ("--users", str(ROOT / "config/users.yaml"))
    gateway = GatewayProcess(*arguments).start()
    cookie = sign_in(gateway.url, ALICE)
    children = _children(gateway.pid)
    gateway.kill()
    assert _gone(children)
    with GatewayProcess(*arguments) as again:
        assert ask(again.url, "/orders", cookie=cookie)[0] == 200


def test_serve_takes_a_redis_and_a_users_file(upstream: str, redis_server: RedisServer, short_folder: Path) -> None:
    users = str(ROOT / "config/users.yaml")
    state = str(short_folder / "state")
    with GatewayProcess(
        "serve", "--upstream", upstream, "--port", "0", "--redis", redis_server.url, "--users", users, "--state", state
    ) as gateway:
        assert "shown only now" not in gateway.output
        assert _children(gateway.pid) == []
        sign_in(gateway.url, ALICE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--config"),
        (("--config", "x.yaml", "--upstream", "http://127.0.0.1:1"), "--config"),
        (("--config", "missing.yaml"), "missing.yaml"),
        (("--config", "missing.yaml", "--state", "x"), "--state"),
        (("--upstream", "127.0.0.1:9000", "--redis", "redis://127.0.0.1:1"), "http://"),
        (("--upstream", "http://127.0.0.1:9000/path", "--redis", "redis://127.0.0.1:1"), "path"),
        (("--upstream", "http://127.0.0.1:1", "--redis", "127.0.0.1:6379"), "redis://"),
        (("--upstream", "http://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--users", "missing.yaml"), "missing.yaml"),
        (("--upstream", "http://127.0.0.1:1", "--port", "99999"), "--port"),
        (("--upstream", "http://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--host", "203.0.113.9", "--port", "0"), "203.0.113.9"),
        (("--upstream", "http://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--host", "no such host", "--port", "0"), "no such host"),
        (("--upstream", "http://127.0.0.1:1", "--state", "/proc/nothing"), "--state"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_clear_message(short_folder: Path, arguments: tuple[str, ...], words: str) -> None:
    extra = (
        ()
        if "--state" in arguments or "--config" in arguments or not arguments
        else ("--state", str(short_folder / "s"))
    )
    done = run_gateway("serve", *arguments, *extra)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 8


def test_without_any_redis_the_way_to_one_is_told(short_folder: Path) -> None:
    environment = {"GATEWAY_REDIS_SERVER": "/nowhere/redis-server"}
    done = run_gateway(
        "serve", "--upstream", "http://127.0.0.1:1", "--state", str(short_folder), environment=environment
    )
    assert done.returncode == 1
    assert "redis-server" in done.stderr
    assert "--redis" in done.stderr
    assert "Traceback" not in done.stderr


# -- serve --config
def test_serve_runs_a_configuration(config: Path) -> None:
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        cookie = sign_in(gateway.url, ALICE)
        assert ask(gateway.url, "/orders", cookie=cookie)[2]["reason"] == "upstream_unreachable"
        assert ask(gateway.management, "/readyz")[2]["components"] == {
            "store": "ok",
            "keys": "ok",
            "upstream:app": "unavailable",
        }
        deadline = time.monotonic() + 10
        while gateway.output.count('"event": "request"') < 2 and time.monotonic() < deadline:  # written in batches
            time.sleep(0.02)
        lines = [json.loads(line) for line in gateway.output.splitlines() if line.startswith("{")]
        requests = [line for line in lines if line["event"] == "request"]
        assert [(line["path"], line["status"]) for line in requests] == [("/auth/login", 200), ("/orders", 502)]
        assert requests[1]["reason"] == "upstream_unreachable"
        assert requests[1]["user"] == requests[0]["user"]
        for secret in (cookie.partition("=")[2], "alice-demo", MASTER):
            assert secret not in gateway.output


def test_several_workers_share_the_port_and_a_dead_one_is_replaced(config: Path) -> None:
    with GatewayProcess("serve", "--config", str(config), environment={"GATEWAY__SERVER__WORKERS": "3"}) as gateway:
        cookie = sign_in(gateway.url, ALICE)
        workers = _children(gateway.pid)
        assert len(workers) == 3
        assert {ask(gateway.url, "/auth/session", cookie=cookie)[0] for _ in range(20)} == {200}
        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(living := _children(gateway.pid)) < 3 or workers[0] in living:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {ask(gateway.url, "/auth/session", cookie=cookie)[0] for _ in range(20)} == {200}
        everybody = _children(gateway.pid)
    assert gateway.process is not None
    assert gateway.process.returncode == 0
    assert _gone(everybody)


def test_what_runs_may_finish_after_sigterm(config: Path, upstream: str) -> None:
    environment = {"GATEWAY__UPSTREAMS__APP__URL": upstream}
    gateway = GatewayProcess("serve", "--config", str(config), environment=environment).start()
    cookie = sign_in(gateway.url, ALICE)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as stream:
        stream.sendall(f"GET /events?count=4&interval=0.5 HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
        received = b""
        while b"data:" not in received:
            received += stream.recv(65536)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        while piece := stream.recv(65536):
            received += piece
    assert received.count(b"data:") == 4
    assert received.endswith(b"0\r\n\r\n"), "whole, not cut"
    assert gateway.process.wait(30) == 0
    with pytest.raises(ConnectionError):
        ask(gateway.url, "/")


def test_serve_tells_every_problem_and_starts_nothing(config: Path) -> None:
    config.write_text(config.read_text().replace("port: 0}", "port: 99999}").replace("routes:", "roots:"))
    done = run_gateway("serve", "--config", str(config))
    assert done.returncode == 1
    assert "server.port" in done.stderr
    assert "did you mean routes" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_gateway_and_the_command_are_the_same() -> None:
    done = run_gateway("--help")
    assert done.returncode == 0
    for command in (
        "serve",
        "demo",
        "check",
        "users",
        "secrets",
        "schema",
        "keys",
        "sessions",
        "clearsessions",
        "throttle",
    ):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


# -- sessions
@pytest.fixture
def signed_in(config: Path) -> Any:
    """A running gateway with Alice signed in twice and the manager once: the configuration, the address, the cookies."""
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        yield config, gateway.url, [sign_in(gateway.url, user) for user in (ALICE, ALICE, MANAGER)]


def sessions(config: Path, *arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return run_gateway("sessions", *arguments, "--config", str(config), **kwargs)


def listed(config: Path, *arguments: str) -> list[dict[str, Any]]:
    done = sessions(config, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def signed_in_after_a_while(url: str, cookies: list[str], number: int) -> list[bool]:
    """Which of them are, as soon as no more than ``number`` are: a revocation may take a second."""
    deadline = time.monotonic() + 10
    while sum(them := [ask(url, "/auth/session", cookie=cookie)[0] == 200 for cookie in cookies]) > number:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return them


def test_sessions_are_listed_for_people_and_for_programs(signed_in: Any) -> None:
    config, _, cookies = signed_in
    found = listed(config)
    assert [one["username"] for one in found] == ["alice", "alice", "mgr"]
    assert len({one["handle"] for one in found}) == 3
    for one in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["created"])
        assert one["created"] <= one["last_seen"]
        assert one["source"] == "file:users.yaml"
    done = sessions(config, "list")
    lines = done.stdout.splitlines()
    columns = ["HANDLE", "USERNAME", "USER ID", "SOURCE", "CREATED", "LAST SEEN", "ADDRESS", "DEVICE"]
    assert re.split(r"  +", lines[0]) == columns
    assert [line.index(name) for line, name in zip(lines[1:], ("alice", "alice", "mgr"), strict=True)] == [
        lines[0].index("USERNAME")
    ] * 3
    assert not any(cookie.partition("=")[2] in done.stdout for cookie in cookies)


def test_the_list_can_be_of_one_user_by_name_or_id_and_of_one_session(signed_in: Any) -> None:
    config, _, _ = signed_in
    alice, _, manager = listed(config)
    assert len(listed(config, "--user", "ALICE")) == 2
    assert len(listed(config, "--user", alice["user_id"])) == 2
    assert listed(config, "--handle", manager["handle"]) == [manager]
    assert listed(config, "--handle", manager["handle"], "--user", "alice") == []
    assert listed(config, "--user", "nobody") == []


PERSON = "- {{id: {0}, username: {1}, password: '{2}'}}\n"
MANAGER_HASH, ALICE_HASH = re.findall(r"\$argon2id\S+", (ROOT / "config/users.yaml").read_text())


@pytest.fixture
def two_files(config: Path) -> Path:
    """A configuration with two users files of one name, one user in each; users have ids."""
    for folder, person in (("a", ("u1", "mgr", MANAGER_HASH)), ("b", ("u2", "alice", ALICE_HASH))):
        (config.parent / folder).mkdir()
        (config.parent / folder / "users.yaml").write_text("users:\n" + PERSON.format(*person))
    sources = "[{source: file, path: a/users.yaml}, {source: file, path: b/users.yaml}]"
    config.write_text(config.read_text().replace("[{source: file, path: users.yaml}]", sources))
    return config


def test_a_user_that_a_source_knows_is_found_by_what_it_knows_and_one_that_is_gone_by_what_sessions_remember(
    two_files: Path,
) -> None:
    theirs = two_files.parent / "b" / "users.yaml"
    with GatewayProcess("serve", "--config", str(two_files)) as gateway:
        cookies = [sign_in(gateway.url, user) for user in (ALICE, ALICE, MANAGER)]
        (handle, other) = (one["handle"] for one in listed(two_files, "--user", "alice"))
        assert {one["source"] for one in listed(two_files, "--user", "u2")} == {"file:users.yaml#1"}
        theirs.write_text("users:\n" + PERSON.format("u2", "alicia", ALICE_HASH))
        assert [one["username"] for one in listed(two_files, "--user", "Alicia")] == ["alice"] * 2, "signed in as alice"
        assert sessions(two_files, "revoke", "--user", "alicia", "--handle", handle).stdout == "ended 1 session\n"
        theirs.write_text("users: []\n")
        assert [one["handle"] for one in listed(two_files, "--user", "alice")] == [other], "nobody knows her any more"
        theirs.write_text("users: [\n")
        assert sessions(two_files, "revoke", "--user", "u2").stdout == "ended 1 session\n"
        assert signed_in_after_a_while(gateway.url, cookies, 1) == [False, False, True]


def test_sessions_are_ended_one_by_one_by_user_and_all(signed_in: Any) -> None:
    config, url, cookies = signed_in
    handle = listed(config, "--user", "alice")[0]["handle"]
    assert sessions(config, "revoke", "--handle", handle).stdout == "ended 1 session\n"
    assert signed_in_after_a_while(url, cookies, 2)[2] is True
    assert sessions(config, "revoke", "--handle", handle).stdout == "ended 0 sessions\n"
    assert sessions(config, "revoke", "--user", "alice").stdout == "ended 1 session\n"
    assert signed_in_after_a_while(url, cookies, 1) == [False, False, True]
    cookies.append(sign_in(url, ALICE))
    assert sessions(config, "revoke", "--all", "--yes").stdout == "ended 2 sessions\n"
    assert signed_in_after_a_while(url, cookies, 0) == [False] * 4
    assert listed(config) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("revoke",), "--all"),
        (("revoke", "--all", "--user", "alice"), "--all"),
        (("revoke", "--user", ""), "is empty"),
        (("revoke", "--handle", " "), "is empty"),
        (("list", "--user", ""), "is empty"),
        (("revoke", "--all"), "--yes"),
    ],
)
def test_whose_sessions_is_said_or_nothing_is_done(config: Path, arguments: tuple[str, ...], words: str) -> None:
    done = sessions(config, *arguments, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_ending_everybody_s_sessions_is_asked_first(config: Path, answer: str, code: int) -> None:
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = sessions(config, "revoke", "--all", stdin=theirs)
    os.close(theirs)
    os.close(ours)
    assert "everybody" in done.stdout + done.stderr
    assert done.returncode == code
    assert ("ended 0 sessions" in done.stdout) == (code == 0)


@pytest.mark.parametrize(
    "command", [("sessions", "list"), ("sessions", "revoke", "--all", "--yes"), ("clearsessions",)]
)
def test_a_store_that_is_away_is_told_with_exit_code_1(config: Path, command: tuple[str, ...]) -> None:
    done = run_gateway(*command, "--config", str(config), environment={"GATEWAY__REDIS__URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 1
    assert "the session store cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_does_not_know_whose_sessions_there_are_says_so(config: Path) -> None:
    for arguments in (("list",), ("revoke", "--user", "alice")):
        done = sessions(config, *arguments, environment={"GATEWAY__SESSION__ENGINE": "cookie"})
        assert done.returncode == 1
        assert "session.engine cookie" in done.stderr
        assert "disabled: true" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("engine", "words"), [("file", "a new password"), ("memory", "a restart")])
def test_an_engine_that_cannot_revoke_says_what_can_be_done(
    config: Path, tmp_path: Path, engine: str, words: str
) -> None:
    environment = {"GATEWAY__SESSION__ENGINE": engine, "GATEWAY__SESSION__FILE__PATH": str(tmp_path / "kept")}
    done = sessions(config, "revoke", "--user", "alice", environment=environment)
    assert done.returncode == 1
    assert f"session.engine {engine}" in done.stderr
    assert words in done.stderr


def test_clearsessions_has_nothing_to_do_where_redis_does_it(config: Path) -> None:
    done = run_gateway("clearsessions", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "deleted 0 sessions that were over\n")


def test_columns_stay_aligned_and_what_a_client_sent_cannot_move_the_cursor() -> None:
    text = table([["USER", "DEVICE"], ["王小明", "\x1b[2Jcurl\r\nx"], ["", "é"]])
    assert text == "USER    DEVICE\n王小明  ?[2Jcurl??x\n-       é"


# -- users
BCRYPT = "$2b$12$uO4fuq5qyBl9F4kbuA1ytuKh8HjhBs0B6w0GCEOUq6QGX3mPyq1yW"


def users(path: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return run_gateway("users", *arguments, "--file", str(path), input=given)


def test_users_are_added_listed_changed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    arguments = ("add", "Zoë", "--usertype", "mgr", "--group", "a", "--group", "b", "--email", "z@example.org")
    assert users(path, *arguments, "--password-stdin", given="a secret\n").returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "a secret" not in path.read_text()
    assert "$argon2id$" in path.read_text()
    assert users(path, "list").stdout == "Zoë\tmgr\ta,b\tz@example.org\tactive\n"
    before = path.read_text()
    generated = users(path, "passwd", "Zoë", "--generate")
    assert re.search(r"shown only now: \S{16}", generated.stdout)
    assert path.read_text() != before
    assert users(path, "remove", "ZOË").returncode == 0
    assert users(path, "list").stdout == ""


def test_a_user_is_disabled_and_enabled_in_his_file(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text())
    before = path.read_text()
    assert users(path, "enable", "alice").returncode == 0
    assert path.read_text() == before
    assert users(path, "disable", "ALICE").returncode == 0
    assert [line.split("\t")[-1] for line in users(path, "list").stdout.splitlines()] == ["active", "disabled"]
    assert users(path, "enable", "alice").returncode == 0
    assert [line.split("\t")[-1] for line in users(path, "list").stdout.splitlines()] == ["active", "active"]
    assert "no user nobody" in users(path, "disable", "nobody").stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--source", "sql:x"), "give --config"),
        (("--file", "users.yaml", "--config", "gateway.yaml"), "either --file or --config"),
        (("--config", "gateway.yaml", "--source", "sql:x"), "there are: file:users.yaml, sql:gateway_users"),
        (("--config", "gateway.yaml"), "--source is needed"),
    ],
)
def test_where_the_accounts_are_must_be_clear(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    (tmp_path / "users.yaml").write_text("users: []\n")
    sources = "[{source: file, path: users.yaml}, {source: sql, url: 'sqlite:///u.db'}]"
    rest = "upstreams: {x: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    (tmp_path / "gateway.yaml").write_text(f"keys: {{master: {MASTER}}}\nusers: {sources}\n{rest}")
    done = run_gateway("users", "list", *more, cwd=tmp_path)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert words in done.stderr


def test_comments_and_other_users_survive_a_change(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text().replace("users:", "# kept\nusers:"))
    assert users(path, "add", "bob", "--password-stdin", given="bob-secret").returncode == 0
    assert "# kept" in path.read_text()
    assert [line.split("\t")[0] for line in users(path, "list").stdout.splitlines()] == ["mgr", "alice", "bob"]


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (("add", "alice", "--password-stdin"), "long-enough", "alice"),
        (("add", "ALICE", "--password-stdin"), "long-enough", "alice"),
        (("add", "x", "--email", "Alice@example.org", "--password-stdin"), "long-enough", "alice@example.org"),
        (("add", "bob", "--password-stdin"), "short", "8 to 1024"),
        (("add", "bob", "--password-stdin"), "", "8 to 1024"),
        (("add", "bob", "--password-stdin"), "x" * 2000, "8 to 1024"),
        (("add", "bob", "--password-stdin"), "tab\there-and-more", "control"),
        (("add", "", "--password-stdin"), "long-enough", "username"),
        (("add", "b" * 300, "--password-stdin"), "long-enough", "username"),
        (("add", " bob ", "--password-stdin"), "long-enough", "blank"),
        (("add", "alice", "--generate"), "", "alice"),
        (("add", "bob"), "", "--password-stdin"),
        (("passwd", "nobody", "--generate"), "", "nobody"),
        (("remove", "nobody"), "", "nobody"),
    ],
)
def test_a_wrong_change_to_the_users_is_refused_and_nothing_is_lost(
    tmp_path: Path, arguments: tuple[str, ...], given: str, words: str
) -> None:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text())
    before = path.read_text()
    done = users(path, *arguments, given=given)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == before
    assert "shown only now" not in done.stdout
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["users.yaml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "users"),
        ("users: 5", "users"),
        ("users: [", "YAML"),
        ("users: [{username: a}]", "password"),
        ("users: [{username: a, password: plain-text}]", "not an argon2id or bcrypt hash"),
        ("users: [{username: a, password: $1$md5}]", "not an argon2id or bcrypt hash"),
        ("users: [5]", "not a user"),
        ("users: [{username: a, password: '$2b$12$x', nickname: b}]", "nickname"),
        ("users: [{username: a, password: '$2b$12$x'}, {username: A, password: '$2b$12$x'}]", "already a user"),
        ("users: [{username: a, username: b}]", "duplicate"),
        ("\x00", "YAML"),
        ("users: 2020-99-99", "YAML"),
        ("users: !!set {a, b}", "list named users"),
        ("users: [{username: a, password: '$2b$12$x'}, {username: b, id: a, password: '$2b$12$x'}]", "same id"),
        ("users: [alice]", "not a user"),
        ("users: [{username: a, password: x, groups: staff}]", "must be a list: lines that begin with a dash"),
        ("users: [{username: a, password: x, groups: [5]}]", "must be a text; put a number in quotes"),
        ("users: [{username: a, password: x, disabled: maybe}]", "must be true or false"),
        ("users: [{username: a, password: x, disabled: []}]", "must be true or false"),
        ("users: [{username: '', password: x}]", "must not be empty"),
        ("users: [{username: a, password: ''}]", "must not be empty"),
        ("users: [{username: a, password: x, 5: x}]", "there is no such field"),
        ("users: [{username: a, password: x, name: '" + "n" * 255 + "'}]", "must not be longer than 254 characters"),
        ("users: [{username: a, password: x, generation: 9007199254740992}]", "must be at most 9007199254740991"),
    ],
)
def test_a_users_file_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(text)
    done = users(path, "list")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert words in done.stderr
    assert str(path) in done.stderr
    assert not re.search("valid|should|input", done.stderr), "pydantic's own words"


def test_every_mistake_of_a_user_is_told_at_once_with_his_hash(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("users:\n- {username: a, password: plain-text, groups: staff, disabled: maybe, nick: b}\n")
    done = users(path, "list")
    assert done.stderr.startswith("4 problems:\n")
    for field in ("password", "groups", "disabled", "nick"):
        assert f"{path}:2: users.0.{field}: " in done.stderr
    assert "plain-text" not in done.stderr


def test_a_user_who_cannot_be_read_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("users:\n- {username: a, password: plain-text}\n")
    assert users(path, "remove", "a").returncode == 0
    assert users(path, "list").returncode == 0


@pytest.mark.parametrize("login", ["bob", "BOB", "Bob@Example.org"])
def test_a_user_is_found_by_name_or_address_and_the_audit_log_says_whom(tmp_path: Path, login: str) -> None:
    path, log = tmp_path / "users.yaml", tmp_path / "audit.log"
    path.write_text(
        "users:\n- {username: bob, id: b7, email: bob@example.org, password: '$2b$12$x'}\n"
        "- {username: carol, password: '$2b$12$x'}\n".replace("$2b$12$x", BCRYPT)
    )
    for command in (("disable",), ("enable",), ("passwd", "--generate"), ("remove",)):
        done = users(path, command[0], login, *command[1:], "--audit", str(log))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].endswith(" bob")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["user_disabled", "user_enabled", "password_set", "user_removed"]
    assert [(line["user_id"], line["username"]) for line in lines] == [("b7", "bob")] * 4
    assert [line.split("\t")[0] for line in users(path, "list").stdout.splitlines()] == ["carol"]
    assert "no user" in users(path, "disable", "").stderr, "carol has no address, and an empty one is nobody's"


def test_two_ways_to_a_password_are_a_usage_error_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    for command in ("add", "passwd"):
        done = users(path, command, "bob", "--generate", "--password-stdin", given="a secret of his\n")
        assert (done.returncode, "Usage:" in done.stderr) == (2, True)
    assert not path.exists()


# -- users --config
def configured(folder: Path, sources: str) -> Path:
    """A configuration with these sources of users."""
    rest = "upstreams: {x: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    (folder / "gateway.yaml").write_text(f"keys: {{master: {MASTER}}}\nusers: {sources}\n{rest}")
    return folder / "gateway.yaml"


def test_a_users_file_that_is_not_there_yet_is_told_with_the_way_to_one(tmp_path: Path) -> None:
    config, path = configured(tmp_path, "[{source: file, path: users.yaml}]"), tmp_path / "users.yaml"
    for command in (("list",), ("passwd", "bob", "--generate"), ("remove", "bob")):
        done = run_gateway("users", *command, "--config", str(config))
        assert done.returncode == 1
        assert "gateway users add NAME --file FILE makes a users file" in done.stderr
        assert not path.exists()
    assert users(path, "add", "bob", "--generate").returncode == 0
    assert run_gateway("users", "list", "--config", str(config)).stdout.startswith("bob\t")


@pytest.mark.parametrize("more", [(), ("--source", "file:users.yaml")])
def test_the_first_user_of_a_configuration_makes_the_file_that_it_names(tmp_path: Path, more: tuple[str, ...]) -> None:
    config = configured(tmp_path, "[{source: file, path: new/users.yaml}]")
    path = tmp_path / "new" / "users.yaml"
    done = run_gateway("users", "add", "bob", "--config", str(config), "--generate", *more)
    assert done.returncode == 0, done.stderr
    assert f"{path}: made, as {config}:2 names it\n{path}: added bob\n" in done.stdout
    again = run_gateway("users", "add", "carol", "--config", str(config), "--generate", *more)
    assert (again.returncode, "made" in again.stdout) == (0, False)
    listed = run_gateway("users", "list", "--config", str(config)).stdout
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["bob", "carol"]


@pytest.mark.parametrize(
    ("sources", "more"),
    [
        ("[{source: file, path: users.yaml, speed: 1}]", ()),
        ("[{source: file, path: users.yaml}, {source: file, path: more.yaml}]", ()),
        ("[{source: file, path: users.yaml}]", ("--source", "file:more.yaml")),
        ("[{source: htpasswd, path: users.yaml}]", ()),
    ],
    ids=["something else is wrong", "which one is not clear", "another one is meant", "a file of another kind"],
)
def test_no_file_is_made_that_may_not_be_meant(tmp_path: Path, sources: str, more: tuple[str, ...]) -> None:
    done = run_gateway("users", "add", "bob", "--config", str(configured(tmp_path, sources)), "--generate", *more)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gateway.yaml"]


@pytest.mark.parametrize("more", [(), ("--source", "htpasswd:pw")])
def test_where_no_account_can_be_changed_that_is_what_is_said(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "pw").write_text(f"bob:{BCRYPT}\n")
    config = configured(tmp_path, "[{source: htpasswd, path: pw}]")
    done = run_gateway("users", "list", "--config", str(config), *more)
    assert done.returncode == 1
    assert "no source of this configuration has accounts that can be changed here" in done.stderr
    assert "needed" not in done.stderr


def test_the_table_s_users_are_changed_by_address_and_refused_in_plain_words(tmp_path: Path) -> None:
    config, log = configured(tmp_path, "[{source: sql, url: 'sqlite:///u.db'}]"), tmp_path / "audit.log"
    where = ("--config", str(config), "--audit", str(log))
    added = run_gateway("users", "add", "bob", "--email", "bob@example.org", "--generate", *where)
    assert added.returncode == 0, added.stderr
    done = run_gateway("users", "disable", "BOB@example.org", *where)
    assert (done.returncode, done.stdout) == (0, "sql:gateway_users: disabled bob\n")
    first, second = [json.loads(line) for line in log.read_text().splitlines()]
    assert (second["user_id"], second["username"]) == (first["user_id"], "bob")
    done = run_gateway("users", "add", "", "--email", "e" * 255, "--generate", *where)
    assert done.returncode == 1
    assert "username: must not be empty; email: must not be longer than 254 characters" in done.stderr


# -- helpers
def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(
        {int(word) for task in tasks for word in (task / "children").read_text().split()} | set(map(int, text.split()))
    )


def _gone(pids: list[int], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
