"""``gateway secrets``: the secrets that a deployment starts with."""

from __future__ import annotations

from pathlib import Path

import click

from gateway import secret_files
from gateway.commands.options import Folder


@click.command("secrets")
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
    """Make the Redis password, the master key and the signing keys, if they are not there yet."""
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
