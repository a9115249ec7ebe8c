"""The command ``gateway``. Progress and errors are for people: no traceback for a wrong setting or a busy port."""

from __future__ import annotations

import sys

import click

from gateway import __version__
from gateway.commands.api_keys import apikeys
from gateway.commands.check import check, schema
from gateway.commands.keys import keys
from gateway.commands.reset_link import reset_link
from gateway.commands.secrets import make_secrets
from gateway.commands.serve import demo, serve
from gateway.commands.sessions import clear_sessions, sessions
from gateway.commands.throttle import throttle
from gateway.commands.users import users
from gateway.errors import SettingsError, StartError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway")
def cli() -> None:
    """An authentication gateway in front of legacy HTTP backends."""


for _command in (serve, demo, check, schema, make_secrets, keys, users, sessions, clear_sessions, throttle, apikeys):
    cli.add_command(_command)
users.add_command(reset_link)


def main() -> None:
    """The entry point: our errors become lines on standard error and exit code 1."""
    try:
        cli(prog_name="gateway")
    except SettingsError as error:
        count = len(error.problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''}:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)
    except StartError as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(1)
