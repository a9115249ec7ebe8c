"""Users in a YAML file: read at start, written by ``gateway users``. Comments and order in it are kept.

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
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.passwords import PasswordChecker, is_known_hash
from gateway.identity.source import canonical


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

    @field_validator("username")
    @classmethod
    def _check_username(cls, value: str) -> str:
        if value != value.strip() or not value.isprintable():
            raise ValueError("must not begin or end with a blank, nor hold control characters")
        return value

    def identity(self, source: str) -> Identity:
        """Without the secret."""
        given = (self.id or self.username, self.username, self.name, self.email, self.usertype)
        return Identity(*given, groups=self.groups, source=source)


@dataclass(frozen=True, slots=True)
class Users:
    """The file's users by canonical username and e-mail address."""

    by_login: Mapping[str, UserEntry] = field(repr=False)

    def get(self, login: str) -> UserEntry | None:
        """The user that signs in with this, or None."""
        return self.by_login.get(canonical(login))


def read_users(path: Path) -> Users:
    """:raises SettingsError: every problem of the file, with its line."""
    _, document = _load(path)
    problems: list[Problem] = []
    by_login: dict[str, UserEntry] = {}
    ids: dict[str, str] = {}
    for number, row in enumerate(document["users"]):
        where = f"{path}:{document['users'].lc.item(number)[0] + 1}"
        entry = _entry(row, where, number, problems)
        if entry is not None:
            _index(by_login, entry, where, problems)
            user_id = entry.id or entry.username
            if user_id in ids:
                problems.append(
                    Problem(where, "users", f"has the same id as {ids[user_id]}: backends would take them for one")
                )
            ids.setdefault(user_id, entry.username)
    if problems:
        raise SettingsError(problems)
    return Users(by_login)


def _entry(row: Any, where: str, number: int, problems: list[Problem]) -> UserEntry | None:
    try:
        entry = UserEntry.model_validate(row if isinstance(row, str) else dict(row or {}))
    except (ValidationError, TypeError, ValueError) as error:
        found = error.errors() if isinstance(error, ValidationError) else [{"loc": (), "msg": "not a user"}]
        for one in found:
            key = ".".join(map(str, ("users", number, *one["loc"])))
            problems.append(Problem(where, key, _words(one)))
        return None
    if not is_known_hash(entry.password):
        problems.append(
            Problem(where, f"users.{number}.password", "not an argon2id or bcrypt hash; use: gateway users passwd")
        )
    return entry


def _words(one: Any) -> str:
    """pydantic's finding as a person would say it."""
    known = {"missing": "is needed", "extra_forbidden": "there is no such field", "string_type": "must be a text"}
    if one.get("type") == "string_too_short":
        return "must not be empty"
    return known.get(
        one.get("type", ""), str(one["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    )


def _index(by_login: dict[str, UserEntry], entry: UserEntry, where: str, problems: list[Problem]) -> None:
    for login in {canonical(entry.username), canonical(entry.email)} - {""}:
        if login in by_login:
            problems.append(Problem(where, "users", f"there is already a user who signs in as {login}"))
        by_login[login] = entry


def _load(path: Path) -> tuple[YAML, CommentedMap]:
    yaml = YAML(typ="rt")
    yaml.width = 4096
    try:
        document = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([Problem(str(path), "", _io_words(error))]) from error
    except (ValueError, TypeError, RecursionError) as error:  # a date or number that is none, or too deep
        raise SettingsError([Problem(str(path), "", f"cannot be read as YAML: {error}"[:200])]) from error
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError([Problem(where, "", f"not YAML: {getattr(error, 'problem', None) or error}")]) from error
    if (
        not isinstance(document, CommentedMap)
        or not isinstance(document.get("users"), CommentedSeq)
        or len(document) != 1
    ):
        raise SettingsError([Problem(str(path), "users", "the file needs one list named users")])
    return yaml, document


def _io_words(error: OSError | UnicodeDecodeError) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"


def _username(row: Any) -> str:
    return canonical(str(row.get("username", ""))) if isinstance(row, CommentedMap) else ""


class FileUsers:
    """A :class:`~gateway.identity.source.UserSource`."""

    def __init__(self, users: Users, checker: PasswordChecker, name: str = "file") -> None:
        self.name = name
        self._users = users
        self._checker = checker

    async def sign_in(self, login: str, password: str) -> Identity | None:
        """None for unknown, disabled and wrong alike, after the same work."""
        entry = self._users.get(login)
        fits = await self._checker.fits(entry.password if entry else None, password)
        return entry.identity(self.name) if entry and fits and not entry.disabled else None


class UsersFile:
    """The file for ``gateway users``: changes keep comments and order, and are written atomically with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """An empty list, unless the file is there."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write("# Made by gateway users. Passwords are hashes only.\nusers: []\n")

    def entries(self) -> list[UserEntry]:
        """In the file's order."""
        users = read_users(self._path)
        return list(dict.fromkeys(users.by_login.values()))

    def add(self, row: dict[str, Any]) -> None:
        """:raises SettingsError: the result would be no valid users file; nothing is written."""
        yaml, document = _load(self._path)
        if not document["users"]:
            document["users"] = type(document["users"])()  # block style, however the empty list was written
        document["users"].append(CommentedMap(row))
        self._save(yaml, document)

    def remove(self, username: str) -> bool:
        """False when there is no such user."""
        yaml, document = _load(self._path)
        row = self._row(document, username)
        if row is None:
            return False
        document["users"].remove(row)
        self._save(yaml, document)
        return True

    def set_password(self, username: str, password_hash: str) -> bool:
        """False when there is no such user."""
        yaml, document = _load(self._path)
        row = self._row(document, username)
        if row is None:
            return False
        row["password"] = password_hash
        self._save(yaml, document)
        return True

    @staticmethod
    def _row(document: CommentedMap, username: str) -> CommentedMap | None:
        wanted = canonical(username)
        return next((row for row in document["users"] if _username(row) == wanted), None)

    def _save(self, yaml: YAML, document: CommentedMap) -> None:
        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".users-") as folder:
            trial = Path(folder, self._path.name)
            with trial.open("w", encoding="utf-8") as file:
                yaml.dump(document, file)
            try:
                read_users(trial)
            except SettingsError as error:
                raise SettingsError([replace(one, where=str(self._path)) for one in error.problems]) from error
            self._write(trial.read_text(encoding="utf-8"))

    def _write(self, text: str) -> None:
        mode = self._path.stat().st_mode & 0o777 if self._path.exists() else 0o600
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".users-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, self._path)
