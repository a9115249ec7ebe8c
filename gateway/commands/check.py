"""``gateway check`` and ``gateway schema``: is a configuration right, and what may stand in one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.app import build
from gateway.commands.options import File
from gateway.errors import Problem, SettingsError
from gateway.identity.users_file import read_users
from gateway.listeners import pairs
from gateway.settings import Settings, load_settings
from gateway.settings.schema import schema_text
from gateway.settings.users import FileSource, HtpasswdSource
from gateway.settings.users_http import HttpUsersSettings
from gateway.user_sources import files_of


@click.command()
@click.option("--config", type=File, required=True, help="The configuration to check.")
def check(config: Path) -> None:
    """Check a configuration and the files it names: every problem at once."""
    settings = load_settings(config, os.environ)
    _check_users(settings)
    build(settings)
    for text in warnings_of(settings):
        click.secho(f"warning: {text}", err=True, bold=True)
    routes, upstreams = len(settings.routes), len(settings.upstreams)
    click.echo(f"{config}: fine (routes: {routes}, upstreams: {upstreams})")


def warnings_of(settings: Settings) -> list[str]:
    """What is allowed, and dangerous; told by ``check`` and at each start."""
    found = [
        text for pair in settings.server.tls.pairs for text in pairs.warnings_of(pairs.Pair(*pair), datetime.now(UTC))
    ]
    found += [
        f"users.{number} has no lookup.url (or recheck: 0): who is gone or disabled there stays signed in to the session's end"
        for number, source in enumerate(settings.users)
        if isinstance(source, HttpUsersSettings) and not (source.lookup and source.recheck)
    ]
    found += [
        f"users.{number}.{setting} is http:// to another host: anybody on the way can read passwords and change answers"
        for number, source in enumerate(settings.users)
        if isinstance(source, HttpUsersSettings)
        for setting in source.in_the_clear
    ]
    return found + [
        f"upstreams.{name}.tls.verify is false: anybody between the gateway and this backend can read and change everything"
        for name, upstream in settings.upstreams.items()
        if not upstream.tls.verify
    ]


def _check_users(settings: Settings) -> None:
    """:raises SettingsError: with the problems of all users files."""
    problems: list[Problem] = []
    for source in settings.users:
        try:
            if isinstance(source, FileSource):
                read_users(source.path, legacy=source.legacy_hashes)
            elif isinstance(source, HtpasswdSource):
                files_of(source).read()
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


@click.command()
@click.option("--output", type=File, help="File to write; standard output when left out.")
def schema(output: Path | None) -> None:
    """The JSON Schema of the configuration, for editors."""
    text = schema_text()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}")
