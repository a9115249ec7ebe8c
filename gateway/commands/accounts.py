"""Where ``gateway users`` finds the accounts: in a users file, or in a source that a configuration names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from gateway.commands.auditing import record
from gateway.commands.options import File
from gateway.core.passwords import PasswordPolicy
from gateway.errors import Problem, SettingsError, StartError
from gateway.identity.common_passwords import make_policy
from gateway.identity.users_file import UsersFile
from gateway.identity.users_yaml import UserEntry, what_is_wrong_with
from gateway.settings import Settings, load_settings
from gateway.settings.files import NoUsersFile
from gateway.settings.users import FileSource
from gateway.settings.users_sql import SqlUsersSettings
from gateway.telemetry.audit import Event, Fields
from gateway.user_sources import password_policy, source_names

if TYPE_CHECKING:
    from gateway.identity.sql_accounts import SqlAccounts

T = TypeVar("T")
DEFAULT_FILE = Path("config/users.yaml")


class Accounts(Protocol):
    """The accounts of one source. What changes one says False when there is no such user."""

    shown: str
    """What it is called in what commands say."""
    passwords: PasswordPolicy
    """What a new password has to be."""

    def create(self) -> None:
        """Unless it is there."""

    def entries(self) -> Sequence[UserEntry]:
        """All of them."""

    def add(self, row: dict[str, Any]) -> None:
        """As a users file has it."""

    def remove(self, username: str) -> bool:
        """For good."""

    def set_password(self, username: str, password_hash: str) -> bool:
        """His sessions end."""

    def set_disabled(self, username: str, disabled: bool) -> bool:
        """Who is disabled cannot sign in, and his sessions end."""

    def note(self, event: Event, username: str, user_id: str = "") -> None:
        """Into the audit log."""


class FileAccounts(UsersFile):
    """Those of a users file; ``audit``: as :func:`~gateway.commands.auditing.record` wants to know it."""

    def __init__(self, path: Path, audit: Settings | str, passwords: PasswordPolicy) -> None:
        super().__init__(path)
        self.shown = str(path)
        self.passwords = passwords
        self._file, self._audit = str(path.absolute()), audit

    def note(self, event: Event, username: str, user_id: str = "") -> None:
        """With the file."""
        fields: Fields = {"username": username, "file": self._file}
        record(self._audit, event, None, **(fields | _about(user_id)))


class TableAccounts:
    """Those of the gateway's own table in a database."""

    def __init__(self, name: str, given: SqlUsersSettings, audit: Settings | str, passwords: PasswordPolicy) -> None:
        self.shown = name
        self.passwords = passwords
        self._given, self._audit = given, audit

    def create(self) -> None:
        """With the first account: see :meth:`add`."""

    def entries(self) -> Sequence[UserEntry]:
        """By name."""
        return self._run(lambda accounts: accounts.entries())

    def add(self, row: Mapping[str, Any]) -> None:
        """Makes the table when there is none.

        :raises StartError: there can be no such user; every reason why.
        """
        if wrong := what_is_wrong_with(row):
            raise StartError("; ".join(f"{field}: {what}" for field, what in wrong))
        self._run(lambda accounts: accounts.add(row), create=True)

    def remove(self, username: str) -> bool:
        """For good."""
        return self._run(lambda accounts: accounts.remove(username))

    def set_password(self, username: str, password_hash: str) -> bool:
        """His sessions end within ``recheck``."""
        return self._run(lambda accounts: accounts.set_password(username, password_hash))

    def set_disabled(self, username: str, disabled: bool) -> bool:
        """Felt within ``recheck``."""
        return self._run(lambda accounts: accounts.set_disabled(username, disabled))

    def note(self, event: Event, username: str, user_id: str = "") -> None:
        """With the source."""
        fields: Fields = {"username": username, "source": self.shown}
        record(self._audit, event, None, **(fields | _about(user_id)))

    def _run(self, work: Callable[[SqlAccounts], Awaitable[T]], *, create: bool = False) -> T:
        """Imported late: SQLAlchemy is half of the time that a start takes."""
        from gateway.identity.sql_accounts import SqlAccounts
        from gateway.identity.sql_asking import OwnTable
        from gateway.settings.users_sql import OWN_TABLE
        from gateway.sql_sources import database_of

        async def run() -> T:
            own = OwnTable(self._given.table or OWN_TABLE)
            accounts = SqlAccounts(database_of(self._given, own, create=create), own)
            try:
                return await work(accounts)
            finally:
                await accounts.close()

        return asyncio.run(run())


def _about(user_id: str) -> Fields:
    return {"user_id": user_id} if user_id else {}


def _options(command: Callable[..., Any], *, makes: bool) -> Callable[..., Any]:
    """``--file``, or ``--config`` and ``--source``: the command is given its ``accounts``."""

    @click.option("--file", "path", type=File, help=f"A users file.  [default: {DEFAULT_FILE}]")
    @click.option("--config", type=File, help="Instead of a file: the configuration that names the source.")
    @click.option("--source", metavar="NAME", help="Which source of the configuration: file:users.yaml, sql:TABLE …")
    @wraps(command)
    def run(
        *args: Any, path: Path | None, config: Path | None, source: str | None, audit: str = "off", **rest: Any
    ) -> Any:
        if makes and config is not None and path is None:
            _make_missing(config, source)
        return command(*args, accounts=_chosen(path, config, source, audit), **rest)

    return run


accounts_options = partial(_options, makes=False)
"""A decorator: see :func:`_options`."""
accounts_to_add_to = partial(_options, makes=True)
"""The same, but a users file that the configuration names and that is not there yet is made."""


def _make_missing(config: Path, source: str | None) -> None:
    """Only where nothing else is wrong: whoever corrects the rest may have meant another file."""
    try:
        load_settings(config, os.environ)
    except SettingsError as error:
        paths = {one.path if isinstance(one, NoUsersFile) else None for one in error.problems}
        path = paths.pop() if len(paths) == 1 else None
        if path is not None and source in (None, f"file:{path.name}"):
            UsersFile(path).create()
            click.echo(f"{path}: made, as {error.problems[0].where} names it")


def _chosen(path: Path | None, config: Path | None, source: str | None, audit: str) -> Accounts:
    if config is None:
        if source is not None:
            raise StartError("--source is one of a configuration: give --config, too")
        return FileAccounts(path or DEFAULT_FILE, audit, make_policy())
    if path is not None:
        raise StartError("give either --file or --config")
    settings = _loaded(config)
    known = {
        name: given
        for name, given in zip(source_names(settings), settings.users, strict=True)
        if isinstance(given, FileSource) or (isinstance(given, SqlUsersSettings) and given.is_own)
    }
    if source is None and len(known) == 1:
        source = next(iter(known))
    if not known:
        where = "they are changed in users files and in the gateway's own table"
        raise StartError(f"no source of this configuration has accounts that can be changed here: {where}")
    if source not in known:
        what = f"there is no source {source} with accounts to change" if source else "--source is needed"
        raise StartError(f"{what}; there are: {', '.join(known)}")
    given = known[source]
    place, passwords = settings if audit == "off" else audit, password_policy(settings)
    if isinstance(given, FileSource):
        return FileAccounts(given.path, place, passwords)
    return TableAccounts(source, given, place, passwords)


def _loaded(config: Path) -> Settings:
    """:raises SettingsError: it is wrong; a users file that is not there yet is told with the way to one."""
    try:
        return load_settings(config, os.environ)
    except SettingsError as error:
        raise SettingsError([_with_way_out(one) for one in error.problems]) from error


def _with_way_out(problem: Problem) -> Problem:
    if not isinstance(problem, NoUsersFile):
        return problem
    return replace(problem, what=f"{problem.what}; gateway users add NAME --file FILE makes a users file")
