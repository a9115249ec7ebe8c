"""Numbers for Prometheus: plain integers in the process while it serves, put into its words when somebody asks.

Labels never hold what a client made up: routes, methods (llhttp's list), statuses, and codes of our own.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Iterator
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.telemetry.access_log import AccessLine

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the histograms; the last bucket has none."""


class _Times:
    """A histogram of one kind of request."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, other: _Times) -> None:
        """Both together."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each with all before it."""
        return list(zip([*map(str, BOUNDS), "+Inf"], accumulate(self.counts), strict=True))


_Kind = tuple[str, str, int, str, str]  # route, method, status, decision, reason


class RequestCounts(Collector):
    """What happened to requests. Not locked: one event loop counts and is asked."""

    def __init__(self) -> None:
        self._kinds: dict[_Kind, tuple[_Times, _Times]] = {}

    def count(self, line: AccessLine) -> None:
        """A request is over."""
        key = (line.route, line.method, line.status, line.decision, line.reason)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Times(), _Times()
        whole, own = kind
        seconds = line.seconds
        whole.counts[bisect_left(BOUNDS, seconds)] += 1
        whole.total += seconds
        seconds -= line.upstream_seconds
        own.counts[bisect_left(BOUNDS, seconds)] += 1
        own.total += seconds

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        requests = CounterMetricFamily(
            "auth_gateway_requests", "Requests that were answered.", labels=["route", "method", "status", "decision"]
        )
        refusals = CounterMetricFamily(
            "auth_gateway_refusals", "Requests that ended with a reason of the gateway's.", labels=["route", "reason"]
        )
        counted: dict[tuple[str, ...], int] = {}
        refused: dict[tuple[str, ...], int] = {}
        for (route, method, status, decision, reason), (whole, _) in self._kinds.items():
            number, key = sum(whole.counts), (route, method, str(status), decision)
            counted[key] = counted.get(key, 0) + number
            if reason:
                refused[route, reason] = refused.get((route, reason), 0) + number
        for family, numbers in ((requests, counted), (refusals, refused)):
            for labels, number in numbers.items():
                family.add_metric(labels, number)
        yield requests
        yield refusals
        yield self._histogram(
            "auth_gateway_request_seconds", "Seconds from the first byte to the end of the answer.", 0
        )
        yield self._histogram("auth_gateway_own_seconds", "The same without the time that the backend was asked.", 1)

    def _histogram(self, name: str, words: str, which: int) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, words, labels=["route", "decision"])
        gathered: dict[tuple[str, str], _Times] = {}
        for (route, _, status, decision, _), times in self._kinds.items():
            if status == 101:
                continue  # how long a WebSocket was open says nothing of how quick anybody was
            gathered.setdefault((route, decision), _Times()).add(times[which])
        for labels, one in gathered.items():
            family.add_metric(labels, one.buckets(), one.total)
        return family


class _Build(Collector):
    def collect(self) -> Iterator[Metric]:
        """Which software this is."""
        words = {"version": version("auth-gateway"), "python": platform.python_version()}
        yield InfoMetricFamily("auth_gateway_build", "The gateway and what runs it.", value=words)


class Metrics:
    """Everything that is counted in this process."""

    def __init__(self, requests: RequestCounts) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (requests, _Build()):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type; ``accept`` is the request's ``Accept`` (OpenMetrics or Prometheus's text)."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type
