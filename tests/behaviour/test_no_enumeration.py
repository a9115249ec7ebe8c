"""Nobody learns who exists: unknown, wrong and disabled get the same answer in the same time, from every source (P68, P69)."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.behaviour.ldap_site import DISABLED
from tests.behaviour.timing import SUSPICIOUS, rank_z, suspicions, taken
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend
from tests.harness import Gateway
from tests.identity.ldap_lab import Slapd, ldap
from tests.identity.sql_lab import sql_lab

pytestmark = pytest.mark.timeout(300)
ROUNDS = 200
FEWER = 120  # for sources that check hashes as files do: each check of nobody's takes a tenth of a second of CPU
LOGIN = {"failure_time": 0.25, "threads": 2, "throttle": {"enabled": False}}
SHIFT = 0.004
WEAK = bcrypt.hashpw(b"a secret of theirs", bcrypt.gensalt(6)).decode()


def test_the_rank_test_finds_a_difference_that_is_there_and_none_that_is_not() -> None:
    chance = random.Random(1)

    def sample(shift: float) -> list[float]:
        return [0.05 + shift + chance.gauss(0, 0.005) for _ in range(ROUNDS)]

    assert abs(rank_z(sample(0.0), sample(SHIFT))) > SUSPICIOUS
    assert all(abs(rank_z(sample(0.0), sample(0.0))) < SUSPICIOUS for _ in range(50))


async def guess(gateway: Gateway, name: str) -> None:
    fields = {"username": name, "password": "not the password"}
    async with gateway.client.session.post(f"{gateway.url}/auth/login", json=fields) as response:
        body = await response.json()
    assert (response.status, body["reason"], body["msg"]) == (401, "bad_credentials", "Wrong username or password")


async def told_apart(gateway: Gateway, names: dict[str, str], rounds: int = ROUNDS) -> dict[tuple[str, str], float]:
    """``names``: by kind."""
    kinds = {kind: (lambda name=name: guess(gateway, name)) for kind, name in names.items()}
    return suspicions(await taken(kinds, rounds=rounds))


def users_file(folder: Path, users: list[dict[str, Any]]) -> dict[str, Any]:
    path = folder / "users.yaml"
    path.write_text(json.dumps({"users": users}))  # JSON is YAML
    return {"source": "file", "path": str(path)}


def htpasswd_file(folder: Path, **users: str) -> dict[str, Any]:
    path = folder / "htpasswd"
    path.write_text("".join(f"{name}:{stored}\n" for name, stored in users.items()))
    return {"source": "htpasswd", "path": str(path)}


async def test_users_of_a_file(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> None:
    """A weak hash of an old application is checked in a tenth of the time."""
    users = [
        {"username": "alice", "password": WEAK},
        {"username": "carol", "password": WEAK, "disabled": True},
    ]
    gateway = await make_gateway(backend.url, users=[users_file(tmp_path, users)], login=LOGIN)
    assert await told_apart(gateway, {"unknown": "nobody", "wrong": "alice", "disabled": "carol"}) == {}


async def test_users_of_an_htpasswd_file(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> None:
    gateway = await make_gateway(backend.url, users=[htpasswd_file(tmp_path, alice=WEAK)], login=LOGIN)
    assert await told_apart(gateway, {"unknown": "nobody", "wrong": "alice"}, FEWER) == {}


async def test_users_of_a_table(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> None:
    rows = [
        {"id": "1", "username": "alice", "password": WEAK, "disabled": "0"},
        {"id": "2", "username": "carol", "password": WEAK, "disabled": "1"},
    ]
    async with sql_lab("postgresql", tmp_path) as lab:
        name = await lab.table(dict.fromkeys(rows[0], "VARCHAR(200)"), *rows)
        source = {"source": "sql", "url": lab.url, "table": name, "columns": {one: one for one in rows[0]}}
        gateway = await make_gateway(backend.url, users=[source], login=LOGIN)
        assert await told_apart(gateway, {"unknown": "nobody", "wrong": "alice", "disabled": "carol"}, FEWER) == {}


async def test_users_of_a_directory(make_gateway: MakeGateway, backend: RecordingBackend, directory: Slapd) -> None:
    source = ldap(directory.url, **DISABLED)
    gateway = await make_gateway(backend.url, users=[source], login=LOGIN)
    assert await told_apart(gateway, {"unknown": "nobody", "wrong": "alice", "disabled": "carol"}) == {}


async def test_users_of_an_application(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    """One that is slow where it knows the name, as old ones are."""

    async def sign_in(request: Recorded, writer: asyncio.StreamWriter) -> None:
        if b"alice" in request.body:
            await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    application = RecordingBackend()
    application.answer = sign_in
    await application.start()
    source = {"source": "http", "url": f"{application.url}/signin", "success": {"status": 200}}
    gateway = await make_gateway(backend.url, users=[source], login=LOGIN)
    assert await told_apart(gateway, {"unknown": "nobody", "wrong": "alice"}) == {}
    await application.stop()


async def test_users_of_several_sources_whatever_their_order(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, directory: Slapd
) -> None:
    sources = [ldap(directory.url, **DISABLED), users_file(tmp_path, [{"username": "bert", "password": WEAK}])]
    names = {"unknown": "nobody", "of the directory": "alice", "disabled there": "carol", "of the file": "bert"}
    for listed in (sources, sources[::-1]):
        gateway = await make_gateway(backend.url, users=listed, login=LOGIN)
        assert await told_apart(gateway, names, 30) == {}
