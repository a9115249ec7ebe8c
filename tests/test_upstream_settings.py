"""The settings of several servers: what is wrong is named, and what has no effect is an error."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.backends import make_upstream
from gateway.errors import SettingsError
from gateway.settings import Settings
from tests.core.tables import table
from tests.harness import make_settings

A, B = {"url": "http://a"}, {"url": "http://b"}


def settings(upstream: dict[str, Any]) -> Settings:
    return make_settings("redis://127.0.0.1:1/0", "", upstreams={"demo": upstream})


WRONG = {
    "nothing": ({}, "url", "is needed"),
    "no servers": ({"servers": []}, "url", "is needed"),
    "both": ({**A, "servers": [B]}, "servers", "give either url or servers"),
    "a server without an address": ({"servers": [{"weight": 1}]}, "servers.0.url", "is needed"),
    "a server with a path": (
        {"servers": [A, {"url": "http://b/x"}]},
        "servers.1.url",
        "must be without a path: requests keep their own",
    ),
    "one twice": (
        {"servers": [A, {"url": "http://A:80"}]},
        "servers",
        "the same server twice: give it a larger weight",
    ),
    "http and https": ({"servers": [A, {"url": "https://b"}]}, "servers", "must all be https:// or none of them"),
    "tls for http": ({"servers": [A, B], "tls": {"verify": False}}, "tls", "is for https:// backends only"),
    "no weight": ({"servers": [{**A, "weight": 0}]}, "servers.0.weight", "must be at least 1"),
    "a flag for a weight": (
        {"servers": [{**A, "weight": True}]},
        "servers.0.weight",
        "must be a number, not true or false",
    ),
    "no such strategy": (
        {"servers": [A, B], "balance": "random"},
        "balance",
        "must be round_robin, least_connections or sticky",
    ),
    "a strategy for one": ({**A, "balance": "sticky"}, "balance", "is for upstreams with several servers"),
    "ejecting the only one": ({**A, "eject": {"failures": 5}}, "eject", "is for upstreams with several servers"),
    "repeating on the only one": ({**A, "retries": {"budget": 1}}, "retries", "is for upstreams with several servers"),
    "a line for nothing": ({**A, "queue": {"size": 5}}, "queue", "is for upstreams with max_requests"),
    "checks of nothing": ({**A, "health": {"interval": 1}}, "health.interval", "is for upstreams with health.path"),
    "a check of no path": (
        {**A, "health": {"path": "healthz"}},
        "health.path",
        "must be a path like /healthz, in ASCII without spaces",
    ),
    "a header in a path": (
        {**A, "health": {"path": "/ HTTP/1.1\r\nX: y"}},
        "health.path",
        "must be a path like /healthz, in ASCII without spaces",
    ),
    "no status": (
        {**A, "health": {"path": "/", "status": "2xx"}},
        "health.status",
        "must be statuses and ranges of them, like 200-399 or [200, 204]",
    ),
    "a range that is none": (
        {**A, "health": {"path": "/", "status": "399-200"}},
        "health.status",
        "must be statuses and ranges of them, like 200-399 or [200, 204]",
    ),
    "an answer that is no failure": (
        {"servers": [A, B], "eject": {"statuses": [200]}},
        "eject.statuses.0",
        "must be at least 400",
    ),
    "more than all": ({"servers": [A, B], "retries": {"budget": 1.5}}, "retries.budget", "must be at most 1"),
}


@pytest.mark.parametrize(("upstream", "key", "said"), table(WRONG))
def test_what_is_wrong_is_named(upstream: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(upstream)
    assert [(one.key, one.what) for one in caught.value.problems] == [(f"upstreams.demo.{key}", said)]


RIGHT: dict[str, dict[str, Any]] = {
    "one": A,
    "one of several": {"servers": [A], "balance": "sticky"},
    "one with limits": {**A, "max_requests": 3, "queue": {"size": 0}, "health": {"path": "/", "status": 204}},
    "several": {"servers": [A, B], "balance": "sticky", "eject": {"statuses": [502]}, "retries": {"budget": 0}},
    "https": {"servers": [{"url": "https://a"}, {"url": "https://b:8443"}], "tls": {"verify": False}},
    "sockets": {"servers": [{"url": "unix:/a"}, {"url": "unix:/b"}, A]},
    "statuses": {**A, "health": {"path": "/x?y=1", "status": ["200-299", "301", 404]}},
}


@pytest.mark.parametrize("upstream", table(RIGHT))
def test_what_is_right_makes_an_upstream(upstream: dict[str, Any]) -> None:
    made = make_upstream("demo", settings(upstream).upstreams["demo"])
    assert len(made.servers) == len(upstream.get("servers", [A]))


def test_what_is_set_arrives() -> None:
    given = {
        "servers": [{**A, "weight": 3}, B],
        "balance": "least_connections",
        "max_requests": 7,
        "queue": {"size": 8, "timeout": 9},
        "eject": {"failures": 2, "seconds": 900, "slow_start": 0, "statuses": [502]},
        "health": {
            "path": "/h",
            "interval": 3,
            "timeout": 4,
            "healthy": 5,
            "unhealthy": 6,
            "status": ["200", "300-301"],
        },
        "retries": {"budget": 0.5, "min_per_second": 1},
    }
    made = make_upstream("demo", settings(given).upstreams["demo"])
    assert [(one.name, one.weight) for one in made.servers] == [("http://a", 3), ("http://b", 1)]
    rules, eject, health = made.rules, made.rules.eject, made.rules.health
    assert (rules.balance, rules.max_requests, rules.queue_size, rules.queue_timeout) == ("least_connections", 7, 8, 9)
    assert (eject.failures, eject.seconds, eject.longest, eject.slow_start, eject.statuses) == (2, 900, 900, 0, {502})
    assert (rules.retry_share, rules.retry_least) == (0.5, 1)
    assert health is not None
    assert (health.path, health.interval, health.timeout, health.healthy, health.unhealthy) == ("/h", 3, 4, 5, 6)
    assert health.statuses == ((200, 200), (300, 301))
