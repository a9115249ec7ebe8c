"""One gateway and one backend for all cases; each case is told apart by its token."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import lab as parts
from tests.conformance import patience
from tests.conformance.backend import Backend
from tests.conformance.lab import Case, Lab
from tests.quick import cheap_users

BRIEF = {"connect": 0.5, "first_byte": 0.5, "between_bytes": 0.5}
ROUTES: list[dict[str, Any]] = [
    {"path": "/public/", "access": "public"},
    {"path": "/admin/"},
    {"path": "/brief/", "access": "public", "timeouts": BRIEF},
]


@pytest.fixture(scope="session")
def wide_backend() -> Iterator[Backend]:
    """Everybody's."""
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory, wide_backend: Backend) -> Iterator[Lab]:
    """The gateway with the limits and time-outs it has by itself."""
    folder: Path = tmp_path_factory.mktemp("conformance")
    cheap_users(folder / "users.yaml")
    lab = parts.start(folder, wide_backend, ROUTES)
    yield lab
    lab.process.stop()


@pytest.fixture(scope="session")
def impatient_lab(tmp_path_factory: pytest.TempPathFactory, wide_backend: Backend) -> Iterator[Lab]:
    """A gateway that does not wait for long."""
    folder: Path = tmp_path_factory.mktemp("patience")
    cheap_users(folder / "users.yaml")
    with patience.full_port() as full, patience.dead_port() as dead:
        upstreams = {"full": {"url": full}, "nobody": {"url": dead}}
        waits = {"head_timeout": patience.HEAD}
        lab = parts.start(folder, wide_backend, patience.ROUTES, upstreams=upstreams, server=waits)
        yield lab
        lab.process.stop()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """The gateway that a module's cases go to; a module may have another."""
    return shared_lab


@pytest.fixture
def case(lab: Lab) -> Case:
    """One case."""
    return lab.case()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A case that noted something wrong fails its test, and tells what all sides saw."""
    case = getattr(item, "funcargs", {}).get("case")
    try:
        yield
    except AssertionError as error:
        if case is not None:
            error.add_note(case.story())
            case.close()
        raise
    if case is not None:
        case.finish()
