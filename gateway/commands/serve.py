"""``gateway serve`` and ``gateway demo``: a gateway that runs until it is stopped."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from gateway import launch, server
from gateway.commands.check import warnings_of
from gateway.commands.options import File, Folder, PortNumber
from gateway.settings import Settings, load_settings
from gateway.telemetry import logs


@click.command()
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
        read = partial(load_settings, config, {**os.environ, **over})
        _run(read(), read=read)
        return
    assert upstream is not None
    folder = (state or launch.default_state_folder()).absolute()
    listen = (host or "127.0.0.1", 8080 if port is None else port)
    with launch.standalone(upstream, *listen, redis, users, folder) as (settings, account):
        _run(settings, account=account)


@click.command()
@click.option("--port", type=PortNumber, default=8080, show_default=True, help="The gateway's port.")
@click.option("--backend-port", type=PortNumber, default=0, help="The backend's port [any free one].")
@click.option("--redis", metavar="URL", help="A running Redis; several demos on one are one site.")
def demo(port: int, backend_port: int, redis: str | None) -> None:
    """A legacy backend, Redis and the gateway, to try it."""
    with launch.demo(port, backend_port, redis) as settings:
        _run(settings, demo=settings.upstreams["demo"].url)


def _run(
    settings: Settings,
    *,
    account: launch.FirstAccount | None = None,
    demo: str | None = None,
    read: Callable[[], Settings] | None = None,
) -> None:
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
    server.run(settings, on_ready=ready, read=read)


def _warn(settings: Settings) -> None:
    is_plain = settings.site.url is None and not settings.server.tls.is_on
    if is_plain and settings.server.host not in ("127.0.0.1", "::1", "localhost"):
        text = "site.url is not set: cookies are sent over plain http too; set it to https://… when the site is https"
        logging.getLogger("gateway.server").warning(text)
    for text in warnings_of(settings):
        logging.getLogger("gateway.server").warning(text)
