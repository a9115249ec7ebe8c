"""What an entry of a directory says about a user: ids, texts, and the names of groups (RFC 4514)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.identity import Identity
from gateway.identity.ldap_link import Entry
from gateway.identity.source import canonical

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_RDN = re.compile(r"(?:\\.|[^,\\])+", re.DOTALL)
_AVA = re.compile(r"(?:\\.|[^+\\])+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Names:
    """Which attribute says what. Empty: none does."""

    id: str = "entryUUID"
    username: str = "uid"
    email: str = "mail"
    name: str = "cn"
    usertype: str = ""
    groups: str = "memberOf"
    generation: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All of them."""
        given = (self.id, self.username, self.email, self.name, self.usertype, self.groups, self.generation)
        return tuple(dict.fromkeys(attribute for attribute in given if attribute))


def texts(entry: Entry, attribute: str) -> list[str]:
    """The values that are text; others cannot be anybody's name."""
    found = []
    for value in entry.attributes.get(attribute.lower(), ()):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            continue
        if text and not _CONTROL.search(text):
            found.append(text)
    return found


def text(entry: Entry, attribute: str) -> str:
    """The first of them, or nothing."""
    return next(iter(texts(entry, attribute)), "")


def is_called(entry: Entry, attributes: Iterable[str], login: str) -> bool:
    """Is one of these attributes what was typed? The directory's own rules are laxer: blanks, and more."""
    return any(canonical(value) == login for attribute in attributes for value in texts(entry, attribute))


def id_of(entry: Entry, attribute: str) -> str:
    """The stable id; ``objectGUID`` as Active Directory shows it. Empty: it has none."""
    if attribute.lower() != "objectguid":
        return text(entry, attribute)
    values = entry.attributes.get("objectguid", ())
    return str(uuid.UUID(bytes_le=values[0])) if len(values) == 1 and len(values[0]) == 16 else ""


def id_value(user_id: str, attribute: str) -> bytes | None:
    """The other way round: what to search for. None: nothing that could be one."""
    if attribute.lower() != "objectguid":
        return user_id.encode("utf-8", "replace") if user_id else None
    try:
        return uuid.UUID(user_id).bytes_le
    except ValueError:
        return None


def identity_of(entry: Entry, names: Names, source: str) -> Identity | None:
    """Without groups. None: the entry has no id or no name, or is the directory's root, whose name is empty."""
    user_id, username = id_of(entry, names.id), text(entry, names.username)
    if not user_id or not username or not entry.dn:
        return None
    return Identity(
        id=user_id,
        username=username,
        name=text(entry, names.name),
        email=text(entry, names.email),
        usertype=text(entry, names.usertype),
        source=source,
        generation=_number(text(entry, names.generation)),
    )


def _number(moment: str) -> int:
    """``20261120191500Z`` (RFC 4517 §3.3.13), or a number: what came later is larger."""
    digits = re.match(r"[0-9]{1,18}", moment)
    return int(digits[0]) if digits else 0


def group_names(dns: Iterable[str], attribute: str, base: str) -> tuple[str, ...]:
    """Of groups below ``base``: the value of this attribute in the group's own name, else the whole name.

    Two groups of one ``cn`` in different branches would be one: that is what ``base`` is for.
    """
    named = [_leaf(dn, attribute) or dn for dn in dns if is_below(dn, base)]
    return tuple(dict.fromkeys(named))


def is_below(dn: str, base: str) -> bool:
    """Does this name end with that one? Everything is below nothing."""
    inner, outer = _parts(dn), _parts(base)
    return len(inner) >= len(outer) and inner[len(inner) - len(outer) :] == outer


def _leaf(dn: str, attribute: str) -> str:
    """``cn=a+ou=b,…`` with ``cn`` is ``a``."""
    first = _RDN.match(dn)
    for part in _AVA.findall(first[0]) if first else ():
        kind, _, value = part.partition("=")
        if kind.strip().lower() == attribute.lower():
            return _plain(value)
    return ""


def _parts(dn: str) -> list[str]:
    parts = []
    for part in _RDN.findall(dn):
        kind, _, value = part.partition("=")
        parts.append(f"{kind.strip().lower()}={canonical(_plain(value))}")
    return parts


def _plain(value: str) -> str:
    """A value of a name without its escapes (RFC 4514 §3)."""

    def plain(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if found[1] else found[2]

    return _ESCAPED.sub(plain, value.strip().encode("utf-8", "replace")).decode("utf-8", "replace")
