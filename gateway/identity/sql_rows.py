"""What stands in a row about a user, whatever types its columns have: read here, once, for every kind of database.

Nothing in a row is an error of the gateway. What cannot be read lets nobody in and is told the operator once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from gateway.core.identity import Identity
from gateway.identity.hashes import is_known_hash
from gateway.identity.source import Found, canonical

log = logging.getLogger("gateway.identity")
_MOST_TOLD = 1000
_MAX_GENERATION = 2**53 - 1  # what JSON keeps exactly everywhere (RFC 8259 §6)
_LONGEST = 1024
_ALL_GROUPS = 8192
_YES = frozenset({"1", "t", "true", "y", "yes", "on"})
_NO = frozenset({"0", "f", "false", "n", "no", "off", ""})


class Unreadable(ValueError):
    """A value that cannot be what its column is said to hold; the text names the column."""


class Told:
    """Tells the operator each thing once in the life of the process, and of very many things the first ones."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: set[tuple[str, str]] = set()

    def once(self, what: str, about: str = "") -> None:
        """``about``: whom it concerns, an id or a name, never a secret."""
        if (what, about) in self._known or len(self._known) >= _MOST_TOLD:
            return
        self._known.add((what, about))
        log.warning(what, extra={"fields": {"source": self._source, **({"user": about} if about else {})}})


@dataclass(frozen=True, slots=True)
class Row:
    """A user as he is stored. ``raw``: the values as the driver gave them, by our names of the columns."""

    raw: Mapping[str, Any] = field(repr=False)
    identity: Identity
    secret: str = field(repr=False)
    disabled: bool

    def is_called(self, wanted: str) -> bool:
        """Is this his username, in canonical form?"""
        return canonical(self.identity.username) == wanted

    def has_address(self, wanted: str) -> bool:
        """Is this his e-mail address, in canonical form?"""
        return canonical(self.identity.email) == wanted

    def found(self, secret: str) -> Found:
        """For whoever checks the password; ``secret``: the hash, or nothing where none can be used."""
        return Found(self.identity, secret, self.disabled)


def read_row(raw: Mapping[str, Any], source: str) -> Row:
    """:raises Unreadable: it is nobody who could sign in."""
    username, user_id = text_of(raw.get("username")), text_of(raw.get("id", raw.get("username")))
    if not canonical(username):
        raise Unreadable("a user has no username")
    if not user_id:
        raise Unreadable("a user has no id")
    name, email, usertype = (text_of(raw.get(field)) for field in ("name", "email", "usertype"))
    texts = [username, user_id, name, email, usertype]
    groups = groups_of(raw.get("groups"))
    if any("\ud800" <= char <= "\udfff" for text in (*texts, *groups) for char in text):  # from a JSON list
        raise Unreadable("a user's name or groups hold half a character")
    if max(map(len, texts)) > _LONGEST or sum(map(len, groups)) > _ALL_GROUPS:
        raise Unreadable("a user's name or groups are too long to be told to a backend")
    identity = Identity(user_id, username, name, email, usertype, groups, source, generation_of(raw.get("generation")))
    return Row(raw, identity, text_of(raw.get("password")), _is_disabled(raw))


def _is_disabled(raw: Mapping[str, Any]) -> bool:
    """NULL: not disabled (``deleted_at``), but not active either."""
    if "active" in raw:
        return raw["active"] is None or not truth_of(raw["active"], "active")
    return raw.get("disabled") is not None and truth_of(raw["disabled"], "disabled")


def usable_hash(row: Row, *, legacy: bool, told: Told) -> str:
    """The hash, or nothing: then nobody signs in as this user."""
    if is_known_hash(row.secret, legacy):
        return row.secret
    if row.secret:
        told.once("a stored password hash is of no kind that is read here", row.identity.id)
    else:
        told.once("a user has no password hash", row.identity.id)
    return ""


def text_of(value: Any) -> str:
    """NULL is nothing; fixed-length columns are filled up with blanks."""
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode().strip()
        except UnicodeDecodeError as error:
            raise Unreadable("a column holds bytes that are no UTF-8; a query can turn them into text") from error
    if isinstance(value, bool):
        return str(int(value))  # as the databases without booleans of their own show it
    return str(value).strip()


def truth_of(value: Any, column: str) -> bool:
    """Yes or no, as the databases and their users write it. A moment (``deleted_at``) is a yes.

    :raises Unreadable: neither.
    """
    if isinstance(value, bool | int | float | Decimal):
        return value != 0
    if isinstance(value, date):
        return True
    if isinstance(value, bytes) and value.strip(b"\0\1") == b"":  # BIT(1) of MySQL
        return b"\1" in value
    text = text_of(value).casefold()
    if text in _YES or _moment(text) is not None:
        return True
    if text in _NO:
        return False
    raise Unreadable(f"the column for {column} holds neither yes nor no")


def generation_of(value: Any) -> int:
    """A count, or the moment of the last change in microseconds; NULL is none yet.

    :raises Unreadable: neither, or too large.
    """
    if isinstance(value, float | Decimal) and value == value and value % 1 == 0:
        value = int(value)
    text = text_of(value) or "0"
    moment = value if isinstance(value, date) else _moment(text)
    count = int(text) if text.isdecimal() and len(text) <= 16 else -1
    number = count if moment is None else _microseconds(moment)
    if not 0 <= number <= _MAX_GENERATION:
        raise Unreadable("the column for generation holds neither a count nor a moment")
    return number


def _moment(text: str) -> date | None:
    if not text[:5].endswith("-"):  # a number is none, though Python would take 20240101 for a day
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _microseconds(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def groups_of(value: Any) -> tuple[str, ...]:
    """A JSON list, an array of PostgreSQL, or names with commas between them."""
    if not isinstance(value, list | tuple):
        text = text_of(value)
        value = _json_list(text) if text.startswith("[") else text.split(",")
    names = (text_of(name) for name in value)
    return tuple(dict.fromkeys(name for name in names if name))


def _json_list(text: str) -> Sequence[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or any(isinstance(name, list | dict) for name in found):
        raise Unreadable("the column for groups begins like a JSON list and is none")
    return found
