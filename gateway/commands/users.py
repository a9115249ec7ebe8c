"""``gateway users``: the accounts in a users file."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from gateway.commands.options import File
from gateway.errors import StartError
from gateway.identity.passwords import hash_password, what_is_wrong_with
from gateway.identity.users_file import UsersFile


@click.group()
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
    wrong = what_is_wrong_with(password)
    if wrong is not None:
        raise StartError(f"a password {wrong}")
    return password


def _show_generated(password: str, generated: bool) -> None:
    """Only once it is written: a password shown for a change that failed would be believed."""
    if generated:
        click.echo(f"Password, shown only now: {password}")
