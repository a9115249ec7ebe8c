"""``GET /metrics``: what is counted, and that nobody outside can make a label of his own (docs/http-api.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.telemetry.access_log import AccessLine
from gateway.telemetry.metrics import BOUNDS, Metrics, RequestCounts
from tests.fakes import RecordingBackend
from tests.harness import Gateway

Labels = dict[str, str]


def read(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of all that have these labels."""
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


@pytest.fixture
async def scrape(gateway: Gateway) -> AsyncIterator[Any]:
    """Asks the gateway's management listener."""
    server = TestServer(gateway.parts.management)
    await server.start_server()
    async with ClientSession() as client:

        async def ask(accept: str = "*/*") -> tuple[str, str]:
            async with client.get(server.make_url("/metrics"), headers={"Accept": accept}) as response:
                assert response.status == 200
                return await response.text(), response.headers["Content-Type"]

        yield ask
    await server.close()


async def test_every_request_is_counted_with_what_became_of_it(
    gateway: Gateway, backend: RecordingBackend, scrape: Any
) -> None:
    cookie = await gateway.sign_in()
    for _ in range(3):
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
    await gateway.get("/orders")
    await gateway.post("/orders")
    await gateway.raw(b"GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await backend.stop()
    assert (await gateway.get("/orders", cookie=cookie)).status == 502
    samples = read((await scrape())[0])

    def requests(**labels: str) -> float:
        return value(samples, "auth_gateway_requests_total", **labels)

    home = {"route": "/"}
    assert requests(**home, method="GET", status="200", decision="forward") == 3
    assert requests(**home, method="GET", status="302", decision="refuse") == 1
    assert requests(**home, method="POST", status="302", decision="refuse") == 1
    assert requests(**home, method="GET", status="502", decision="forward") == 1
    assert requests(route="login", method="POST", status="200", decision="serve") == 1
    assert requests(route="", status="400", decision="refuse") == 1
    assert requests() == 8
    refusals = {
        (one.labels["route"], one.labels["reason"]): one.value
        for one in samples
        if one.name == "auth_gateway_refusals_total"
    }
    assert refusals["/", "no_session"] == 2
    assert refusals["/", "upstream_unreachable"] == 1
    count = value(samples, "auth_gateway_request_seconds_count", **home)
    assert count == value(samples, "auth_gateway_own_seconds_count", **home) == 6
    assert value(samples, "auth_gateway_build_info") == 1
    assert value(samples, "process_cpu_seconds_total") > 0


async def test_the_backend_s_time_is_not_the_gateway_s_own(
    gateway: Gateway, backend: RecordingBackend, scrape: Any
) -> None:
    async def slowly(_: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    cookie = await gateway.sign_in()
    backend.answer = slowly
    await gateway.get("/orders", cookie=cookie)
    samples = read((await scrape())[0])
    assert value(samples, "auth_gateway_request_seconds_sum", route="/") > 0.3
    assert value(samples, "auth_gateway_own_seconds_sum", route="/") < 0.2


async def test_nothing_a_client_makes_up_becomes_a_label(gateway: Gateway, scrape: Any) -> None:
    for number in range(20):
        await gateway.get(f"/made-up-{number}", headers={"X-Request-Id": f"made-up-{number}"})
        await gateway.raw(f"MADEUP{number} / HTTP/1.1\r\nHost: made-up-{number}\r\n\r\n".encode(), seconds=1)
    text, _ = await scrape()
    assert "made" not in text.lower()
    kinds = {tuple(sorted(one.labels.items())) for one in read(text) if one.name == "auth_gateway_requests_total"}
    assert len(kinds) <= 2


async def test_openmetrics_for_who_asks_for_it(gateway: Gateway, scrape: Any) -> None:
    await gateway.get("/orders")
    text, media_type = await scrape("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics.text_string_to_metric_families(text)}
    assert {"auth_gateway_requests", "auth_gateway_request_seconds"} <= families
    assert (await scrape())[1].startswith("text/plain")


async def test_everybody_s_listener_has_no_metrics(gateway: Gateway) -> None:
    response = await gateway.get("/metrics")
    assert response.status == 302
    assert "auth_gateway" not in await response.text()


def test_a_websocket_that_was_open_for_hours_is_counted_but_not_timed() -> None:
    counts = RequestCounts()
    counts.count(AccessLine("01J", "GET", "/", "::1", route="/", decision="forward", status=101, seconds=7200.0))
    samples = read(Metrics(counts).exposition("")[0].decode())
    assert value(samples, "auth_gateway_requests_total", status="101") == 1
    assert not [one for one in samples if one.name.startswith("auth_gateway_request_seconds")]


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, BOUNDS[0]), (BOUNDS[0], BOUNDS[0]), (0.0006, 0.001), (30.0, 30.0), (31.0, None)]
)
def test_a_bucket_holds_what_is_not_longer(seconds: float, bound: float | None) -> None:
    counts = RequestCounts()
    counts.count(AccessLine("01J", "GET", "/", "::1", route='a"\\b\n', decision="forward", status=200, seconds=seconds))
    samples = read(Metrics(counts).exposition("")[0].decode())
    buckets = {
        one.labels["le"]: one.value
        for one in samples
        if one.name == "auth_gateway_request_seconds_bucket" and one.labels["route"] == 'a"\\b\n'
    }
    full = [float(le) for le, number in buckets.items() if number == 1]
    assert min(full) == (float("inf") if bound is None else bound)
    assert len(buckets) == len(BOUNDS) + 1
