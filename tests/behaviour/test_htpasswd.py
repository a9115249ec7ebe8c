"""Users of Apache's password file: as they stand there they sign in here, and an edit of the file is felt."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from gateway.errors import SettingsError
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import MASTER, Gateway, run_gateway

ALICE = {"username": "alice", "password": "alice-demo"}
HASH = bcrypt.hashpw(b"alice-demo", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
FILE = f"# our people\n\nalice:{HASH}\nBob Baker:{HASH}:Bob's line\n  mallory:!{HASH}  \n用户:{HASH}\n"
GROUPS = 'staff: alice "Bob Baker"\nsales: ALICE carol\nstaff: 用户\n'
OLD = {
    "-apr1": "$apr1$LEuQTBYY$/r26eZf5RypT3Q7xI85em0",
    "-s": "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
    "-5": "$6$rounds=20000$Rf2FtkiOhVnkMmRu$7mhdmgZ0iKaqYtFkmgdOHS3Nmj2toNj0y/j2jeYHJa6yiYYh8wcY5ovqCEMQxsG4dux/Mz.cm290ystMVPVi5/",
    "SSHA": "{SSHA}awc/Cj0kafyFd5d8fGn07xoHBJJzYWx0c2FsdA==",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "groups").write_text(GROUPS)
    file = tmp_path / "users.htpasswd"
    file.write_text(FILE)
    return file


def source(path: Path, **over: Any) -> dict[str, Any]:
    groups_file = str(path.parent / "groups")
    return {"source": "htpasswd", "path": str(path), "groups_file": groups_file, "usertype": "mgr", **over}


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, path: Path) -> Gateway:
    return await make_gateway(backend.url, users=[source(path)])


async def until_over(gateway: Gateway, cookie: str, seconds: float = 10.0) -> str:
    """The reason why this session is refused."""
    deadline = time.monotonic() + seconds
    while (response := await gateway.get("/orders", cookie=cookie)).status == 200:
        assert time.monotonic() < deadline, "the session goes on"
        await asyncio.sleep(0.02)
    return str((await response.json())["reason"])


async def status_of(gateway: Gateway, **fields: str) -> int:
    return (await gateway.post("/auth/login", json={**ALICE, **fields})).status


# -- signing in
async def test_a_user_of_the_file_signs_in_with_the_groups_and_the_usertype_he_has(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    response = await gateway.get("/mgr/index.html", cookie=await gateway.sign_in(ALICE))
    assert response.status == 200
    seen = backend.last
    assert seen.value("X-Forwarded-User") == seen.value("X-Forwarded-Preferred-Username") == "alice"
    assert (seen.value("X-Forwarded-Groups"), seen.value("X-Forwarded-Usertype")) == ("staff,sales", "mgr")


@pytest.mark.parametrize("name", ["alice", "ALICE", "ａｌｉｃｅ", " alice ", "bob baker", "Bob Baker", "用户", "用户 "])
async def test_a_name_counts_in_every_spelling(gateway: Gateway, name: str) -> None:
    """P66."""
    assert await status_of(gateway, username=name) == 200


async def test_the_id_is_the_same_in_every_spelling(gateway: Gateway, backend: RecordingBackend) -> None:
    ids = set()
    for name in ("Bob Baker", "BOB BAKER"):
        cookie = await gateway.sign_in({"username": name, "password": ALICE["password"]})
        await gateway.get("/orders", cookie=cookie)
        ids.add((backend.last.value("X-Forwarded-User"), backend.last.value("X-Forwarded-Preferred-Username")))
    assert ids == {("bob%20baker", "Bob%20Baker")} or ids == {("bob baker", "Bob Baker")}


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "wrong"},
        {"password": "alice-demo "},
        {"password": HASH},
        {"password": "密" * 1024},
        {"username": "nobody"},
        {"username": "mallory"},
        {"username": "mallory", "password": "!"},
        {"username": "# our people"},
        {"username": f"alice:{HASH}"},
        {"username": "alıce"},
        {"username": "carol"},
    ],
    ids=lambda fields: ascii(fields)[:40],
)
async def test_anything_else_is_the_same_refusal(gateway: Gateway, fields: dict[str, str]) -> None:
    """The locked user among them (P71), and a Turkish dotless i (P66)."""
    response = await gateway.post("/auth/login", json={**ALICE, **fields})
    assert (response.status, (await response.json())["reason"]) == (401, "bad_credentials")


@pytest.mark.parametrize("password", ["alice-demo\0", "alice-demo\0alice-demo", "\ud800"], ids=ascii)
async def test_what_no_text_holds_is_no_password(gateway: Gateway, password: str) -> None:
    """bcrypt would overlook a NUL."""
    assert await status_of(gateway, password=password) in (400, 401)


def htpasswd(options: str, path: Path, *arguments: str) -> None:
    """Runs the real one. It writes into the file itself, which is believed only when it has been quiet for a moment."""
    program = shutil.which("htpasswd")
    if program is None:
        pytest.skip("no htpasswd; Debian: apt-get install apache2-utils")
    subprocess.run([program, *options.split(), str(path), *arguments], check=True, capture_output=True)
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 10**9))


async def test_what_htpasswd_writes_signs_in(gateway: Gateway, path: Path) -> None:
    for user, password in (("dora", "s3cret of dora"), ("eve", "пароль密码"), ("alice", "another one")):
        htpasswd("-bB -C 4", path, user, password)
        assert await status_of(gateway, username=user, password=password) == 200
    assert await status_of(gateway) == 401
    htpasswd("-D", path, "dora")
    assert await status_of(gateway, username="dora", password="s3cret of dora") == 401


@pytest.mark.parametrize("stored", OLD.values(), ids=OLD)
async def test_old_hashes_sign_in_only_where_they_are_asked_for(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path, stored: str
) -> None:
    path.write_text(f"alice:{stored}\n")
    with pytest.raises(SettingsError, match=r"users\.htpasswd:1: .*legacy_hashes: true"):
        await make_gateway(backend.url, users=[source(path)])
    gateway = await make_gateway(backend.url, users=[source(path, legacy_hashes=True)])
    assert await status_of(gateway, password="correct horse") == 200
    assert await status_of(gateway, password="correct hors") == 401
    assert path.read_text() == f"alice:{stored}\n"


async def test_the_file_is_never_written(gateway: Gateway, path: Path) -> None:
    """Apache reads it, too, and knows no argon2id."""
    cookie = await gateway.sign_in(ALICE)
    before = path.read_bytes(), path.stat()
    fields = {"old_password": ALICE["password"], "new_password": "a new secret of hers"}
    response = await gateway.post("/auth/password", json=fields, cookie=cookie)
    assert (response.status, (await response.json())["reason"]) == (501, "not_possible")
    assert (path.read_bytes(), path.stat()) == before
    assert await status_of(gateway) == 200


# -- edits
GONE = {
    "removed": FILE.replace(f"alice:{HASH}\n", ""),
    "commented out": FILE.replace("alice:", "#alice:"),
    "locked": FILE.replace("alice:", "alice:!"),
    "locked by a star": FILE.replace(f"alice:{HASH}", "alice:*"),
    "renamed": FILE.replace("alice:", "alison:"),
    "nobody left": "",
}


@pytest.mark.parametrize("text", GONE.values(), ids=GONE)
async def test_an_edit_ends_the_sessions_of_whom_it_takes_out(gateway: Gateway, path: Path, text: str) -> None:
    """P71."""
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    path.write_text(text)
    assert await until_over(gateway, cookie) == "revoked"
    assert await status_of(gateway) == 401


async def test_groups_that_change_are_those_of_open_sessions_and_other_sessions_go_on(
    gateway: Gateway, backend: RecordingBackend, path: Path
) -> None:
    cookie = await gateway.sign_in(ALICE)
    (path.parent / "groups").write_text("board: alice\n")
    deadline = time.monotonic() + 10
    while True:
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
        if backend.last.value("X-Forwarded-Groups") == "board":
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


ANOTHER = bcrypt.hashpw(b"another one", bcrypt.gensalt(4)).decode()
BROKEN = {
    "plain text": f"{FILE}carol:secret\n",
    "half a line": FILE + "carol",
    "half a hash": f"{FILE}carol:{HASH[:40]}",
    "a user twice": f"{FILE}ALICE:{ANOTHER}\n",
    "not UTF-8": FILE.encode() + b"caf\xe9:" + HASH.encode(),
    "a NUL": f"{FILE}car\0ol:{HASH}\n",
    "a line of 10 kB": f"{FILE}carol:{HASH}:{'x' * 10_000}\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_broken_edit_changes_nothing_until_it_is_mended(
    gateway: Gateway, path: Path, text: str | bytes
) -> None:
    cookie = await gateway.sign_in(ALICE)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
        await asyncio.sleep(0.05)
    assert [await status_of(gateway), await status_of(gateway, username="carol")] == [200, 401]
    assert await status_of(gateway, password="another one") == 401
    path.write_text(f"{GONE['removed']}carol:{HASH}\n")
    assert await until_over(gateway, cookie) == "revoked"
    assert await status_of(gateway, username="carol") == 200


async def test_files_that_are_away_leave_their_users_until_they_are_back(gateway: Gateway, path: Path) -> None:
    cookie = await gateway.sign_in(ALICE)
    for file in (path, path.parent / "groups"):
        file.rename(file.with_suffix(".away"))
        assert await status_of(gateway) == 200
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
        file.with_suffix(".away").rename(file)
    path.write_text(GONE["removed"])
    assert await until_over(gateway, cookie) == "revoked"


# -- files that are wrong at the start
WRONG = {
    "plain text": ("a:secret", 1, "argon2id or bcrypt"),
    "crypt": ("a:xIKXuGD7iePhQ", 1, "argon2id or bcrypt"),
    "MD5": ("a:$apr1$LEuQTBYY$/r26eZf5RypT3Q7xI85em0", 1, "legacy_hashes"),
    "no colon": ("alice", 1, "name:hash"),
    "no hash": ("alice:", 1, "argon2id or bcrypt"),
    "no name": (f":{HASH}", 1, "name"),
    "a blank in front of the colon": (f"alice :{HASH}", 1, "blank"),
    "a NUL": (f"# one\nali\0ce:{HASH}", 2, "control"),
    "a NUL in the hash": (f"alice:{HASH}\0", 1, "argon2id or bcrypt"),
    "a long name": (f"{'a' * 255}:{HASH}", 1, "254"),
    "a long line": (f"\n\n\nalice:{HASH}:{'x' * 10_000}", 4, "8192"),
    "a name twice": (f"alice:{HASH}\n\nAlice:{HASH}", 3, "already a user"),
    "a name twice, in another script's letters": (f"alice:{HASH}\nａｌｉｃｅ:{HASH}", 2, "already a user"),
    "not UTF-8": (b"caf\xe9:" + HASH.encode(), 1, "UTF-8"),
    "UTF-16": (f"alice:{HASH}".encode("utf-16"), 1, "UTF-8"),
    "2^31 rounds of bcrypt": (f"alice:$2y$31{HASH[6:]}", 1, "more work"),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=WRONG)
async def test_a_line_that_cannot_be_right_is_named_and_no_hash_is_shown(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path, text: str | bytes, line: int, words: str
) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as error:
        await make_gateway(backend.url, users=[source(path)])
    assert len(error.value.problems) == 1
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert words in str(error.value)
    assert not any(secret in str(error.value) for secret in (HASH[7:], "secret", "xIKX", "LEuQ"))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("staff alice", 1, "group: name name"),
        ("\n: alice", 2, "group: name name"),
        (b"\xff: alice", 1, "UTF-8"),
    ],
    ids=["no colon", "no name", "not UTF-8"],
)
async def test_a_file_of_groups_that_is_wrong_is_told_with_its_line(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path, text: str | bytes, line: int, words: str
) -> None:
    groups = path.parent / "groups"
    groups.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=words) as error:
        await make_gateway(backend.url, users=[source(path)])
    assert str(error.value).startswith(f"{groups}:{line}: ")


async def test_files_of_windows_and_of_other_editors_are_read(
    make_gateway: MakeGateway, backend: RecordingBackend, path: Path
) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + f"alice:{HASH}\r\n\r\n\t# nobody\r\n\tbob:{HASH}\t\r\n".encode())
    gateway = await make_gateway(backend.url, users=[source(path)])
    assert [await status_of(gateway, username=name) for name in ("alice", "bob", "# nobody")] == [200, 200, 401]


def test_the_check_names_what_is_wrong_in_every_file_of_users(path: Path) -> None:
    path.write_text(f"alice:{OLD['-s']}\nbob:secret\n")
    (path.parent / "groups").write_text("staff\n")
    (path.parent / "users.yaml").write_text(f"users: [{{username: carol, password: '{OLD['-s']}'}}]\n")
    sources = (
        "[{source: htpasswd, path: users.htpasswd, groups_file: groups, legacy_hashes: true},"
        " {source: file, path: users.yaml}]"
    )
    config = path.parent / "gateway.yaml"
    rest = f"keys: {{master: {MASTER}}}\nupstreams: {{app: {{url: 'http://127.0.0.1:9000'}}}}\nroutes: [{{path: /}}]\n"
    config.write_text(f"users: {sources}\n{rest}")
    done = run_gateway("check", "--config", str(config))
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if str(path.parent) in line]
    for place in ("groups:1:", "users.htpasswd:2:", "users.yaml:1:"):
        assert any(place in line for line in told), done.stderr
    assert len(told) == 3
    assert "secret" not in done.stderr
