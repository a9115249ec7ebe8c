"""Every session engine over HTTP, chosen by one line of configuration (docs/sessions.md)."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, DummyCookieJar

from gateway.core.keys import parse_ring
from gateway.errors import SessionTooLarge, SettingsError
from gateway.store.engine import SessionEngine
from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend
from tests.harness import ALICE, MASTER, ROOT, Gateway, GatewayProcess, make_settings, session_cookie
from tests.quick import cheap_users, keys_are_known, make_gateway
from tests.store.engines import REDIS, Place
from tests.store.session_lab import informed, living, make_sessions

__all__ = ["make_gateway"]

ENGINES = ["redis", "sql", "cached_sql", "file", "memory", "cookie"]
SHARED = [engine for engine in ENGINES if engine != "memory"]
WITHOUT_REDIS = ["sql", "cached_sql", "file", "cookie"]
WITHOUT_DIRECTORY = ["file", "memory", "cookie"]
NEW_PASSWORD = "another secret"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where engines keep what no setting names."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


async def reason(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/orders", cookie=cookie)
    return "" if response.status == 200 else str((await response.json())["reason"])


def value_of(cookie: str) -> str:
    return cookie.partition("=")[2]


# -- all of them
@pytest.mark.parametrize("engine", ENGINES)
async def test_one_line_chooses_the_engine_and_everything_else_is_the_same(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": engine})
    assert await reason(gateway, "gw_session=none") == "no_session"
    signed_in = await gateway.post("/auth/login", json=ALICE)
    morsel = signed_in.cookies["gw_session"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Lax", "/")
    assert 12 * 3600 - 5 <= int(morsel["max-age"]) <= 12 * 3600
    cookie = session_cookie(signed_in)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    assert backend.last.value("Cookie") is None
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 302
    about = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert (about["user"]["username"], about["user"]["groups"]) == ("alice", ["sales"])
    assert 1790 < about["idle_left"] <= 1800
    signed_out = await gateway.post("/auth/logout", cookie=cookie)
    assert (signed_out.status, signed_out.cookies["gw_session"]["max-age"]) == (200, "0")
    refused = await gateway.get("/orders", cookie=cookie)
    assert (refused.status, (await refused.json())["reason"]) == (302, "revoked")
    assert refused.cookies["gw_session"]["max-age"] == "0"


@pytest.mark.parametrize("engine", ENGINES)
async def test_signing_in_again_ends_what_was(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": engine})
    first = await gateway.sign_in(ALICE)
    second = session_cookie(await gateway.post("/auth/login", json=ALICE, cookie=first))
    assert [await reason(gateway, cookie) for cookie in (first, second)] == ["replaced", ""]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_cookie_that_was_changed_is_no_session(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": engine})
    cookie = await gateway.sign_in(ALICE)
    await keys_are_known(gateway)
    for at in range(len("gw_session="), len(cookie), 7):
        other = "A" if cookie[at] != "A" else "B"
        assert await reason(gateway, f"{cookie[:at]}{other}{cookie[at + 1 :]}") == "no_session", at
        assert await reason(gateway, cookie[:at]) == "no_session", at
    assert await reason(gateway, cookie) == ""


async def test_an_idle_session_ends_and_one_in_use_stays_on_every_engine(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    async def on(engine: str) -> None:
        times = {"engine": engine, "idle_timeout": 1, "touch_interval": 1}
        gateway = await make_gateway(backend.url, session=times)
        used, idle = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
        started = time.monotonic()
        while time.monotonic() - started < 3:
            response = await gateway.get("/orders", cookie=used)
            assert response.status == 200, engine
            used = session_cookie(response) if "gw_session" in response.cookies else used
            await asyncio.sleep(0.2)
        assert await reason(gateway, idle) == "expired_idle", engine

    await asyncio.gather(*map(on, ENGINES))


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_change_of_the_password_ends_the_others_on_every_engine(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, engine: str
) -> None:
    users = cheap_users(tmp_path / "changing.yaml")
    source = [{"source": "file", "path": str(users)}]
    gateway = await make_gateway(backend.url, session={"engine": engine}, users=source)
    here, other = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
    change = {"old_password": ALICE["password"], "new_password": NEW_PASSWORD}
    response = await gateway.post("/auth/password", json=change, cookie=here)
    assert response.status == 200
    assert await reason(gateway, session_cookie(response)) == ""
    mine = "revoked" if engine == "cookie" else "replaced"  # there it says itself that it is older than the password
    assert [await reason(gateway, cookie) for cookie in (here, other)] == [mine, "revoked"]


@pytest.mark.parametrize("engine", SHARED)
async def test_of_two_gateways_on_one_store_a_sign_out_on_one_is_a_refusal_on_the_other(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    one, two = [await make_gateway(backend.url, session={"engine": engine}) for _ in range(2)]
    cookie, other = await one.sign_in(ALICE), await two.sign_in(ALICE)
    for gateway in (one, two, one, two):
        assert [await reason(gateway, given) for given in (cookie, other)] == ["", ""]
    assert (await one.post("/auth/logout", cookie=cookie)).status == 200
    started = time.monotonic()
    while not (why := await reason(two, cookie)):
        assert time.monotonic() - started < 3
    print(f"{engine}: refused elsewhere after {(time.monotonic() - started) * 1000:.0f} ms (promised: 1000)")
    assert why == "revoked"
    assert [await reason(gateway, other) for gateway in (one, two)] == ["", ""]


# -- what an engine cannot do is said at the start
def problems(**over: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", **over)
    return str(raised.value)


def test_memory_is_for_one_process() -> None:
    assert "memory is for one process" in problems(session={"engine": "memory"}, server={"workers": 2, "port": 0})


@pytest.mark.parametrize("engine", WITHOUT_DIRECTORY)
def test_an_engine_that_cannot_count_refuses_a_cap(engine: str) -> None:
    assert f"the engine {engine} cannot count" in problems(session={"engine": engine, "max_per_user": 3})


def test_an_engine_that_does_not_exist_is_no_engine() -> None:
    assert "session.engine" in problems(session={"engine": "cache"})


def test_a_database_that_cannot_be_is_named_and_its_password_is_not(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(written(config, "http://127.0.0.1:1", engine="sql", sql="oracle://user:hunter2@host/db"))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "sql.url" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def written(config: Path, upstream: str, *, engine: str, sql: str | None = None) -> str:
    """A whole configuration with that engine; the demo's accounts."""
    data: dict[str, Any] = {
        "session": {"engine": engine, "touch_interval": 1},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"demo": {"url": upstream}},
        "routes": [{"path": "/", "access": "authenticated"}],
        "keys": {"master": MASTER},
        "server": {"port": 0},
        "management": {"port": 0},
    }
    if sql is not None:
        data["sql"] = {"url": sql}
    return json.dumps(data)  # which is YAML, too


# -- the loss of Redis
@pytest.mark.parametrize("engine", WITHOUT_REDIS)
async def test_the_loss_of_redis_signs_nobody_out(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, engine: str
) -> None:
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, session={"engine": engine})
    cookie, other = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
    assert [await reason(gateway, given) for given in (cookie, other)] == ["", ""]
    own_redis.kill()
    for _ in range(5):
        assert [await reason(gateway, given) for given in (cookie, other)] == ["", ""]
    assert await reason(gateway, await gateway.sign_in(ALICE)) == ""
    away = await gateway.post("/auth/logout", cookie=cookie)
    assert (away.status, "Set-Cookie" in away.headers) == ((503, False) if engine == "cookie" else (200, True))
    own_redis.start()
    started = time.monotonic()
    while (await gateway.post("/auth/logout", cookie=cookie)).status != 200:
        assert time.monotonic() - started < 10
        await asyncio.sleep(0.1)
    while not await reason(gateway, cookie):
        assert time.monotonic() - started < 10
    for _ in range(5):
        assert [await reason(gateway, given) for given in (cookie, other)] == ["revoked", ""], "and it stays so"


@pytest.mark.parametrize("engine", ["sql", "file", "memory"])
async def test_engines_that_need_no_redis_ask_for_none(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    gateway = await make_gateway(backend.url, redis_url="redis://127.0.0.1:1/0", session={"engine": engine})
    assert await reason(gateway, await gateway.sign_in(ALICE)) == ""


# -- no room
@contextmanager
def tiny_disk(folder: Path) -> Iterator[bool]:
    """True: ``folder`` is a file system of its own of 2 MiB. Only root may do that."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> list[Path]:
    pieces = []
    with suppress(OSError):
        for number in range(10_000):
            piece = folder / f"ballast{number}"
            pieces.append(piece)
            piece.write_bytes(bytes(4096 if number else 0))
    return pieces


@pytest.mark.parametrize("engine", ["file", "sql"])
async def test_on_a_full_disk_sign_ins_are_a_503_and_who_is_in_stays_in(
    make_gateway: MakeGateway, backend: RecordingBackend, state: Path, engine: str
) -> None:
    with tiny_disk(state) as mounted:
        if not mounted:
            pytest.skip("a full disk needs root to mount one; the limit for one file is tested instead")
        gateway = await make_gateway(backend.url, session={"engine": engine, "touch_interval": 1})
        cookie, other = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
        pieces = fill(state)
        await assert_no_room(gateway, cookie, other)
        for piece in pieces:
            piece.unlink()
        await assert_room(gateway, cookie)
        await gateway.client.close()


async def assert_no_room(gateway: Gateway, cookie: str, other: str) -> None:
    statuses = set()
    for _ in range(20):  # what room is left in files that are there may be used up first
        response = await gateway.post("/auth/login", json=ALICE)
        statuses.add(response.status)
        if response.status == 503:
            break
    assert statuses <= {200, 503}
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "Set-Cookie" not in response.headers
    await asyncio.sleep(1.1)
    for _ in range(3):
        assert [await reason(gateway, given) for given in (cookie, other)] == ["", ""], "nor by a failing touch"
    away = await gateway.post("/auth/logout", cookie=other)
    assert away.status in (200, 503)
    assert bool(await reason(gateway, other)) is (away.status == 200)


async def assert_room(gateway: Gateway, cookie: str) -> None:
    assert await reason(gateway, await gateway.sign_in(ALICE)) == ""
    assert await reason(gateway, cookie) == ""
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert await reason(gateway, cookie) == "revoked"


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit(2) is Linux's")
@pytest.mark.parametrize("engine", ["file", "sql"])
async def test_a_gateway_that_may_write_no_more_says_503_and_signs_nobody_out(
    backend: RecordingBackend, browser: ClientSession, tmp_path: Path, state: Path, engine: str
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(written(config, backend.url, engine=engine))
    process = GatewayProcess("serve", "--config", str(config), environment={"XDG_STATE_HOME": str(state)})
    await asyncio.to_thread(process.start)

    async def ask(method: str, path: str, cookie: str = "", **kwargs: Any) -> ClientResponse:
        headers = {"Cookie": cookie}
        return await browser.request(method, process.url + path, headers=headers, allow_redirects=False, **kwargs)

    try:
        cookie = session_cookie(await ask("POST", "/auth/login", json=ALICE))
        assert (await ask("GET", "/x", cookie)).status == 200
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        refused = await ask("POST", "/auth/login", json=ALICE)
        assert (refused.status, (await refused.json())["reason"]) == (503, "store_unavailable")
        assert "Set-Cookie" not in refused.headers
        await asyncio.sleep(1.1)
        assert {(await ask("GET", "/x", cookie)).status for _ in range(3)} <= {200, 503}
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (await ask("POST", "/auth/login", json=ALICE)).status == 200
        assert (await ask("GET", "/x", cookie)).status == 200
    finally:
        await asyncio.to_thread(process.stop)


# -- the session in the cookie
def with_groups(folder: Path, number: int) -> list[dict[str, str]]:
    text, few = (ROOT / "config/users.yaml").read_text(), "  groups:\n  - sales\n"
    assert few in text
    groups = [f"department-{one:04}-of-many" for one in range(number)]
    path = folder / "many.yaml"
    path.write_text(text.replace(few, f"  groups: {json.dumps(groups)}\n"))
    return [{"source": "file", "path": str(path)}]


async def test_a_session_that_no_cookie_holds_is_an_error_that_names_the_limit(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    users = with_groups(tmp_path, 400)
    gateway = await make_gateway(backend.url, session={"engine": "cookie"}, users=users)
    response = await gateway.post("/auth/login", json=ALICE)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (507, 507, "session_too_large")
    assert "3800" in body["msg"]
    assert "Set-Cookie" not in response.headers


async def test_up_to_the_limit_a_browser_takes_the_cookie(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": "cookie"}, users=with_groups(tmp_path, 80))
    response = await gateway.post("/auth/login", json=ALICE)
    line = next(line for line in response.headers.getall("Set-Cookie") if line.startswith("gw_session="))
    assert 2500 < len(line) < 4096, "RFC 6265 §6.1"
    assert await reason(gateway, session_cookie(response)) == ""
    assert str(backend.last.value("X-Forwarded-Groups")).endswith("department-0079-of-many")


SAID = {"/1": "", "/2": "Cache-Control: public, max-age=60\r\n", "/3": "Cache-Control: private\r\n"}


async def test_activity_renews_the_cookie_and_keeps_the_answer_out_of_shared_caches(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    async def tell(request: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{SAID[request.target]}Content-Length: 2\r\n\r\nok".encode())

    backend.answer = tell
    gateway = await make_gateway(backend.url, session={"engine": "cookie", "touch_interval": 1})
    cookie = await gateway.sign_in(ALICE)
    before = await (await gateway.get("/auth/session", cookie=cookie)).json()
    for path, said in SAID.items():
        fresh = await gateway.get(path, cookie=cookie)
        assert ("Set-Cookie" in fresh.headers, fresh.headers.get("Cache-Control", "")) == (False, said[15:-2])
    await asyncio.sleep(1.1)
    for path in SAID:
        response = await gateway.get(path, cookie=cookie)
        renewed = session_cookie(response)
        assert renewed != cookie
        assert "private" in response.headers["Cache-Control"]
        assert "public" not in response.headers["Cache-Control"]
        after = await (await gateway.get("/auth/session", cookie=renewed)).json()
        assert after["last_seen"] > before["last_seen"]
        assert after["created"] == before["created"]
        assert 12 * 3600 - 10 <= int(response.cookies["gw_session"]["max-age"]) < 12 * 3600


async def overfull(gateway: Gateway, engine: SessionEngine) -> str:
    """A living session's cookie, due to be renewed, and without room for that."""
    early = await informed(make_sessions(engine, cookie=True, ring=parse_ring(MASTER), clock=lambda: 0.0))
    session = await living(early, value_of(await gateway.sign_in()))
    used = session.record.modified - 5
    for size in range(1500, 4000):
        record = replace(session.record, modified=used, data={"pad": "x" * size})
        try:
            session = await early.touch(replace(session, record=record))
        except SessionTooLarge:
            break
    return f"gw_session={early.cookie_value(session)}"


async def test_a_cookie_that_cannot_be_renewed_fails_no_request_that_was_carried_out(
    make_gateway: MakeGateway, backend: RecordingBackend, redis_server: RedisServer, tmp_path: Path
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": "cookie", "touch_interval": 1})
    async with REDIS.open(Place(tmp_path, redis_server.url), 60) as engine:
        cookie = await overfull(gateway, engine)
    for path, said in SAID.items():
        backend.answer = f"HTTP/1.1 200 OK\r\n{said}Content-Length: 2\r\n\r\nok".encode()
        response = await gateway.post(path, cookie=cookie)
        assert (response.status, await response.text(), "Set-Cookie" in response.headers) == (200, "ok", False)
        assert response.headers.get("Cache-Control", "") == said[15:-2], "no cookie, so nothing to keep out of caches"
    assert (await gateway.get("/auth/session", cookie=cookie)).status == 200


async def test_a_sign_out_ends_every_cookie_that_the_session_ever_had(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": "cookie", "touch_interval": 1})
    cookies = [await gateway.sign_in(ALICE)]
    await asyncio.sleep(1.1)
    cookies += [session_cookie(await gateway.get("/orders", cookie=cookies[0])) for _ in range(2)]
    assert [await reason(gateway, cookie) for cookie in cookies] == ["", "", ""]
    assert (await gateway.post("/auth/logout", cookie=cookies[1])).status == 200
    assert [await reason(gateway, cookie) for cookie in cookies] == ["revoked"] * 3


async def test_the_cookie_tells_nothing(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, session={"engine": "cookie"})
    values = [value_of(await gateway.sign_in(ALICE)) for _ in range(2)]
    for value in values:
        assert "alice" not in value
        assert set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert values[0][:5] == values[1][:5], "the key's id"
    same = sum(one == other for one, other in zip(*values, strict=False))
    assert same < len(values[0]) / 8, "and nothing else"
