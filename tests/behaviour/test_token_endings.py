"""However a session is ended in one gateway: in another its tokens are refused within a second, and nobody else's are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.core.keys import b64url
from gateway.scripting import open_store
from gateway.store.redis_server import RedisServer
from tests.behaviour.token_lab import bearer, new_token, token_of, with_tokens
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, MASTER, Gateway, run_gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]

PROMISED, MARGIN = 1.0, 3
NEW = {"old_password": ALICE["password"], "new_password": "a new secret of hers"}
Token = dict[str, str]
End = Callable[[Gateway, str, str], Awaitable[Any]]


async def status(gateway: Gateway, headers: Token) -> int:
    return (await gateway.get("/orders", headers=headers)).status


async def refused_after(gateway: Gateway, headers: Token) -> float:
    """Seconds until the token is refused there."""
    began = time.monotonic()
    while (response := await gateway.get("/orders", headers=headers)).status == 200:
        assert time.monotonic() - began < PROMISED * MARGIN
        await asyncio.sleep(0.005)
    assert (response.status, (await response.json())["reason"]) == (401, "bad_token")
    return time.monotonic() - began


async def handle_of(gateway: Gateway, cookie: str) -> str:
    rows = (await (await gateway.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    return next(str(row["handle"]) for row in rows if row["this"])


async def by_signing_out(gateway: Gateway, here: str, other: str) -> None:
    assert (await gateway.post("/auth/logout", cookie=other)).status == 200


async def by_the_list(gateway: Gateway, here: str, other: str) -> None:
    handle = await handle_of(gateway, other)
    assert (await gateway.request("DELETE", f"/auth/sessions/{handle}", cookie=here)).status == 200


async def by_ending_all_others(gateway: Gateway, here: str, other: str) -> None:
    assert (await gateway.request("DELETE", "/auth/sessions", cookie=here)).status == 200


async def by_a_new_password(gateway: Gateway, here: str, other: str) -> str:
    response = await gateway.post("/auth/password", json=NEW, cookie=here)
    assert response.status == 200
    return session_cookie(response)


async def by_another_user_on_that_browser(gateway: Gateway, here: str, other: str) -> None:
    assert (await gateway.post("/auth/login", json=MANAGER, cookie=other)).status == 200


async def by_a_sign_in_too_many(gateway: Gateway, here: str, other: str) -> None:
    """The oldest goes: three are allowed."""
    for _ in range(2):
        await gateway.sign_in(ALICE)


async def by_a_script(gateway: Gateway, here: str, other: str) -> None:
    async with open_store(gateway.settings) as store:
        presented = store.sessions.presented([other.partition("=")[2]])
        assert presented is not None
        session = store.session(b64url(presented.id))
        await session.load()
        await session.flush()


ENDS = [
    by_signing_out,
    by_the_list,
    by_ending_all_others,
    by_a_new_password,
    by_another_user_on_that_browser,
    by_a_sign_in_too_many,
    by_a_script,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_tokens_end_with_their_session(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, tmp_path: Path, end: End
) -> None:
    over: dict[str, Any] = {"session": {"max_per_user": 3}, "tokens": with_tokens(tmp_path)}
    one, two = [await make_gateway(backend.url, redis_url=own_redis.url, **over) for _ in range(2)]
    other, theirs = await new_token(one, ALICE)
    await asyncio.sleep(0.002)  # the oldest is told by its milliseconds
    here, mine = await new_token(one, ALICE)
    _, managers = await new_token(one, MANAGER)
    for gateway in (one, two):
        assert [await status(gateway, bearer(token)) for token in (theirs, mine, managers)] == [200] * 3
    renewed = await end(one, here, other)
    took = await refused_after(two, bearer(theirs))
    print(f"refused elsewhere after {took * 1000:.1f} ms")
    await refused_after(one, bearer(theirs))
    if end is by_a_new_password:  # a token of before it is of a user who is not the same any more
        mine = await token_of(one, renewed)
        deadline = time.monotonic() + 10
        while await status(two, bearer(mine)) != 200:  # until it has read the users file again
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    for gateway in (one, two):
        assert [await status(gateway, bearer(token)) for token in (mine, managers)] == [200] * 2


async def test_tokens_end_with_a_session_that_a_command_ends(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, tmp_path: Path
) -> None:
    tokens = with_tokens(tmp_path)
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, tokens=tokens)
    cookie, token = await new_token(gateway, ALICE)
    _, managers = await new_token(gateway, MANAGER)
    assert await status(gateway, bearer(token)) == 200
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"server: {{port: 0}}\nmanagement: {{port: 0}}\nredis: {{url: '{own_redis.url}'}}\n"
        f"keys: {{master: {MASTER}}}\ntokens: {{keys_file: {tokens['keys_file']}}}\n"
        f"users: [{{source: file, path: {tmp_path / 'users.yaml'}}}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    handle = await handle_of(gateway, cookie)
    done = await asyncio.to_thread(run_gateway, "sessions", "revoke", "--handle", handle, "--config", str(config))
    assert (done.stdout, done.returncode) == ("ended 1 session\n", 0), done.stderr
    await refused_after(gateway, bearer(token))
    assert await status(gateway, bearer(managers)) == 200


async def test_a_new_id_ends_no_token(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, tmp_path: Path
) -> None:
    over: dict[str, Any] = {"session": {"rotate_interval": 1, "rotate_grace": 1}, "tokens": with_tokens(tmp_path)}
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, **over)
    cookie, token = await new_token(gateway, ALICE)
    await asyncio.sleep(1.1)
    renewed = await gateway.post("/orders", cookie=cookie)
    assert "Set-Cookie" in renewed.headers
    await asyncio.sleep(0.5)  # so long an end may take to be told
    assert await status(gateway, bearer(token)) == 200


async def test_tokens_end_with_their_session_on_a_full_redis(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, tmp_path: Path
) -> None:
    over: dict[str, Any] = {"tokens": with_tokens(tmp_path)}
    one, two = [await make_gateway(backend.url, redis_url=own_redis.url, **over) for _ in range(2)]
    cookie, token = await new_token(one, ALICE)
    assert await status(two, bearer(token)) == 200
    with Redis(unix_socket_path=str(own_redis.socket)) as server:
        server.config_set("maxmemory", "1")
        assert (await one.post("/auth/login", json=ALICE)).status == 503, "it is full"
    assert (await one.post("/auth/logout", cookie=cookie)).status == 200
    await refused_after(two, bearer(token))


async def test_tokens_end_with_a_session_in_a_cookie(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, tmp_path: Path
) -> None:
    over: dict[str, Any] = {"session": {"engine": "cookie"}, "tokens": with_tokens(tmp_path)}
    one, two = [await make_gateway(backend.url, redis_url=own_redis.url, **over) for _ in range(2)]
    cookie, token = await new_token(one, ALICE)
    other = await token_of(one, await one.sign_in(ALICE))
    assert [await status(two, bearer(text)) for text in (token, other)] == [200, 200]
    assert (await one.post("/auth/logout", cookie=cookie)).status == 200
    await refused_after(two, bearer(token))
    assert await status(two, bearer(other)) == 200
