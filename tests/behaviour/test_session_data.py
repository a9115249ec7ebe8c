"""``X-Session-Data`` and ``X-Session-Update``: a backend keeps its part of the session in the gateway's (docs/backends.md)."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from redis import Redis

from gateway.errors import SettingsError
from gateway.store.redis_server import RedisServer
from tests.behaviour.test_session_rotation import make_due
from tests.behaviour.token_lab import bearer, new_token, with_tokens
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import Recorded, RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, make_settings, session_cookie
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]
ON = {"session_data": {"enabled": True}}
ROUTES: list[dict[str, Any]] = [
    {"path": "/", **ON},
    {"path": "/too/", **ON},
    {"path": "/shared/", "session_data": {"enabled": True, "namespace": "shared"}},
    {"path": "/small/", "session_data": {"enabled": True, "namespace": "small", "max_bytes": 64}},
    {"path": "/without/"},
    {"path": "/public/", "access": "public"},
    {"path": "/shown/", "access": "public", "identity": "optional", **ON},
]
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Session-Update: {update}\r\n\r\n"
)
OURS = ("X-Session-Data", "X-Session-Update", "X-Session-Update-Failed")


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decoded(value: str | None) -> Any:
    return None if value is None else json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))


def answer(*updates: Any, raw: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> bytes:
    lines = [f"X-Session-Update: {encoded(update)}" for update in updates]
    lines += [f"X-Session-Update: {value}" for value in raw]
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 2", *lines, *more, "", "ok"]).encode()


class Shop:
    """A backend that says one update with each answer; without one, none."""

    def __init__(self, backend: RecordingBackend, gateway: Gateway) -> None:
        self.backend, self.gateway = backend, gateway

    async def ask(self, cookie: str | None, *updates: Any, path: str = "/", **given: Any) -> ClientResponse:
        self.backend.answer = answer(*updates, raw=given.pop("raw", ()), more=given.pop("more", ()))
        response = await self.gateway.request(given.pop("method", "GET"), path, cookie=cookie, **given)
        assert response.status == 200
        assert not [name for name in response.headers if name in OURS[:2]]
        return response

    async def told(self, cookie: str | None, path: str = "/", **given: Any) -> Any:
        """What the backend is told now; None: nothing."""
        response = await self.ask(cookie, path=path, **given)
        assert failure(response) is None
        return decoded(self.backend.last.value("X-Session-Data"))


def failure(response: ClientResponse) -> str | None:
    return response.headers.get("X-Session-Update-Failed")


@pytest.fixture
async def shop(make_gateway: MakeGateway, backend: RecordingBackend) -> Shop:
    return Shop(backend, await make_gateway(backend.url, routes=ROUTES))


@pytest.fixture
async def cookie(shop: Shop) -> str:
    return await shop.gateway.sign_in()


# -- the way there and back
async def test_a_backend_finds_what_it_said_and_clients_see_none_of_it(shop: Shop, cookie: str) -> None:
    assert await shop.told(cookie) == {}
    assert failure(await shop.ask(cookie, {"visits": 1, "cart": {"pen": 2}, "who": "王小明"})) is None
    assert await shop.told(cookie) == {"visits": 1, "cart": {"pen": 2}, "who": "王小明"}
    await shop.ask(cookie, {"visits": 2, "cart": {"pen": None, "ink": 1}})
    assert await shop.told(cookie) == {"visits": 2, "cart": {"ink": 1}, "who": "王小明"}
    await shop.ask(cookie, None)
    assert await shop.told(cookie) == {}


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
async def test_every_method_can_bring_an_update(shop: Shop, cookie: str, method: str) -> None:
    if method == "HEAD":
        shop.backend.answer = answer({"by": method}).removesuffix(b"ok")
        assert (await shop.gateway.request("HEAD", "/", cookie=cookie)).status == 200
    else:
        await shop.ask(cookie, {"by": method}, method=method, data=b"x")
    assert await shop.told(cookie) == {"by": method}


async def test_a_websocket_is_told_and_its_handshake_can_bring_an_update(shop: Shop, cookie: str) -> None:
    await shop.ask(cookie, {"before": 1})
    shop.backend.answer = SWITCHED.format(update=encoded({"opened": True})).encode()
    received = await shop.gateway.raw(HANDSHAKE.format(cookie=cookie).encode(), half_close=True, seconds=1)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert b"x-session" not in received.lower()
    assert decoded(shop.backend.last.value("X-Session-Data")) == {"before": 1}
    assert await shop.told(cookie) == {"before": 1, "opened": True}


async def test_an_interim_answer_changes_nothing_and_tells_nothing(shop: Shop, cookie: str) -> None:
    early = f"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Session-Update: {encoded({'a': 1})}\r\n\r\n"
    shop.backend.answer = early.encode() + answer()
    request = f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
    received = await shop.gateway.raw(request.encode())
    assert received.startswith(b"HTTP/1.1 103 ")
    assert b"x-session" not in received.lower()
    assert await shop.told(cookie) == {}


async def test_one_of_several_servers_is_told_and_can_bring_an_update(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    servers = {"demo": {"servers": [{"url": backend.url}, {"url": backend.url.replace("127.0.0.1", "localhost")}]}}
    settings = {"upstreams": servers, "routes": ROUTES}
    shop = Shop(backend, await make_gateway(backend.url, **settings))
    cookie = await shop.gateway.sign_in()
    for count in range(4):
        assert await shop.told(cookie) == ({"count": count} if count else {})
        await shop.ask(cookie, {"count": count + 1})


# -- whose data
async def test_routes_of_one_upstream_share_their_data_and_a_namespace_is_apart(shop: Shop, cookie: str) -> None:
    await shop.ask(cookie, {"a": 1})
    await shop.ask(cookie, {"b": 2}, path="/shared/")
    assert await shop.told(cookie, "/too/") == {"a": 1}
    assert await shop.told(cookie, "/shared/") == {"b": 2}


async def test_two_sessions_of_one_user_have_data_of_their_own(shop: Shop, cookie: str) -> None:
    await shop.ask(cookie, {"a": 1})
    assert await shop.told(await shop.gateway.sign_in()) == {}


@pytest.mark.parametrize(("user", "kept"), [(ALICE, {"a": 1}), (MANAGER, {})])
async def test_the_data_stay_when_the_same_user_signs_in_again_and_go_with_another(
    shop: Shop, cookie: str, user: dict[str, str], kept: Any
) -> None:
    await shop.ask(cookie, {"a": 1})
    response = await shop.gateway.post("/auth/login", json=user, cookie=cookie)
    assert await shop.told(session_cookie(response)) == kept


async def test_a_stranger_has_none_and_an_update_for_him_fails(shop: Shop) -> None:
    assert await shop.told(None, "/shown/") is None
    assert failure(await shop.ask(None, {"a": 1}, path="/shown/")) == "no_session"


async def test_where_identity_is_optional_somebody_signed_in_has_his(shop: Shop, cookie: str) -> None:
    await shop.ask(cookie, {"a": 1}, path="/shown/")
    assert await shop.told(cookie, "/shown/") == {"a": 1}


async def test_a_token_has_no_session_data(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    shop = Shop(backend, await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path)))
    cookie, token = await new_token(shop.gateway)
    assert await shop.told(None, headers=bearer(token)) is None
    assert failure(await shop.ask(None, {"a": 1}, headers=bearer(token))) == "no_session"
    assert await shop.told(cookie) == {}


# -- routes that did not opt in, and what clients and backends make up
@pytest.mark.parametrize("path", ["/without/", "/public/"])
async def test_on_a_route_without_it_nothing_is_told_and_an_update_is_dropped(
    shop: Shop, cookie: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.ask(cookie, {"a": 1})
    assert await shop.told(cookie, path) is None
    caplog.clear()
    response = await shop.ask(cookie, {"a": 2}, path=path)
    assert failure(response) is None
    assert [record.levelname for record in caplog.records if record.name == "gateway.session_data"] == ["WARNING"]
    assert await shop.told(cookie) == {"a": 1}


@pytest.mark.parametrize("path", ["/", "/without/"])
async def test_what_a_client_says_under_these_names_reaches_no_backend(shop: Shop, cookie: str, path: str) -> None:
    spellings = [
        spelled for name in OURS for spelled in (name, name.lower(), name.replace("-", "_"), name.replace("-", "."))
    ]
    await shop.ask(cookie, path=path, headers=[(name, encoded({"made": "up"})) for name in spellings])
    sent = [
        (name, value) for name, value in shop.backend.last.headers if name.lower().startswith("x") and "ession" in name
    ]
    assert sent == ([("X-Session-Data", encoded({}))] if path == "/" else [])


@pytest.mark.parametrize("path", ["/", "/without/"])
async def test_what_a_backend_says_under_these_names_reaches_no_client(shop: Shop, cookie: str, path: str) -> None:
    made_up = tuple(f"{name}: e30" for name in ("X-Session-Data", "X-Session-Update-Failed", "X_Session_Update"))
    response = await shop.ask(cookie, path=path, more=(*made_up, "X-Session-Other: 1"))
    assert [name for name in response.headers if "ession" in name] == ["X-Session-Other"]


# -- what cannot be stored
@pytest.mark.parametrize(
    ("raw", "code"),
    table(
        {
            "no base64url": (("{}",), "not_json"),
            "no JSON": ((base64.urlsafe_b64encode(b"hello").decode(),), "not_json"),
            "empty": (("",), "not_json"),
            "NaN": ((base64.urlsafe_b64encode(b'{"a":NaN}').decode(),), "not_json"),
            "a list": ((encoded([1]),), "not_an_object"),
            "two of them": ((encoded({"a": 1}), encoded({"b": 1})), "repeated"),
            "too large": ((encoded({"a": "x" * 4000}),), "too_large"),
        }
    ),
)
async def test_an_update_that_cannot_be_stored_is_told_the_client_and_changes_nothing(
    shop: Shop, cookie: str, raw: tuple[str, ...], code: str
) -> None:
    await shop.ask(cookie, {"kept": True})
    response = await shop.ask(cookie, raw=raw)
    assert (failure(response), await response.text()) == (code, "ok")
    assert await shop.told(cookie) == {"kept": True}


async def test_each_route_has_its_own_limit_and_what_exceeds_it_is_not_told(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    large = {"session_data": {"enabled": True, "namespace": "small", "max_bytes": 128}}
    shop = Shop(backend, await make_gateway(backend.url, routes=[*ROUTES, {"path": "/large/", **large}]))
    cookie = await shop.gateway.sign_in()
    long = {"a": "x" * 60}
    assert failure(await shop.ask(cookie, long, path="/small/")) == "too_large"
    assert failure(await shop.ask(cookie, long, path="/large/")) is None
    assert await shop.told(cookie, "/large/") == long
    assert await shop.told(cookie, "/small/") is None
    await shop.ask(cookie, {"a": "short"}, path="/small/")
    assert await shop.told(cookie, "/small/") == {"a": "short"}


async def test_when_the_session_ended_meanwhile_the_answer_passes_and_says_so(shop: Shop, cookie: str) -> None:
    async def end_it(_: Recorded, writer: asyncio.StreamWriter) -> None:
        reader, own = await asyncio.open_connection("127.0.0.1", shop.gateway.port)
        own.write(f"POST /auth/logout HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n".encode())
        assert b" 200 " in (await reader.read())[:15]
        own.close()
        writer.write(answer({"a": 1}))

    shop.backend.answer = end_it
    response = await shop.gateway.get("/", cookie=cookie)
    assert (response.status, failure(response), await response.text()) == (200, "session_over", "ok")
    assert (await shop.gateway.get("/", cookie=cookie)).status == 302


async def test_when_the_store_is_away_the_answer_passes_and_says_so(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, routes=ROUTES)
    cookie = await gateway.sign_in()

    async def stop_redis(_: Recorded, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(own_redis.stop)
        writer.write(answer({"a": 1}))

    backend.answer = stop_redis
    response = await gateway.get("/", cookie=cookie)
    assert (response.status, failure(response), await response.text()) == (200, "store_unavailable", "ok")


def reset(writer: asyncio.StreamWriter) -> None:
    """Unlike an end of what it sends, this says that the client waits for nothing any more."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_what_a_backend_said_is_stored_although_the_client_has_left(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    shop = Shop(backend, await make_gateway(backend.url, routes=ROUTES, redis={"timeout": 20}))
    cookie = await shop.gateway.sign_in()
    shop.backend.answer = answer({"a": 1})
    others = len(list(shop.gateway.parts.front.clients))
    _, writer = await asyncio.open_connection("127.0.0.1", shop.gateway.port)
    redis.client_pause(20000, all=False)  # whoever writes waits
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
        async with asyncio.timeout(15):
            while not [client for client in redis.client_list() if "b" in client["flags"]]:
                await asyncio.sleep(0.01)
            reset(writer)
            while len(list(shop.gateway.parts.front.clients)) > others:
                await asyncio.sleep(0.01)
    finally:
        redis.client_unpause()
    async with asyncio.timeout(15):
        while await shop.told(cookie) != {"a": 1}:
            await asyncio.sleep(0.01)


# -- at the same time
PARALLEL = 12


async def all_at_once(backend: RecordingBackend, gateways: list[Gateway], cookie: str) -> list[str | None]:
    """Every request has reached the backend before the first answer begins; each answer changes a key of its own."""
    everybody = asyncio.Barrier(PARALLEL)

    async def together(request: Recorded, writer: asyncio.StreamWriter) -> None:
        await everybody.wait()
        writer.write(answer({"cart": {request.target.rpartition("/")[2]: 1}}))

    backend.answer = together
    asked = [gateways[n % len(gateways)].get(f"/{n}", cookie=cookie) for n in range(PARALLEL)]
    return [failure(response) for response in await asyncio.gather(*asked)]


@pytest.fixture(params=["redis", "file", "memory"])
async def engine_shop(
    request: pytest.FixtureRequest, make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> Shop:
    folder = {"file": {"path": str(tmp_path / "sessions")}} if request.param == "file" else {}
    session = {"engine": request.param, **folder}
    return Shop(backend, await make_gateway(backend.url, routes=ROUTES, session=session))


async def test_parallel_answers_that_change_different_keys_all_win(engine_shop: Shop) -> None:
    cookie = await engine_shop.gateway.sign_in()
    assert await all_at_once(engine_shop.backend, [engine_shop.gateway], cookie) == [None] * PARALLEL
    assert await engine_shop.told(cookie) == {"cart": {str(n): 1 for n in range(PARALLEL)}}


async def test_parallel_answers_on_two_gateways_all_win_and_both_tell_it(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    users = [
        {"source": "file", "path": str(cheap_users(tmp_path / "both.yaml"))}
    ]  # one file: it names the sessions' users
    gateways = [await make_gateway(backend.url, routes=ROUTES, users=users) for _ in range(2)]
    cookie = await gateways[0].sign_in()
    assert await all_at_once(backend, gateways, cookie) == [None] * PARALLEL
    for gateway in gateways:
        async with asyncio.timeout(5):  # the other one is told by Redis, a moment later
            while await Shop(backend, gateway).told(cookie) != {"cart": {str(n): 1 for n in range(PARALLEL)}}:
                await asyncio.sleep(0.01)


async def test_an_answer_that_brings_an_update_and_a_new_cookie_loses_neither(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    times = {"rotate_interval": 600, "touch_interval": 1, "idle_timeout": 60}
    shop = Shop(backend, await make_gateway(backend.url, routes=ROUTES, session=times))
    cookie = await shop.gateway.sign_in()
    await make_due(shop.gateway, cookie)
    response = await shop.ask(cookie, {"a": 1}, more=("Cache-Control: private",))
    renewed = session_cookie(response)
    assert (renewed == cookie, failure(response)) == (False, None)
    for either in (cookie, renewed, renewed):
        assert await shop.told(either) == {"a": 1}


# -- the settings
@pytest.mark.parametrize(
    ("route", "session", "key"),
    table(
        {
            "a public route": ({"access": "public", **ON}, {}, "session_data.enabled"),
            "sessions in the cookie": (ON, {"engine": "cookie"}, "session_data.enabled"),
            "a namespace alone": ({"session_data": {"namespace": "a"}}, {}, "session_data.namespace"),
            "a namespace with blanks": (
                {"session_data": {"enabled": True, "namespace": "a b"}},
                {},
                "session_data.namespace",
            ),
            "more than servers take": (
                {"session_data": {"enabled": True, "max_bytes": 65536}},
                {},
                "session_data.max_bytes",
            ),
        }
    ),
)
def test_settings_that_make_no_sense_are_refused(route: dict[str, Any], session: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", routes=[{"path": "/", **route}], session=session)
    assert [problem.key for problem in caught.value.problems] == [f"routes.0.{key}"]
