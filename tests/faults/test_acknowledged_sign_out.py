"""With ``redis.wait_replicas: 1`` a sign-out that was answered survives a failover, also when an earlier attempt was not (R11)."""

from __future__ import annotations

import time

import pytest

from gateway.core.keys import parse_ring
from gateway.core.sessions import Session, SessionRecord
from gateway.engines import session_parts
from gateway.errors import StoreUnavailable
from gateway.store.sessions import Lost, Presented, Sessions
from gateway.web.session import WebSession
from tests.harness import MASTER, make_settings
from tests.redis_lab import Lab
from tests.store.session_lab import ALICE


def sessions_on(url: str, replicas: int) -> Sessions:
    settings = make_settings(url, "http://127.0.0.1:1", redis={"wait_replicas": replicas, "timeout": 0.5})
    return session_parts(settings, parse_ring(MASTER)).sessions


async def sign_out(sessions: Sessions, presented: Presented) -> None:
    """As the handler does."""
    found = await sessions.find(presented)
    session = WebSession(sessions, found if isinstance(found, Session) else None, sent=True)
    session.lost = found.code if isinstance(found, Lost) else None
    session.sent_id = presented.id
    await session.flush()


@pytest.mark.slow
async def test_who_signs_out_again_after_an_error_is_told_the_truth() -> None:
    lab = Lab()
    try:
        master = lab.node()
        replica = lab.replica_of(master)
        sessions = sessions_on(master.tcp_url, 1)
        session = await sessions.create(SessionRecord(time.time(), time.time(), ALICE))
        presented = sessions.presented([sessions.cookie_value(session)])
        assert presented is not None
        replica.command("REPLICAOF", "NO", "ONE")  # as if it were cut off
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await sign_out(sessions, presented)
        host, _, port = master.tcp_url.removeprefix("redis://").partition("/")[0].rpartition(":")
        replica.command("REPLICAOF", host, port)
        await lab_settled(sessions, presented)
        after = sessions_on(replica.tcp_url, 0)
        assert isinstance(await after.find(presented), Lost), "what was answered is so on the replica, too"
        await sessions.close()
        await after.close()
    finally:
        lab.close()


async def lab_settled(sessions: Sessions, presented: Presented) -> None:
    """Signs out until it is answered."""
    deadline = time.monotonic() + 20
    while True:
        try:
            await sign_out(sessions, presented)
        except StoreUnavailable:
            assert time.monotonic() < deadline
        else:
            return
