"""Gateways for tests: in this process behind a real socket, or as a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import BaseTestServer, TestClient
from aiohttp.web import BaseRunner

from gateway import app
from gateway.server import GatewayRunner
from gateway.settings import Settings, settings_from

ROOT = Path(__file__).resolve().parent.parent
MASTER = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OTHER_MASTER = "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

ROUTES: list[dict[str, Any]] = [
    {"path": "/public/", "access": "public"},
    {"path": "/mgr/sign.html", "access": "public"},
    {"path": "/mgr/", "access": {"usertype": "mgr"}, "refuse": {"redirect": "/mgr/sign.html"}},
    {"path": "/api/mgr/", "access": {"usertype": "mgr"}, "refuse": {"redirect": "/mgr/sign.html"}},
    {"path": "/", "access": "authenticated"},
]
MANAGER = {"username": "mgr", "password": "mgr-demo"}
GENEROUS = {name: {"burst": 10000} for name in ("address", "account_at_address", "account", "device")}
"""Tests sign in wrongly and at once more often than people do; those of throttling say their own limits."""
ALICE = {"username": "alice", "password": "alice-demo"}


def make_settings(redis_url: str, upstream: str, **over: Any) -> Settings:
    """The demo's settings with sections replaced or completed: ``make_settings(…, session={"idle_timeout": 1})``."""
    data: dict[str, Any] = {
        "redis": {"url": redis_url},
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"demo": {"url": upstream}},
        "login": {"aliases": [{"path": "/api/mgr/signin"}], "failure_time": 0.01, "throttle": GENEROUS},
        "routes": ROUTES,
        "management": {"port": 0},
        "server": {"port": 0},
    }
    for name, value in over.items():
        known = data.get(name)
        data[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return settings_from(data, {}, "the test", ROOT)


class GatewayTestServer(BaseTestServer):
    """A test server that runs the gateway with its own runner, as ``gateway serve`` does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.gateway = app.build(settings)

    async def _make_runner(self, **_: Any) -> BaseRunner[Any]:
        return GatewayRunner(self.gateway, self._settings)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and how to talk to it. The client keeps no cookies and follows no redirect by itself."""

    client: TestClient[Any, Any]
    parts: app.Gateway
    settings: Settings

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return str(self.client.make_url("")).rstrip("/")

    @property
    def port(self) -> int:
        """Of the listener."""
        assert self.client.port is not None
        return self.client.port

    async def request(self, method: str, path: str, *, cookie: str | None = None, **kwargs: Any) -> ClientResponse:
        """One request; ``cookie`` is a whole Cookie header. Nothing is remembered for the next."""
        self.client.session.cookie_jar.clear()
        headers = dict(kwargs.pop("headers", None) or {})
        if cookie:
            headers["Cookie"] = cookie
        kwargs.setdefault("allow_redirects", False)
        return await self.client.request(method, path, headers=headers, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> ClientResponse:
        """GET."""
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, **kwargs: Any) -> ClientResponse:
        """POST."""
        return await self.request("POST", path, **kwargs)

    async def sign_in(self, user: dict[str, Any] = ALICE) -> str:
        """Signs in by JSON; the Cookie header to send from then on."""
        response = await self.post("/auth/login", json=user)
        assert response.status == 200, await response.text()
        return session_cookie(response)

    async def raw(self, data: bytes, *, seconds: float = 10.0, half_close: bool = False) -> bytes:
        """Sends bytes as they are and reads until the gateway closes or resets, or ``seconds`` are over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        if half_close:
            writer.write_eof()
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while piece := await reader.read(65536):
                    received += piece
        writer.close()
        return received


def session_cookie(response: ClientResponse) -> str:
    """The Cookie header that a browser would send after this answer."""
    morsels = [m for name, m in response.cookies.items() if name.endswith("gw_session") and m.value]
    assert len(morsels) == 1, response.headers
    return f"{morsels[0].key}={morsels[0].value}"


class GatewayProcess:
    """``gateway …`` as a process; ``ready`` holds what it printed until it listened."""

    def __init__(self, *arguments: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "gateway", *arguments]
        self._cwd = cwd
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        self.process: subprocess.Popen[str] | None = None
        self.output = ""
        self.url = ""
        self.management = ""

    def start(self, seconds: float = 60.0) -> GatewayProcess:
        """Returns when it says that it listens; otherwise its output is the error."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(ready,), daemon=True).start()
        if not ready.wait(seconds) or not self.url:
            self.stop()
            raise AssertionError(f"the gateway did not start:\n{self.output}")
        return self

    def _read(self, ready: threading.Event) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if found := re.search(r"listens on (https?://\S+)", line):
                self.url = found[1]
            if found := re.search(r"Health: (http://\S+)/readyz", line):
                self.management = found[1]
            if "Ctrl-C stops it" in line:
                ready.set()
        ready.set()

    @property
    def port(self) -> int:
        """Of the listener."""
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """Of the process (the supervisor, with several workers)."""
        assert self.process is not None
        return self.process.pid

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> GatewayProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.stop()


def run_gateway(*arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **kwargs.pop("environment", {})}
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(
        command, cwd=kwargs.pop("cwd", ROOT), env=environment, capture_output=True, text=True, timeout=60, **kwargs
    )


def free_port() -> int:
    """A port that was free a moment ago; prefer port 0 where the program tells its port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
