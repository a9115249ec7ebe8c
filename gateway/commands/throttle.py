"""``gateway throttle``: whose sign-in attempts are counted and who has to wait, and forgetting it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import click

from gateway.commands.auditing import record
from gateway.commands.options import config_option, table
from gateway.commands.stores import run_quietly
from gateway.core.callers import as_address
from gateway.core.identity import Identity
from gateway.core.throttling import Held, Policy, networks_of, shown_wait
from gateway.identity.passwords import PasswordChecker
from gateway.identity.sign_in import account_of
from gateway.identity.source import canonical
from gateway.identity.users import Users
from gateway.settings import Settings, load_settings
from gateway.telemetry.audit import Fields
from gateway.throttles import open_throttles, throttle_policy
from gateway.user_sources import make_sources

_COLUMNS = ("kind", "attempts", "wait", "forgotten_in", "name")


def _user_of(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """:raises click.BadParameter: it is empty."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty", param=option)
    return value


def _address_of(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """:raises click.BadParameter: nobody comes from there."""
    if value is not None and as_address(value) is None:
        raise click.BadParameter("is no IPv4 or IPv6 address", param=option)
    return value


def _whose(command: Callable[..., Any]) -> Callable[..., Any]:
    user = click.option("--user", metavar="NAME", callback=_user_of, help="This user's; a username or e-mail address.")
    address = click.option("--address", metavar="ADDR", callback=_address_of, help="What comes from this address.")
    return user(address(command))


@click.group()
def throttle() -> None:
    """Sign-in attempts that are counted."""


@throttle.command("list")
@config_option
@_whose
@click.option("--json", "as_json", is_flag=True, help="For programs: a JSON array.")
def list_counters(config: Path, user: str | None, address: str | None, as_json: bool) -> None:
    """What is counted, and how long the next attempt has to wait. Names are hidden in Redis: ask for one with --user or
    --address."""
    settings = load_settings(config, os.environ)
    policy = throttle_policy(settings)

    async def run() -> list[Held]:
        async with open_throttles(settings) as throttles:
            if user is None and address is None:
                return await throttles.held()
            names = _names(policy, user, address, await _known(settings, user))
            return list({one for name in names for one in await throttles.held(name)})

    found = sorted(run_quietly(run), key=lambda one: (-shown_wait(one, policy), -one.forgotten_in, one.name))
    rows = [_shown(one, policy) for one in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    headings = [name.replace("_", " ").upper() for name in _COLUMNS]
    click.echo(table([headings, *([str(row[name]) for name in _COLUMNS] for row in rows)]))


@throttle.command("clear")
@config_option
@_whose
@click.option("--all", "everything", is_flag=True, help="Everybody's.")
def clear(config: Path, user: str | None, address: str | None, everything: bool) -> None:
    """Forget attempts: who had to wait may try again at once."""
    if everything == (user is not None or address is not None):
        raise click.UsageError("say whose: --user NAME, --address ADDR or both; or --all")
    settings = load_settings(config, os.environ)
    policy = throttle_policy(settings)

    async def run() -> tuple[int, list[Identity]]:
        async with open_throttles(settings) as throttles:
            if everything:
                return await throttles.clear(), []
            known = await _known(settings, user)
            names = _names(policy, user, address, known)
            return sum([await throttles.clear(name) for name in names]), known

    count, known = run_quietly(run)
    _record(settings, user, address, count, known)
    click.echo(f"forgot {count} counter{'' if count == 1 else 's'}")


def _record(settings: Settings, user: str | None, address: str | None, count: int, known: Sequence[Identity]) -> None:
    """A line for each user of that name. One that nobody has may be a password, and is hidden."""
    given: Fields = {"address": address or "", "count": count}
    if user is not None and not known:
        given["typed"] = canonical(user)
    people: Sequence[Identity | None] = known or [None]
    for who in people:
        record(settings, "throttle_cleared", who, **given)


def _names(policy: Policy, user: str | None, address: str | None, known: Sequence[Identity]) -> list[str]:
    """What attempts of this user, and from this address, are counted under. The login itself counts where nobody knew it."""
    names = networks_of(address, policy) if address is not None else []
    if user is not None:
        names += [*dict.fromkeys(map(account_of, known)), canonical(user)]
    return names


async def _known(settings: Settings, login: str | None) -> list[Identity]:
    """The users that sources know under this login."""
    if login is None:
        return []
    checker = PasswordChecker(settings.login.threads)
    users = Users(make_sources(settings, checker))
    try:
        search = await users.find_everywhere(login)
    finally:
        await users.close()
        checker.close()
    if search.away is not None:
        click.echo(f"a source of users is away, what it knows is left out: {search.away.cause}", err=True)
    return [found.identity for _, found in search.known if found]


def _shown(held: Held, policy: Policy) -> dict[str, str | int]:
    """By column; times are whole seconds."""
    every = policy.limit_of(held.kind).every
    return {
        "kind": held.kind.value,
        "attempts": ceil(held.forgotten_in / every),
        "wait": ceil(shown_wait(held, policy) / 1000),
        "forgotten_in": ceil(held.forgotten_in / 1000),
        "name": held.name,
    }
