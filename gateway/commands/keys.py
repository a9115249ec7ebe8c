"""``gateway keys``: the ring of master keys in its file. A new key is handed out in two steps (docs/keys.md).

With ``--signing`` the same commands are about the keys that sign tokens: :mod:`gateway.commands.signing_keys`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from gateway.commands import signing_keys
from gateway.commands.auditing import record
from gateway.commands.options import File, table
from gateway.commands.signing_keys import algorithm_option, signing_option, token_lifetime_option
from gateway.commands.stores import with_store
from gateway.core.keys import KEY_BYTES
from gateway.core.signing_keys import Algorithm
from gateway.errors import StartError
from gateway.key_files import RingKey, RingText, change_ring, read_ring, utc_text
from gateway.private_files import require_private
from gateway.settings import Settings, load_settings
from gateway.settings.stores import SessionSettings

_NOT_HERE = "(announced, not in this file!)"


@dataclass(frozen=True, slots=True)
class _Place:
    """The ring's file; with ``--config`` also the ``settings`` that name it, and with them the store."""

    path: Path
    settings: Settings | None
    config: Path | None

    def arguments(self) -> str:
        """To say how a command is given again."""
        return f"--config {self.config}" if self.config else f"--file {self.path}"


def _named(config: Path | None, file: Path | None) -> tuple[Settings | None, Path]:
    """The settings of a configuration with its path, or None and the file of keys."""
    if (config is None) == (file is None):
        raise click.UsageError("give either --config FILE (it names the file of keys) or --file FILE (the keys)")
    if config is not None:
        return load_settings(config, os.environ), config
    assert file is not None
    return None, file


def _place(config: Path | None, file: Path | None) -> _Place:
    """:raises StartError: the configuration names no file of keys."""
    settings, named = _named(config, file)
    if settings is None or config is None:
        return _Place(named, None, None)
    if settings.keys.master_file is None:
        variable = next((name for name in os.environ if name.upper() == "GATEWAY__KEYS__MASTER"), None)
        where = f"the variable {variable}" if variable else f"keys.master in {config}"
        raise StartError(f"the keys are in {where}, not in a file: change them there, or use keys.master_file")
    return _Place(config.absolute().parent / settings.keys.master_file, settings, config)


def _ring_options(command: Callable[..., None]) -> Callable[..., None]:
    config = click.option(
        "--config", type=File, help="The configuration; its keys.master_file is meant, or tokens.keys_file."
    )
    file = click.option("--file", type=File, help="The file of keys itself; no store is asked.")
    return signing_option(config(file(command)))


def _signing(config: Path | None, file: Path | None) -> signing_keys.Place:
    return signing_keys.place_of(*_named(config, file))


@click.group()
def keys() -> None:
    """The ring of master keys: the first seals and signs, all open and verify. With --signing, the keys that sign tokens."""


@keys.command("new")
@_ring_options
@algorithm_option
def new_key(config: Path | None, file: Path | None, signing: bool, algorithm: Algorithm | None) -> None:
    """Add a key that is not used yet, to be handed out."""
    if signing:
        signing_keys.new(_signing(config, file), algorithm)
        return
    if algorithm:
        raise click.UsageError("--algorithm goes with --signing")
    place = _place(config, file)
    ring = change_ring(place.path, lambda ring: ring.with_new(secrets.token_bytes(KEY_BYTES), _now()))
    key = ring.keys[-1]
    record(place.settings, "key_added", key=key.id, file=str(place.path))
    click.echo(f"{place.path}: added key {key.id} in line {key.line}; it opens, it does not seal yet")
    click.echo(f"Give the file to every replica and restart them; then: gateway keys rotate {place.arguments()}")


@keys.command("rotate")
@_ring_options
@click.option("--to", "wanted", metavar="ID", help="This key [the last one added].")
@click.option("--force", is_flag=True, help="Also when gateways or verifiers may not have the key.")
def rotate(config: Path | None, file: Path | None, signing: bool, wanted: str | None, force: bool) -> None:
    """Make the newest key the active one."""
    if signing:
        signing_keys.rotate(_signing(config, file), wanted, force)
        return
    place = _place(config, file)
    announced = None if force or not _can_tell(place) else _announced(place, "--force rotates all the same")
    before: list[RingKey] = []

    def change(ring: RingText) -> RingText:
        before.append(ring.active)
        key = ring.newest() if wanted is None else ring.find(wanted)
        if announced is not None:
            _require_announced(key, announced)
        return ring.with_active(key, _now())

    active = change_ring(place.path, change).active
    if active.id == before[0].id:
        click.echo(f"{place.path}: key {active.id} is active already, nothing changed")
        return
    record(place.settings, "key_activated", key=active.id, file=str(place.path))
    click.echo(f"{place.path}: key {active.id} is active, {before[0].id} opens what it has sealed")
    click.echo("Give the file to every replica and restart them.")


def _can_tell(place: _Place) -> bool:
    """Does the store know which keys the gateways have? With engine ``memory`` each of them tells nobody but itself."""
    return place.settings is not None and place.settings.session.engine != "memory"


def _require_announced(key: RingKey, announced: frozenset[str]) -> None:
    """:raises StartError: no gateway is known to have the key."""
    if not announced:
        raise StartError(
            f"no gateway has announced any key in the session store, so whether one has key {key.id} is not known. "
            "Is it the store that they use, and do they run? --force rotates all the same"
        )
    if key.id not in announced:
        raise StartError(
            f"no running gateway has key {key.id} yet, they would answer 503: "
            "give the file to every replica and restart them first; --force rotates all the same"
        )


@keys.command("list")
@_ring_options
def list_keys(config: Path | None, file: Path | None, signing: bool) -> None:
    """Which keys there are, never the keys themselves."""
    if signing:
        signing_keys.show(_signing(config, file))
        return
    place = _place(config, file)
    ring = read_ring(place.path)
    _warn_if_open(place.path)
    rows = [["LINE", "ID", "USE", "NOTE"]]
    rows += [[str(key.line), key.id, _use(key), _note(key)] for key in ring.keys]
    try:
        announced = _announced(place, "the announcements are not shown")
    except StartError:
        click.echo(table(rows))
        raise
    if place.settings is not None:
        rows[0].append("ANNOUNCED")
        for row, key in zip(rows[1:], ring.keys, strict=True):
            row.append("yes" if key.id in announced else "no")
        rows += [["", lost, "", "", _NOT_HERE] for lost in sorted(announced - {key.id for key in ring.keys})]
    click.echo(table(rows))


def _use(key: RingKey) -> str:
    return "active" if key.is_active else "waits" if key.waits else "opens"


def _note(key: RingKey) -> str:
    return f"{key.mark} {utc_text(key.at)}" if key.at else ""


def _warn_if_open(path: Path) -> None:
    try:
        require_private(path)
    except StartError as error:
        click.echo(f"gateway: {error}", err=True)


@keys.command("retire")
@click.argument("key_id", metavar="ID")
@_ring_options
@click.option(
    "--absolute-timeout",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="With --file: the longer one of session.absolute_timeout and session.remember.absolute_timeout [its default].",
)
@token_lifetime_option
@click.option("--force", is_flag=True, help="Also when sessions or tokens may need it: they are over then.")
def retire(
    key_id: str,
    config: Path | None,
    file: Path | None,
    signing: bool,
    absolute_timeout: int | None,
    token_lifetime: int | None,
    force: bool,
) -> None:
    """Take a key out once nothing needs it."""
    if (absolute_timeout and signing) or (token_lifetime and (config or not signing)):
        raise click.UsageError("--token-lifetime goes with --signing --file, --absolute-timeout goes without --signing")
    if signing:
        signing_keys.retire(_signing(config, file), key_id, token_lifetime, force)
        return
    if absolute_timeout and config:
        raise click.UsageError("--absolute-timeout goes with --file; with --config it is that of the settings")
    place = _place(config, file)
    session = place.settings.session if place.settings else SessionSettings()
    seconds = timedelta(seconds=absolute_timeout or session.longest_timeout)
    retired, is_new = _taken_out(place.path, key_id, None if force else seconds)
    if is_new:
        record(place.settings, "key_retired", key=retired, file=str(place.path))
    again = f"gateway keys retire {retired}"
    if place.settings is None:
        click.echo(f"If gateways announced it, they still say so in the store; {again} --config FILE takes that back.")
        return
    try:
        with_store(place.settings, lambda sessions: sessions.withdraw(retired))
    except StartError as error:
        words = f"{error}\n  key {retired} is out of the file, but still announced; again: {again} {place.arguments()}"
        raise StartError(words) from error
    click.echo("Its announcement is taken back. Give the file to every replica and restart them.")


def _taken_out(path: Path, prefix: str, absolute_timeout: timedelta | None) -> tuple[str, bool]:
    """The whole id, and whether it was taken out just now. Before is no error: its announcement may be there still."""
    before = read_ring(path).find_retired(prefix)
    if before is not None:
        click.echo(f"{path}: key {before} was taken out before")
        return before, False
    found: list[RingKey] = []

    def change(ring: RingText) -> RingText:
        found.append(ring.find(prefix))
        _require_idle(found[0], ring, absolute_timeout)
        return ring.without(found[0], _now())

    change_ring(path, change)
    click.echo(f"{path}: key {found[0].id} is out")
    return found[0].id, True


def _require_idle(key: RingKey, ring: RingText, absolute_timeout: timedelta | None) -> None:
    """:raises StartError: the key is needed."""
    if len(ring.keys) == 1:
        raise StartError(f"key {key.id} is the only one: gateway keys new and gateway keys rotate come first")
    if key.is_active:
        raise StartError(f"key {key.id} is active: gateway keys rotate comes first")
    why = key.why_it_must_stay(_now(), absolute_timeout) if absolute_timeout is not None else None
    if why:
        raise StartError(f"key {key.id} stays: {why}; --force takes it out all the same and ends those sessions")


def _announced(place: _Place, otherwise: str) -> frozenset[str]:
    """The ids in the store; none without a configuration.

    :raises StartError: the store cannot be asked.
    """
    if place.settings is None:
        return frozenset()
    try:
        return with_store(place.settings, lambda sessions: sessions.announced())
    except StartError as error:
        raise StartError(f"{error}: which keys the running gateways have is not known; {otherwise}") from error


def _now() -> datetime:
    return datetime.now(UTC)
