"""A users file that changes while gateways run: no restart, and who is not welcome any more is out within a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.identity.hashes import hash_password
from gateway.identity.users_file import UsersFile
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, run_gateway, session_cookie

SHIPPED = (ROOT / "config/users.yaml").read_text()
ALICE_ID = "id: 377ce22669eec229"
NEW = "a new secret of hers"


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text(SHIPPED)
    return path


@pytest.fixture
async def workers(make_gateway: MakeGateway, backend: RecordingBackend, users_file: Path) -> tuple[Gateway, Gateway]:
    """Two gateways on one Redis and one users file."""
    users = [{"source": "file", "path": str(users_file)}]
    return await make_gateway(backend.url, users=users), await make_gateway(backend.url, users=users)


async def until_over(gateway: Gateway, cookie: str, seconds: float = 10.0) -> str:
    """The reason why this session is refused."""
    deadline = time.monotonic() + seconds
    while (response := await gateway.get("/orders", cookie=cookie)).status == 200:
        assert time.monotonic() < deadline, "the session goes on"
        await asyncio.sleep(0.02)
    assert response.status == 302
    return str((await response.json())["reason"])


GONE = {
    "removed": SHIPPED[: SHIPPED.index("- username: alice")],
    "disabled": SHIPPED.replace(ALICE_ID, f"{ALICE_ID}\n  disabled: true"),
    "another generation": SHIPPED.replace(ALICE_ID, f"{ALICE_ID}\n  generation: 1"),
    "another id": SHIPPED.replace(ALICE_ID, "id: somebody-else"),
}


@pytest.mark.parametrize("text", GONE.values(), ids=GONE)
async def test_an_edit_ends_the_sessions_of_whoever_it_concerns(
    workers: tuple[Gateway, Gateway], users_file: Path, text: str
) -> None:
    cookies = [await gateway.sign_in() for gateway in workers]
    managers = [await gateway.sign_in(MANAGER) for gateway in workers]
    users_file.write_text(text)
    for gateway, cookie, manager in zip(workers, cookies, managers, strict=True):
        assert await until_over(gateway, cookie) == "revoked"
        assert (await gateway.get("/mgr/index.html", cookie=manager)).status == 200


async def test_a_new_hash_of_the_same_password_ends_nothing(workers: tuple[Gateway, Gateway], users_file: Path) -> None:
    """Only the generation says that a password was changed: hashes are renewed without anybody noticing."""
    gateway = workers[0]
    cookie, manager = await gateway.sign_in(), await gateway.sign_in(MANAGER)
    old = SHIPPED.rpartition("password: ")[2].partition("\n")[0]
    edited = SHIPPED.replace(old, hash_password(ALICE["password"]))
    users_file.write_text(edited.replace("usertype: mgr", "usertype: mgr\n  generation: 1"))
    assert await until_over(gateway, manager) == "revoked"  # so the file has been read again
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200


async def test_a_user_who_is_added_can_sign_in_everywhere(workers: tuple[Gateway, Gateway], users_file: Path) -> None:
    bob = {"username": "bob", "password": "bob-has-a-secret"}
    UsersFile(users_file).add({"username": "bob", "password": hash_password(bob["password"])})
    for gateway in workers:
        assert (await gateway.post("/auth/login", json=bob)).status == 200


async def test_the_command_that_sets_a_password_ends_the_user_s_sessions(
    workers: tuple[Gateway, Gateway], users_file: Path
) -> None:
    cookies = [await gateway.sign_in() for gateway in workers]
    arguments = ("users", "passwd", "alice", "--file", str(users_file), "--password-stdin")
    done = await asyncio.to_thread(run_gateway, *arguments, input=NEW)
    assert done.returncode == 0, done.stderr
    for gateway, cookie in zip(workers, cookies, strict=True):
        assert (await gateway.post("/auth/login", json=ALICE)).status == 401
        assert await until_over(gateway, cookie) == "revoked"
        assert (await gateway.post("/auth/login", json={**ALICE, "password": NEW})).status == 200


async def test_a_password_changed_through_one_gateway_counts_on_the_other_at_once(
    workers: tuple[Gateway, Gateway],
) -> None:
    one, other = workers
    here, elsewhere = await one.sign_in(), await other.sign_in()
    fields = {"old_password": ALICE["password"], "new_password": NEW}
    response = await one.post("/auth/password", json=fields, cookie=here)
    assert (response.status, (await response.json())["ended"]) == (200, 1)
    assert (await other.get("/orders", cookie=session_cookie(response))).status == 200
    assert (await other.post("/auth/login", json=ALICE)).status == 401
    assert (await other.post("/auth/login", json={**ALICE, "password": NEW})).status == 200
    assert await until_over(other, elsewhere) in ("revoked", "unknown_session")
    for _ in range(30):  # also after the other one has read the file again
        assert (await other.get("/orders", cookie=session_cookie(response))).status == 200
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("text", ["users: [", "", "users:\n- username: mgr\n", "people: []\n"], ids=repr)
async def test_a_broken_edit_signs_nobody_out_and_lets_everybody_in_as_before(
    workers: tuple[Gateway, Gateway], users_file: Path, text: str
) -> None:
    gateway = workers[0]
    cookie = await gateway.sign_in()
    users_file.write_text(text)
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline:
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
        await asyncio.sleep(0.05)
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200
    users_file.write_text(GONE["disabled"])
    assert await until_over(gateway, cookie) == "revoked"


async def test_another_usertype_and_other_groups_are_felt_by_sessions_that_are_open(
    workers: tuple[Gateway, Gateway], users_file: Path, backend: RecordingBackend
) -> None:
    """Both ways: rights that were taken (P60) and rights that were given; the backend is told who it is by now."""
    manager, alice = await workers[0].sign_in(MANAGER), await workers[0].sign_in()
    for gateway in workers:
        assert (await gateway.get("/mgr/", cookie=manager)).status == 200
        assert (await gateway.get("/mgr/", cookie=alice)).status == 302
    swapped = SHIPPED.replace("usertype: mgr", "usertype: X").replace("usertype: user", "usertype: mgr")
    users_file.write_text(swapped.replace("usertype: X", "usertype: user\n  groups: [former]"))
    for gateway in workers:
        async with asyncio.timeout(10):
            while (await gateway.get("/mgr/", cookie=manager)).status == 200:
                await asyncio.sleep(0.02)
        assert (await gateway.get("/mgr/", cookie=alice)).status == 200
        refused = await (await gateway.get("/mgr/", cookie=manager)).json()
        assert refused["reason"] == "wrong_usertype"
        told = (await (await gateway.get("/auth/session", cookie=manager)).json())["user"]
        assert (told["usertype"], told["groups"]) == ("user", ["former"])
        await gateway.get("/orders", cookie=manager)
        seen = backend.requests[-1]
        assert (seen.value("X-Forwarded-Usertype"), seen.value("X-Forwarded-Groups")) == ("user", "former")
