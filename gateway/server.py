"""Listeners, worker processes, signals, draining.

One process with one event loop, or several that share the listening socket: a supervisor that serves nothing itself and
replaces a worker that died. SIGTERM and SIGINT drain: ``/readyz`` turns 503, nothing new is accepted, what runs may
finish (``server.drain_timeout``), then exit 0.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from aiohttp import http_parser, web

from gateway.app import Gateway, build
from gateway.errors import StartError, StoreUnavailable
from gateway.front.client import ClientConnection
from gateway.front.door import FrontDoor
from gateway.settings import Settings
from gateway.telemetry.access_log import flush

log = logging.getLogger("gateway.server")
_BACKLOG = 1024
_RESTART_SECONDS = 1.0


class _Server(web.Server):
    """Gives every connection to the front door; our own endpoints run behind it."""

    front: FrontDoor

    def __call__(self) -> Any:
        return ClientConnection(self.front)

    @property
    def connections(self) -> list[Any]:
        """The clients' connections."""
        return list(self.front.clients)

    def pre_shutdown(self) -> None:
        """Nothing new is begun."""
        self.front.drain()

    async def shutdown(self, timeout: float | None = None) -> None:
        """What runs may finish, for ``timeout`` seconds."""
        await self.front.close(timeout or 0.0)


class GatewayRunner(web.AppRunner):
    """An application runner whose connections belong to the front door."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._front = gateway.front
        super().__init__(
            gateway.app, handle_signals=False, access_log=None, shutdown_timeout=settings.server.drain_timeout
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        ours = _Server(made.request_handler, request_factory=made.request_factory)
        ours.front = self._front
        return ours


def bind(host: str, port: int, option: str) -> socket.socket:
    """A bound, not yet listening socket.

    :raises StartError: the address is taken or not ours; ``option`` says how to choose another.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise StartError(f"{host}:{port} {why}; choose another with {option}") from error
    return sock


def require_c_parser() -> None:
    """:raises StartError: aiohttp would parse in Python, where seven of its advisories are (hazard A1)."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise StartError("aiohttp's C parser is missing; install aiohttp from a wheel for this platform")


def run(settings: Settings, *, on_ready: Callable[[str, str], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT. ``on_ready`` gets the two addresses, once, when requests are accepted.

    :raises StartError, gateway.errors.SettingsError: before anything is served.
    """
    require_c_parser()
    front = bind(settings.server.host, settings.server.port, "--port (server.port)")
    manage = bind(settings.management.host, settings.management.port, "management.port")
    tell = (lambda: on_ready(_url(front), _url(manage))) if on_ready else (lambda: None)
    if settings.server.workers == 1:
        _run_loop(_serve(build(settings), settings, front, manage, tell))
    else:
        build(settings)  # what is wrong with the files it names is told before anything is forked
        _Supervisor(settings, front, manage).run(tell)


def _run_loop(main: Any) -> None:
    try:
        import uvloop
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)
    finally:
        flush()  # the lines of what was cut off at the end


async def _serve(
    gateway: Gateway, settings: Settings, front: socket.socket, manage: socket.socket, tell: Callable[[], None]
) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    management = web.AppRunner(gateway.management, handle_signals=False, access_log=None, shutdown_timeout=1)
    runner = GatewayRunner(gateway, settings)
    await management.setup()
    await web.SockSite(management, manage, backlog=_BACKLOG).start()
    await runner.setup()
    await web.SockSite(runner, front, backlog=_BACKLOG).start()
    gateway.phase.name = "serving"
    tell()
    await _warn_without_store(gateway)
    await signals.get()
    gateway.phase.name = "draining"
    await _drain(runner, signals, settings.server.drain_timeout)
    await management.cleanup()


async def _warn_without_store(gateway: Gateway) -> None:
    """The gateway starts without its store, and answers 503 until it is there; but not silently."""
    try:
        await gateway.ping_store()
    except StoreUnavailable as error:
        fields = {"cause": error.cause}
        log.warning(
            "the session store cannot be used yet; what needs it gets 503 until it can", extra={"fields": fields}
        )


async def _drain(runner: web.AppRunner, signals: asyncio.Queue[int], seconds: float) -> None:
    """Lets what runs finish; a second signal ends it at once."""
    running = len(runner.server.connections) if runner.server else 0
    log.info(
        "draining: open connections have %.0f s; a second signal stops at once",
        seconds,
        extra={"fields": {"open": running}},
    )
    ending, again = asyncio.create_task(runner.cleanup()), asyncio.create_task(signals.get())
    await asyncio.wait({ending, again}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ending, again):
        task.cancel()
    await asyncio.wait({ending, again})


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Supervisor:
    """Forks the workers, replaces one that died, and passes the signal to stop on to all."""

    def __init__(self, settings: Settings, front: socket.socket, manage: socket.socket) -> None:
        self._settings = settings
        self._sockets = (front, manage)
        self._workers: set[int] = set()
        self._stopping = False

    def run(self, tell: Callable[[], None]) -> None:
        """Returns when every worker has ended after a signal to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(self._settings.server.workers):
            self._fork()
        tell()
        while self._workers:
            self._wait_for_one()

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._workers.add(pid)
            return
        status = 1
        try:
            self._work()
            status = 0
        finally:
            if status:
                log.error("a worker failed", exc_info=sys.exc_info())
            os._exit(status)  # never back into the supervisor's code

    def _work(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _run_loop(_serve(build(self._settings), self._settings, *self._sockets, lambda: None))

    def _wait_for_one(self) -> None:
        try:
            pid, status = os.wait()
        except InterruptedError:
            return
        self._workers.discard(pid)
        if not self._stopping:
            log.error("a worker ended and is replaced", extra={"fields": {"pid": pid, "status": status}})
            time.sleep(_RESTART_SECONDS)
            if not self._stopping:
                self._fork()

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._workers:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
