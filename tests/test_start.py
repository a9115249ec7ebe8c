"""What the gateway refuses to start or go on with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionPolicy, SessionRecord
from gateway.core.tickets import session_tickets
from gateway.store.announcements import Announcements
from gateway.store.memory import MemorySessionEngine
from gateway.store.serializers import serializer_named
from gateway.store.sessions import Sessions
from gateway.store.values import Values
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


async def test_no_randomness_means_no_session() -> None:
    """P57: a failing random source must never fall back to ids that can be guessed."""

    def broken(size: int) -> bytes:
        raise NotImplementedError("no source of randomness")

    ring, engine = parse_ring(MASTER), MemorySessionEngine(1.0)
    values, announcements = Values(ring, serializer_named("json")), Announcements(engine, ring, poll=1.0)
    sessions = Sessions(engine, values, session_tickets(ring), announcements, SessionPolicy(), entropy=broken)
    with pytest.raises(NotImplementedError):
        await sessions.create(SessionRecord(0, 0))
    sessions = Sessions(engine, values, session_tickets(ring), announcements, SessionPolicy())
    assert await sessions.create(SessionRecord(0, 0)), "and with one there is a session"
