"""Users in a YAML file (:mod:`gateway.identity.users_yaml`): a source of users, and the file for ``gateway users``."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.hashed import HashedSource
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import Found, canonical
from gateway.identity.users_yaml import (
    UserEntry,
    UserTable,
    identities,
    load_document,
    read_users,
    table_of,
)
from gateway.identity.watched_file import WatchedFile

__all__ = ["FileUsers", "UserEntry", "UsersFile", "read_users"]

_LOCK_SECONDS = 10.0


class FileUsers(HashedSource):
    """A :class:`~gateway.identity.source.UserSource`: the file's users in memory, read again when the file changes.

    ``table`` is the file as it was read at the start. An edit that is wrong leaves the users of before, and is logged.
    """

    in_memory = True

    def __init__(self, table: UserTable, checker: PasswordChecker, name: str = "file") -> None:
        super().__init__(name, checker)
        self._known = identities(table, name, {})
        self._file = UsersFile(table.path, legacy=table.legacy)
        self._writing = asyncio.Lock()
        read = partial(read_users, table.path, legacy=table.legacy)
        self._watched = WatchedFile((table.path,), read, table, (table.stamp,), self._take_over)

    async def find(self, login: str) -> Found | None:
        """As the file says now."""
        await self.refresh()
        return self._found(self._watched.value.signing_in(login))

    async def find_by_id(self, user_id: str) -> Found | None:
        """As the file says now."""
        await self.refresh()
        return self._found(self._watched.value.by_id.get(user_id))

    def _found(self, entry: UserEntry | None) -> Found | None:
        return Found(entry.identity(self.name), entry.password, entry.disabled) if entry else None

    def known(self, user_id: str) -> Identity | None:
        """At most a second older than the file; None: gone or disabled."""
        return self._known.get(user_id)

    async def write_hash(self, user_id: str, known_hash: str, made: str, *, same_password: bool) -> Identity | None:
        """Written to the file; impossible where that cannot be written, or is wrong since an edit."""
        async with self._writing:  # one thread at most waits for the lock of the file
            change = partial(self._file.replace_password, user_id, known_hash, made, same_password=same_password)
            changed = await asyncio.to_thread(change)
        await self.refresh()
        return changed.identity(self.name) if changed else None

    # -- the file changes
    async def watch(self) -> None:
        """Notices within a second that the file was changed, until it is cancelled."""
        await self._watched.watch()

    async def refresh(self) -> None:
        """Takes over what the file holds now."""
        await self._watched.refresh()

    def _take_over(self, table: UserTable) -> None:
        before, self._known = self._known, identities(table, self.name, self._known)
        for user_id in before.keys() - self._known.keys():
            self.on_gone(before[user_id])


class UsersFile:
    """The file for whoever changes it: comments and order are kept, the file is replaced at once and never found half
    written, with the mode it had (0600 when it is new), and two who change it at the same time wait for each other.

    Every change raises SettingsError when the result would be no valid users file, or cannot be written; nothing is
    changed then. ``legacy``: may it hold hashes of old kinds? Only who knows the configuration knows whether they are read.
    """

    def __init__(self, path: Path, *, legacy: bool = True) -> None:
        self._path = path
        self._legacy = legacy

    def create(self) -> None:
        """An empty list, unless the file is there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self._path.exists():
                self._write("# Made by gateway users. Passwords are hashes only.\nusers: []\n")

    def entries(self) -> list[UserEntry]:
        """In the file's order."""
        return list(read_users(self._path, legacy=self._legacy).by_id.values())

    def add(self, row: dict[str, Any]) -> None:
        """At the end."""
        with self._alone():
            yaml, document, _ = load_document(self._path)
            if not document["users"]:
                document["users"] = type(document["users"])()  # block style, however the empty list was written
            document["users"].append(CommentedMap(row))
            self._save(yaml, document)

    def remove(self, username: str) -> bool:
        """False when there is no such user."""
        with self._alone():
            yaml, document, _ = load_document(self._path)
            row = _row_of(document, username)
            if row is None:
                return False
            document["users"].remove(row)
            self._save(yaml, document)
            return True

    def set_disabled(self, username: str, disabled: bool) -> bool:
        """False when there is no such user."""
        with self._alone():
            yaml, document, _ = load_document(self._path)
            row = _row_of(document, username)
            if row is None:
                return False
            if disabled or "disabled" in row:
                _set_field(row, "disabled", disabled)
                self._save(yaml, document)
            return True

    def set_password(self, username: str, password_hash: str) -> bool:
        """Moves the generation, too: the user's sessions end. False when there is no such user."""
        wanted = canonical(username)
        return self._set_password(lambda entry: canonical(entry.username) == wanted, password_hash) is not None

    def replace_password(
        self, user_id: str, known_hash: str, password_hash: str, *, same_password: bool = False
    ) -> UserEntry | None:
        """The user with his new hash; None when there is no such active user whose password is still the known one.

        ``same_password``: only its hash is another, so his generation stays.
        """

        def is_wanted(entry: UserEntry) -> bool:
            return (entry.user_id, entry.password, entry.disabled) == (user_id, known_hash, False)

        return self._set_password(is_wanted, password_hash, 0 if same_password else 1)

    def _set_password(
        self, is_wanted: Callable[[UserEntry], bool], password_hash: str, step: int = 1
    ) -> UserEntry | None:
        with self._alone():
            yaml, document, stamp = load_document(self._path)
            entries = table_of(self._path, document, stamp, legacy=self._legacy).by_id.values()
            for row, entry in zip(document["users"], entries, strict=True):
                if is_wanted(entry):
                    row["password"] = password_hash
                    if step:
                        _set_field(row, "generation", entry.generation + step)
                    self._save(yaml, document)
                    return entry.model_copy(update={"password": password_hash, "generation": entry.generation + step})
            return None

    def _save(self, yaml: YAML, document: CommentedMap) -> None:
        with tempfile.TemporaryDirectory(dir=self._path.resolve().parent, prefix=".users-") as folder:
            trial = Path(folder, self._path.name)
            with trial.open("w", encoding="utf-8") as file:
                yaml.dump(document, file)
            try:
                read_users(trial, legacy=self._legacy)
            except SettingsError as error:
                raise SettingsError([replace(one, where=str(self._path)) for one in error.problems]) from error
            self._write(trial.read_text(encoding="utf-8"))

    def _write(self, text: str) -> None:
        path = self._path.resolve()  # a link stays one
        old = path.stat() if path.exists() else None
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".users-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if old is not None:
                with suppress(PermissionError):  # root changes it for the user that the gateway runs as
                    os.chown(name, old.st_uid, old.st_gid)
                os.chmod(name, old.st_mode & 0o777)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile. The lock is on its folder, because a change replaces the file itself.

        :raises SettingsError: it cannot be had, or what is done under it fails for the system's reasons.
        """
        try:
            folder = os.open(self._path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _lock(folder)
                yield
            finally:
                os.close(folder)
        except OSError as error:
            raise SettingsError([Problem(str(self._path), "", f"cannot be written: {error.strerror}")]) from error


def _lock(folder: int) -> None:
    """:raises BlockingIOError: somebody else has had it for too long."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _set_field(row: CommentedMap, name: str, value: int | bool) -> None:
    """A new one goes before the password: behind the last field it would stand below the comments that follow."""
    if name in row:
        row[name] = value
    else:
        row.insert(list(row).index("password"), name, value)


def _row_of(document: CommentedMap, username: str) -> Any:
    """The user's, or None."""
    return next((row for row in document["users"] if _username(row) == canonical(username)), None)


def _username(row: Any) -> str:
    return canonical(str(row.get("username", ""))) if isinstance(row, CommentedMap) else ""
