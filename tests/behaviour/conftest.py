"""What several files here share: a directory of users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.ldap_site import Make
from tests.behaviour.token_site import MakeSite, token_settings
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway
from tests.identity.ldap_lab import Slapd


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    yield server
    server.kill()


@pytest.fixture
def own_directory(tmp_path: Path) -> Iterator[Slapd]:
    """One of this test's own: it may be killed and changed."""
    server = Slapd(tmp_path / "slapd")
    yield server
    server.kill()


@pytest.fixture
def make_ldap(make_gateway: MakeGateway, backend: RecordingBackend) -> Make:
    """``await make(source, …)``: a gateway with these sources of users, that answers failures at once."""

    async def gateway(*sources: dict[str, Any], **over: Any) -> Gateway:
        login = {"failure_time": 0.01, "throttle": {"enabled": False}}
        return await make_gateway(backend.url, users=list(sources), login=login, **over)

    return gateway


@pytest.fixture
def make_site(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> MakeSite:
    """Gateways with tokens, all with the same signing key and on the same Redis."""

    async def make(over: dict[str, Any] | None = None, **tokens: Any) -> Gateway:
        return await make_gateway(backend.url, tokens=token_settings(tmp_path, **tokens), **(over or {}))

    return make
