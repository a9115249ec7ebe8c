"""Users in a YAML file (:mod:`gateway.identity.users_yaml`): a source of users, and the file for ``gateway users``."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import NotChanged, canonical
from gateway.identity.users_yaml import (
    Stamp,
    UserEntry,
    UserTable,
    load_document,
    read_users,
    stamp_of,
    table_of,
)

__all__ = ["FileUsers", "UserEntry", "UsersFile", "read_users"]

log = logging.getLogger("gateway.identity")
_LOOK_EVERY = 0.5
_QUIET_NS = 50_000_000
_LOCK_SECONDS = 10.0
_PROBLEMS_LOGGED = 5
Found = tuple[Stamp | None, UserTable | SettingsError]


class FileUsers:
    """A :class:`~gateway.identity.source.UserSource`: the file's users in memory, read again when the file changes.

    ``table`` is the file as it was read at the start. An edit that is wrong leaves the users of before, and is logged.
    """

    in_memory = True

    def __init__(self, table: UserTable, checker: PasswordChecker, name: str = "file") -> None:
        self.name = name
        self._table = table
        self._checker = checker
        self._file = UsersFile(table.path)
        self._writing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._seen: Stamp | None = table.stamp
        self._looks_begun = self._looks_done = 0

    async def sign_in(self, login: str, password: str) -> Identity | None:
        """None for unknown, disabled and wrong alike, after the same work."""
        await self.refresh()
        entry = self._table.signing_in(login)
        fits = await self._checker.fits(entry.password if entry else None, password)
        return entry.identity(self.name) if entry and fits and not entry.disabled else None

    async def get(self, user_id: str) -> Identity | None:
        """As the file says now."""
        await self.refresh()
        entry = self._table.active(user_id)
        return entry.identity(self.name) if entry else None

    def generation(self, user_id: str) -> int | None:
        """At most :data:`_LOOK_EVERY` older than the file; None: gone or disabled."""
        entry = self._table.active(user_id)
        return None if entry is None else entry.generation

    async def change_password(self, user_id: str, old: str, new: str) -> Identity | NotChanged:
        """Written to the file; impossible where that cannot be written, or is wrong since an edit."""
        await self.refresh()
        entry = self._table.active(user_id)
        fits = await self._checker.fits(entry.password if entry else None, old)
        if entry is None or not fits:
            return NotChanged.WRONG
        made = await self._checker.hash(new)
        try:
            async with self._writing:  # one thread at most waits for the lock of the file
                generation = await asyncio.to_thread(self._file.replace_password, user_id, entry.password, made)
        except SettingsError as error:
            log.error("a password could not be changed: %s", _told(error))
            return NotChanged.IMPOSSIBLE
        await self.refresh()
        if generation is None:  # somebody else was faster: what was checked is the old password no more
            return NotChanged.WRONG
        return replace(entry.identity(self.name), generation=generation)

    # -- the file changes
    async def watch(self) -> None:
        """Notices within a second that the file was changed, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes over what the file holds now. Callers at the same time share a look that began after each of them came."""
        begun = self._looks_begun
        async with self._looking:
            if self._looks_done > begun:
                return
            self._looks_begun = mine = self._looks_begun + 1
            self._take_over(await asyncio.to_thread(self._look))
            self._looks_done = mine

    def _look(self) -> Found | None:
        """What is in the file; None: nothing new, or somebody is writing in it just now. In a thread."""
        stamp = self._stamp()
        if stamp == self._seen or self._is_unfinished(stamp):
            return None
        try:
            table = read_users(self._table.path)
        except SettingsError as error:
            return stamp, error
        return (table.stamp, table) if table.stamp == self._stamp() else None

    def _stamp(self) -> Stamp | None:
        """None: the file is away."""
        try:
            return stamp_of(self._table.path.stat())
        except OSError:
            return None

    def _is_unfinished(self, stamp: Stamp | None) -> bool:
        """An editor that writes into the file itself may be half-way, and the users it has not come to are not gone."""
        is_same_file = stamp is not None and self._seen is not None and stamp[2] == self._seen[2]
        return is_same_file and stamp is not None and 0 <= time.time_ns() - stamp[0] < _QUIET_NS

    def _take_over(self, found: Found | None) -> None:
        if found is None:
            return
        self._seen, result = found
        if isinstance(result, SettingsError):
            log.error("a users file is wrong; the users known before stay: %s", _told(result))
            return
        self._table = result
        log.info("a users file was read again: %s, users: %d", result.path, len(result.by_id))


def _told(error: SettingsError) -> str:
    return "; ".join(map(str, error.problems[:_PROBLEMS_LOGGED]))


class UsersFile:
    """The file for whoever changes it: comments and order are kept, the file is replaced at once and never found half
    written, with the mode it had (0600 when it is new), and two who change it at the same time wait for each other.

    Every change raises SettingsError when the result would be no valid users file, or cannot be written; nothing is
    changed then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """An empty list, unless the file is there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self._path.exists():
                self._write("# Made by gateway users. Passwords are hashes only.\nusers: []\n")

    def entries(self) -> list[UserEntry]:
        """In the file's order."""
        return list(read_users(self._path).by_id.values())

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
            row = next((row for row in document["users"] if _username(row) == canonical(username)), None)
            if row is None:
                return False
            document["users"].remove(row)
            self._save(yaml, document)
            return True

    def set_password(self, username: str, password_hash: str) -> bool:
        """Moves the generation, too: the user's sessions end. False when there is no such user."""
        wanted = canonical(username)
        return self._set_password(lambda entry: canonical(entry.username) == wanted, password_hash) is not None

    def replace_password(self, user_id: str, known_hash: str, password_hash: str) -> int | None:
        """The new generation; None when there is no such active user whose password is still the known one."""

        def is_wanted(entry: UserEntry) -> bool:
            return (entry.user_id, entry.password, entry.disabled) == (user_id, known_hash, False)

        return self._set_password(is_wanted, password_hash)

    def _set_password(self, is_wanted: Callable[[UserEntry], bool], password_hash: str) -> int | None:
        with self._alone():
            yaml, document, stamp = load_document(self._path)
            entries = table_of(self._path, document, stamp).by_id.values()
            for row, entry in zip(document["users"], entries, strict=True):
                if is_wanted(entry):
                    row["password"] = password_hash
                    _set_generation(row, entry.generation + 1)
                    self._save(yaml, document)
                    return entry.generation + 1
            return None

    def _save(self, yaml: YAML, document: CommentedMap) -> None:
        with tempfile.TemporaryDirectory(dir=self._path.resolve().parent, prefix=".users-") as folder:
            trial = Path(folder, self._path.name)
            with trial.open("w", encoding="utf-8") as file:
                yaml.dump(document, file)
            try:
                read_users(trial)
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


def _set_generation(row: CommentedMap, generation: int) -> None:
    """A new one goes before the password: behind the last field it would stand below the comments that follow."""
    if "generation" in row:
        row["generation"] = generation
    else:
        row.insert(list(row).index("password"), "generation", generation)


def _username(row: Any) -> str:
    return canonical(str(row.get("username", ""))) if isinstance(row, CommentedMap) else ""
