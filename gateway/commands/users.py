"""``gateway users``: the accounts in a users file, or in the gateway's own table."""

from __future__ import annotations

import secrets
import sys
from typing import Any

import click

from gateway.commands.accounts import Accounts, accounts_options, accounts_to_add_to
from gateway.commands.auditing import audit_option
from gateway.core.identity import Identity
from gateway.core.passwords import PasswordPolicy, names_of
from gateway.errors import SettingsError, StartError
from gateway.identity.hashes import hash_password
from gateway.identity.source import canonical
from gateway.identity.users_yaml import UserEntry

_GENERATED = 16
"""Characters of six bits each."""


@click.group()
def users() -> None:
    """The accounts in a users file, or in the gateway's own table of a database."""


stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
generate_option = click.option("--generate", is_flag=True, help="Make a password and show it once.")


@users.command("add")
@click.argument("username")
@accounts_to_add_to
@click.option("--name", help="Display name.")
@click.option("--email", help="Can be used to sign in, too.")
@click.option("--usertype", help="For routes that want one.")
@click.option("--group", "groups", multiple=True, help="May be given several times.")
@stdin_option
@generate_option
@audit_option
def add_user(
    accounts: Accounts, password_stdin: bool, generate: bool, groups: tuple[str, ...], **given: str | None
) -> None:
    """Add a user. Makes what is not there: the users file, the table."""
    _check_way(password_stdin, generate)
    accounts.create()
    row: dict[str, Any] = {"username": given.pop("username"), "password": None, "id": secrets.token_hex(8)}
    row.update({key: value for key, value in given.items() if value})
    if groups:
        row["groups"] = list(groups)
    user = Identity("", row["username"], row.get("name", ""), row.get("email", ""))
    password = _new_password(accounts.passwords, user, password_stdin, generate)
    row["password"] = hash_password(password)
    accounts.add(row)
    accounts.note("user_added", row["username"], row["id"])
    click.echo(f"{accounts.shown}: added {row['username']}")
    _show_generated(password, generate)


@users.command("list")
@accounts_options
def list_users(accounts: Accounts) -> None:
    """Who is there."""
    for entry in accounts.entries():
        groups = ",".join(entry.groups) or "-"
        state = "disabled" if entry.disabled else "active"
        click.echo("\t".join([entry.username, entry.usertype or "-", groups, entry.email or "-", state]))


@users.command("remove")
@click.argument("username")
@accounts_options
@audit_option
def remove_user(username: str, accounts: Accounts) -> None:
    """Remove a user."""
    try:
        entry = _entry(accounts, username)
    except SettingsError:  # without this user the file may be right again
        entry = UserEntry.model_construct(username=username, password="")
        _require(accounts.remove(username), accounts, username)
        accounts.note("user_removed", username)
    else:
        _require(accounts.remove(entry.username), accounts, username)
        accounts.note("user_removed", entry.username, entry.user_id)
    click.echo(f"{accounts.shown}: removed {entry.username}")


@users.command("disable")
@click.argument("username")
@accounts_options
@audit_option
def disable_user(username: str, accounts: Accounts) -> None:
    """Let a user in no more; his sessions end."""
    entry = _entry(accounts, username)
    _require(accounts.set_disabled(entry.username, True), accounts, username)
    accounts.note("user_disabled", entry.username, entry.user_id)
    click.echo(f"{accounts.shown}: disabled {entry.username}")


@users.command("enable")
@click.argument("username")
@accounts_options
@audit_option
def enable_user(username: str, accounts: Accounts) -> None:
    """Let a user in again."""
    entry = _entry(accounts, username)
    _require(accounts.set_disabled(entry.username, False), accounts, username)
    accounts.note("user_enabled", entry.username, entry.user_id)
    click.echo(f"{accounts.shown}: enabled {entry.username}")


@users.command("passwd")
@click.argument("username")
@accounts_options
@stdin_option
@generate_option
@audit_option
def change_password(username: str, accounts: Accounts, password_stdin: bool, generate: bool) -> None:
    """Set a user's password."""
    _check_way(password_stdin, generate)
    entry = _entry(accounts, username)
    password = _new_password(accounts.passwords, entry.identity(""), password_stdin, generate)
    _require(accounts.set_password(entry.username, hash_password(password)), accounts, username)
    accounts.note("password_set", entry.username, entry.user_id)
    click.echo(f"{accounts.shown}: changed the password of {entry.username}")
    _show_generated(password, generate)


def _entry(accounts: Accounts, login: str) -> UserEntry:
    """The user with this username, else with this e-mail address, in every spelling.

    :raises StartError: there is none.
    """
    wanted, entries = canonical(login), accounts.entries()
    named = [one for one in entries if canonical(one.username) == wanted]
    found = named or [one for one in entries if wanted and canonical(one.email) == wanted]
    if not found:
        raise _nobody(accounts, login)
    return found[0]


def _require(is_done: bool, accounts: Accounts, username: str) -> None:
    if not is_done:
        raise _nobody(accounts, username)


def _nobody(accounts: Accounts, username: str) -> StartError:
    return StartError(f"{accounts.shown}: there is no user {username}")


def _check_way(from_stdin: bool, generate: bool) -> None:
    """:raises click.UsageError: two ways at once."""
    if from_stdin and generate:
        raise click.UsageError("give either --password-stdin or --generate")


def _new_password(policy: PasswordPolicy, user: Identity, from_stdin: bool, generate: bool) -> str:
    if generate:
        length = max(_GENERATED, policy.min_length)
        return secrets.token_urlsafe(length)[:length]
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Again")
    else:
        raise StartError("no terminal to ask for a password: use --password-stdin or --generate")
    wrong = policy.what_is_wrong_with(password, names_of(user))
    if wrong is not None:
        raise StartError(f"a password {wrong}")
    return password


def _show_generated(password: str, generated: bool) -> None:
    """Only once it is written: a password shown for a change that failed would be believed."""
    if generated:
        click.echo(f"Password, shown only now: {password}")
