"""What a users file may hold, and reading it with every problem at once.

::

    users:
      - username: alice
        password: $argon2id$v=19$…     # gateway users passwd alice
        name: Alice Archer             # the rest is optional
        email: alice@example.org
        usertype: user
        groups: [sales]
        disabled: false
        id: 7f3a…                      # stable over renames; the username when there is none
        generation: 1                  # moved by a change of the password: sessions of an older one are over
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.hashes import what_is_wrong_with_hash
from gateway.identity.source import canonical
from gateway.identity.watched_file import Stamp, stamp_of

_MAX_GENERATION = 2**53 - 1  # what JSON keeps exactly everywhere (RFC 8259 §6)


class UserEntry(BaseModel):
    """One user of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str = Field(min_length=1, max_length=254)
    password: str = Field(min_length=1, repr=False)
    id: str = Field(default="", max_length=254)
    name: str = Field(default="", max_length=254)
    email: str = Field(default="", max_length=254)
    usertype: str = Field(default="", max_length=254)
    groups: tuple[str, ...] = ()
    disabled: bool = False
    generation: int = Field(default=0, ge=0, le=_MAX_GENERATION, strict=True)

    @field_validator("username")
    @classmethod
    def _check_username(cls, value: str) -> str:
        if value != value.strip() or not value.isprintable():
            raise ValueError("must not begin or end with a blank, nor hold control characters")
        return value

    @property
    def user_id(self) -> str:
        """The id that counts."""
        return self.id or self.username

    def identity(self, source: str) -> Identity:
        """Without the secret."""
        given = (self.user_id, self.username, self.name, self.email, self.usertype)
        return Identity(*given, groups=self.groups, source=source, generation=self.generation)


@dataclass(frozen=True, slots=True)
class UserTable:
    """The users of one file, in its order, as it was when it had this stamp."""

    path: Path
    stamp: Stamp
    by_id: Mapping[str, UserEntry] = field(repr=False)
    by_login: Mapping[str, UserEntry] = field(repr=False)
    """By canonical username and e-mail address."""
    legacy: bool = False
    """Were hashes of old kinds read?"""

    def signing_in(self, login: str) -> UserEntry | None:
        """The user that signs in with this, or None."""
        return self.by_login.get(canonical(login))

    def active(self, user_id: str) -> UserEntry | None:
        """The user with this id; None: gone or disabled."""
        entry = self.by_id.get(user_id)
        return None if entry is None or entry.disabled else entry


def identities(table: UserTable, source: str, before: Mapping[str, Identity]) -> dict[str, Identity]:
    """Of the active users, by id: the same object as ``before`` where nothing changed, which is quick to compare."""
    active = {entry.user_id: entry.identity(source) for entry in table.by_id.values() if not entry.disabled}
    return {user_id: known if (known := before.get(user_id)) == now else now for user_id, now in active.items()}


def read_users(path: Path, *, legacy: bool = False) -> UserTable:
    """``legacy``: are hashes of old kinds read?

    :raises SettingsError: every problem of the file, with its line.
    """
    _, document, stamp = load_document(path)
    return table_of(path, document, stamp, legacy=legacy)


def table_of(path: Path, document: CommentedMap, stamp: Stamp, *, legacy: bool) -> UserTable:
    """The users of a document.

    :raises SettingsError: every problem, with its line.
    """
    problems: list[Problem] = []
    by_login: dict[str, UserEntry] = {}
    by_id: dict[str, UserEntry] = {}
    for number, row in enumerate(document["users"]):
        where = f"{path}:{document['users'].lc.item(number)[0] + 1}"
        entry = _entry(row, where, number, problems, legacy)
        if entry is not None:
            _index(by_login, entry, where, problems)
            known = by_id.setdefault(entry.user_id, entry)
            if known is not entry:
                what = f"has the same id as {known.username}: backends would take them for one"
                problems.append(Problem(where, "users", what))
    if problems:
        raise SettingsError(problems)
    return UserTable(path, stamp, by_id, by_login, legacy)


def _entry(row: Any, where: str, number: int, problems: list[Problem], legacy: bool) -> UserEntry | None:
    if not isinstance(row, Mapping | None):
        problems.append(Problem(where, f"users.{number}", "not a user"))
        return None
    given = dict(row or {})
    found, stored = what_is_wrong_with(given), given.get("password")
    entry = None if found else UserEntry.model_validate(given)
    wrong = what_is_wrong_with_hash(stored, legacy) if isinstance(stored, str) and stored else None
    if wrong is not None:
        found.append(("password", f"{wrong}; use: gateway users passwd"))
    problems += [Problem(where, f"users.{number}.{key}", what) for key, what in found]
    return entry


def what_is_wrong_with(row: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Each field of a user that is not as it must be, and why; the hash is looked at elsewhere."""
    try:
        UserEntry.model_validate(dict(row))
    except ValidationError as error:
        return [(".".join(map(str, one["loc"])), _words(one)) for one in error.errors()]
    return []


_WORDS = {
    "missing": "is needed",
    "extra_forbidden": "there is no such field",
    "invalid_key": "there is no such field",
    "string_type": "must be a text; put a number in quotes",
    "string_unicode": "must be a text; half a character is none",
    "string_too_short": "must not be empty",
    "string_too_long": "must not be longer than {max_length} characters",
    "tuple_type": "must be a list: lines that begin with a dash, or [one, two]",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "greater_than_equal": "must not be negative",
    "less_than_equal": "must be at most {le}",
}


def _words(one: Any) -> str:
    """pydantic's finding as a person would say it."""
    known = _WORDS.get(one["type"])
    return known.format(**one.get("ctx", {})) if known else str(one["msg"]).removeprefix("Value error, ")


def _index(by_login: dict[str, UserEntry], entry: UserEntry, where: str, problems: list[Problem]) -> None:
    for login in {canonical(entry.username), canonical(entry.email)} - {""}:
        if login in by_login:
            problems.append(Problem(where, "users", f"there is already a user who signs in as {login}"))
        by_login[login] = entry


def load_document(path: Path) -> tuple[YAML, CommentedMap, Stamp]:
    """The file with its comments, and its stamp when it was opened.

    :raises SettingsError: it cannot be read, or holds no list named users.
    """
    yaml = YAML(typ="rt")
    yaml.width = 4096
    try:
        with path.open(encoding="utf-8") as file:
            stamp = stamp_of(os.fstat(file.fileno()))
            document = yaml.load(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([Problem(str(path), "", _io_words(error))]) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:  # a wrong tag or date
        what = "cannot be read as YAML: a date, number or tag in it is none, or it is too deep"
        raise SettingsError([Problem(str(path), "", what)]) from error
    except YAMLError as error:
        raise SettingsError([_yaml_problem(path, error)]) from error
    if (
        not isinstance(document, CommentedMap)
        or not isinstance(document.get("users"), CommentedSeq)
        or len(document) != 1
    ):
        raise SettingsError([Problem(str(path), "users", "the file needs one list named users")])
    return yaml, document, stamp


def _yaml_problem(path: Path, error: YAMLError) -> Problem:
    """Without values: this is printed and logged, and some are hashes of passwords."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    what = str(getattr(error, "problem", None) or "it breaks the rules").partition(" with value")[0]
    return Problem(f"{path}:{mark.line + 1}" if mark else str(path), "", f"not YAML: {what}")


def _io_words(error: OSError | UnicodeDecodeError) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
