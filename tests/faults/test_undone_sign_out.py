"""A failover can undo a sign-out (hazard R7): what the harm is bounded by."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from redis import Redis

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend

THREATS = Path(__file__).parents[2] / "docs/threat-model.md"


async def test_a_sign_out_that_a_failover_undid_is_bounded_by_the_absolute_timeout(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    """The promoted replica never had the delete: as if the keys had been put back."""
    gateway = await make_gateway(backend.url, session={"absolute_timeout": 4, "cache_size": 0})
    began = time.monotonic()
    cookie = await gateway.sign_in()
    before = {key: redis.dump(key) for key in redis.keys("gw:[st]:{*}")}
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert (await gateway.get("/orders", cookie=cookie)).status == 302
    for key, value in before.items():
        redis.restore(key, 600_000, value, replace=True)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200, "that is the harm"
    await asyncio.sleep(max(began + 4.2 - time.monotonic(), 0))
    answer = await gateway.get("/orders", cookie=cookie)
    assert (answer.status, (await answer.json())["reason"]) == (302, "expired_absolute")


def test_the_threat_model_says_so() -> None:
    text = THREATS.read_text(encoding="utf-8")
    assert all(word in text for word in ("asynchronous", "session.absolute_timeout", "redis.wait_replicas"))
