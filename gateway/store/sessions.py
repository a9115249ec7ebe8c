"""Sessions as the rest of the gateway knows them: found alive, lost for a named reason, or the store is away.

Absent, invalid and unavailable stay three results (founding decision 1): :meth:`Sessions.find` returns a
:class:`~gateway.core.sessions.Session` or :class:`Lost`, and raises :class:`~gateway.errors.StoreUnavailable`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from gateway.core.keys import b64url
from gateway.core.sessions import Session, SessionPolicy, SessionRecord, time_to_live, why_over
from gateway.core.tickets import SESSION_ID_BYTES
from gateway.errors import SessionInterrupted, StoreUnavailable
from gateway.store.engine import SessionEngine
from gateway.store.sealing import SealBroken, Sealer

log = logging.getLogger("gateway.sessions")
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Lost:
    """An authentic id without a living session, and the code of the reason."""

    code: str


class Sessions:
    """Finds, writes and ends sessions. ``clock`` gives epoch seconds, ``entropy`` random bytes."""

    def __init__(
        self,
        engine: SessionEngine,
        sealer: Sealer,
        policy: SessionPolicy,
        *,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._engine = engine
        self._sealer = sealer
        self._clock = clock
        self._entropy = entropy
        self.policy = policy

    async def find(self, session_id: bytes) -> Session | Lost:
        """The session with this id.

        :raises StoreUnavailable: when the store does not answer.
        """
        name = _name(session_id)
        kept = await self._engine.load(name)
        if kept is None:
            return Lost("unknown_session")
        try:
            record = self._read(session_id, name, kept.value)
        except (SealBroken, ValueError):
            log.error("session_corrupt: a record in the store does not open; its session is over")
            return Lost("unknown_session")
        last_seen = record.modified if kept.touched is None else kept.touched
        over = why_over(record, last_seen, self.policy, self._clock())
        return Lost(over) if over else Session(session_id, record, last_seen)

    async def create(self, record: SessionRecord) -> Session:
        """A session under a new id.

        :raises StoreUnavailable: nothing was created that anybody could use.
        """
        now = self._clock()
        ttl = time_to_live(record, now, self.policy, now)
        for _ in range(_ATTEMPTS):
            session_id = self._entropy(SESSION_ID_BYTES)
            name = _name(session_id)
            if await self._engine.create(name, self._write(session_id, name, record), now, ttl):
                return Session(session_id, record, now)
        raise StoreUnavailable("no new session could be written")

    async def save(self, session: Session, record: SessionRecord) -> Session:
        """Writes ``record`` if the session is still there.

        :raises SessionInterrupted: it was deleted meanwhile; nothing was written.
        """
        now = self._clock()
        name = _name(session.id)
        value = self._write(session.id, name, record)
        if not await self._engine.update(name, value, now, time_to_live(record, now, self.policy, now)):
            raise SessionInterrupted
        return session.with_record(record, now)

    async def touch(self, session: Session) -> None:
        """Notes that the session is in use now. Failing is no harm: the next request tries again."""
        now = self._clock()
        try:
            await self._engine.touch(_name(session.id), now, time_to_live(session.record, now, self.policy, now))
        except StoreUnavailable as error:
            log.warning("a session's activity could not be noted: %s", error.cause)

    async def delete(self, session_id: bytes) -> None:
        """Ends it, for every gateway on this store."""
        await self._engine.delete(_name(session_id))

    async def ping(self) -> None:
        """Returns when the store answers."""
        await self._engine.ping()

    async def close(self) -> None:
        """Lets go of the engine."""
        await self._engine.close()

    def _write(self, session_id: bytes, name: bytes, record: SessionRecord) -> bytes:
        plain = json.dumps(record.dump(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return self._sealer.seal(session_id, name, plain)

    def _read(self, session_id: bytes, name: bytes, value: bytes) -> SessionRecord:
        return SessionRecord.load(json.loads(self._sealer.open(session_id, name, value)))


def _name(session_id: bytes) -> bytes:
    """What the store calls a session: a hash of the id. The store never sees the id itself."""
    return b64url(sha256(session_id).digest()).encode()
