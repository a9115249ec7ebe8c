"""Sources that keep hashes of passwords: a file, a table. They find and write; what a password is worth is said here."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod

from gateway.core.identity import Identity
from gateway.errors import Busy, SettingsError, SourceUnavailable
from gateway.identity.hashes import is_weak
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import Found, NotChanged, RemoteSource

log = logging.getLogger("gateway.identity")
_PROBLEMS_LOGGED = 5
_TRY_AGAIN = 3600.0
"""Seconds until a weak hash is to be replaced again where that failed: a folder that cannot be written stays one."""


class HashedSource(RemoteSource, ABC):
    """Most of a :class:`~gateway.identity.source.UserSource`, for one whose ``secret`` is a stored hash.

    ``writable``: can it write new hashes? A hash that is weaker than today's parameters is replaced then, when its user
    signs in the next time.
    """

    writable = True

    def __init__(self, name: str, checker: PasswordChecker, recheck: float = 0.0) -> None:
        super().__init__(name, recheck)
        self._checker = checker
        self._strengthen_from = 0.0

    @abstractmethod
    async def find(self, login: str) -> Found | None:
        """See :meth:`~gateway.identity.source.UserSource.find`."""

    @abstractmethod
    async def find_by_id(self, user_id: str) -> Found | None:
        """The user with this id, disabled or not."""

    @abstractmethod
    async def write_hash(self, user_id: str, known_hash: str, made: str, *, same_password: bool) -> Identity | None:
        """Puts ``made`` in the place of ``known_hash``. ``same_password``: only the hash is another, sessions go on and the
        generation stays; else it moves. None: what is stored is not the known one any more.

        :raises SettingsError, SourceUnavailable: it cannot be written; nothing was.
        """

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        """Unknown, disabled and wrong after the same work."""
        fits = await self._checker.fits(found.secret if found else None, password)
        if found is None or found.disabled or not fits:
            return None
        if self.writable and time.monotonic() >= self._strengthen_from and is_weak(found.secret, password):
            await self._strengthen(found, password)
        return found.identity

    async def confirm(self, user: Identity, found: Found | None, password: str) -> bool:
        """The same hash, or one that the password fits: a weak one has been replaced at this sign-in."""
        now = await self._active(user.id)
        if found is None or now is None or now.identity.generation > user.generation:
            return False
        return now.secret == found.secret or await self._checker.fits(now.secret, password)

    async def get(self, user_id: str) -> Identity | None:
        """As it is stored now."""
        found = await self._active(user_id)
        return found.identity if found else None

    async def stored_hash(self, user_id: str) -> str | None:
        """None where nothing could be written in its place."""
        found = await self._active(user_id) if self.writable else None
        return found.secret if found else None

    async def change_password(self, user_id: str, old: str, new: str) -> Identity | NotChanged:
        """Impossible where nothing can be written, now or ever."""
        if not self.writable:
            return NotChanged.IMPOSSIBLE
        found = await self._active(user_id)
        fits = await self._checker.fits(found.secret if found else None, old)
        if found is None or not fits:
            return NotChanged.WRONG
        return await self.set_password(user_id, found.secret, new)

    async def set_password(self, user_id: str, known_hash: str, new: str) -> Identity | NotChanged:
        """Wrong when somebody else was faster: what was checked is the old password no more."""
        if not self.writable:
            return NotChanged.IMPOSSIBLE
        made = await self._checker.hash(new)
        try:
            changed = await self.write_hash(user_id, known_hash, made, same_password=False)
        except SettingsError as error:
            log.error("a password could not be changed: %s", told(error))
            return NotChanged.IMPOSSIBLE
        if changed is None:
            return NotChanged.WRONG
        self._strengthen_from = 0.0  # it can be written
        return changed

    async def _active(self, user_id: str) -> Found | None:
        found = await self.find_by_id(user_id)
        return None if found is None or found.disabled else found

    async def _strengthen(self, found: Found, password: str) -> None:
        """The sign-in succeeds however this goes."""
        try:
            made = await self._checker.hash(password)
            await self.write_hash(found.identity.id, found.secret, made, same_password=True)
        except Busy:
            return  # the next sign-in will do
        except (SettingsError, SourceUnavailable) as error:
            self._strengthen_from = time.monotonic() + _TRY_AGAIN
            words = told(error) if isinstance(error, SettingsError) else error.cause
            log.warning("a weak hash could not be replaced in %s: %s", self.name, words)


def told(error: SettingsError) -> str:
    """For the log."""
    return "; ".join(map(str, error.problems[:_PROBLEMS_LOGGED]))
