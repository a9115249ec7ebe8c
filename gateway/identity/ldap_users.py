"""Users in a directory (LDAP): found with the gateway's own account, checked by signing in there as themselves.

``find`` searches, ``verify`` binds with the name of the entry and the typed password on a connection of its own. Who is
not found, and whose password cannot be sent, costs a bind as well, of a name that does not exist: the time says nothing.
"""

from __future__ import annotations

import logging
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sansldap import LDAPFilter

from gateway.core.identity import Identity
from gateway.core.passwords import MAX_LENGTH
from gateway.identity.ldap_directory import Directory
from gateway.identity.ldap_entries import (
    Names,
    group_names,
    id_value,
    identity_of,
    is_called,
    text,
    texts,
)
from gateway.identity.ldap_filters import Template, both, is_equal, none_of
from gateway.identity.ldap_link import Entry, Question
from gateway.identity.source import Found, RemoteSource, canonical

log = logging.getLogger("gateway.identity")

_LONGEST_LOGIN = 320
"""Characters: of the longest e-mail address (RFC 3696, errata 1690)."""
_ALL_GROUPS = 2000


@dataclass(frozen=True, slots=True)
class Groups:
    """Where they come from: an attribute of the user's entry, or with a ``filter`` a search below ``base``.

    ``name`` is the attribute that is a group's name. ``usertypes``: group → usertype, the first that fits counts.
    """

    base: str = ""
    filter: Template | None = None
    name: str = "cn"
    usertypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """Whom to look for: below ``base``, with ``{login}`` in the ``filter``, and not those whom ``disabled`` finds."""

    base: str
    filter: Template
    disabled: Template | None = None


class LdapUsers(RemoteSource):
    """See the module."""

    def __init__(
        self, name: str, directory: Directory, search: Search, names: Names, groups: Groups, recheck: float
    ) -> None:
        super().__init__(name, recheck)
        self._directory = directory
        self._search = search
        self._names = names
        self._groups = groups
        self._login_attributes = search.filter.attributes("login")
        self._wanted = (*names.wanted, *self._login_attributes)
        self._nobody = f"cn=nobody-{secrets.token_hex(8)},{search.base}"

    async def find(self, login: str) -> Found | None:
        """By username; only then by what else the filter compares, so that nobody can shut another out with an e-mail address
        like his name. Two who are called so are nobody. What no name can be is not asked for."""
        name = unicodedata.normalize("NFKC", login).strip()  # case and all: some attributes mind it
        if not name or len(name) > _LONGEST_LOGIN or not name.isprintable():
            return None
        wanted = self._search.filter.filled(login=name)
        entries = await self._ask(wanted)
        if len(entries) > 1:  # asked again, not for more: any number of addresses can be like one name
            wanted = both(wanted, is_equal(self._names.username, name.encode()))
            entries = await self._ask(wanted) or entries
        entry = self._only(entries)
        active = [entry]
        if self._search.disabled is not None:  # asked for unknown users, too
            active = [one for one in await self._ask(self._active(wanted)) if entry and one.dn == entry.dn]
        if entry is None or not is_called(entry, self._login_attributes, canonical(login)):
            return None
        user = self._identity(entry)
        return Found(user, entry.dn, disabled=not active) if user else None

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        """Binds. An empty password is never sent: that would be a bind that succeeds and proves nothing (RFC 4513 §5.1.2)."""
        if found is None or not _can_be_sent(password):
            await self._directory.fits(self._nobody, secrets.token_urlsafe(16))
            return None
        fits = await self._directory.fits(found.secret, password)
        return await self._with_groups(found.identity, found.secret) if fits and not found.disabled else None

    async def get(self, user_id: str) -> Identity | None:
        """The user whom the filter can still find, whatever he is called now."""
        value = id_value(user_id, self._names.id)
        if value is None:
            return None
        wanted = both(is_equal(self._names.id, value), self._search.filter.opened("login"))
        entry = self._only(await self._ask(self._active(wanted)))
        user = self._identity(entry) if entry else None
        if entry is None or user is None or user.id != user_id:
            return None
        return await self._with_groups(user, entry.dn)

    async def close(self) -> None:
        """Of the kept connections."""
        self._directory.close()

    async def _ask(self, wanted: LDAPFilter) -> list[Entry]:
        return await self._directory.search(Question(self._search.base, wanted, self._wanted, limit=2))

    def _active(self, wanted: LDAPFilter) -> LDAPFilter:
        disabled = self._search.disabled
        return both(wanted, none_of(disabled.filled())) if disabled else wanted

    def _only(self, entries: list[Entry]) -> Entry | None:
        if len(entries) > 1:
            log.warning("%s: several entries for one user, so it is none: %s", self.name, [one.dn for one in entries])
        return entries[0] if len(entries) == 1 else None

    def _identity(self, entry: Entry) -> Identity | None:
        user = identity_of(entry, self._names, self.name)
        if user is None:
            log.error("%s: %r has no %s or %s", self.name, entry.dn, self._names.id, self._names.username)
            return None
        own = group_names(texts(entry, self._names.groups), self._groups.name, self._groups.base)
        return self._with_usertype(replace(user, groups=own))

    async def _with_groups(self, user: Identity, dn: str) -> Identity:
        """Where they are searched for: only for who may know it, so that the search does not tell who exists."""
        if self._groups.filter is None:
            return user
        wanted = self._groups.filter.filled(dn=dn, username=user.username)
        found = await self._directory.search(Question(self._groups.base, wanted, [self._groups.name], _ALL_GROUPS))
        names = [text(entry, self._groups.name) for entry in found]
        return self._with_usertype(replace(user, groups=tuple(dict.fromkeys(name for name in names if name))))

    def _with_usertype(self, user: Identity) -> Identity:
        of_group = next((kind for group, kind in self._groups.usertypes.items() if group in user.groups), None)
        return replace(user, usertype=of_group) if of_group is not None else user


def _can_be_sent(password: str) -> bool:
    """Not an empty one, and none that a directory may read as another: some stop at a NUL."""
    if not password or len(password) > MAX_LENGTH or "\0" in password:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in password)
