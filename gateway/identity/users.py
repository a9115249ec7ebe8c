"""The users of all sources: who signs in, and who a session's user is by now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError, SourceUnavailable
from gateway.identity.active import ActiveUsers
from gateway.identity.source import Found, NotChanged, UserSource

Candidates = Sequence[tuple[UserSource, Found | None]]
"""What each source knows of a login; a source that is away is not among them."""


class Users:
    """Sources in the operator's order.

    :raises SettingsError: two have the same name, so that a session could not tell whose user it holds.
    """

    def __init__(self, sources: Sequence[UserSource]) -> None:
        self._sources = tuple(sources)
        self._by_name = {source.name: source for source in sources}
        self._active = {source.name: ActiveUsers(source) for source in sources if not source.in_memory}
        if len(self._by_name) < len(self._sources):
            raise SettingsError([Problem("users", "", "two sources have the same name")])

    @property
    def sources(self) -> Sequence[UserSource]:
        """In the operator's order."""
        return self._sources

    # -- signing in
    async def find(self, login: str) -> tuple[Candidates, SourceUnavailable | None]:
        """What every source knows of this login, and the error of the first that is away.

        :raises gateway.errors.Busy: too many wait.
        """
        found = await asyncio.gather(*(_found(source, login) for source in self._sources))
        named = list(zip(self._sources, found, strict=True))
        away = next((one for one in found if isinstance(one, SourceUnavailable)), None)
        return [(source, one) for source, one in named if not isinstance(one, SourceUnavailable)], away

    async def verify(
        self, candidates: Candidates, login: str, password: str, away: SourceUnavailable | None = None
    ) -> Identity | None:
        """The user of the first source that knows this login with this password. Nobody is told that his password is wrong
        while a source is ``away``: it may be right there.

        :raises SourceUnavailable: nobody signs in, and a source is away.
        :raises gateway.errors.Busy: too many checks wait.
        """
        for source, found in candidates:
            try:
                user = await source.verify(found, login, password)
            except SourceUnavailable as error:
                away = away or error
                continue
            if user is not None:
                if (active := self._active.get(source.name)) is not None:
                    active.signed_in(user)
                return user
        if away is not None:
            raise away
        return None

    # -- sessions that are open
    def as_now(self, user: Identity) -> Identity | None:
        """A session's user as he is now, at once and from memory: the gate asks at every request.

        None: his session may not go on, because his password was changed since, he is gone or disabled, or his source is
        no longer configured.
        """
        source = self._by_name.get(user.source)
        if source is None:
            return None
        now = source.known(user.id) if source.in_memory else self._active[source.name].as_now(user)
        if now is user or now is None or now.generation == user.generation:
            return now
        # a newer one is right: another worker changed the password, and this one has not noticed yet
        return user if now.generation < user.generation else None

    async def get(self, user: Identity) -> Identity | None:
        """The session's user as his source knows him now; None when a session of his may not go on."""
        source = self._by_name.get(user.source)
        if source is None or not source.in_memory:  # those others are never asked on the path of a request
            return self.as_now(user)
        now = await source.get(user.id)
        return now if now is not None and now.generation <= user.generation else None

    # -- passwords
    def can_change_password(self, user: Identity) -> bool:
        """Is it kept where it can be changed? Then :meth:`change_password` may still find that it is not possible now."""
        source = self._by_name.get(user.source)
        return source is not None and source.writable

    async def change_password(self, user: Identity, old: str, new: str) -> Identity | NotChanged:
        """See :meth:`~gateway.identity.source.UserSource.change_password`."""
        source = self._by_name.get(user.source)
        changed = await source.change_password(user.id, old, new) if source else NotChanged.IMPOSSIBLE
        return self._noted(changed)

    async def stored_hash(self, source_name: str, user_id: str) -> str | None:
        """See :meth:`~gateway.identity.source.UserSource.stored_hash`."""
        source = self._by_name.get(source_name)
        return await source.stored_hash(user_id) if source else None

    async def set_password(self, source_name: str, user_id: str, known_hash: str, new: str) -> Identity | NotChanged:
        """See :meth:`~gateway.identity.source.UserSource.set_password`."""
        source = self._by_name.get(source_name)
        changed = await source.set_password(user_id, known_hash, new) if source else NotChanged.IMPOSSIBLE
        return self._noted(changed)

    def _noted(self, changed: Identity | NotChanged) -> Identity | NotChanged:
        if isinstance(changed, Identity) and (active := self._active.get(changed.source)) is not None:
            active.signed_in(changed)
        return changed

    # -- running
    async def watch(self) -> None:
        """Keeps every source up to date until it is cancelled."""
        await asyncio.gather(
            *(source.watch() for source in self._sources), *(one.watch() for one in self._active.values())
        )

    async def close(self) -> None:
        """Lets go of everything."""
        for source in self._sources:
            await source.close()


async def _found(source: UserSource, login: str) -> Found | SourceUnavailable | None:
    try:
        return await source.find(login)
    except SourceUnavailable as error:
        return error
