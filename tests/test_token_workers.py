"""Worker processes: a session that ends in one of them ends its tokens in all, within a second."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest

from gateway.store.redis_server import RedisServer
from tests.behaviour.token_lab import write_keys
from tests.harness import ALICE, MASTER, ROOT, GatewayProcess

CONNECTIONS = 24
"""Each stays with one worker: that none of them comes to the other one happens once in eight million times."""
PROMISED, MARGIN = 1.0, 3
UNREACHABLE = 502
"""What the gate has let through: nobody listens behind it."""


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer) -> Path:
    (tmp_path / "master.key").write_text(MASTER + "\n")
    write_keys(tmp_path)
    (tmp_path / "gateway.yaml").write_text(
        "server: {port: 0, workers: 2}\nmanagement: {port: 0}\n"
        f"redis: {{url: 'unix://{redis_server.socket}'}}\nkeys: {{master_file: master.key}}\n"
        f"tokens: {{keys_file: signing_keys.json}}\nusers: [{{source: file, path: {ROOT / 'config/users.yaml'}}}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    return tmp_path / "gateway.yaml"


def ask(connection: http.client.HTTPConnection, method: str, path: str, **headers: str) -> tuple[int, bytes, str]:
    body = json.dumps(ALICE) if path.endswith("login") else None
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    cookies = [one.partition(";")[0] for one in response.headers.get_all("Set-Cookie", ())]
    return response.status, response.read(), next((one for one in cookies if one.startswith("gw_session=")), "")


@pytest.mark.slow
def test_a_session_that_ends_in_one_worker_ends_its_tokens_in_the_other(config: Path) -> None:
    with GatewayProcess("serve", "--config", str(config)) as gateway:
        connections = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20) for _ in range(CONNECTIONS)]
        status, _, cookie = ask(connections[0], "POST", "/auth/login")
        assert status == 200
        told = ask(connections[0], "POST", "/auth/token", Cookie=cookie)
        assert told[0] == 200, told
        token = json.loads(told[1])["access_token"]
        bearer = f"Bearer {token}"
        assert {ask(one, "GET", "/", Authorization=bearer)[0] for one in connections} == {UNREACHABLE}
        assert ask(connections[0], "POST", "/auth/logout", Cookie=cookie)[0] == 200
        ended = time.monotonic()
        while (told := {ask(one, "GET", "/", Authorization=bearer)[0] for one in connections}) != {401}:
            assert told <= {401, UNREACHABLE}
            assert time.monotonic() - ended < PROMISED * MARGIN
        print(f"refused by both workers within {time.monotonic() - ended:.3f} s")
        for one in connections:
            one.close()
