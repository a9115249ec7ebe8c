"""A gateway of its own in front of one backend, for tests of applications of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.store.redis_server import RedisServer
from tests.browser.site import Site
from tests.harness import MASTER, ROOT, GatewayProcess


@contextmanager
def gateway_before(backend: str, redis: RedisServer, folder: Path) -> Iterator[Site]:
    """Everybody who is signed in may use all of it."""
    config = {
        "server": {"port": 0},
        "management": {"port": 0},
        "redis": {"url": redis.url, "prefix": f"gw-{folder.name}:"},
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"app": {"url": backend}},
        "routes": [{"path": "/"}],
    }
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    with GatewayProcess("serve", "--config", str(file)) as process:
        yield Site(process.url, backend)
