"""``gateway apikeys``: API keys for users who cannot make their own, and what keys there are."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.commands.auditing import record
from gateway.commands.options import config_option, table
from gateway.commands.stores import run_quietly
from gateway.core.api_keys import NAME_LENGTH, ApiKey
from gateway.core.identity import Identity
from gateway.errors import RequestError, SourceUnavailable, StartError
from gateway.identity.users import Users
from gateway.key_files import utc_text
from gateway.key_store import key_rules, open_key_book
from gateway.settings import Settings, load_settings

_DAY = 86400
_USUAL_DAYS = 30
_COLUMNS = ("id", "username", "source", "name", "routes", "created", "expires", "last_used")
_source_option = click.option("--source", metavar="NAME", help="The source of the user: file:users.yaml …")


def _name_of(_: click.Context, option: click.Parameter, value: str) -> str:
    """:raises click.BadParameter: it would look bad in a list."""
    if not value.strip() or len(value) > NAME_LENGTH or not value.isprintable():
        raise click.BadParameter(f"must be 1 to {NAME_LENGTH} printable characters", param=option)
    return value.strip()


@click.group()
def apikeys() -> None:
    """API keys, for scripts that cannot sign in."""


@apikeys.command("create")
@config_option
@click.option("--user", required=True, metavar="NAME", help="Whose it is; a username or e-mail address.")
@_source_option
@click.option("--name", required=True, callback=_name_of, help="What it is for.")
@click.option("--route", "routes", multiple=True, metavar="NAME", help="Only for this route; may be repeated.")
@click.option("--days", type=click.IntRange(0, 3650), help="Days until it ends; 0: never.  [default: 30]")
def create(config: Path, user: str, source: str | None, name: str, routes: tuple[str, ...], days: int | None) -> None:
    """Make a key. Standard output is the key and nothing else; nobody sees it again."""
    settings = load_settings(config, os.environ)
    _check_routes(settings, routes)
    expires = _end(settings, days)

    async def run() -> tuple[ApiKey, str]:
        async with open_key_book(settings) as (book, users):
            return await book.make(await _found(users, user, source), name, routes, expires)

    try:
        key, text = run_quietly(run)
    except SourceUnavailable as error:
        raise StartError(f"a source of users cannot be asked: {error.cause}") from error
    except RequestError as error:
        raise StartError(_WORDS[error.reason.code].format(user=user, **error.parts)) from error
    record(settings, "api_key_created", key.user, key=key.id)
    click.echo(text)
    until = "until it is revoked" if key.expires is None else f"until {_time(key.expires)}"
    where = f"for {', '.join(sorted(key.routes))}" if key.routes else "for all that its user may open"
    told = f"Key {key.id} of {key.user.username} of {key.user.source}, {where}, {until}."
    click.echo(f"{told} Whoever has it may do what its user may.", err=True)


_WORDS = {
    "keys_not_allowed": "{user} may not have API keys: see api_keys.access, and recheck of his source",
    "too_many_keys": "{user} has {limit} API keys already: revoke one of them, or see api_keys.max_per_user",
}


def _check_routes(settings: Settings, routes: tuple[str, ...]) -> None:
    known = key_rules(settings).routes
    for name in routes:
        if name not in known:
            raise StartError(f"there is no route {name} that needs a sign-in; there are: {', '.join(known)}")


def _end(settings: Settings, days: int | None) -> float | None:
    longest = settings.api_keys.longest
    days = min(_USUAL_DAYS, longest or _USUAL_DAYS) if days is None else days
    if longest and not 0 < days <= longest:
        raise StartError(f"a key lives {longest} days at most: see api_keys.longest")
    return time.time() + days * _DAY if days else None


async def _found(users: Users, login: str, source: str | None) -> Identity:
    """:raises StartError: nobody, or somebody who is disabled."""
    search = await users.find_everywhere(login)
    found = [one for at, one in search.known if one is not None and source in (None, at.name)]
    if not found:
        away = f"; a source is away: {search.away.cause}" if search.away is not None else ""
        raise StartError(f"there is no user {login}{f' in {source}' if source else ''} that could be found{away}")
    if found[0].disabled:
        raise StartError(f"{login} of {found[0].identity.source} is disabled")
    return found[0].identity


@apikeys.command("list")
@config_option
@click.option("--user", metavar="NAME", help="Only keys of this username.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a JSON array.")
def list_keys(config: Path, user: str | None, as_json: bool) -> None:
    """All keys, newest first; those that expired within the last seven days, too."""
    settings = load_settings(config, os.environ)

    async def run() -> list[ApiKey]:
        async with open_key_book(settings) as (book, _):
            return await book.everybodys()

    rows = [_shown(key) for key in run_quietly(run) if user is None or key.user.username == user]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    headings = [name.replace("_", " ").upper() for name in _COLUMNS]
    click.echo(table([headings, *([_cell(row[name]) for name in _COLUMNS] for row in rows)]))


def _shown(key: ApiKey) -> dict[str, Any]:
    times = {"created": key.created, "expires": key.expires, "last_used": key.last_used}
    return {
        "id": key.id,
        "username": key.user.username,
        "source": key.user.source,
        "name": key.name,
        "routes": sorted(key.routes),
        **{name: None if at is None else _time(at) for name, at in times.items()},
    }


def _cell(value: str | list[str] | None) -> str:
    return " ".join(value) if isinstance(value, list) else value or ""


@apikeys.command("revoke")
@config_option
@click.argument("key_id", metavar="ID")
def revoke(config: Path, key_id: str) -> None:
    """End a key: from now on it opens nothing."""
    settings = load_settings(config, os.environ)

    async def run() -> ApiKey | None:
        async with open_key_book(settings) as (book, _):
            return await book.revoke(key_id)

    key = run_quietly(run)
    if key is None:
        raise StartError(f"there is no key {key_id}")
    record(settings, "api_key_revoked", key.user if key.user.id else None, key=key_id)
    click.echo(f"revoked {key_id}" + (f", {key.name}, of {key.user.username}" if key.user.id else ""))


def _time(at: float) -> str:
    return utc_text(datetime.fromtimestamp(int(at), UTC))
