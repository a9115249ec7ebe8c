"""``gateway users reset-link``: a link with which one user sets a new password, once."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import click

from gateway.commands.auditing import record
from gateway.commands.options import config_option
from gateway.core.identity import Identity
from gateway.core.keys import parse_ring
from gateway.errors import SourceUnavailable, StartError
from gateway.identity.passwords import PasswordChecker
from gateway.identity.reset_links import ResetLinks
from gateway.identity.source import UserSource
from gateway.identity.users import Users
from gateway.key_files import utc_text
from gateway.settings import Settings, load_settings
from gateway.settings.load import ring_of
from gateway.settings.users import FileSource
from gateway.user_sources import make_sources, source_names

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 30 * 86400


def _seconds(_: click.Context, option: click.Parameter, value: str) -> int:
    """``24h`` is 86400.

    :raises click.BadParameter: it is no such time, or too long a one.
    """
    found = re.fullmatch(r"([0-9]{1,8})([smhd])", value)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter("is a number with s, m, h or d behind it, like 24h; 30d at most", param=option)
    return seconds


@click.command("reset-link")
@click.argument("username")
@config_option
@click.option("--source", metavar="NAME", help="The source of the user, where several know the name: file:users.yaml …")
@click.option(
    "--valid", callback=_seconds, default="24h", show_default=True, metavar="TIME", help="How long it is good."
)
def reset_link(username: str, config: Path, source: str | None, valid: int) -> None:
    """Make a link with which a user sets a new password, once."""
    settings = load_settings(config, os.environ)
    if settings.site.url is None:
        raise StartError("a link needs the address of the site: set site.url")
    try:
        with _told_about(username):
            user, token = asyncio.run(_made(settings, username, source, valid))
    except SourceUnavailable as error:
        raise StartError(f"a source of users cannot be asked: {error.cause}") from error
    record(settings, "reset_link_made", user)
    _warn(settings, user.source)
    click.echo(f"{settings.site.url}{settings.site.prefix}/reset?{urlencode({'token': token})}")
    until = utc_text(datetime.fromtimestamp(int(time.time()) + valid, UTC))
    click.echo(
        f"For {user.username} of {user.source}, once, until {until}. Whoever has it can set the password.", err=True
    )


class _Spoken(logging.Handler):
    """What a source logs about the user, as a line for the person at the terminal."""

    def __init__(self, username: str) -> None:
        super().__init__(logging.WARNING)
        self._username = username

    def emit(self, record: logging.LogRecord) -> None:
        """With the user and the source."""
        source = getattr(record, "fields", {}).get("source")
        click.echo(f"{self._username}{f' of {source}' if source else ''}: {record.getMessage()}", err=True)


@contextmanager
def _told_about(username: str) -> Iterator[None]:
    log, handler = logging.getLogger("gateway.identity"), _Spoken(username)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _warn(settings: Settings, name: str) -> None:
    """A users file is replaced as a whole, so its folder counts."""
    given = dict(zip(source_names(settings), settings.users, strict=True))[name]
    if isinstance(given, FileSource) and not os.access(given.path.resolve().parent, os.W_OK):
        click.echo(
            f"Warning: you may not write to the folder of {given.path}. If the gateway may not either, the link will not work.",
            err=True,
        )


async def _made(settings: Settings, username: str, name: str | None, seconds: int) -> tuple[Identity, str]:
    """:raises StartError: there is nobody to make one for."""
    checker = PasswordChecker(1)
    users = Users(make_sources(settings, checker))
    try:
        links = ResetLinks(users, parse_ring(ring_of(settings)))
        return await _link(links, _chosen(users.sources, name), username, seconds)
    finally:
        checker.close()
        await users.close()


def _chosen(sources: Sequence[UserSource], name: str | None) -> list[UserSource]:
    chosen = [source for source in sources if name in (None, source.name)]
    if not chosen:
        raise StartError(f"there is no source {name}; there are: {', '.join(source.name for source in sources)}")
    return chosen


async def _link(links: ResetLinks, sources: Sequence[UserSource], username: str, seconds: int) -> tuple[Identity, str]:
    """For the first source that knows him, as at signing in."""
    for source in sources:
        found = await source.find(username)
        if found is None:
            continue
        if found.disabled:
            raise StartError(f"{username} of {source.name} is disabled")
        token = await links.make(source, found.identity.id, seconds)
        if token is None:
            raise StartError(f"{source.name} sets no passwords: {username} has to change his where he got it")
        return found.identity, token
    raise StartError(f"there is no user {username}")
