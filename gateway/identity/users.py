"""The users of all sources: who signs in, and whether a session's user is still who signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.source import NotChanged, UserSource


class Users:
    """Sources in the operator's order.

    :raises SettingsError: two have the same name, so that a session could not tell whose user it holds.
    """

    def __init__(self, sources: Sequence[UserSource]) -> None:
        self._sources = tuple(sources)
        self._by_name = {source.name: source for source in sources}
        if len(self._by_name) < len(self._sources):
            raise SettingsError([Problem("users", "", "two sources have the same name")])

    async def sign_in(self, login: str, password: str) -> Identity | None:
        """The user of the first source that knows this login with this password.

        :raises gateway.errors.Busy: too many checks wait.
        """
        for source in self._sources:
            user = await source.sign_in(login, password)
            if user is not None:
                return user
        return None

    def is_current(self, user: Identity) -> bool:
        """May a session of this user go on? At once, from memory: the gate asks at every request.

        False: his password was changed since, he is gone or disabled, or his source is no longer configured. True where
        the source does not know it from memory.
        """
        source = self._by_name.get(user.source)
        if source is None:
            return False
        generation = source.generation(user.id)
        return not source.in_memory if generation is None else _fits(user, generation)

    async def get(self, user: Identity) -> Identity | None:
        """The session's user as his source knows him now; None when a session of his may not go on."""
        source = self._by_name.get(user.source)
        now = await source.get(user.id) if source else None
        return now if now is not None and _fits(user, now.generation) else None

    async def change_password(self, user: Identity, old: str, new: str) -> Identity | NotChanged:
        """See :meth:`~gateway.identity.source.UserSource.change_password`."""
        source = self._by_name.get(user.source)
        return await source.change_password(user.id, old, new) if source else NotChanged.IMPOSSIBLE

    async def watch(self) -> None:
        """Keeps every source up to date until it is cancelled."""
        await asyncio.gather(*(source.watch() for source in self._sources))


def _fits(user: Identity, generation: int) -> bool:
    """Older is over. A newer one is right: another worker changed the password, and this one has not noticed yet."""
    return generation <= user.generation
