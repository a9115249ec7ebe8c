"""Listeners, worker processes, signals, draining.

One process with one event loop, or several that share the listening sockets. SIGTERM and SIGINT drain: ``/readyz`` turns
503, nothing new is accepted, what runs may finish (``server.drain_timeout``), then exit 0.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import http_parser, web

from gateway.app import Gateway, build
from gateway.errors import Problem, SettingsError, StartError, StoreUnavailable
from gateway.front.door import FrontDoor
from gateway.front.roles import Door
from gateway.listeners.arrivals import MakeProtocol, connections_for
from gateway.listeners.certificates import Certificates
from gateway.listeners.opening import Listeners
from gateway.listeners.pairs import Pair
from gateway.listeners.sockets import BACKLOG, Bound, Place, allow_files, bind, bind_all, url_of
from gateway.reload import Read, Reload
from gateway.settings import Settings
from gateway.telemetry.access_log import flush
from gateway.upstream.tls import TlsError
from gateway.workers import Supervisor

log = logging.getLogger("gateway.server")
_SAME_SIGNAL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is there before anything is served: sockets that listen, certificates that were read."""

    bound: Sequence[Bound]
    manage: socket.socket
    certificates: Certificates | None
    read: Read | None

    def close(self) -> None:
        """Whoever was forked has sockets of its own: with ours open, clients would wait for somebody to accept them."""
        self.remove_files()
        for sock in (self.manage, *(one.sock for one in self.bound)):
            sock.close()

    def remove_files(self) -> None:
        """Of unix sockets: whoever comes next makes their own."""
        for one in self.bound:
            one.remove()


class _Server(web.Server):
    """Gives every connection to the front door; our own endpoints run behind it."""

    front: FrontDoor
    connect: MakeProtocol

    def __call__(self) -> Any:
        return self.connect()

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
        self._front, self._connect = gateway.front, _connections(gateway.front, gateway.front, settings)
        super().__init__(
            gateway.app, handle_signals=False, access_log=None, shutdown_timeout=settings.server.drain_timeout
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        ours = _Server(made.request_handler, request_factory=made.request_factory)
        ours.front, ours.connect = self._front, self._connect
        return ours


def _connections(door: Door, front: FrontDoor, settings: Settings) -> MakeProtocol:
    server = settings.server
    return connections_for(door, front.clients, requests=server.keepalive_requests, proxied=server.proxy_protocol)


def places_of(settings: Settings) -> list[Place]:
    """Where to listen; the first is ``server.host`` and ``server.port``."""
    server = settings.server
    has_tls, redirect = server.tls.is_on, server.redirect_http
    places = [Place(server.host, server.port, "--port (server.port)", tls=has_tls)]
    for one in server.more_listeners:
        tls = one.tls if one.tls is not None else has_tls and one.unix is None
        where = (one.host or server.host, one.port or 0, "server.more_listeners")
        places.append(Place(*where, unix=one.unix, mode=int(one.mode, 8), tls=tls))
    if redirect.port is not None:
        places.append(Place(redirect.host or server.host, redirect.port, "server.redirect_http.port", redirects=True))
    return places


def _certificates(settings: Settings) -> Certificates | None:
    """:raises SettingsError: a file changed since it was checked."""
    tls = settings.server.tls
    try:
        return Certificates([Pair(*files) for files in tls.pairs], tls.min_version) if tls.is_on else None
    except TlsError as error:
        raise SettingsError([Problem("server.tls", error.setting, str(error))]) from error


def require_c_parser() -> None:
    """:raises StartError: aiohttp would parse in Python, where seven of its advisories are (hazard A1)."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise StartError("aiohttp's C parser is missing; install aiohttp from a wheel for this platform")


def run(settings: Settings, *, on_ready: Callable[[str, str], None] | None = None, read: Read | None = None) -> None:
    """Serves until SIGTERM or SIGINT. ``on_ready`` gets the two addresses, once, when requests are accepted; ``read`` gives the
    configuration as it is now, for SIGHUP.

    :raises StartError, gateway.errors.SettingsError: before anything is served.
    """
    require_c_parser()
    certificates = _certificates(settings)  # before the workers: they share the keys of the session tickets
    allow_files(settings.server.max_connections)
    manage = bind(settings.management.host, settings.management.port, "management.port")
    bound = bind_all(places_of(settings))
    fronts = " and ".join(one.url for one in bound)
    tell = (lambda: on_ready(fronts, url_of(manage))) if on_ready else (lambda: None)
    opened = _Opened(bound, manage, certificates, read)
    try:
        if settings.server.workers == 1:
            _run_loop(_serve(build(settings), settings, opened, tell))
        else:
            build(settings)  # what is wrong with the files it names is told before anything is forked
            Supervisor(
                settings.server.workers, partial(_work, settings, opened), opened.close, reloads=read is not None
            ).run(tell)
    finally:
        for one in bound:
            one.remove()


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


def _work(settings: Settings, opened: _Opened, was_hung_up: Callable[[], bool]) -> None:
    _run_loop(_serve(build(settings), settings, opened, lambda: None, was_hung_up))


async def _serve(
    gateway: Gateway,
    settings: Settings,
    opened: _Opened,
    tell: Callable[[], None],
    was_hung_up: Callable[[], bool] = lambda: False,
) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    if opened.read is not None:
        reload = Reload(settings, opened.read, gateway.upstreams)
        loop.add_signal_handler(signal.SIGHUP, reload)
        if was_hung_up():  # it began after that, or was not ready to hear it
            reload()
    management = web.AppRunner(gateway.management, handle_signals=False, access_log=None, shutdown_timeout=1)
    runner = GatewayRunner(gateway, settings)
    await management.setup()
    await web.SockSite(management, opened.manage, backlog=BACKLOG).start()
    await runner.setup()
    listeners = _listeners(gateway, settings, opened.bound)
    await listeners.open(opened.certificates)
    gateway.phase.name = "serving"
    tell()
    await _warn_without_store(gateway)
    await signals.get()
    gateway.phase.name = "draining"
    if settings.server.workers == 1:
        opened.remove_files()
    listeners.close()
    await _drain(gateway.front, runner, signals, settings.server.drain_timeout)
    await management.cleanup()


def _listeners(gateway: Gateway, settings: Settings, bound: Sequence[Bound]) -> Listeners:
    front, first = gateway.front, bound[0]
    port = first.sock.getsockname()[1] if first.place.tls else 443
    doors: dict[bool, Door] = {False: front, True: gateway.redirect(port)}
    make = {redirects: _connections(door, front, settings) for redirects, door in doors.items()}
    return Listeners(bound, make, front.clients, settings.server.head_timeout)


async def _warn_without_store(gateway: Gateway) -> None:
    """The gateway starts without its store, and answers 503 until it is there; but not silently."""
    try:
        await gateway.ping_store()
    except StoreUnavailable as error:
        fields = {"cause": error.cause}
        log.warning(
            "the session store cannot be used yet; what needs it gets 503 until it can", extra={"fields": fields}
        )


async def _drain(front: FrontDoor, runner: web.AppRunner, signals: asyncio.Queue[int], seconds: float) -> None:
    """Lets what runs finish; a second signal ends it at once."""
    running = len(runner.server.connections) if runner.server else 0
    log.info(
        "draining: open connections have %.0f s; a second signal stops at once",
        seconds,
        extra={"fields": {"open": running}},
    )
    ending, again = asyncio.create_task(runner.cleanup()), asyncio.create_task(_second(signals))
    await asyncio.wait({ending, again}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ending, again):
        task.cancel()
    await asyncio.wait({ending, again})
    await front.close(0.0)  # what a second signal cut off is reset, and logged


async def _second(signals: asyncio.Queue[int]) -> None:
    """Another signal, and not the same one again: it goes to a whole group of processes, and the supervisor passes it on."""
    loop = asyncio.get_running_loop()
    first = loop.time()
    while loop.time() - first < _SAME_SIGNAL:
        await signals.get()
