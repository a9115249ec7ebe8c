"""What the backend of one route is told beside the identity headers, and what it may say back."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.identity import Identity
from gateway.core.session_data import Failure
from gateway.core.sessions import Session
from gateway.front.assertions import Assertions
from gateway.front.basic import BasicAccount, BasicOfUser
from gateway.front.session_data import SessionData


class Told:
    """As :class:`gateway.core.routes.Told` wants it."""

    def __init__(
        self,
        session_data: SessionData | None = None,
        assertions: Assertions | None = None,
        basic: BasicAccount | BasicOfUser | None = None,
    ) -> None:
        self._session_data = session_data
        self._assertions = assertions
        self._basic = basic

    @property
    def takes_updates(self) -> bool:
        """May its answers change the session?"""
        return self._session_data is not None

    @property
    def has_authorization(self) -> bool:
        """Does the gateway sign in there?"""
        return self._basic is not None

    def lines(self, user: Identity | None, session: Session | None, sid: str) -> bytes:
        """Header lines; of strangers nothing is told."""
        line = b"" if self._basic is None else self._basic.line(user, session)
        if user is None:
            return line
        if self._assertions is not None:
            line += self._assertions.line(user, sid)
        if self._session_data is not None and session is not None:
            line += self._session_data.line(session)
        return line

    async def update(self, session: Session | None, values: Sequence[bytes]) -> tuple[Session | None, Failure | None]:
        """The session as it is now, and why what the answer says of it could not be stored."""
        assert self._session_data is not None
        return await self._session_data.store(session, values)
