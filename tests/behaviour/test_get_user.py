"""``get_user(request)``: who sent a request, as his source knows him now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.core.identity import Identity
from gateway.store.redis_server import RedisServer
from gateway.web.users import ANONYMOUS, USER, get_user
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, GatewayTestServer, make_settings

SHIPPED = (ROOT / "config/users.yaml").read_text()
ALICE_ID = "id: 377ce22669eec229"
Seen = list[Any]


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text(SHIPPED)
    return path


def edit(path: Path, text: str) -> None:
    """As an editor does that replaces the file."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def seen() -> Seen:
    """Who sent each request that an endpoint of our own has answered."""
    return []


@pytest.fixture
async def gateway(
    backend: RecordingBackend, users_file: Path, seen: Seen, redis_server: RedisServer, aiohttp_client: Any
) -> Gateway:
    """Asks after each request to an endpoint of our own, as code of a handler would."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path.startswith("/auth/"):
            user = await get_user(request)
            assert await get_user(request) is user, "kept for the request"
            assert not user.is_authenticated or request[USER] is user
            seen.append(user)
        return response

    settings = make_settings(redis_server.url, backend.url, users=[{"source": "file", "path": str(users_file)}])
    server = GatewayTestServer(settings)
    server.gateway.app.middlewares.insert(0, ask)
    return Gateway(await aiohttp_client(server), server.gateway, settings)


async def test_who_is_signed_in_is_known_with_everything_his_source_says(gateway: Gateway, seen: Seen) -> None:
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.get("/auth/session", cookie=cookie)).status == 200
    user = seen[-1]
    assert isinstance(user, Identity)
    assert user.is_authenticated
    assert (user.username, user.name, user.groups) == ("alice", "Alice Archer", ("sales",))


async def test_nobody_is_anonymous(gateway: Gateway, seen: Seen) -> None:
    for cookie in (None, "gw_session=x", "gw_session="):
        await gateway.get("/auth/session", cookie=cookie)
        assert seen[-1] is ANONYMOUS
    assert not ANONYMOUS.is_authenticated
    assert (ANONYMOUS.id, ANONYMOUS.username, ANONYMOUS.groups) == (None, "", ())


async def test_a_request_that_signs_in_or_out_has_the_user_it_ends_with(gateway: Gateway, seen: Seen) -> None:
    cookie = await gateway.sign_in(ALICE)
    assert seen[-1].username == "alice"
    assert (await gateway.post("/auth/login", json=MANAGER, cookie=cookie)).status == 200
    assert seen[-1].username == "mgr"
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert seen[-1] is ANONYMOUS


async def test_the_source_is_asked_and_not_the_session_s_memory(gateway: Gateway, users_file: Path, seen: Seen) -> None:
    cookie = await gateway.sign_in(ALICE)
    edit(users_file, SHIPPED.replace("name: Alice Archer", "name: Alice Baker"))
    about = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert about["user"]["name"] == "Alice Archer"
    assert seen[-1].name == "Alice Baker"


GONE = {
    "removed": SHIPPED[: SHIPPED.index("- username: alice")],
    "disabled": SHIPPED.replace(ALICE_ID, f"{ALICE_ID}\n  disabled: true"),
    "another password since": SHIPPED.replace(ALICE_ID, f"{ALICE_ID}\n  generation: 1"),
}


@pytest.mark.parametrize("text", GONE.values(), ids=GONE)
async def test_whoever_is_not_current_any_more_is_anonymous(
    gateway: Gateway, users_file: Path, seen: Seen, text: str
) -> None:
    cookie = await gateway.sign_in(ALICE)
    edit(users_file, text)
    await gateway.get("/auth/session", cookie=cookie)
    assert seen[-1] is ANONYMOUS
