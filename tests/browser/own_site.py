"""A gateway of its own for the pages: users that may be changed, nobody throttled, sessions in a SQLite file."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.site import ALICE, SESSION_COOKIE, Site
from tests.harness import MASTER, ROUTES, GatewayProcess, run_gateway
from tests.quick import cheap_users


@dataclass(frozen=True, slots=True)
class OwnSite(Site):
    """``config`` is its configuration, with an address in it."""

    config: Path = Path()

    def visit(self, page: Page, path: str) -> None:
        """Opens a page of this site."""
        page.goto(self(path))
        page.locator("h1").wait_for()

    def sign_in_elsewhere(self, agent: str) -> str:
        """Alice on another device; the session cookie's value."""
        request = urllib.request.Request(
            self("/auth/login"),
            json.dumps(ALICE).encode(),
            {"Content-Type": "application/json", "User-Agent": agent},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            cookies = " ".join(response.headers.get_all("Set-Cookie") or ())
        found = re.search(rf"\b{SESSION_COOKIE}=([^;]+)", cookies)
        assert found is not None
        return found[1]

    def reset_path(self, username: str = "alice") -> str:
        """Where a user sets a new password, by a link that the command made."""
        done = run_gateway("users", "reset-link", username, "--config", str(self.config))
        found = re.search(r"https?://[^/]+(/\S+)", done.stdout)
        assert found is not None, done.stderr
        return found[1]


@contextmanager
def own_site(folder: Path, backend: str = "http://127.0.0.1:9", **over: object) -> Iterator[OwnSite]:
    """Runs it; without ``backend`` there is nothing behind it (port 9 is "discard")."""
    config = {
        "site": {"title": "Customer manager"},
        "server": {"port": 0},
        "management": {"port": 0},
        "keys": {"master": MASTER},
        "session": {"engine": "sql"},
        "sql": {"url": "sqlite:///sessions.db"},
        "login": {"throttle": {"enabled": False}},
        "users": [{"source": "file", "path": str(cheap_users(folder / "users.yaml"))}],
        "upstreams": {"demo": {"url": backend}},
        "routes": ROUTES,
        **over,
    }
    file, addressed = folder / "gateway.yaml", folder / "addressed.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    addressed.write_text(json.dumps({**config, "site": {"url": "http://127.0.0.1"}}), encoding="utf-8")
    with GatewayProcess("serve", "--config", str(file)) as process:
        yield OwnSite(process.url, backend, addressed)
