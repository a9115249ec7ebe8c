"""``gateway apikeys``: keys for users who cannot make their own, and what keys there are."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.store.redis_server import RedisServer
from tests.harness import MASTER, GatewayProcess, run_gateway
from tests.quick import cheap_users

FORM = r"gwk_[0-9A-Za-z]{60}\n"


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer) -> Path:
    return write(tmp_path, redis_server, "api_keys: {enabled: true, max_per_user: 3}")


def write(folder: Path, redis_server: RedisServer, more: str) -> Path:
    (folder / "master.key").write_text(MASTER + "\n")
    cheap_users(folder / "users.yaml")
    (folder / "gateway.yaml").write_text(
        "server: {port: 0}\nmanagement: {port: 0}\n"
        f"redis: {{url: 'unix://{redis_server.socket}'}}\nlog: {{audit: {folder}/audit.log}}\n"
        "keys: {master_file: master.key}\nusers: [{source: file, path: users.yaml}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\n"
        "routes: [{path: /open/, access: public}, {path: /orders/, name: orders}, {path: /}]\n" + more + "\n"
    )
    return folder / "gateway.yaml"


def apikeys(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_gateway("apikeys", *arguments, "--config", str(config))


def listed(config: Path, *arguments: str) -> list[dict[str, Any]]:
    done = apikeys(config, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def status(url: str, key: str, path: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_key_made_by_the_command_works_until_the_command_revokes_it(config: Path) -> None:
    made = apikeys(config, "create", "--user", "alice@example.org", "--name", "nightly", "--route", "orders")
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(FORM, made.stdout), "nothing but the key, for $(…)"
    assert made.stdout.strip() not in made.stderr
    key = made.stdout.strip()
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        assert status(gateway.url, key, "/orders/") == 502, "let through: there is no backend"
        assert status(gateway.url, key, "/") == 403
        (row,) = listed(config, "--user", "alice")
        assert (row["username"], row["name"], row["routes"]) == ("alice", "nightly", ["orders"])
        done = apikeys(config, "revoke", row["id"])
        assert done.returncode == 0, done.stderr
        assert status(gateway.url, key, "/orders/") == 401
    assert listed(config) == []
    events = [json.loads(line) for line in (config.parent / "audit.log").read_text().splitlines()]
    told = [(one["event"], one["key"], one["username"]) for one in events if "api_key" in one["event"]]
    assert told == [("api_key_created", row["id"], "alice"), ("api_key_revoked", row["id"], "alice")]
    assert key[15:] not in (config.parent / "audit.log").read_text()


def test_a_table_shows_the_keys_and_no_secret(config: Path) -> None:
    key = apikeys(config, "create", "--user", "alice", "--name", "nightly").stdout.strip()
    table = apikeys(config, "list").stdout
    assert table.splitlines()[0].split()[:3] == ["ID", "USERNAME", "SOURCE"]
    assert "nightly" in table
    assert key[15:] not in table
    assert apikeys(config, "list", "--user", "mgr").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--user", "nobody", "--name", "x"), "there is no user nobody"),
        (("--user", "alice", "--source", "file:other", "--name", "x"), "there is no user alice in file:other"),
        (("--user", "alice", "--name", "x", "--route", "nothing"), "there is no route nothing"),
        (("--user", "alice", "--name", "x", "--route", "/open/"), "there is no route /open/ that needs a sign-in"),
        (("--user", "alice", "--name", "x", "--days", "366"), "a key lives 365 days at most"),
        (("--user", "alice", "--name", "x", "--days", "0"), "a key lives 365 days at most"),
        (("--user", "alice", "--name", " "), "must be 1 to 100 printable characters"),
        (("--user", "alice", "--name", "a\nb"), "must be 1 to 100 printable characters"),
        (("--user", "alice"), "Missing option '--name'"),
    ],
)
def test_what_cannot_be_made_is_said_in_words(config: Path, arguments: tuple[str, ...], words: str) -> None:
    done = apikeys(config, "create", *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_limits_hold_for_the_command_too(tmp_path: Path, redis_server: RedisServer) -> None:
    config = write(tmp_path, redis_server, "api_keys: {enabled: true, max_per_user: 1, access: {usertype: user}}")
    assert apikeys(config, "create", "--user", "alice", "--name", "1").returncode == 0
    more = apikeys(config, "create", "--user", "alice", "--name", "2")
    assert "alice has 1 API keys already" in more.stderr
    other = apikeys(config, "create", "--user", "mgr", "--name", "x")
    assert "mgr may not have API keys" in other.stderr
    assert "there is no key zzzzzzzzzzz" in apikeys(config, "revoke", "zzzzzzzzzzz").stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "API keys are off"),
        ("api_keys: {enabled: true}\nsession: {engine: memory}", "in the memory of the gateway"),
        ("api_keys: {enabled: true}\nsession: {engine: file}", "api_keys.enabled: keys are kept in Redis"),
        ("api_keys: {enabled: true, access: 5}", "api_keys.access: must be authenticated, or {usertype: …, groups: …}"),
        ("api_keys: {enabled: true, access: public}", "api_keys.access: must be authenticated"),
        ("api_keys: {enabled: true, longest: forever}", "api_keys.longest: must be a whole number"),
    ],
)
def test_where_there_are_no_keys_the_command_says_why(
    tmp_path: Path, redis_server: RedisServer, more: str, words: str
) -> None:
    done = apikeys(write(tmp_path, redis_server, more), "list")
    assert done.returncode == 1
    assert words in done.stderr
