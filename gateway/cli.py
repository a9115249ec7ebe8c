"""The command ``gateway``. Progress and errors are for people: no traceback for a wrong setting or a busy port."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from gateway import __version__, launch, secret_files, server
from gateway.app import build
from gateway.errors import Problem, SettingsError, StartError
from gateway.identity.passwords import MAX_LENGTH, hash_password
from gateway.identity.users_file import UsersFile, read_users
from gateway.settings import Settings, load_settings
from gateway.settings.schema import schema_text
from gateway.telemetry import logs

_MIN_PASSWORD = 8
File = click.Path(dir_okay=False, path_type=Path)
Folder = click.Path(file_okay=False, path_type=Path)
PortNumber = click.IntRange(0, 65535)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway")
def cli() -> None:
    """An authentication gateway in front of legacy HTTP backends."""


@cli.command()
@click.option("--config", type=File, help="The configuration, like config/gateway.yaml.")
@click.option("--upstream", metavar="URL", help="No file at all: a sign-in in front of this backend.")
@click.option("--host", default=None, help="Address to listen on [127.0.0.1].")
@click.option("--port", type=PortNumber, default=None, help="Port to listen on [8080].")
@click.option("--redis", metavar="URL", help="A running Redis instead of one of our own.")
@click.option("--users", type=File, help="A users file instead of one made at the first start.")
@click.option("--state", type=Folder, help="Folder for what --upstream keeps [~/.local/state/auth-gateway].")
def serve(
    config: Path | None,
    upstream: str | None,
    host: str | None,
    port: int | None,
    redis: str | None,
    users: Path | None,
    state: Path | None,
) -> None:
    """Run the gateway: with --config FILE, or with --upstream URL and no file at all."""
    if (config is None) == (upstream is None):
        raise click.UsageError("give either --config FILE or --upstream URL")
    if config is not None:
        if users or state:
            raise click.UsageError(
                "--users and --state go with --upstream; with --config they are settings of the file"
            )
        given = {"GATEWAY__SERVER__HOST": host, "GATEWAY__SERVER__PORT": port, "GATEWAY__REDIS__URL": redis}
        over = {name: str(value) for name, value in given.items() if value is not None}
        _run(load_settings(config, {**os.environ, **over}))
        return
    assert upstream is not None
    folder = (state or launch.default_state_folder()).absolute()
    listen = (host or "127.0.0.1", 8080 if port is None else port)
    with launch.standalone(upstream, *listen, redis, users, folder) as (settings, account):
        _run(settings, account=account)


@cli.command()
@click.option("--port", type=PortNumber, default=8080, show_default=True, help="The gateway's port.")
@click.option("--backend-port", type=PortNumber, default=0, help="The backend's port [any free one].")
@click.option("--redis", metavar="URL", help="A running Redis; several demos on one are one site.")
def demo(port: int, backend_port: int, redis: str | None) -> None:
    """A legacy backend, Redis and the gateway, to try it."""
    with launch.demo(port, backend_port, redis) as settings:
        _run(settings, demo=settings.upstreams["demo"].url)


def _run(settings: Settings, *, account: launch.FirstAccount | None = None, demo: str | None = None) -> None:
    logs.configure(settings.log.format, level=settings.log.level)

    def ready(front: str, manage: str) -> None:
        click.echo(f"\n  The gateway listens on {front}\n  Health: {manage}/readyz")
        if account:
            click.secho(f"  Account, shown only now: {account.username} / {account.password}", bold=True)
            account.has_been_shown()
        if demo:
            click.echo(f"  The backend behind it:  {demo}")
            click.echo("  Accounts: mgr / mgr-demo (usertype mgr), alice / alice-demo (usertype user)")
            click.echo(f"  Try {front}/mgr/index.html, {front}/orders and {front}/public/about.html")
        click.echo("  Ctrl-C stops it.\n")
        sys.stdout.flush()

    _warn(settings)
    server.run(settings, on_ready=ready)


def _warn(settings: Settings) -> None:
    if settings.site.url is None and settings.server.host not in ("127.0.0.1", "::1", "localhost"):
        text = "site.url is not set: cookies are sent over plain http too; set it to https://… when the site is https"
        logging.getLogger("gateway.server").warning(text)


@cli.command()
@click.option("--config", type=File, required=True, help="The configuration to check.")
def check(config: Path) -> None:
    """Check a configuration and the files it names: every problem at once."""
    settings = load_settings(config, os.environ)
    _check_users(settings)
    build(settings)
    routes, upstreams = len(settings.routes), len(settings.upstreams)
    click.echo(f"{config}: fine (routes: {routes}, upstreams: {upstreams})")


def _check_users(settings: Settings) -> None:
    """:raises SettingsError: with the problems of all users files."""
    problems: list[Problem] = []
    for source in settings.users:
        try:
            read_users(source.path)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


@cli.command()
@click.option("--output", type=File, help="File to write; standard output when left out.")
def schema(output: Path | None) -> None:
    """The JSON Schema of the configuration, for editors."""
    text = schema_text()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}")


@cli.command("secrets")
@click.option("--dir", "folder", type=Folder, default=Path("secrets"), show_default=True, help="Where to.")
@click.option("--from", "source", type=Folder, help="Take those that are there already from here.")
@click.option("--new-redis-password", "new_password", is_flag=True, help="Replace the password.")
@click.option("--gateway-uid", type=int, help="Give the gateway's to this user (as root).")
@click.option("--redis-uid", type=int, help="Give Redis's to this user.")
@click.option("--redis-data", type=Folder, help="Give this folder to Redis's user, too.")
def make_secrets(
    folder: Path,
    source: Path | None,
    new_password: bool,
    gateway_uid: int | None,
    redis_uid: int | None,
    redis_data: Path | None,
) -> None:
    """Make the Redis password and the master key, if they are not there yet."""
    if (gateway_uid is None) != (redis_uid is None) or (redis_data and redis_uid is None):
        raise click.UsageError("--gateway-uid and --redis-uid go together; --redis-data goes with them")
    written = secret_files.make_secrets(folder, source, new_password=new_password)
    if gateway_uid is not None and redis_uid is not None:
        secret_files.hand_over(folder, gateway_uid, redis_uid, redis_data)
    click.echo(
        f"{folder}: wrote {', '.join(written)}" if written else f"{folder}: everything is there, nothing changed"
    )
    if "master_key" in written:
        click.echo("Keep a copy of master_key in a safe place: without it everybody is signed out.")


@cli.group()
def users() -> None:
    """The accounts in a users file."""


file_option = click.option("--file", "path", type=File, default=Path("config/users.yaml"), show_default=True)
stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
generate_option = click.option("--generate", is_flag=True, help="Make a password and show it once.")


@users.command("add")
@click.argument("username")
@file_option
@click.option("--name", help="Display name.")
@click.option("--email", help="Can be used to sign in, too.")
@click.option("--usertype", help="For routes that want one.")
@click.option("--group", "groups", multiple=True, help="May be given several times.")
@stdin_option
@generate_option
def add_user(path: Path, password_stdin: bool, generate: bool, groups: tuple[str, ...], **given: str | None) -> None:
    """Add a user; makes the file when there is none."""
    file = UsersFile(path)
    file.create()
    row: dict[str, Any] = {"username": given.pop("username"), "password": None, "id": secrets.token_hex(8)}
    row.update({key: value for key, value in given.items() if value})
    if groups:
        row["groups"] = list(groups)
    password = _new_password(password_stdin, generate)
    row["password"] = hash_password(password)
    file.add(row)
    click.echo(f"{path}: added {row['username']}")
    _show_generated(password, generate)


@users.command("list")
@file_option
def list_users(path: Path) -> None:
    """Who is in the file."""
    for entry in UsersFile(path).entries():
        groups = ",".join(entry.groups) or "-"
        state = "disabled" if entry.disabled else "active"
        click.echo("\t".join([entry.username, entry.usertype or "-", groups, entry.email or "-", state]))


@users.command("remove")
@click.argument("username")
@file_option
def remove_user(username: str, path: Path) -> None:
    """Remove a user."""
    if not UsersFile(path).remove(username):
        raise StartError(f"{path}: there is no user {username}")
    click.echo(f"{path}: removed {username}")


@users.command("passwd")
@click.argument("username")
@file_option
@stdin_option
@generate_option
def change_password(username: str, path: Path, password_stdin: bool, generate: bool) -> None:
    """Set a user's password."""
    file = UsersFile(path)
    if not any(entry.username == username for entry in file.entries()):
        raise StartError(f"{path}: there is no user {username}")
    password = _new_password(password_stdin, generate)
    file.set_password(username, hash_password(password))
    click.echo(f"{path}: changed the password of {username}")
    _show_generated(password, generate)


def _new_password(from_stdin: bool, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(12)
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Again")
    else:
        raise StartError("no terminal to ask for a password: use --password-stdin or --generate")
    if not _MIN_PASSWORD <= len(password) <= MAX_LENGTH:
        raise StartError(f"a password has {_MIN_PASSWORD} to {MAX_LENGTH} characters")
    if not password.isprintable():
        raise StartError("a password has no control characters")
    return password


def _show_generated(password: str, generated: bool) -> None:
    """Only once it is written: a password shown for a change that failed would be believed."""
    if generated:
        click.echo(f"Password, shown only now: {password}")


def main() -> None:
    """The entry point: our errors become lines on standard error and exit code 1."""
    try:
        cli(prog_name="gateway")
    except SettingsError as error:
        count = len(error.problems)
        click.echo(f"The configuration has {count} problem{'s' if count > 1 else ''}:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)
    except StartError as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(1)
