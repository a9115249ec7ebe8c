"""``gateway throttle``: who has to wait, and who may try again at once."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.store.redis_server import RedisServer
from tests.harness import ALICE, MASTER, GatewayProcess, run_gateway
from tests.quick import cheap_users

LIMITS = "{address: {every: 3600}, account_at_address: {every: 3600}, account: {every: 3600}}"
WRONG = {"username": "alice", "password": "wrong-demo"}


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer) -> Path:
    (tmp_path / "master.key").write_text(MASTER + "\n")
    cheap_users(tmp_path / "users.yaml")
    (tmp_path / "gateway.yaml").write_text(
        f"server: {{port: 0, trusted_proxies: [127.0.0.1]}}\nmanagement: {{port: 0}}\n"
        f"redis: {{url: 'unix://{redis_server.socket}'}}\nlogin: {{failure_time: 0.01, throttle: {LIMITS}}}\n"
        "keys: {master_file: master.key}\nusers: [{source: file, path: users.yaml}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    return tmp_path / "gateway.yaml"


@pytest.fixture
def url(config: Path) -> Iterator[str]:
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        yield gateway.url


def try_(url: str, fields: dict[str, Any], address: str = "192.0.2.7") -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    headers = {"Content-Type": "application/json", "X-Forwarded-For": address}
    connection.request("POST", "/auth/login", json.dumps(fields), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def throttle(config: Path, *arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return run_gateway("throttle", *arguments, "--config", str(config), **kwargs)


def listed(config: Path, *arguments: str) -> list[dict[str, Any]]:
    done = throttle(config, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_who_has_to_wait_can_be_asked_for_and_let_in(config: Path, url: str, redis_server: RedisServer) -> None:
    assert [try_(url, WRONG) for _ in range(6)] == [401] * 5 + [429]
    assert try_(url, {"username": "nobody", "password": "x"}, "198.51.100.1") == 401
    everything = listed(config)
    assert len(everything) == 6
    assert everything[0]["kind"] == "account_at_address", "who has to wait longest stands first"
    assert 0 < everything[0]["wait"] <= 3600
    assert everything[0]["attempts"] == 5
    assert "alice" not in json.dumps(everything)
    for name in ("alice", "ALICE ", "Alice@example.org"):
        assert {row["kind"] for row in listed(config, "--user", name)} == {"account_at_address", "account"}
    assert {row["kind"] for row in listed(config, "--user", "nobody")} == {"account_at_address", "account"}
    assert {row["kind"] for row in listed(config, "--address", "::ffff:192.0.2.7")} == {
        "account_at_address",
        "address",
    }
    done = throttle(config, "clear", "--user", "alice@example.org")
    assert (done.returncode, done.stdout) == (0, "forgot 2 counters\n")
    assert listed(config, "--user", "alice") == []
    assert try_(url, ALICE) == 200
    assert throttle(config, "clear", "--address", "198.51.100.1").stdout == "forgot 2 counters\n"
    assert throttle(config, "clear", "--all").returncode == 0
    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        assert client.keys("gw:throttle:*") == []


def test_an_ipv6_address_is_let_in_with_the_network_around_it(config: Path, url: str) -> None:
    assert try_(url, WRONG, "2001:db8:1:2::7") == 401
    wanted = {"address", "network", "account_at_address"}
    assert {row["kind"] for row in listed(config, "--address", "2001:db8:1:2::8")} == wanted
    assert [row["kind"] for row in listed(config, "--address", "2001:db8:1:3::8")] == ["network"]
    assert throttle(config, "clear", "--address", "2001:db8:1:2::8").stdout == "forgot 3 counters\n"
    assert [row["kind"] for row in listed(config)] == ["account"]


def test_a_list_for_people_has_headings_and_no_name(config: Path, url: str) -> None:
    try_(url, WRONG)
    done = throttle(config, "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["KIND", "ATTEMPTS", "WAIT", "FORGOTTEN", "IN", "NAME"]
    assert len(lines) == 4
    assert "alice" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("clear",), "say whose"),
        (("clear", "--all", "--user", "alice"), "say whose"),
        (("clear", "--user", " "), "is empty"),
        (("clear", "--address", "example.org"), "is no IPv4 or IPv6 address"),
        (("list", "--address", "10.0.0.0/8"), "is no IPv4 or IPv6 address"),
    ],
)
def test_what_is_not_clear_is_not_done(config: Path, arguments: tuple[str, ...], words: str) -> None:
    done = throttle(config, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_store_that_is_away_is_told_with_exit_code_1(config: Path) -> None:
    for arguments in (("list",), ("clear", "--all")):
        done = throttle(config, *arguments, environment={"GATEWAY__REDIS__URL": "redis://127.0.0.1:1/0"})
        assert done.returncode == 1
        assert "cannot be used" in done.stderr
        assert "Traceback" not in done.stderr


def test_where_every_process_counts_for_itself_there_is_nothing_to_list(config: Path) -> None:
    done = throttle(config, "list", environment={"GATEWAY__SESSION__ENGINE": "memory"})
    assert done.returncode == 1
    assert "session.engine memory has no Redis" in done.stderr
    assert "Traceback" not in done.stderr


def test_clearing_stands_in_the_audit_log(config: Path, tmp_path: Path, redis_server: RedisServer) -> None:
    log = tmp_path / "audit.log"
    done = throttle(config, "clear", "--user", "alice", environment={"GATEWAY__LOG__AUDIT": str(log)})
    assert done.returncode == 0, done.stderr
    for name in ("Alice@example.org", "hunter2"):
        done = throttle(config, "clear", "--user", name, environment={"GATEWAY__LOG__AUDIT": str(log)})
        assert done.returncode == 0, done.stderr
    by_name, by_address, nobody = [json.loads(line) for line in log.read_text().splitlines()]
    who = {"user_id": "377ce22669eec229", "username": "alice", "source": "file:users.yaml"}
    for line in (by_name, by_address):
        assert line == line | who | {"event": "throttle_cleared", "count": 0}
        assert "typed" not in line
    assert nobody["typed"].startswith("hmac:")
    assert "username" not in nobody
    assert "hunter2" not in log.read_text()
