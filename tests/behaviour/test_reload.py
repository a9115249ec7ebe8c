"""SIGHUP: servers of an upstream come and go without a restart; a wrong file changes nothing (docs/deployment.md)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.store.redis_server import RedisServer
from tests.fakes import Recorded, RecordingBackend
from tests.harness import MASTER, ROOT, GatewayProcess


class Named(RecordingBackend):
    """Says its name, when it may."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer = self.say

    async def say(self, _: Recorded, writer: asyncio.StreamWriter) -> None:
        await self.may_answer.wait()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{self.name}".encode())


@pytest.fixture
async def servers() -> AsyncIterator[list[Named]]:
    made = [Named(name) for name in "abc"]
    for one in made:
        await one.start()
    yield made
    for one in made:
        one.may_answer.set()
        await one.stop()


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer) -> Callable[..., Path]:
    """Writes the configuration: ``config(urls, routes=…)``."""

    def write(urls: list[str], **over: Any) -> Path:
        data = {
            "server": {"port": 0, "workers": 1},
            "management": {"port": 0},
            "redis": {"url": redis_server.url},
            "keys": {"master": MASTER},
            "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
            "upstreams": {"app": {"servers": [{"url": url} for url in urls]}},
            "routes": [{"path": "/", "access": "public"}],
            **over,
        }
        path = tmp_path / "gateway.yaml"
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write


@pytest.fixture
def start() -> Iterator[Callable[[Path], GatewayProcess]]:
    running: list[GatewayProcess] = []

    def begin(path: Path) -> GatewayProcess:
        running.append(GatewayProcess("serve", "--config", str(path)))
        return running[-1].start()

    yield begin
    for process in running:
        process.stop()


def hang_up(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    os.kill(gateway.process.pid, signal.SIGHUP)


async def ask(gateway: GatewayProcess) -> str:
    """The name of the server that answers; empty for anything else."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    data = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return data[-1:].decode() if data.startswith(b"HTTP/1.1 200 ") else ""


async def answering(gateway: GatewayProcess, wanted: set[str]) -> None:
    """Until these answer, and nobody else."""
    async with asyncio.timeout(30):
        while {await ask(gateway) for _ in range(8)} != wanted:
            await asyncio.sleep(0.05)


async def until_said(gateway: GatewayProcess, words: str, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while gateway.output.count(words) < times:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
async def test_servers_come_and_go_and_what_is_under_way_is_finished(
    servers: list[Named], config: Callable[..., Path], start: Callable[[Path], GatewayProcess], workers: int
) -> None:
    a, b, c = servers
    listening = {"port": 0, "workers": workers}
    gateway = start(config([a.url, b.url], server=listening))
    await answering(gateway, {"a", "b"})
    a.may_answer.clear()
    before = len(a.requests)
    waiting = [asyncio.create_task(ask(gateway)) for _ in range(4)]
    async with asyncio.timeout(10):
        while len(a.requests) == before:
            await asyncio.sleep(0.01)
    config([b.url, c.url], server=listening)
    hang_up(gateway)
    await until_said(gateway, "the configuration was read again", workers)
    await answering(gateway, {"b", "c"})
    a.may_answer.set()
    assert set(await asyncio.gather(*waiting)) <= {"a", "b"}, "a request on the server that left was lost"
    assert b.connections <= 60, "the connections of the server that stayed were given up"


async def test_a_worker_that_begins_later_has_the_servers_of_today(
    servers: list[Named], config: Callable[..., Path], start: Callable[[Path], GatewayProcess]
) -> None:
    listening = {"port": 0, "workers": 2}
    gateway = start(config([servers[0].url, servers[1].url], server=listening))
    config([servers[1].url, servers[2].url], server=listening)
    hang_up(gateway)  # at once: a worker may not even have begun
    await until_said(gateway, "the configuration was read again", 2)
    assert gateway.process is not None
    worker = psutil.Process(gateway.process.pid).children()[0]
    worker.kill()
    await until_said(gateway, "a worker ended and is replaced")
    await until_said(gateway, "the configuration was read again", 3)
    await answering(gateway, {"b", "c"})


async def test_a_wrong_file_changes_nothing_and_says_why(
    servers: list[Named], config: Callable[..., Path], start: Callable[[Path], GatewayProcess]
) -> None:
    path = config([servers[0].url, servers[1].url])
    gateway = start(path)
    path.write_text("upstreams: {app: {servers: [{url: nonsense}]}", encoding="utf-8")
    hang_up(gateway)
    await until_said(gateway, "is wrong; nothing changes")
    await answering(gateway, {"a", "b"})
    config([servers[2].url], routes=[{"path": "/", "access": "public", "name": "another"}])
    hang_up(gateway)
    await until_said(gateway, "these changes need a restart: routes")
    await answering(gateway, {"c"})


async def test_what_needs_a_restart_is_named(
    servers: list[Named], config: Callable[..., Path], start: Callable[[Path], GatewayProcess]
) -> None:
    urls = [servers[0].url, servers[1].url]
    routes = [{"path": "/", "access": "public", "upstream": "app"}]
    gateway = start(config(urls, routes=routes))
    other = {"app": {"servers": [{"url": url} for url in urls], "balance": "sticky"}, "more": {"url": urls[0]}}
    config(urls, routes=routes, upstreams=other, log={"level": "debug"})
    hang_up(gateway)
    await until_said(gateway, "these changes need a restart: log.level, upstreams.app.balance, upstreams.more")
    await answering(gateway, {"a", "b"})


async def test_who_left_is_no_component_any_more(
    servers: list[Named], config: Callable[..., Path], start: Callable[[Path], GatewayProcess]
) -> None:
    gateway = start(config([servers[0].url, servers[1].url]))
    config([servers[1].url, servers[2].url])
    hang_up(gateway)
    await answering(gateway, {"b", "c"})
    host, port = gateway.management.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        body = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")[2]
    places = {one.url.removeprefix("http://") for one in servers[1:]}
    components = json.loads(body)["components"]
    assert {name.partition("/")[2] for name in components if "/" in name} == places
    assert set(components.values()) == {"ok"}
