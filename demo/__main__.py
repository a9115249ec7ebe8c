"""``python -m demo``: run the legacy backend on its own port."""

import errno
import socket

import click
from aiohttp import web
from yarl import URL

from demo.backend import create_app

# Endless streams (/events, /ws) never finish by themselves; a stop waits this many seconds for them.
SHUTDOWN_SECONDS = 1.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=9000, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0: any free one."
)
def main(host: str, port: int) -> None:
    """Run the demo's legacy backend. It trusts every request: nothing but the gateway should reach it."""
    try:
        serve(host, port)
    except OSError as problem:
        raise click.ClickException(f"cannot listen on {_url(host, port)}: {_reason(problem)}") from problem


def serve(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises OSError when the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    address = _url(host, listener.getsockname()[1])
    web.run_app(
        create_app(),
        sock=listener,
        print=lambda *_: click.echo(f"legacy backend listening on {address}"),
        shutdown_timeout=SHUTDOWN_SECONDS,
        # /echo and /upload report the bytes on the wire: a gzipped body must not be unpacked before it is counted.
        auto_decompress=False,
    )


def _url(host: str, port: int) -> URL:
    return URL.build(scheme="http", host=host, port=port)


def _reason(problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return "the port is already in use"
    return problem.strerror or str(problem)


if __name__ == "__main__":
    main(prog_name="python -m demo")
