"""A real Redis for the whole run, a gateway for each test, and no silent skip."""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from demo.backend import create_app as create_demo
from gateway.store.redis_server import RedisServer, find_redis_server
from tests.fakes import RecordingBackend
from tests.harness import Gateway, GatewayTestServer, make_settings

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_SKIPS = tomllib.loads((ROOT / "tests/allowed_skips.toml").read_text())["skips"]


# -- skips are loud, and failures under REQUIRE_ALL=1
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("REQUIRE_ALL") == "1" and item.nodeid not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"skipped, but REQUIRE_ALL=1: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])}
    for reason in sorted(skipped):
        terminalreporter.write_line(f"!!! NOT TESTED: {reason}", red=True, bold=True)


# -- the everyday part (make test-quick) leaves out what starts many servers or tries every order of events
LONG = {
    "tests/behaviour/test_account_page.py",
    "tests/behaviour/test_api_keys.py",
    "tests/behaviour/test_audit.py",
    "tests/behaviour/test_bearer.py",
    "tests/behaviour/test_differential.py",
    "tests/behaviour/test_htpasswd.py",
    "tests/behaviour/test_http_users.py",
    "tests/behaviour/test_jwks.py",
    "tests/behaviour/test_ldap_faults.py",
    "tests/behaviour/test_ldap_users.py",
    "tests/behaviour/test_listener_tls.py",
    "tests/behaviour/test_listeners.py",
    "tests/behaviour/test_memory.py",
    "tests/behaviour/test_no_enumeration.py",
    "tests/behaviour/test_old_hashes.py",
    "tests/behaviour/test_open_connections.py",
    "tests/behaviour/test_password_page.py",
    "tests/behaviour/test_password_policy.py",
    "tests/behaviour/test_refresh_tokens.py",
    "tests/behaviour/test_remember_me.py",
    "tests/behaviour/test_reset_link.py",
    "tests/behaviour/test_session_engines.py",
    "tests/behaviour/test_session_keys.py",
    "tests/behaviour/test_sign_in.py",
    "tests/behaviour/test_sql_users.py",
    "tests/behaviour/test_throttles.py",
    "tests/behaviour/test_token_clients.py",
    "tests/behaviour/test_token_endings.py",
    "tests/faults/test_backend_killed.py",
    "tests/faults/test_no_session_is_lost.py",
    "tests/faults/test_soak.py",
    "tests/faults/test_two_gateways.py",
    "tests/identity/test_sql_own.py",
    "tests/identity/test_sql_users.py",
    "tests/store/test_api_keys.py",
    "tests/store/test_cached_sql_engine.py",
    "tests/store/test_contract.py",
    "tests/store/test_denylist.py",
    "tests/store/test_file_engine.py",
    "tests/store/test_redis_link.py",
    "tests/store/test_redis_tracking.py",
    "tests/store/test_session_cache.py",
    "tests/store/test_session_endings.py",
    "tests/store/test_sessions.py",
    "tests/store/test_sql_engine.py",
    "tests/store/test_throttles.py",
    "tests/test_api_key_command.py",
    "tests/test_commands.py",
    "tests/test_key_commands.py",
    "tests/test_scripting.py",
    "tests/test_signing_key_commands.py",
    "tests/test_signing_key_files.py",
    "tests/test_throttle_command.py",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.partition("::")[0] in LONG or item.nodeid.startswith("tests/conformance/"):
            item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    missing = sorted(name for name in LONG if not (ROOT / name).exists())
    assert not missing, f"no such files: {missing}"


# -- Redis
@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A private folder whose path is short enough for unix sockets (pytest's own may not be)."""
    folder = Path(tempfile.mkdtemp(prefix="gwt-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    if find_redis_server() is None:
        pytest.skip("no redis-server; on this platform install one (Debian: apt-get install redis-server)")
    folder = Path(tempfile.mkdtemp(prefix="gwt-"))
    server = RedisServer(folder, append_only=False)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The run's Redis, empty."""
    with Redis(unix_socket_path=str(shared_redis.socket)) as client:
        client.flushall()
        client.config_resetstat()
    return shared_redis


@pytest.fixture
def own_redis(short_folder: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, append-only: it may be killed and started again."""
    server = RedisServer(short_folder / "redis", append_only=True, options=("--appendfsync", "always"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """A plain client, to look at what is stored."""
    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        yield client


# -- backends and gateways
@pytest.fixture
async def backend() -> AsyncIterator[RecordingBackend]:
    """Records every request, byte for byte, and answers as it is told."""
    server = RecordingBackend()
    await server.start()
    yield server
    await server.stop()


MakeGateway = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def make_gateway(redis_server: RedisServer, aiohttp_client: Any) -> MakeGateway:
    """``await make_gateway(upstream_url, **settings)``: a gateway on a free port, and a client that follows nothing."""

    async def make(upstream: str, *, redis_url: str | None = None, **over: Any) -> Gateway:
        settings = make_settings(redis_url or redis_server.url, upstream, **over)
        server = GatewayTestServer(settings)
        return Gateway(await aiohttp_client(server), server.gateway, settings)

    return make


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """The demo's routes in front of the recording backend."""
    return await make_gateway(backend.url)


@pytest.fixture
async def demo_gateway(make_gateway: MakeGateway, aiohttp_server: Any) -> Gateway:
    """The demo's routes in front of the demo backend."""
    server = await aiohttp_server(create_demo())
    return await make_gateway(str(server.make_url("")).rstrip("/"))
