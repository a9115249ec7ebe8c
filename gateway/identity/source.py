"""What a source of users must be able to do, and how names are compared: the same everywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from gateway.core.identity import Identity


def canonical(name: str) -> str:
    """The form in which usernames and e-mail addresses are compared: NFKC, case folded, trimmed (P66)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


class NotChanged(Enum):
    """Why a password was not changed."""

    WRONG = "the old password is wrong"
    IMPOSSIBLE = "this source cannot change passwords, or not now"


@dataclass(frozen=True, slots=True)
class Found:
    """A user as his source knows him when somebody signs in.

    ``secret`` is what the source needs to check the password: a stored hash, the name of an entry. Who is ``disabled``
    never signs in, after the same work as everybody else.
    """

    identity: Identity
    secret: str = field(default="", repr=False)
    disabled: bool = False


class UserSource(Protocol):
    """One place where users come from. ``name`` is what sessions remember of it.

    Every method that asks elsewhere raises :class:`~gateway.errors.SourceUnavailable` when that is away, and
    :class:`~gateway.errors.Busy` when too many wait.
    """

    name: str
    in_memory: bool
    """Does :meth:`known` know every user? Then None from it means that there is no such user any more."""
    recheck: float
    """Seconds after which a user who is active is looked up again with :meth:`get`; 0: never, or it tells by itself."""
    writable: bool
    """Can passwords be changed here?"""

    async def find(self, login: str) -> Found | None:
        """The user with this username or e-mail address, compared by :func:`canonical`; disabled ones, too."""

    on_gone: Callable[[Identity], None]
    """Told by a source that is :attr:`in_memory` of each user it has lost: removed or disabled. Set by whoever wants to
    hear."""

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        """The user when the password is his; None for an unknown, disabled or wrong one alike, after the same work."""

    async def confirm(self, user: Identity, found: Found | None, password: str) -> bool:
        """Is the password that was verified still his, now that the session is open? Somebody may have changed it meanwhile,
        and ended the sessions that there were."""

    async def get(self, user_id: str) -> Identity | None:
        """The user with this id as he is now; None: gone or disabled."""

    def known(self, user_id: str) -> Identity | None:
        """The user as he is now, from memory and at once: asked at every request with a session.

        None: gone, disabled or, where not :attr:`in_memory`, not known here.
        """

    async def change_password(self, user_id: str, old: str, new: str) -> Identity | NotChanged:
        """The user with his new generation, once the new password counts; or why nothing was changed."""

    async def stored_hash(self, user_id: str) -> str | None:
        """What is stored of an active user's password, for links that are spent when it changes; None: nothing."""

    async def set_password(self, user_id: str, known_hash: str, new: str) -> Identity | NotChanged:
        """As :meth:`change_password`, for whoever knows what :meth:`stored_hash` said: it must still be that."""

    async def watch(self) -> None:
        """Keeps what is in memory up to date until it is cancelled; returns where there is nothing to do."""

    async def close(self) -> None:
        """Lets go of everything."""


class RemoteSource:
    """What a source does that is asked elsewhere, as most of them are: nothing is known here, and nothing is changed there."""

    in_memory = False
    writable = False

    def __init__(self, name: str, recheck: float = 0.0) -> None:
        self.name = name
        self.recheck = recheck
        self.on_gone: Callable[[Identity], None] = lambda user: None

    async def confirm(self, user: Identity, found: Found | None, password: str) -> bool:
        """Nothing here says otherwise."""
        return True

    def known(self, user_id: str) -> Identity | None:
        """Nobody."""
        return None

    async def change_password(self, user_id: str, old: str, new: str) -> Identity | NotChanged:
        """Not here."""
        return NotChanged.IMPOSSIBLE

    async def stored_hash(self, user_id: str) -> str | None:
        """None is told."""
        return None

    async def set_password(self, user_id: str, known_hash: str, new: str) -> Identity | NotChanged:
        """Not here."""
        return NotChanged.IMPOSSIBLE

    async def watch(self) -> None:
        """There is nothing to watch."""

    async def close(self) -> None:
        """There is nothing to let go of."""
