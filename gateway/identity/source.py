"""What a source of users must be able to do, and how names are compared: the same everywhere."""

from __future__ import annotations

import unicodedata
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


class UserSource(Protocol):
    """One place where users come from. ``name`` is what sessions remember of it."""

    name: str
    in_memory: bool
    """Does :meth:`generation` know every user? Then None from it means that there is no such user any more."""

    async def sign_in(self, login: str, password: str) -> Identity | None:
        """The user with this username or e-mail address and password; None for an unknown, disabled or wrong one alike.

        :raises gateway.errors.Busy: too many checks wait.
        """

    async def get(self, user_id: str) -> Identity | None:
        """The user with this id as he is now; None: gone or disabled."""

    def generation(self, user_id: str) -> int | None:
        """The user's credentials generation, from memory and at once: asked at every request with a session.

        None: gone, disabled or, where not :attr:`in_memory`, not known here.
        """

    async def change_password(self, user_id: str, old: str, new: str) -> Identity | NotChanged:
        """The user with his new generation, once the new password counts; or why nothing was changed.

        ``new`` must be one that :func:`~gateway.identity.passwords.what_is_wrong_with` finds nothing wrong with.

        :raises gateway.errors.Busy: too many checks wait.
        """

    async def watch(self) -> None:
        """Keeps what is in memory up to date until it is cancelled; returns where there is nothing to do."""
