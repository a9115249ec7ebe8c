"""``GET /metrics`` of the management listener: what Prometheus asks for."""

from __future__ import annotations

from aiohttp import web

from gateway.telemetry.metrics import Metrics


class MetricsPage:
    """This process's numbers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self, request: web.Request) -> web.Response:
        """In the format that is asked for."""
        body, media_type = self._metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": media_type})
