"""Hashes that other applications wrote into a users file: their users sign in, and the hash is a new one from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import pytest

from gateway.errors import SettingsError
from gateway.identity.users_file import read_users
from tests.conftest import MakeGateway
from tests.core.written_hashes import ASCII, MODERN, OLD
from tests.fakes import RecordingBackend
from tests.harness import run_gateway

ALICE = {"username": "alice", "password": ASCII}
SOME_OLD = {
    name: OLD[name][0]
    for name in (
        "openssl passwd -6",
        "openssl passwd -apr1",
        "htpasswd -s",
        "PHP, salted SHA-1",
        "PHP, phpass as WordPress writes it",
    )
}
LONG = "x" * 72


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.yaml"


def write(path: Path, stored: str) -> None:
    path.write_text(f"users:\n- username: alice\n  password: '{stored}'\n  generation: 3  # as of May\n")


def source(path: Path, legacy: bool = True) -> list[dict[str, Any]]:
    return [{"source": "file", "path": str(path), "legacy_hashes": legacy}]


@pytest.mark.parametrize("stored", SOME_OLD.values(), ids=SOME_OLD)
async def test_an_old_hash_signs_in_once_and_is_replaced_and_sessions_go_on(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path, stored: str
) -> None:
    write(path, stored)
    gateway = await make_gateway(backend.url, users=source(path))
    assert (await gateway.post("/auth/login", json={**ALICE, "password": "wrong"})).status == 401
    assert stored in path.read_text()
    cookie = await gateway.sign_in(ALICE)
    entry = read_users(path).by_id["alice"]
    assert (entry.password.startswith("$argon2id$"), entry.generation) == (True, 3)
    assert "# as of May" in path.read_text()
    await gateway.sign_in(ALICE)
    assert read_users(path).by_id["alice"].password == entry.password
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert (await gateway.post("/auth/login", json={**ALICE, "password": "wrong"})).status == 401


@pytest.mark.parametrize("stored", SOME_OLD.values(), ids=SOME_OLD)
async def test_an_old_hash_is_refused_where_nobody_asked_for_it(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path, stored: str
) -> None:
    write(path, stored)
    with pytest.raises(SettingsError, match=r"users\.yaml:2: users\.0\.password: .*legacy_hashes: true") as error:
        await make_gateway(backend.url, users=source(path, legacy=False))
    assert stored not in str(error.value)


async def test_an_old_hash_that_an_edit_brings_is_refused_and_the_one_before_stays(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path
) -> None:
    write(path, MODERN["PHP, argon2id"][0])
    gateway = await make_gateway(backend.url, users=source(path, legacy=False))
    cookie = await gateway.sign_in(ALICE)
    write(path, OLD["openssl passwd -6"][1])
    edited = path.read_text()
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200
    fields = {"old_password": ASCII, "new_password": "a new secret of hers"}
    assert (await gateway.post("/auth/password", json=fields, cookie=cookie)).status == 501
    assert path.read_text() == edited


async def test_a_long_password_signs_in_with_bcrypt_and_its_hash_stays(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path
) -> None:
    """Nobody checked what stands behind the 72 bytes; one that ends there gets a new hash."""
    stored = bcrypt.hashpw(LONG.encode(), bcrypt.gensalt(4)).decode()
    write(path, stored)
    gateway = await make_gateway(backend.url, users=source(path))
    assert (await gateway.post("/auth/login", json={**ALICE, "password": f"{LONG}a slip"})).status == 200
    assert read_users(path).by_id["alice"].password == stored
    assert (await gateway.post("/auth/login", json={**ALICE, "password": LONG})).status == 200
    assert read_users(path).by_id["alice"].password.startswith("$argon2id$")
    assert (await gateway.post("/auth/login", json={**ALICE, "password": f"{LONG}a slip"})).status == 401


def test_the_command_line_changes_a_file_with_old_hashes(path: Path) -> None:
    write(path, OLD["openssl passwd -1"][0])
    done = run_gateway("users", "passwd", "alice", "--file", str(path), "--password-stdin", input="a new secret")
    assert done.returncode == 0, done.stderr
    entry = read_users(path).by_id["alice"]
    assert (entry.password.startswith("$argon2id$"), entry.generation) == (True, 4)
