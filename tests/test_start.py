"""What the gateway refuses to start or go on with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionPolicy, SessionRecord
from gateway.store.engine import Kept
from gateway.store.sealing import Sealer
from gateway.store.sessions import Sessions
from tests.harness import MASTER, ROOT


def test_a_parser_without_c_is_no_parser() -> None:
    """Hazard A1: seven of aiohttp's advisories are in its pure-Python parser."""
    program = "from gateway.server import require_c_parser; require_c_parser()"
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "StartError" in done.stderr
    assert "C parser" in done.stderr
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


class Nothing:
    """An engine that keeps nothing and remembers what it was given."""

    def __init__(self) -> None:
        self.names: list[bytes] = []

    async def load(self, name: bytes) -> Kept | None:
        return None

    async def create(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        self.names.append(name)
        return True

    async def update(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        return False

    async def touch(self, name: bytes, touched: float, ttl: float) -> None:
        return None

    async def delete(self, name: bytes) -> bool:
        return False

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None


async def test_no_randomness_means_no_session() -> None:
    """P57: a failing random source must never fall back to ids that can be guessed."""

    def broken(size: int) -> bytes:
        raise NotImplementedError("no source of randomness")

    engine = Nothing()
    sessions = Sessions(engine, Sealer(parse_ring(MASTER)), SessionPolicy(), entropy=broken)
    with pytest.raises(NotImplementedError):
        await sessions.create(SessionRecord(0, 0))
    assert engine.names == []
