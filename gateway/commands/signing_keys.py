"""``gateway keys … --signing``: the keys that sign tokens. Running gateways follow their file; staged as in docs/keys.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import click

from gateway.commands.auditing import record
from gateway.commands.options import table
from gateway.core.signing_keys import Algorithm, SigningKey, SigningKeys
from gateway.errors import StartError
from gateway.handlers.jwks import Jwks
from gateway.key_files import utc_text
from gateway.private_files import in_words, write_once
from gateway.settings import Settings
from gateway.settings.tokens import TokenSettings
from gateway.signing_key_files import (
    change_signing_keys,
    find_key,
    first_keys,
    fresh_key,
    read_signing_keys,
    since,
    why_it_must_stay,
    why_not_sign,
    with_active,
)
from gateway.telemetry.audit import Event

_MARGIN = timedelta(seconds=60)
"""For clocks that differ, for caches on the way, and for gateways to notice the change."""
PUBLISHED = timedelta(seconds=Jwks.MAX_AGE) + _MARGIN
_ASSERTION_SECONDS = 60
"""``X-Gateway-Assertion`` is valid for so long (docs/http-api.md)."""
_ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

signing_option = click.option("--signing", is_flag=True, help="The signing keys are meant, not the master keys.")
algorithm_option = click.option(
    "--algorithm",
    type=click.Choice(_ALGORITHMS),
    help="With --signing: what the key is for [that of the active key; of a new file EdDSA].",
)
token_lifetime_option = click.option(
    "--token-lifetime",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="With --signing and --file: tokens.lifetime [its default].",
)


@dataclass(frozen=True, slots=True)
class Place:
    """The file of the signing keys, and how it was named: ``arguments`` say that to the next command."""

    path: Path
    settings: Settings | None
    arguments: str

    def needed(self, lifetime: int | None) -> timedelta:
        """How long after a key has stopped signing something that it signed may be valid."""
        tokens = self.settings.tokens if self.settings else TokenSettings()
        longest = max(lifetime or tokens.lifetime, _ASSERTION_SECONDS)
        return timedelta(seconds=longest + tokens.leeway) + _MARGIN


def place_of(settings: Settings | None, named: Path) -> Place:
    """``named``: the configuration where there are ``settings``, else the file of keys itself.

    :raises StartError: the configuration names no file of signing keys.
    """
    if settings is None:
        return Place(named, None, f"--signing --file {named}")
    if settings.tokens.keys_file is None:
        raise StartError(f"{named} names no file of signing keys: tokens.keys_file says where it is, or is to be made")
    return Place(named.absolute().parent / settings.tokens.keys_file, settings, f"--signing --config {named}")


def new(place: Place, algorithm: Algorithm | None) -> None:
    """A key more, published and not used yet; the first one of a new file signs at once."""
    path, now = place.path, datetime.now(UTC)
    if _is_missing(path) and _make(path, first_keys(algorithm or "EdDSA", now)):
        key = read_signing_keys(path).active
        _record(place, "key_added", key)
        click.echo(f"{path}: made, with key {_shown(key)}, which signs")
        return
    key = _added(path, algorithm, now)
    _record(place, "key_added", key)
    click.echo(f"{path}: added key {_shown(key)}; it does not sign yet")
    if key.algorithm == "HS256":
        click.echo("It is a shared secret and is not in the JWKS: give it to the backends that verify with it.")
    click.echo("Running gateways publish it from now on; where they have a copy of the file, give it to them now.")
    click.echo(f"After {utc_text(now + PUBLISHED)}: gateway keys rotate {place.arguments}")


def _is_missing(path: Path) -> bool:
    with in_words(path):
        return not path.exists()


def _make(path: Path, text: str) -> bool:
    try:
        return write_once(path, text)
    except OSError as error:
        raise StartError(f"{path}: cannot be made: {error.strerror}") from error


def _added(path: Path, algorithm: Algorithm | None, now: datetime) -> SigningKey:
    def change(keys: SigningKeys) -> Iterable[SigningKey]:
        made.append(fresh_key(algorithm or keys.active.algorithm, "next", now))
        return [*keys, made[0]]

    made: list[SigningKey] = []
    change_signing_keys(path, change)
    return made[0]


def rotate(place: Place, wanted: str | None, force: bool) -> None:
    """The newest key signs from now on, the one before still verifies.

    :raises StartError: verifiers may not know it yet, and ``force`` was not given.
    """
    before: list[SigningKey] = []

    def change(keys: SigningKeys) -> Iterable[SigningKey]:
        now = datetime.now(UTC)
        before.append(keys.active)
        key = _newest(keys) if wanted is None else find_key(keys, wanted)
        if key.state == "active":
            return keys
        if not force and (why := why_not_sign(key, now, PUBLISHED)):
            raise StartError(f"key {key.kid} does not sign yet: {why}; --force rotates all the same")
        return with_active(keys, key, now)

    active = change_signing_keys(place.path, change).active
    if active.kid == before[0].kid:
        click.echo(f"{place.path}: key {active.kid} is active already, nothing changed")
        return
    _record(place, "key_activated", active)
    click.echo(f"{place.path}: key {_shown(active)} signs, {before[0].kid} verifies what it has signed")
    click.echo("Running gateways notice within seconds; where they have a copy of the file, give it to them now.")


def _newest(keys: SigningKeys) -> SigningKey:
    waiting = [key for key in keys if key.state == "next"]
    if not waiting:
        raise StartError("no signing key waits to become active: gateway keys new --signing adds one")
    return waiting[-1]


def show(place: Place) -> None:
    """Which keys there are, never the keys themselves."""
    keys, needed = read_signing_keys(place.path), place.needed(None)
    rows = [["ID", "ALGORITHM", "STATE", "SINCE", "NOTE"]]
    for key in keys:
        at = since(key)
        rows.append([key.kid, key.algorithm, key.state, utc_text(at) if at else "", _note(key, at, needed)])
    click.echo(table(rows))


def _note(key: SigningKey, at: datetime | None, needed: timedelta) -> str:
    if key.state == "active" or at is None:
        return ""
    if key.state == "next":
        return f"may sign from {utc_text(at + PUBLISHED)}"
    return f"may be retired from {utc_text(at + needed)}"


def retire(place: Place, wanted: str, lifetime: int | None, force: bool) -> None:
    """Takes a key out once no token needs it.

    :raises StartError: it is the active one; or something may need it, and ``force`` was not given.
    """
    found: list[SigningKey] = []

    def change(keys: SigningKeys) -> Iterable[SigningKey]:
        key = find_key(keys, wanted)
        found.append(key)
        _require_idle(key, len(keys) == 1, None if force else place.needed(lifetime))
        return [one for one in keys if one.kid != key.kid]

    change_signing_keys(place.path, change)
    _record(place, "key_retired", found[0])
    click.echo(f"{place.path}: key {found[0].kid} is out")
    click.echo("Running gateways notice within seconds; where they have a copy of the file, give it to them now.")


def _require_idle(key: SigningKey, is_only: bool, needed: timedelta | None) -> None:
    """:raises StartError: the key is needed."""
    if is_only:
        raise StartError(
            f"key {key.kid} is the only one: gateway keys new --signing and gateway keys rotate --signing come first"
        )
    if key.state == "active":
        raise StartError(f"key {key.kid} is active: gateway keys rotate --signing comes first")
    why = why_it_must_stay(key, datetime.now(UTC), needed) if needed is not None else None
    if why:
        raise StartError(f"key {key.kid} stays: {why}; --force takes it out all the same, and they are refused")


def _shown(key: SigningKey) -> str:
    return f"{key.kid} ({key.algorithm})"


def _record(place: Place, event: Event, key: SigningKey) -> None:
    record(place.settings, event, key=key.kid, file=str(place.path))
