"""What is open hangs on its session: a WebSocket, an event stream, a long poll, a download end with it, within a second, on
whichever gateway they are (founding decision 6). An outage of the store ends nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession
from websockets.exceptions import ConnectionClosed

from gateway.front.tunnel import Tunnel
from gateway.store.redis_server import RedisServer
from tests.behaviour.test_websockets import ACCEPT, Echo, closed, echo, handshake, open_one, until
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, session_cookie

__all__ = ["echo"]
PROMISED, MARGIN = 1.0, 3
ROUTES = [{"path": "/"}]
EVENT = b"data: tick\n\n"


async def events(_: Any, writer: asyncio.StreamWriter) -> None:
    """An event stream without end: one event, then silence."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
    await writer.drain()
    await asyncio.sleep(60)


async def download(_: Any, writer: asyncio.StreamWriter) -> None:
    """A large answer that comes slowly."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
    await writer.drain()
    await asyncio.sleep(60)


async def hang(_: Any, writer: asyncio.StreamWriter) -> None:
    """A long poll: no answer for a long time."""
    await asyncio.sleep(60)


@pytest.fixture
async def two(make_gateway: MakeGateway, echo: Echo) -> tuple[Gateway, Gateway]:
    """Two gateways on one Redis, in front of the same WebSockets."""
    return await make_gateway(echo.url, routes=ROUTES), await make_gateway(echo.url, routes=ROUTES)


async def sign_out(gateway: Gateway, cookie: str) -> float:
    """When it was done."""
    response = await gateway.post("/auth/logout", cookie=cookie, headers={"Accept": "application/json"})
    assert response.status in (200, 204), await response.text()
    return time.monotonic()


@pytest.mark.parametrize("other", [False, True], ids=["here", "on another gateway"])
async def test_a_websocket_ends_with_its_session(two: tuple[Gateway, Gateway], echo: Echo, other: bool) -> None:
    one = two[0]
    cookie, others_cookie = await one.sign_in(), await one.sign_in()
    async with open_one(one, cookie=cookie) as client, open_one(one, cookie=others_cookie) as bystander:
        await client.send("hello")
        assert await client.recv() == "hello"
        await asyncio.sleep(0.6)  # past the moment in which it is not watched yet
        done = await sign_out(two[other], cookie)
        assert await closed(client) == (4401, "revoked")
        assert time.monotonic() - done < PROMISED * MARGIN
        await until(lambda: echo.closes)
        assert echo.closes == [(4401, "revoked")]
        await bystander.send("still here")
        assert await bystander.recv() == "still here"


async def test_a_websocket_ends_when_its_user_is_removed(make_gateway: MakeGateway, echo: Echo, tmp_path: Path) -> None:
    text = (ROOT / "config/users.yaml").read_text()
    path = tmp_path / "users.yaml"
    path.write_text(text)
    gateway = await make_gateway(echo.url, routes=ROUTES, users=[{"source": "file", "path": str(path)}])
    async with open_one(gateway, cookie=await gateway.sign_in()) as client:
        path.write_text(text[: text.index("- username: alice")])
        assert await closed(client) == (4401, "revoked")


async def test_a_websocket_ends_when_its_user_may_not_go_there_any_more(
    make_gateway: MakeGateway, echo: Echo, tmp_path: Path
) -> None:
    text = (ROOT / "config/users.yaml").read_text()
    path = tmp_path / "users.yaml"
    path.write_text(text)
    routes = [{"path": "/mgr/", "access": {"usertype": "mgr"}}, {"path": "/"}]
    gateway = await make_gateway(echo.url, routes=routes, users=[{"source": "file", "path": str(path)}])
    cookie = await gateway.sign_in(MANAGER)
    async with open_one(gateway, "/mgr/live", cookie=cookie) as client, open_one(gateway, cookie=cookie) as bystander:
        await asyncio.sleep(0.6)  # past the moment in which they are not watched yet
        path.write_text(text.replace("usertype: mgr", "usertype: clerk"))
        assert await closed(client) == (4401, "rights_changed")
        await bystander.send("still here")
        assert await bystander.recv() == "still here"


async def test_the_close_frame_goes_in_where_a_frame_ends(two: tuple[Gateway, Gateway], echo: Echo) -> None:
    """In the middle of a frame of 100 MB: the frame that is on its way to the backend is not broken into."""
    one = two[0]
    cookie = await one.sign_in()
    async with open_one(one, cookie=cookie, compression=None) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        client.transport.write(b"\x82\xff" + (100_000_000).to_bytes(8, "big") + b"abcd" + bytes(1000))
        await asyncio.sleep(0.6)
        done = await sign_out(two[1], cookie)
        assert await closed(client) == (4401, "revoked")
        assert time.monotonic() - done < (PROMISED + 1) * MARGIN
        await until(lambda: echo.closes)
        assert echo.closes[0][0] == 1006  # it stayed unfinished: aborted, not told anything that is no frame


async def test_traffic_keeps_the_session_alive_and_silence_does_not(make_gateway: MakeGateway, echo: Echo) -> None:
    times = {"idle_timeout": 2, "touch_interval": 1}
    gateway = await make_gateway(echo.url, routes=ROUTES, session=times)
    silent, busy = await gateway.sign_in(), await gateway.sign_in()
    async with open_one(gateway, cookie=silent) as quiet, open_one(gateway, cookie=busy) as talking:
        ending = asyncio.create_task(closed(quiet))
        while not ending.done():
            await talking.send("I am here")
            assert await talking.recv() == "I am here"
            await asyncio.sleep(0.2)
        assert await ending == (4401, "expired_idle")
        await talking.send("still here")
        assert await talking.recv() == "still here"
    assert (await gateway.get("/orders", cookie=busy)).status != 302


async def test_traffic_counts_for_nothing_where_a_route_says_so(make_gateway: MakeGateway, echo: Echo) -> None:
    routes = [{"path": "/", "websocket": {"activity": False}}]
    gateway = await make_gateway(echo.url, routes=routes, session={"idle_timeout": 2, "touch_interval": 1})
    async with open_one(gateway, cookie=await gateway.sign_in()) as client:
        ending = asyncio.create_task(closed(client))
        while not ending.done():
            await client.send("I am here")
            await asyncio.sleep(0.2)
        assert await ending == (4401, "expired_idle")


async def test_a_change_of_the_session_s_id_ends_nothing(make_gateway: MakeGateway, echo: Echo) -> None:
    """Its id is given to another one, whose cookie the browser uses from then on; a sign-out under that one is noticed."""
    gateway = await make_gateway(echo.url, routes=ROUTES, session={"rotate_interval": 1, "rotate_grace": 1})
    cookie = await gateway.sign_in()
    async with open_one(gateway, cookie=cookie) as client:
        await asyncio.sleep(1.2)
        response = await gateway.get("/orders", cookie=cookie, headers={"Cache-Control": "no-store"})
        new = "; ".join(f"{name}={morsel.value}" for name, morsel in response.cookies.items())
        assert new, "no new cookie came"
        await gateway.get("/orders", cookie=new)
        for _ in range(8):  # until long after the old id is gone
            await asyncio.sleep(0.5)
            await client.send("still here")
            assert await client.recv() == "still here"
        await sign_out(gateway, new)
        assert (await closed(client))[0] == 4401


async def test_another_user_s_sign_in_in_the_same_browser_ends_what_the_first_one_opened(
    two: tuple[Gateway, Gateway],
) -> None:
    one = two[0]
    cookie = await one.sign_in()
    async with open_one(one, cookie=cookie) as client:
        await asyncio.sleep(0.6)
        done = time.monotonic()
        assert (await two[1].post("/auth/login", json=MANAGER, cookie=cookie)).status == 200
        assert await closed(client) == (4401, "replaced")
        assert time.monotonic() - done < PROMISED * MARGIN


async def test_the_same_user_s_next_sign_in_ends_nothing_and_activity_goes_on_counting(
    make_gateway: MakeGateway, echo: Echo
) -> None:
    gateway = await make_gateway(echo.url, routes=ROUTES, session={"idle_timeout": 2, "touch_interval": 1})
    cookie = await gateway.sign_in()
    async with open_one(gateway, cookie=cookie) as client:
        await asyncio.sleep(0.6)
        response = await gateway.post("/auth/login", json=ALICE, cookie=cookie)
        new = session_cookie(response)
        for _ in range(25):  # five seconds: longer than the session could be idle
            await client.send("still here")
            assert await client.recv() == "still here"
            await asyncio.sleep(0.2)
        await sign_out(gateway, new)
        assert (await closed(client))[0] == 4401


async def test_a_new_password_ends_the_others_and_not_what_its_owner_has_open(
    make_gateway: MakeGateway, echo: Echo, tmp_path: Path
) -> None:
    path = tmp_path / "users.yaml"
    path.write_text((ROOT / "config/users.yaml").read_text())
    gateway = await make_gateway(echo.url, routes=ROUTES, users=[{"source": "file", "path": str(path)}])
    cookie, elsewhere = await gateway.sign_in(), await gateway.sign_in()
    async with open_one(gateway, cookie=cookie) as mine, open_one(gateway, cookie=elsewhere) as other:
        await asyncio.sleep(0.6)
        body = {"old_password": ALICE["password"], "new_password": "a new secret of hers"}
        response = await gateway.post("/auth/password", json=body, cookie=cookie)
        assert response.status == 200, await response.text()
        assert (await closed(other))[0] == 4401
        for _ in range(10):
            await mine.send("still here")
            assert await mine.recv() == "still here"
            await asyncio.sleep(0.2)


async def test_pongs_are_sent_by_nobody_and_keep_no_session_alive(make_gateway: MakeGateway, echo: Echo) -> None:
    gateway = await make_gateway(echo.url, routes=ROUTES, session={"idle_timeout": 2, "touch_interval": 1})
    async with open_one(gateway, cookie=await gateway.sign_in()) as client:
        ending = asyncio.create_task(closed(client))
        while not ending.done():
            with suppress(ConnectionClosed):
                await echo.seen[0].ping()
            await asyncio.sleep(0.2)
        assert await ending == (4401, "expired_idle")


async def test_a_websocket_that_opens_while_the_gateway_stops_is_told_so(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    may_answer = asyncio.Event()

    async def late(_: Any, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        head = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(f"{head}{ACCEPT}\r\n\r\n".encode())

    backend.answer = late
    gateway = await make_gateway(backend.url, routes=[{"path": "/", "access": "public"}])
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake())
    await until(lambda: backend.requests)
    gateway.parts.front.drain()
    may_answer.set()
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 101 ")
    assert await asyncio.wait_for(reader.readexactly(9), 10) == b"\x88\x07\x03\xe9drain"
    writer.close()


async def test_an_outage_of_the_store_ends_nothing(
    make_gateway: MakeGateway, echo: Echo, own_redis: RedisServer
) -> None:
    gateway = await make_gateway(echo.url, routes=ROUTES, redis={"url": own_redis.url})
    cookie = await gateway.sign_in()
    async with open_one(gateway, cookie=cookie) as client:
        await asyncio.sleep(0.6)
        own_redis.kill()
        for _ in range(6):
            await asyncio.sleep(0.5)
            await client.send("still here")
            assert await client.recv() == "still here"
        own_redis.start()


# -- answers that take their time
async def test_an_event_stream_begins_at_once_and_ends_with_its_session(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = events
    gateways = [await make_gateway(backend.url, routes=ROUTES) for _ in range(2)]
    cookie = await gateways[0].sign_in()
    async with ClientSession() as client:
        response = await client.get(f"{gateways[0].url}/events", headers={"Cookie": cookie})
        assert await asyncio.wait_for(response.content.readexactly(len(EVENT)), 5) == EVENT
        await asyncio.sleep(0.6)
        done = await sign_out(gateways[1], cookie)
        assert await asyncio.wait_for(response.content.read(), 10) == b"", "a stream of events ends in order"
        assert time.monotonic() - done < PROMISED * MARGIN


async def test_a_silent_event_stream_is_not_cut_off(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    backend.answer = events
    routes = [{"path": "/", "access": "public", "timeouts": {"between_bytes": 0.5}}]
    gateway = await make_gateway(backend.url, routes=routes)
    async with ClientSession() as client:
        response = await client.get(f"{gateway.url}/events")
        assert await asyncio.wait_for(response.content.readexactly(len(EVENT)), 5) == EVENT
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.read(1), 3)
        response.close()


async def test_a_long_poll_that_has_no_answer_yet_gets_the_refusal(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = hang
    gateway = await make_gateway(backend.url, routes=ROUTES)
    cookie = await gateway.sign_in()
    asking = asyncio.create_task(gateway.get("/poll", cookie=cookie))
    await until(lambda: backend.requests)
    await asyncio.sleep(0.6)
    async with ClientSession() as other:  # the client of the gateway's own remembers nothing between requests
        await other.post(f"{gateway.url}/auth/logout", headers={"Cookie": cookie})
    response = await asyncio.wait_for(asking, 10)
    assert response.status == 302
    assert (await response.json())["reason"] == "revoked"


async def test_a_download_that_is_not_whole_must_not_look_whole(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = download
    gateway = await make_gateway(backend.url, routes=ROUTES)
    cookie = await gateway.sign_in()
    async with ClientSession() as client:
        response = await client.get(f"{gateway.url}/file", headers={"Cookie": cookie})
        assert await response.content.readexactly(5) == b"begin"
        await asyncio.sleep(0.6)
        await sign_out(gateway, cookie)
        with pytest.raises((ClientPayloadError, ClientConnectionError)):
            await asyncio.wait_for(response.content.read(), 10)


async def test_everything_is_given_back(two: tuple[Gateway, Gateway], echo: Echo) -> None:
    one = two[0]
    cookie = await one.sign_in()
    for _ in range(20):
        async with open_one(one, cookie=cookie) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
    await until(lambda: len(echo.closes) == 20)
    await until(lambda: not [client for client in one.parts.front.clients if isinstance(client, Tunnel)])


@pytest.fixture(autouse=True)
async def nothing_fails() -> AsyncIterator[None]:
    """An error in a callback fails the test."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    yield
    assert failures == []
