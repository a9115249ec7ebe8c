"""WebSockets and event streams whose ends vanish, stall, flood and break frames off: the gateway gives everything back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.store.redis_server import RedisServer
from tests.behaviour.test_websockets import ACCEPT, handshake
from tests.harness import MASTER, ROOT, GatewayProcess

CLIENTS, SECONDS = 30, 6.0
RESET = struct.pack("ii", 1, 0)
SWITCH = (
    f"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n".encode()
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n"


def frame(dice: random.Random) -> bytes:
    size = dice.choice((0, 1, 125, 126, 5000, 70000))
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + struct.pack("!H", size)
        if size < 65536
        else b"\x7f" + struct.pack("!Q", size)
    )
    return b"\x82" + length + bytes(size)


def vanish(writer: asyncio.StreamWriter, dice: random.Random) -> None:
    if dice.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> None:
    """One end of an open WebSocket for a while; then it is gone."""
    for _ in range(dice.randint(0, 6)):
        turn = dice.choice(("send", "half", "flood", "read", "wait", "garbage"))
        if turn == "send":
            writer.write(frame(dice))
        elif turn == "half":
            writer.write(frame(dice)[: dice.randint(1, 200)])
        elif turn == "flood":
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while True:
                        writer.write(frame(dice))
                        await writer.drain()
        elif turn == "garbage":
            writer.write(dice.randbytes(dice.randint(1, 3000)))
        elif turn == "read":
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while await reader.read(65536):
                        pass
        else:
            await asyncio.sleep(dice.random() * 0.3)
    vanish(writer, dice)


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    """Half of its WebSockets misbehave, half send back what comes; streams of events go on or break off."""
    dice = random.Random(5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"websocket" in head:
                    writer.write(SWITCH + (frame(dice) if dice.random() < 0.3 else b""))
                    if dice.random() < 0.5:
                        await misbehave(reader, writer, dice)
                        return None
                    while data := await reader.read(65536):
                        writer.write(data)
                        await writer.drain()
                    return None
                writer.write(STREAM)
                await asyncio.sleep(dice.random())
                if dice.random() < 0.5:
                    return vanish(writer, dice)
                writer.write(b"0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def gateway(backend: str, shared_redis: RedisServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    config = {
        "server": {"port": 0, "drain_timeout": 5},
        "management": {"port": 0},
        "redis": {"url": shared_redis.url, "prefix": "gw-vanish:"},
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"app": {"url": backend}},
        "routes": [{"path": "/", "access": "public"}],
    }
    (tmp_path / "gateway.yaml").write_text(json.dumps(config), encoding="utf-8")
    with GatewayProcess("serve", "--config", str(tmp_path / "gateway.yaml")) as process:
        yield process


def descriptors(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def memory(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def visit(port: int, dice: random.Random, until: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if dice.random() < 0.2:
                writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), dice.random())
                vanish(writer, dice)
                continue
            writer.write(handshake() + (frame(dice) if dice.random() < 0.2 else b""))
            if dice.random() < 0.8:
                await asyncio.wait_for(reader.read(1), 20)
            await misbehave(reader, writer, dice)


@pytest.mark.slow
async def test_everything_is_given_back(gateway: GatewayProcess) -> None:
    before = descriptors(gateway)
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    async with asyncio.timeout(60):
        await asyncio.gather(*[visit(gateway.port, random.Random(number), end) for number in range(CLIENTS)])
    async with asyncio.timeout(30):  # kept connections to the backend and to Redis may stay
        while descriptors(gateway) > before + 20:
            await asyncio.sleep(0.1)
    assert memory(gateway) < 250e6
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake())
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 101 ")
    writer.close()
    gateway.stop()
    assert "Traceback" not in gateway.output
    assert "unexpected error" not in gateway.output
