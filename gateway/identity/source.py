"""What a source of users must be able to do, and how names are compared: the same everywhere."""

from __future__ import annotations

import unicodedata
from typing import Protocol

from gateway.core.identity import Identity


def canonical(name: str) -> str:
    """The form in which usernames and e-mail addresses are compared: NFKC, case folded, trimmed (P66)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


class UserSource(Protocol):
    """One place where users come from."""

    name: str

    async def sign_in(self, login: str, password: str) -> Identity | None:
        """The user with this username or e-mail address and password; None for an unknown, disabled or wrong one alike.

        :raises gateway.errors.Busy: too many checks wait.
        """
