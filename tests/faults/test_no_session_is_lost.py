"""Real ``gateway serve`` processes and a real Redis, killed, frozen and paused: no session is lost, nobody is signed out
(docs/http-api.md; founding decision 1). Redis writes its append-only file at every command here (hazard R11)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector
from redis import Redis

from gateway.store.redis_server import RedisServer
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, MASTER, ROOT, GatewayProcess

PROMISED = 1.5
"""Seconds until a 503, with the time-out that is the default."""
MARGIN = 3


def write_config(folder: Path, upstream: str, **over: Any) -> Path:
    """A configuration file for ``gateway serve`` on free ports."""
    data: dict[str, Any] = {
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"demo": {"url": upstream}},
        "routes": [{"path": "/", "access": "authenticated"}],
        "server": {"port": 0},
        "management": {"port": 0},
        **over,
    }
    path = folder / f"gateway{len(list(folder.glob('gateway*.json')))}.json"
    path.write_text(json.dumps(data))  # which is YAML, too
    return path


class Serving(GatewayProcess):
    """``gateway serve`` with a configuration file."""

    def __init__(self, config: Path) -> None:
        super().__init__("serve", "--config", str(config))


@dataclass
class Person:
    """Somebody with a browser. ``cookie`` is what a browser would send; it keeps what every answer sets."""

    http: ClientSession
    cookie: str = ""
    answers: list[int] = field(default_factory=list)

    async def request(self, gateway: GatewayProcess, method: str, path: str, **kwargs: Any) -> tuple[int, str]:
        """Status and body."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        url = gateway.url + path
        async with self.http.request(method, url, headers=headers, allow_redirects=False, **kwargs) as response:
            text = await response.text()
            for morsel in response.cookies.values():
                self.cookie = f"{morsel.key}={morsel.value}" if morsel.value else ""
            self.answers.append(response.status)
            return response.status, text

    async def sign_in(self, gateway: GatewayProcess, user: dict[str, str] = ALICE) -> None:
        status, text = await self.request(gateway, "POST", "/auth/login", json=user)
        assert status == 200, text

    async def served(self, gateway: GatewayProcess) -> bool:
        """False: 503. Anything else, or a lost cookie, would be a sign-out."""
        status, text = await self.request(gateway, "GET", "/orders")
        assert status in (200, 503), text
        assert self.cookie, "an outage must never delete the cookie"
        return status == 200

    async def until_served(self, gateway: GatewayProcess, seconds: float = 10.0) -> float:
        started = time.monotonic()
        while not await self.served(gateway):
            assert time.monotonic() - started < seconds
            await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def slowest_refusal(self, gateway: GatewayProcess, times: int) -> float:
        """Seconds; a copy in the process may be believed for half a second first."""
        until = time.monotonic() + 5
        while await self.served(gateway):
            assert time.monotonic() < until
        slowest = 0.0
        for _ in range(times):
            started = time.monotonic()
            assert not await self.served(gateway)
            slowest = max(slowest, time.monotonic() - started)
        return slowest


@pytest.fixture
async def people() -> AsyncIterator[Callable[[], Person]]:
    async with ClientSession(cookie_jar=DummyCookieJar(), connector=TCPConnector(limit=0)) as http:
        yield lambda: Person(http)


People = Callable[[], Person]
Serve = Callable[..., Awaitable[Serving]]


@pytest.fixture
async def serve(tmp_path: Path, backend: RecordingBackend) -> AsyncIterator[Serve]:
    """``await serve(redis={…})``: a gateway in a process of its own; ``config=`` to start one like another."""
    started: list[Serving] = []

    async def start(config: Path | None = None, **over: Any) -> Serving:
        process = Serving(config or write_config(tmp_path, backend.url, **over))
        started.append(process)
        await asyncio.to_thread(process.start)
        return process

    yield start
    for process in started:
        if process.process is not None and process.process.poll() is None:
            process.kill()


async def test_redis_killed_and_started_again_with_its_file(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    gateway = await serve(redis={"url": own_redis.url})
    alice, manager = people(), people()
    await alice.sign_in(gateway)
    await manager.sign_in(gateway, MANAGER)
    cookies = [alice.cookie, manager.cookie]
    for _ in range(2):
        assert [await alice.served(gateway), await manager.served(gateway)] == [True, True]
        own_redis.kill()
        for person in (alice, manager):
            await person.slowest_refusal(gateway, 3)
        own_redis.start()
        took = [await person.until_served(gateway) for person in (alice, manager)]
        print(f"served again after {max(took):.2f} s")
    assert [alice.cookie, manager.cookie] == cookies
    assert (await alice.request(gateway, "POST", "/auth/logout"))[0] == 200


async def test_a_paused_redis_is_a_503_in_time_and_then_all_goes_on(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    gateway = await serve(redis={"url": own_redis.url})
    alice = people()
    await alice.sign_in(gateway)
    assert await alice.served(gateway)
    with Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.execute_command("CLIENT", "PAUSE", 3000, "ALL")
    slowest = await alice.slowest_refusal(gateway, 1)
    print(f"refused after {slowest:.2f} s (promised: {PROMISED})")
    assert slowest < MARGIN * PROMISED
    await alice.until_served(gateway)


@pytest.mark.slow
async def test_a_frozen_redis_is_a_503_in_time_and_then_all_goes_on(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    gateway = await serve(redis={"url": own_redis.url})
    alice = people()
    await alice.sign_in(gateway)
    assert await alice.served(gateway)
    assert own_redis.pid is not None
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        slowest = await alice.slowest_refusal(gateway, 2)
        refused, _ = await people().request(gateway, "POST", "/auth/login", json=MANAGER)
        away, _ = await alice.request(gateway, "POST", "/auth/logout")
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    print(f"refused after {slowest:.2f} s (promised: {PROMISED})")
    assert slowest < MARGIN * PROMISED
    assert (refused, away) == (503, 503)
    assert alice.cookie


async def test_what_was_signed_in_on_a_gateway_that_was_killed_goes_on_with_the_next_one(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    gateway = await serve(redis={"url": own_redis.url})
    everybody = [people() for _ in range(8)]
    signing_in = [asyncio.create_task(person.sign_in(gateway)) for person in everybody]
    pending = set(signing_in)
    while pending and not any(person.cookie for person in everybody):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    gateway.kill()
    for task in signing_in:
        with suppress(ClientError, AssertionError):
            await task
    acknowledged = [person for person in everybody if person.cookie]
    assert acknowledged
    again = await serve(redis={"url": own_redis.url})
    assert [await person.served(again) for person in acknowledged] == [True] * len(acknowledged)


@pytest.mark.slow
async def test_through_three_kills_under_load_every_acknowledged_sign_in_and_sign_out_stays(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    gateway = await serve(redis={"url": own_redis.url}, session={"touch_interval": 1})
    stays = [people() for _ in range(3)]
    for person in stays:
        await person.sign_in(gateway)
    signed_in: list[Person] = []
    signed_out: list[str] = []
    over = asyncio.Event()

    async def come_and_go() -> None:
        while not over.is_set():
            person = people()
            status, _ = await person.request(gateway, "POST", "/auth/login", json=ALICE)
            assert status in (200, 503, 429)
            if status != 200:
                continue
            cookie = person.cookie
            status, _ = await person.request(gateway, "POST", "/auth/logout")
            if status == 200:
                signed_out.append(cookie)
            else:
                assert (status, person.cookie) == (503, cookie)
                signed_in.append(person)

    async def go_on(person: Person) -> None:
        while not over.is_set():
            await person.served(gateway)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(work) for work in (come_and_go(), come_and_go(), *map(go_on, stays))]
    for _ in range(3):
        await asyncio.sleep(1)
        own_redis.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_redis.start)
    await asyncio.sleep(1)
    over.set()
    await asyncio.gather(*tasks)
    for person in stays:
        await person.until_served(gateway)
    assert signed_out
    print(
        f"{len(signed_out)} signed out, {len(signed_in)} could not sign out, "
        f"{sum(person.answers.count(503) for person in stays)} answers 503"
    )
    for cookie in signed_out:
        status, _ = await Person(stays[0].http, cookie).request(gateway, "GET", "/orders")
        assert status == 302, "a sign-out that was acknowledged"


async def test_a_gateway_that_starts_while_redis_is_away_serves_everybody_when_it_is_back(
    serve: Serve, people: People, own_redis: RedisServer
) -> None:
    before = await serve(redis={"url": own_redis.url})
    alice = people()
    await alice.sign_in(before)
    own_redis.kill()
    gateway = await serve(redis={"url": own_redis.url})
    assert not await alice.served(gateway)
    own_redis.start()
    await alice.until_served(gateway)
    await alice.until_served(before)
