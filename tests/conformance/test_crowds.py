"""One client that sends very much at once holds up no other. On a gateway of its own: what fails here hurts the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.conformance import lab as parts
from tests.conformance.backend import Backend
from tests.conformance.cases import HOST, get, request
from tests.conformance.lab import Case, Lab
from tests.conformance.wire import PATIENCE
from tests.quick import cheap_users


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, wide_backend: Backend) -> Iterator[Lab]:
    """A gateway of this module's own."""
    folder = tmp_path_factory.mktemp("crowds")
    cheap_users(folder / "users.yaml")
    lab = parts.start(folder, wide_backend, [{"path": "/public/", "access": "public"}])
    yield lab
    lab.process.kill()


@pytest.mark.parametrize("odd", [b"X: y", b"X: y RTSP/1.0"], ids=["ordinary", "odd"])
def test_who_sends_thousands_at_once_holds_up_nobody_else(case: Case, odd: bytes) -> None:
    """What is done for each request of a segment must not cost more the more there are in it."""
    crowd = case.connect()
    some = request(b"GET /p HTTP/1.1", HOST, odd) + request(b"GET /p HTTP/1.1", b"Host: a") * 4000
    writer = threading.Thread(target=crowd.send, args=(some * 4,), daemon=True)
    writer.start()
    assert crowd.is_answered(PATIENCE), "the crowd has no answer yet: all of it is read before the first is answered"
    started = time.monotonic()
    for _ in range(5):
        case.expect(case.ask(get()).answer().status == 200, "not answered")
    took = time.monotonic() - started
    case.expect(took < PATIENCE / 2, f"five requests of somebody else took {took:.1f} s")
    crowd.reset()
    writer.join(10)
    case.wires.remove(crowd)
