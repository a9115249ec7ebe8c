"""A short soak (``make soak`` runs a long one), the same load on a gateway in this process, and whether the soak has eyes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.quick import make_gateway
from tests.soak.backend import Backend
from tests.soak.judge import Wrong, is_explained, outcome
from tests.soak.ledger import Entry, Ledger, Pattern
from tests.soak.load import REDIS, Load, settings
from tests.soak.plans import ACTS
from tests.soak.run import Soak
from tests.soak.watch import Watch, until
from tests.soak.wire import Link, NotHttp

__all__ = ["make_gateway"]
SEED = 20
SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_gateway_between_a_bad_backend_and_vanishing_clients_keeps_its_promises_and_leaves_nothing_behind(
    short_folder: Path,
) -> None:
    soak = Soak(9, rounds=3, guests=16, vagabonds=28, seed=SEED)
    report = await soak.run(short_folder)
    print(report)
    assert report.problems == []


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    """The soak's own."""
    server = Backend(Ledger(), ACTS)
    await server.start()
    yield server
    await server.stop()


def gateways_tasks() -> set[asyncio.Task[Any]]:
    """All in this process but those of the load."""
    return {task for task in asyncio.all_tasks() if not task.get_name().startswith("soak: ")}


@pytest.mark.slow
async def test_no_task_of_the_gateway_outlives_its_request(make_gateway: MakeGateway, backend: Backend) -> None:
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    gateway = await make_gateway(backend.url, redis=REDIS, **settings(backend.url))
    load = Load(gateway.port, backend.ledger, guests=8, vagabonds=14, seed=SEED)
    await load.prepare()
    await load.run(0.5)
    assert await until(lambda: not backend.busy, SECONDS)
    before = gateways_tasks()
    await load.run(3)
    assert await until(lambda: len(gateways_tasks()) <= len(before), SECONDS), gateways_tasks() - before
    assert await until(lambda: not backend.busy and backend.open <= 22, SECONDS), backend.busy
    assert backend.ledger.breaches == []
    assert unhandled == []


# -- has it eyes? A soak that sees nothing would be as green
HEAD = b"HTTP/1.1 200 OK\r\nX-Marker: %b\r\nX-Order: 1\r\nx-ORDER: 2\r\n"
SIZE = 1000
REFUSAL = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%b"
UNREACHABLE = b'{"ret":502,"msg":"","reason":"upstream_unreachable"}'


def sized(marker: bytes, body: bytes, size: int = SIZE) -> bytes:
    return HEAD % marker + b"Content-Length: %d\r\n\r\n" % size + body


def chunked(marker: bytes, body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return HEAD % marker + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body) + end


def refused(body: bytes) -> bytes:
    return REFUSAL % (len(body), body)


Answering = Callable[[bytes, bytes], bytes]
"""Marker and whole body → what a gateway sends before it closes."""
FINE: dict[str, tuple[str, Answering]] = {
    "whole": ("plain", sized),
    "whole-in-chunks": ("plain", chunked),
    "cut-as-the-backend-did": ("ends_in_body", lambda marker, body: sized(marker, body[:500])),
    "cut-chunks": ("ends_in_chunks", lambda marker, body: chunked(marker, body[:500], b"")),
    "unreachable": ("ends_at_once", lambda *_: refused(UNREACHABLE)),
}
WRONG: dict[str, tuple[str, Answering]] = {
    "somebody-else-s": ("plain", lambda _, body: sized(b"m0-plain", body)),
    "somebody-else-s-body": ("plain", lambda marker, _: sized(marker, Pattern("m0").at(0, SIZE))),
    "changed": ("plain", lambda marker, body: sized(marker, body[:-1] + bytes((body[-1] ^ 1,)))),
    "cut": ("plain", lambda marker, body: sized(marker, body[:500])),
    "cut-that-passes-for-whole": ("ends_in_body", lambda marker, body: chunked(marker, body[:500])),
    "whole-that-cannot-be": ("ends_in_body", sized),
    "no-answer": ("plain", lambda *_: b""),
    "unreachable-for-no-reason": ("plain", lambda *_: refused(UNREACHABLE)),
    "another-reason": ("ends_at_once", lambda *_: refused(UNREACHABLE.replace(b"upstream_unreachable", b"no_session"))),
    "address-told": ("ends_at_once", lambda *_: refused(UNREACHABLE.replace(b'""', b'"127.0.0.1:9000"'))),
    "no-json": ("ends_at_once", lambda *_: refused(b"<h1>Bad gateway</h1>")),
    "poisoned": ("plain", lambda marker, body: b"HTTP/1.1 103 Early\r\nX-A: POISON\r\n\r\n" + sized(marker, body)),
    "reordered": ("plain", lambda marker, body: sized(marker, body).replace(b"x-ORDER", b"X-Order")),
    "no-http": ("plain", lambda *_: b"hello\r\n\r\n"),
    "bad-chunk": ("plain", lambda marker, body: chunked(marker, body, b"zz\r\n")),
    "length-and-chunks": ("plain", lambda marker, body: chunked(marker, body).replace(b"X-Order: 1", b"Content-Length: 1")),
}  # fmt: skip


async def is_believed(plan: str, answering: Answering) -> bool:
    """Would a guest be content with it?"""
    entry = Ledger().open(Entry("", plan, "GET", "calm", size=SIZE))
    entry.attempts = 1
    pattern = Pattern(entry.marker)

    async def gateway(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answering(entry.marker.encode(), pattern.at(0, SIZE)))
        writer.close()

    async with await asyncio.start_server(gateway, "127.0.0.1", 0) as server:
        link = await Link.to(server.sockets[0].getsockname()[1])
        try:
            return is_explained(entry, outcome(entry, await link.answer("GET", pattern)))
        except (Wrong, NotHttp):
            return False
        finally:
            link.close()


@pytest.mark.parametrize("case", FINE)
async def test_a_guest_is_content_with_what_the_backend_explains(case: str) -> None:
    assert await is_believed(*FINE[case])


@pytest.mark.parametrize("case", WRONG)
async def test_a_guest_is_not_content_with_anything_else(case: str) -> None:
    assert not await is_believed(*WRONG[case])


USER = b"X-Forwarded-Preferred-Username: alice\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: a\r\n" + USER + b"Content-Length: 5\r\n\r\n%b"
Asking = Callable[[bytes, bytes], bytes]
"""Target and whole body → what a gateway sends to the backend."""
BREACHES: dict[str, Asking] = {
    "another-user": lambda target, body: (POST % (target, body)).replace(b"alice", b"mgr"),
    "nobody": lambda target, body: (POST % (target, body)).replace(USER, b""),
    "our-cookie": lambda target, body: (POST % (target, body)).replace(USER, USER + b"Cookie: gw_session=x\r\n"),
    "twice": lambda target, body: POST % (target, body) * 2,
    "another-method": lambda target, body: (POST % (target, body)).replace(b"POST", b"PUT"),
    "two-lengths": lambda target, body: (POST % (target, body)).replace(USER, USER + b"Content-Length: 5\r\n"),
    "bare-lf": lambda target, body: (POST % (target, body)).replace(USER, USER + b"X: a\n b\r\n"),
    "changed-body": lambda target, body: POST % (target, body[::-1]),
    "lost-body": lambda target, body: (POST % (target, b"")).replace(b"Content-Length: 5\r\n", b""),
    "was-to-be-refused": lambda *_: POST % (b"/open/never-1", b"abcde"),
}


async def breaches(backend: Backend, asking: Asking, *, sent_all: bool = True) -> list[str]:
    """What the backend has to say about a request."""
    entry = backend.ledger.open(Entry("", "plain", "POST", "calm", "alice", upload=5, sent_all=sent_all))
    link = await Link.to(backend.port)
    await link.send(asking(entry.target.encode(), Pattern(entry.marker + "-up").at(0, 5)))
    link.half_close()
    with suppress(OSError):  # reset, when it has heard enough
        while await asyncio.wait_for(link.reader.read(65536), SECONDS):
            pass
    link.close()
    return backend.ledger.breaches


async def test_the_backend_is_content_with_what_was_sent(backend: Backend) -> None:
    assert await breaches(backend, lambda target, body: POST % (target, body)) == []


@pytest.mark.parametrize("case", BREACHES)
async def test_the_backend_notices_what_no_gateway_may_send(backend: Backend, case: str) -> None:
    assert await breaches(backend, BREACHES[case]) != []


async def test_the_backend_notices_a_cut_upload_that_passes_for_whole(backend: Backend) -> None:
    assert await breaches(backend, lambda target, body: POST % (target, body), sent_all=False) != []


@pytest.mark.parametrize(("doing", "is_idle"), [("while True: pass", False), ("import sys; sys.stdin.read()", True)])
async def test_a_process_that_spins_or_holds_a_connection_is_seen(backend: Backend, doing: str, is_idle: bool) -> None:
    code = f"import socket; held = socket.create_connection(('127.0.0.1', {backend.port}))\n{doing}"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    watch = Watch(child.pid, 1, backend.port)
    try:
        assert await until(lambda: watch.look().backends == 1, SECONDS)
        assert (await watch.idle_share(0.1, SECONDS if is_idle else 1) <= 0.1) is is_idle
    finally:
        child.kill()
        child.communicate()
    assert not watch.is_alive
