"""``X-Session-Data`` and ``X-Session-Update``: a backend that has no sessions keeps what it likes in the gateway's.

Told to the backend of a route that opted in, when somebody is signed in with a session. What it answers is a patch, and the
patch is applied to the record as it is in the store at that moment, again and again until nobody else wrote in between: two
answers that change different things both win. It is stored before the answer passes, so whoever has the answer finds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway.core.head import RawHeaders
from gateway.core.headers import is_session_header
from gateway.core.routes import Route
from gateway.core.session_data import BadUpdate, Failure, SessionDataRules, patched, read_patch, told
from gateway.core.sessions import Session, SessionRecord
from gateway.errors import GatewayError, SessionInterrupted
from gateway.store.serializers import UnwritableValue
from gateway.store.sessions import Sessions

log = logging.getLogger("gateway.session_data")
_REMEMBERED = 2048
Stored = tuple[Session | None, Failure | None]


class SessionData:
    """For one route."""

    def __init__(self, sessions: Sessions, rules: SessionDataRules) -> None:
        self._sessions = sessions
        self._rules = rules
        self._tasks: set[asyncio.Task[Stored]] = set()
        self._lines: dict[int, tuple[SessionRecord, bytes]] = {}

    def line(self, session: Session) -> bytes:
        """The header line; made once for each version of a session."""
        record = session.record
        known = self._lines.get(id(record))
        if known is not None and known[0] is record:
            return known[1]
        value = told(record, self._rules)
        if value is None:
            log.warning("a session's data are too large to be told", extra={"fields": {"name": self._rules.namespace}})
        line = b"" if value is None else b"X-Session-Data: %b\r\n" % value.encode()
        if len(self._lines) >= _REMEMBERED:
            self._lines.clear()
        self._lines[id(record)] = record, line
        return line

    async def store(self, session: Session | None, values: Sequence[bytes]) -> Stored:
        """The session as it is now, and why the update could not be stored. The backend has done what it tells of: it is
        stored also when the client leaves meanwhile."""
        task = asyncio.create_task(self._store(session, values))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _store(self, session: Session | None, values: Sequence[bytes]) -> Stored:
        try:
            if session is None:
                raise BadUpdate("no_session")
            patch = read_patch(values)
            if patched(session.record, patch, self._rules) is session.record:
                return session, None
            return await self._sessions.change(session, lambda now: patched(now, patch, self._rules)), None
        except BadUpdate as error:
            code: Failure = error.code
        except SessionInterrupted:
            code = "session_over"
        except UnwritableValue:
            code = "not_json"
        except GatewayError:
            code = "store_unavailable"
        log.warning(
            "an update of a session was not stored", extra={"fields": {"name": self._rules.namespace, "reason": code}}
        )
        return session, code


def updates_in(headers: RawHeaders, removed: int, route: Route) -> list[bytes]:
    """The updates of the session in an answer out of which ``removed`` fields were taken that only the gateway may send."""
    named = [(name.lower(), value) for name, value in headers if is_session_header(name)]
    fields = {"route": route.name}
    if removed > len(named):
        log.warning("a backend tried to set the gateway's own cookie", extra={"fields": fields})
    if named and (route.told is None or not route.told.takes_updates):
        log.warning("a backend sent X-Session-* on a route without session_data", extra={"fields": fields})
        return []
    return [value for name, value in named if name == b"x-session-update"]
