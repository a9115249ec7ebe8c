"""The sessions of who asks, for the list in JSON and for the page: the same rules for both."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.sessions import Card, Session
from gateway.errors import RequestError
from gateway.store.directory import UserSessions
from gateway.store.sessions import Sessions
from gateway.store.values import name_of
from gateway.web.session import WebSession


@dataclass(frozen=True, slots=True)
class OwnSession:
    """One of them; ``is_this``: the one that asks."""

    card: Card
    is_this: bool


class OwnSessions:
    """Lists and ends them. Every method needs a session with a user in it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @property
    def are_listed(self) -> bool:
        """Does the session engine keep a list?"""
        return self._sessions.users is not None

    async def all(self, session: WebSession) -> list[OwnSession]:
        """Oldest first.

        :raises RequestError: 501: the engine keeps none.
        """
        assert session.found is not None
        assert session.user is not None
        own = name_of(session.found.id)
        return [OwnSession(listed.card, listed.name == own) for listed in await self._directory().of(session.user)]

    async def end_others(self, session: Session) -> int:
        """How many were ended.

        :raises RequestError: 501: the engine keeps no list.
        """
        self._directory()
        return await self._sessions.end_others(session)

    async def end_one(self, session: WebSession, handle: str) -> int:
        """Ends the one with this handle, its own too: then the session is flushed.

        :raises RequestError: 404: it is nobody's, or somebody else's; 501: the engine keeps no list.
        """
        assert session.found is not None
        assert session.user is not None
        directory = self._directory()
        for listed in await directory.of(session.user):
            if not handle or listed.card.handle != handle:
                continue
            if listed.name == name_of(session.found.id):
                await session.flush()
                return 1
            return int(await directory.end(session.user, listed))
        raise RequestError("no_such_session")

    def _directory(self) -> UserSessions:
        if self._sessions.users is None:
            raise RequestError("not_possible", what="the session engine keeps no list of a user's sessions")
        return self._sessions.users
