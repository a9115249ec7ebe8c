"""``gateway sessions`` and ``gateway clearsessions``: who is signed in, ending sessions, and the broom."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.commands.auditing import record
from gateway.commands.options import config_option, table
from gateway.commands.stores import cause_of, with_store
from gateway.core.identity import Identity
from gateway.core.sessions import Card
from gateway.errors import SettingsError, StartError, StoreUnavailable
from gateway.identity.source import canonical
from gateway.identity.users_file import read_users
from gateway.key_files import utc_text
from gateway.settings import Settings, load_settings
from gateway.settings.users import FileSource
from gateway.store.directory import Listed, UserSessions
from gateway.store.sessions import Sessions
from gateway.telemetry.audit import Fields
from gateway.user_sources import source_names

_AT_ONCE = 16
_COLUMNS = ("handle", "username", "user_id", "source", "created", "last_seen", "address", "device")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which sessions: all that are of this user (name or id) and have this handle, as far as these are given.

    ``known``: who that user is, according to the configured sources. Empty: they do not know him.
    """

    user: str | None
    handle: str | None
    known: tuple[Identity, ...] = ()

    def has_handle(self, card: Card) -> bool:
        """What could not be opened has none."""
        return self.handle is None or card.handle == self.handle

    def fits(self, card: Card) -> bool:
        """Is it one of them? What could not be opened is nobody's and has no handle."""
        return self.has_handle(card) and (self.user is None or _is_called(self.user, card.user_id, card.username))


def _is_called(user: str, user_id: str, username: str) -> bool:
    return user == user_id or canonical(user) == canonical(username)


def _wanted(settings: Settings, user: str | None, handle: str | None) -> _Wanted:
    """Looks the user up. Where a source cannot be read here it is not known who he is: he is nobody's."""
    if user is None:
        return _Wanted(None, handle)
    known: list[Identity] = []
    try:
        for source, name in zip(settings.users, source_names(settings), strict=True):
            if not isinstance(source, FileSource):
                return _Wanted(user, handle)
            entries = read_users(source.path, legacy=True).by_id.values()
            known += [entry.identity(name) for entry in entries if _is_called(user, entry.user_id, entry.username)]
    except SettingsError:  # sessions have to be ended with a broken file, too
        known = []
    return _Wanted(user, handle, tuple(known))


def _not_empty(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """:raises click.BadParameter: an empty word would fit every session whose record cannot be opened."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty", param=option)
    return value


_user_option = click.option("--user", metavar="U", callback=_not_empty, help="Only this user's; a username or an id.")
_handle_option = click.option("--handle", metavar="H", callback=_not_empty, help="Only this one, as the list names it.")


@click.group()
def sessions() -> None:
    """Who is signed in."""


@sessions.command("list")
@config_option
@_user_option
@_handle_option
@click.option("--all", "everybody", is_flag=True, help="Everybody's; so it is without --user and --handle.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a JSON array.")
def list_sessions(config: Path, user: str | None, handle: str | None, everybody: bool, as_json: bool) -> None:
    """All sessions, or some; times are UTC."""
    if everybody and (user is not None or handle is not None):
        raise click.UsageError("--all is everybody's: leave out --user and --handle")
    settings = load_settings(config, os.environ)
    wanted = _wanted(settings, user, handle)
    found = with_store(settings, lambda store: _find(_directory(store, settings), wanted))
    cards = sorted((listed.card for listed in found), key=lambda card: (card.username, card.created))
    rows = [_shown(card) for card in cards]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    headings = [name.replace("_", " ").upper() for name in _COLUMNS]
    click.echo(table([headings, *([row[name] or "" for name in _COLUMNS] for row in rows)]))


@sessions.command("revoke")
@config_option
@_user_option
@_handle_option
@click.option("--all", "everybody", is_flag=True, help="Everybody's.")
@click.option("--yes", is_flag=True, help="Do not ask; without a terminal --all needs it.")
def revoke(config: Path, user: str | None, handle: str | None, everybody: bool, yes: bool) -> None:
    """End sessions, at once and on every gateway."""
    if everybody == (user is not None or handle is not None):
        raise click.UsageError("say whose: --user U, --handle H or both; or --all")
    if everybody and not yes and not sys.stdin.isatty():
        raise click.UsageError("--all ends everybody's sessions, and without a terminal nobody can be asked: add --yes")
    settings = load_settings(config, os.environ)
    if everybody and not yes:
        click.confirm("End everybody's sessions?", abort=True)
    wanted = _wanted(settings, user, handle)
    ended, given = 0, _whose(wanted)

    def count(number: int) -> None:
        nonlocal ended
        ended += number

    try:
        with_store(settings, lambda store: _end(_directory(store, settings), wanted, count))
    except StartError:
        given["outcome"] = "failure"
        raise
    finally:  # what was ended until the store went away is told, too
        given["count"] = ended
        record(settings, "sessions_revoked", **given)
    click.echo(f"ended {ended} session{'' if ended == 1 else 's'}")


def _whose(wanted: _Wanted) -> Fields:
    """For the audit log: the user if a source knows him, else what was asked for; nothing: everybody."""
    fields: Fields = {"session": wanted.handle or ""}
    if len(wanted.known) == 1:
        user = wanted.known[0]
        return {**fields, "user_id": user.id, "username": user.username, "source": user.source}
    return {**fields, "username": wanted.user or ""}


@click.command("clearsessions")
@config_option
def clear_sessions(config: Path) -> None:
    """Delete sessions that are over, where the engine does not do so by itself."""
    settings = load_settings(config, os.environ)
    count = with_store(settings, lambda store: store.clear_expired())
    record(settings, "sessions_cleared", count=count)
    click.echo(f"deleted {count} session{'' if count == 1 else 's'} that were over")


def _directory(store: Sessions, settings: Settings) -> UserSessions:
    """:raises StartError: this engine keeps none."""
    if store.users is None:
        engine = settings.session.engine
        words = f"session.engine {engine} does not know whose sessions there are: it can list and revoke none"
        way = "a new password or `disabled: true` in the users file ends a user's sessions"
        everybody = "; a restart of the gateway ends all" if engine == "memory" else ""
        raise StartError(f"{words}. What can be done: {way}{everybody}")
    return store.users


async def _find(directory: UserSessions, wanted: _Wanted) -> list[Listed]:
    """A user that a source knows has a list of his own; for anybody else all sessions there are have to be read."""
    if wanted.known:
        theirs = [listed for user in wanted.known for listed in await directory.of(user)]
        return [listed for listed in theirs if wanted.has_handle(listed.card)]
    return [listed async for listed in directory.everything() if wanted.fits(listed.card)]


async def _end(directory: UserSessions, wanted: _Wanted, count: Callable[[int], None]) -> None:
    """Calls ``count`` with how many.

    :raises StartError: the store went away in between; with the number until then.
    """
    found, ended = await _find(directory, wanted), 0
    for start in range(0, len(found), _AT_ONCE):
        part = [directory.end(None, listed) for listed in found[start : start + _AT_ONCE]]
        results = await asyncio.gather(*part, return_exceptions=True)
        ended += results.count(True)
        count(results.count(True))
        for result in results:
            if isinstance(result, StoreUnavailable):
                words = f"ended {ended} of {len(found)} sessions, then the store went away; give the command again"
                raise StartError(f"{words}: {cause_of(result)}") from result
            if isinstance(result, BaseException):
                raise result


def _shown(card: Card) -> dict[str, str | None]:
    """By column; what is not known is null."""
    shown: dict[str, str | None] = {name: getattr(card, name) or None for name in _COLUMNS}
    for name in ("created", "last_seen"):
        moment: float = getattr(card, name)
        shown[name] = utc_text(datetime.fromtimestamp(moment, UTC)) if moment else None
    return shown
