"""Links that set a new password once: made for an operator, opened for whoever has one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing
from gateway.core.reset_tokens import open_reset, sign_reset
from gateway.identity.source import NotChanged, UserSource
from gateway.identity.users import Users


@dataclass(frozen=True, slots=True)
class Opened:
    """A link that is good now: whose, and the hash that it replaces."""

    user: Identity
    known_hash: str = field(repr=False)


class ResetLinks:
    """``clock`` gives epoch seconds."""

    def __init__(self, users: Users, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._users = users
        self._ring = ring
        self._clock = clock

    async def make(self, source: UserSource, user_id: str, seconds: int) -> str | None:
        """A token that is good for so long; None: this source sets no passwords, or has no such active user.

        :raises gateway.errors.SourceUnavailable: it is away.
        """
        stored, user = await source.stored_hash(user_id), await source.get(user_id)
        if stored is None or user is None:
            return None
        return sign_reset(self._ring, user, stored, int(self._clock()) + seconds)

    async def open(self, token: str) -> Opened | None:
        """None for one that was never made, or is over, spent, or of somebody who is gone or disabled.

        :raises gateway.errors.SourceUnavailable: nobody can say.
        """
        opened = open_reset(self._ring, token, self._clock())
        if opened is None:
            return None
        source = next((one for one in self._users.sources if one.name == opened.source), None)
        if source is None:
            return None
        stored, user = await source.stored_hash(opened.user_id), await source.get(opened.user_id)
        if stored is None or user is None or not opened.fits(user, stored):
            return None
        return Opened(user, stored)

    async def use(self, opened: Opened, new: str) -> Identity | NotChanged:
        """The user with his new password; of two who use one link at once one is WRONG.

        :raises gateway.errors.SourceUnavailable, gateway.errors.Busy: nothing was changed.
        """
        user = opened.user
        return await self._users.set_password(user.source, user.id, opened.known_hash, new)
