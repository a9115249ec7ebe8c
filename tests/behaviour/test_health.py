"""The management listener (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from gateway.app import build
from gateway.store.redis_server import RedisServer
from tests.fakes import RecordingBackend
from tests.harness import make_settings


@pytest.fixture
async def management(aiohttp_client: Any, own_redis: RedisServer, backend: RecordingBackend) -> Any:
    """``(client, gateway)`` of a serving gateway's management listener."""
    gateway = build(make_settings(own_redis.url, backend.url))
    gateway.phase.name = "serving"
    return await aiohttp_client(TestServer(gateway.management)), gateway


async def test_all_is_well(management: Any) -> None:
    client, _ = management
    assert (await (await client.get("/healthz")).json())["ret"] == 0
    response = await client.get("/readyz")
    body = await response.json()
    assert (response.status, body["status"]) == (200, "ok")
    assert body["components"] == {"store": "ok", "keys": "ok", "upstream:demo": "ok"}
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_store_that_is_away_is_named_but_people_are_still_sent_here(
    management: Any, own_redis: RedisServer
) -> None:
    client, _ = management
    own_redis.kill()
    response = await client.get("/readyz")
    body = await response.json()
    assert (response.status, body["status"], body["components"]["store"]) == (200, "degraded", "unavailable")
    assert (await client.get("/readyz?strict=1")).status == 503
    assert (await client.get("/healthz")).status == 200
    own_redis.start()
    assert (await (await client.get("/readyz")).json())["status"] == "ok"


async def test_a_backend_that_is_away_is_named(management: Any, backend: RecordingBackend) -> None:
    client, _ = management
    await backend.stop()
    body = await (await client.get("/readyz")).json()
    assert (body["status"], body["components"]) == (
        "degraded",
        {"store": "ok", "keys": "ok", "upstream:demo": "unavailable"},
    )


@pytest.mark.parametrize("phase", ["starting", "draining"])
async def test_nobody_is_sent_to_a_gateway_that_starts_or_drains(management: Any, phase: Any) -> None:
    client, gateway = management
    gateway.phase.name = phase
    response = await client.get("/readyz")
    assert (response.status, (await response.json())["status"]) == (503, phase)


async def test_nothing_else_is_there_and_no_version_is_told(management: Any) -> None:
    client, _ = management
    for path in ("/", "/auth/login", "/orders"):
        response = await client.get(path)
        assert response.status == 404
        assert response.headers["Server"] == "auth-gateway"
