"""Settings of the stores: what is wrong is said at start, with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError, StoreUnavailable, TooManySessions
from gateway.settings import settings_from
from tests.core.tables import table
from tests.harness import MASTER, ROOT, make_settings

UPSTREAM = "http://127.0.0.1:1"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a database of a Cluster": ({"redis": {"cluster": True, "url": "redis://h:1/3"}}, "redis.url"),
    "a Cluster behind Sentinels": ({"redis": {"cluster": True, "sentinels": ["h:1"]}}, "redis.cluster"),
    "nodes of no Cluster": ({"redis": {"nodes": ["h:1"]}}, "redis.nodes"),
    "a node without a port": ({"redis": {"cluster": True, "nodes": ["h"]}}, "redis.nodes.0"),
    "a Sentinel on port 0": ({"redis": {"sentinels": ["h:0"]}}, "redis.sentinels.0"),
    "a certificate that is not there": ({"redis": {"ca_file": "nowhere.pem"}}, "redis.ca_file"),
    "a certificate without its key": ({"redis": {"cert_file": "README.md"}}, "redis.cert_file"),
    "an engine that nobody knows": ({"session": {"engine": "mongo"}}, "session.engine"),
    "memory for two processes": ({"session": {"engine": "memory"}, "server": {"workers": 2}}, "session.engine"),
    "a cap that nobody counts": ({"session": {"engine": "file", "max_per_user": 3}}, "session.max_per_user"),
    "a cap of nobody": ({"session": {"max_per_user": 0}}, "session.max_per_user"),
    "a grace longer than the interval": (
        {"session": {"rotate_interval": 5, "rotate_grace": 9}},
        "session.rotate_grace",
    ),
    "a secure cookie on an http site": ({"session": {"cookie": {"secure": True}}}, "session.cookie.secure"),
    "a time-out of no time": ({"sql": {"timeout": 0}}, "sql.timeout"),
}


@pytest.mark.parametrize(("given", "key"), table(BAD))
def test_what_is_wrong_is_named(given: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as found:
        make_settings("redis://127.0.0.1:1/0", UPSTREAM, **given)
    assert key in [problem.key for problem in found.value.problems]


def test_a_relative_sqlite_file_is_the_same_file_for_everybody(tmp_path: Path) -> None:
    data = {
        "keys": {"master": MASTER},
        "users": [{"path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"app": {"url": UPSTREAM}},
        "routes": [{"path": "/"}],
        "sql": {"url": "sqlite:///sessions.db"},
    }
    settings = settings_from(data, {}, "the test", tmp_path)
    assert settings.sql.url is not None
    assert settings.sql.url.get_secret_value() == f"sqlite:///{tmp_path}/sessions.db"


def test_an_error_reads_as_a_sentence() -> None:
    assert "cause" in str(StoreUnavailable("cause"))
    assert str(TooManySessions(3)) == (
        "too_many_sessions: You are signed in on 3 devices already; sign out on one of them first"
    )
