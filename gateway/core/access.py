"""May this user pass? One pure question, asked once per request."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.identity import Identity


@dataclass(frozen=True, slots=True)
class Access:
    """Who may pass: everybody (``public``), or somebody signed in, of one of the usertypes *and* one of the groups named."""

    public: bool = False
    usertypes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Denied:
    """The code of the reason, and what would have been wanted (for the words)."""

    code: str
    wanted: str


def check_access(access: Access, user: Identity) -> Denied | None:
    """None: he may pass."""
    if access.usertypes and user.usertype not in access.usertypes:
        return Denied("wrong_usertype", "/".join(sorted(access.usertypes)))
    if access.groups and access.groups.isdisjoint(user.groups):
        return Denied("wrong_group", "/".join(sorted(access.groups)))
    return None
