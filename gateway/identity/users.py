"""The users of all sources: who signs in, and who a session's user is by now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError, SourceUnavailable
from gateway.identity.active import ActiveUsers
from gateway.identity.outages import Outages
from gateway.identity.source import Found, NotChanged, UserSource, canonical

_LAG = 5.0
"""Seconds for which another process may know of a new password before this one does; more where users are rechecked."""
_AHEAD_KEPT = 10_000
_GRACE = 60.0


@dataclass(slots=True)
class Search:
    """A login on its way through the sources: what those asked until now know of it, which are left, which is ``away``, and
    how many said that the password is wrong."""

    login: str
    known: list[tuple[UserSource, Found | None]]
    left: list[UserSource]
    away: SourceUnavailable | None = None
    refused: int = 0

    @property
    def found(self) -> Found | None:
        """Who is meant, if anybody is."""
        return next((found for _, found in self.known if found is not None), None)


@dataclass(frozen=True, slots=True)
class Verified:
    """Whose password it was, and what his source had found."""

    user: Identity
    source: UserSource
    found: Found | None


class Users:
    """Sources in the operator's order. ``clock``: seconds.

    :raises SettingsError: two have the same name, so that a session could not tell whose user it holds.
    """

    def __init__(self, sources: Sequence[UserSource], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sources = tuple(sources)
        self._by_name = {source.name: source for source in sources}
        self._outages = outages = Outages()
        self._ahead: dict[tuple[str, str, int], float] = {}
        self._active = {source.name: ActiveUsers(source, outages) for source in sources if not source.in_memory}
        if len(self._by_name) < len(self._sources):
            raise SettingsError([Problem("users", "", "two sources have the same name")])

    @property
    def sources(self) -> Sequence[UserSource]:
        """In the operator's order."""
        return self._sources

    def tell_gone(self, tell: Callable[[Identity], None], grace: float = _GRACE) -> None:
        """``tell`` hears of users who are gone or disabled, on the event loop, once they have been so for ``grace`` seconds
        (where a source does not tell: at two looks). They are refused at once; what is told may be for good, and a file that
        lost its users by mistake gets them back.
        """
        for source in self._sources:
            source.on_gone = partial(_tell_later, source, tell, grace)
        for active in self._active.values():
            active.on_gone = tell

    def remote(self) -> Mapping[str, bool]:
        """By name, the sources that are asked elsewhere: did they answer when they were asked last?"""
        return {name: not self._outages.is_away(name) for name in self._active}

    # -- signing in
    async def find(self, login: str) -> Search:
        """Who is meant: asks one source after the other, until one knows him. So a file in front of a directory lets people in
        while that hangs.

        :raises gateway.errors.Busy: too many wait.
        """
        search = Search(login, [], list(self._sources))
        while search.left and search.found is None:
            await self._ask_next(search)
        return search

    async def find_everywhere(self, login: str) -> Search:
        """What every source knows, for operators."""
        search = Search(login, [], list(self._sources))
        while search.left:
            await self._ask_next(search)
        return search

    async def _ask_next(self, search: Search) -> None:
        source = search.left.pop(0)
        try:
            found = await self._outages.noted(source.name, source.find(search.login))
            search.known.append((source, found))
        except SourceUnavailable as error:
            search.away = search.away or error

    async def verify(self, search: Search, password: str) -> Verified | None:
        """The user of the first source that knows this login with this password. Nobody is told that his password is wrong
        while a source is away: it may be right there.

        :raises SourceUnavailable: nobody signs in, and a source is away.
        :raises gateway.errors.Busy: too many checks wait.
        """
        number = 0
        while number < len(search.known) or search.left:
            if number == len(search.known):
                await self._ask_next(search)
                continue
            source, found = search.known[number]
            number += 1
            try:
                user = await self._outages.noted(source.name, source.verify(found, search.login, password))
            except SourceUnavailable as error:
                search.away = search.away or error
                continue
            if user is not None:
                if (active := self._active.get(source.name)) is not None:
                    active.signed_in(user)
                return Verified(user, source, found)
            search.refused += 1
        if search.away is not None:
            raise search.away
        return None

    async def confirm(self, verified: Verified, password: str) -> bool:
        """See :meth:`~gateway.identity.source.UserSource.confirm`."""
        source = verified.source
        is_his = await self._outages.noted(source.name, source.confirm(verified.user, verified.found, password))
        return is_his and self.as_now(verified.user) is not None

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
        if now is user or now is None:
            return now
        if now.generation == user.generation and now.username == user.username:
            return now
        return self._otherwise(source, user, now)

    def _otherwise(self, source: UserSource, user: Identity, now: Identity) -> Identity | None:
        """With another name he may be somebody else, who was given the id of a user who is gone. With an older generation
        the session is over. A newer one is right for a moment: another worker changed the password, and this one has not
        noticed yet; later it is one that was taken back, by a backup say."""
        if canonical(now.username) != canonical(user.username) or now.generation > user.generation:
            return None
        if now.generation == user.generation:
            return now
        if len(self._ahead) >= _AHEAD_KEPT:
            self._ahead.clear()
        since = self._ahead.setdefault((user.source, user.id, user.generation), self._clock())
        return user if self._clock() - since <= _LAG + 2 * source.recheck else None

    async def get(self, user: Identity) -> Identity | None:
        """The session's user as his source knows him now; None when a session of his may not go on."""
        source = self._by_name.get(user.source)
        if source is None or not source.in_memory:  # those others are never asked on the path of a request
            return self.as_now(user)
        return self.as_now(user) if await source.get(user.id) is not None else None

    # -- API keys
    def is_followed(self, user: Identity) -> bool:
        """Can his source say, a year from now, who he is by then?"""
        source = self._by_name.get(user.source)
        return source is not None and (source.in_memory or source.recheck > 0)

    def is_known(self, user: Identity) -> bool:
        """Does :meth:`person` need nothing that :meth:`learn` has to ask for?"""
        active = self._active.get(user.source)
        return active is None or active.is_known(user) or not self.is_followed(user)

    def person(self, user: Identity) -> Identity | None:
        """Who somebody is by now, whatever became of his password, at once and from memory.

        None: he is gone or disabled, another person has his id, or his source cannot say.
        """
        source = self._by_name.get(user.source)
        if source is None or not self.is_followed(user):
            return None
        now = source.known(user.id) if source.in_memory else self._active[source.name].as_now(user)
        same = now is not None and (
            now.username == user.username or canonical(now.username) == canonical(user.username)
        )
        return now if same else None

    async def learn(self, user: Identity) -> None:
        """Asks who he is, unless that is known.

        :raises SourceUnavailable: nobody says.
        """
        if not self.is_known(user):
            await self._active[user.source].learn(user)

    # -- passwords
    def can_change_password(self, user: Identity) -> bool:
        """Is it kept where it can be changed? Then :meth:`change_password` may still find that it is not possible now."""
        source = self._by_name.get(user.source)
        return source is not None and source.writable

    async def change_password(self, user: Identity, old: str, new: str) -> Identity | NotChanged:
        """See :meth:`~gateway.identity.source.UserSource.change_password`."""
        source = self._by_name.get(user.source)
        if source is None:
            return NotChanged.IMPOSSIBLE
        return self._changed(await self._outages.noted(source.name, source.change_password(user.id, old, new)))

    async def stored_hash(self, source_name: str, user_id: str) -> str | None:
        """See :meth:`~gateway.identity.source.UserSource.stored_hash`."""
        source = self._by_name.get(source_name)
        if source is None:
            return None
        return await self._outages.noted(source.name, source.stored_hash(user_id))

    async def set_password(self, source_name: str, user_id: str, known_hash: str, new: str) -> Identity | NotChanged:
        """See :meth:`~gateway.identity.source.UserSource.set_password`."""
        source = self._by_name.get(source_name)
        if source is None:
            return NotChanged.IMPOSSIBLE
        return self._changed(await self._outages.noted(source.name, source.set_password(user_id, known_hash, new)))

    def _changed(self, changed: Identity | NotChanged) -> Identity | NotChanged:
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


def _tell_later(source: UserSource, tell: Callable[[Identity], None], grace: float, user: Identity) -> None:
    def still_gone() -> None:
        if source.known(user.id) is None:
            tell(user)

    asyncio.get_running_loop().call_later(grace, still_gone)
