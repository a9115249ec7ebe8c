"""Servers that misbehave as a directory may: silent ones, ones that say what they like, and one in between that cuts or
holds the answers of the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.identity.ldap_lab import HOST


@dataclass(slots=True)
class Between:
    """Between the gateway and the real server. ``passes``: bytes of its answers in each connection; then they are held
    (``then="hang"``), come a byte now and then (``"trickle"``), or the connection ends (``"cut"``). None: everything passes,
    as in connections that ``touches`` leaves alone, by their number. ``heard``: all that the gateway said.
    """

    port: int
    to: int
    passes: int | None = None
    then: str = "cut"
    touches: Callable[[int], bool] = bool
    connections: int = 0
    open: int = 0
    heard: bytearray = field(default_factory=bytearray)

    @property
    def url(self) -> str:
        return f"ldap://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        with contextlib.suppress(OSError):
            back, forth = await asyncio.open_connection(HOST, self.to)
            there = asyncio.create_task(self._questions(reader, forth))
            try:
                await self._answers(back, writer, number)
            finally:
                there.cancel()
                forth.close()
                self.open -= 1
        writer.transport.abort()

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        passed = 0
        while data := await reader.read(65536):
            room = max(0, self.passes - passed) if self.passes is not None and self.touches(number) else len(data)
            writer.write(data[:room])
            await writer.drain()
            passed += room
            if room < len(data):
                for byte in data[room:] if self.then == "trickle" else b"":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.1)
                if self.then == "hang":
                    await asyncio.Event().wait()
                return


@contextlib.asynccontextmanager
async def between(to: int) -> AsyncIterator[Between]:
    """One on a free port, until the end of the block."""
    lab = Between(0, to)
    async with _serving(lab.serve) as lab.port:
        yield lab


@contextlib.asynccontextmanager
async def fake(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says this to the first thing it hears; its address, and all that it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(answer)
        while data := await reader.read(65536):
            heard.append(data)

    async with _serving(serve) as port:
        yield f"ldap://{HOST}:{port}", heard


def answer_to_start_tls(code: int) -> bytes:
    """An ExtendedResponse to the first message (RFC 4511 §4.12)."""
    return bytes([0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, code, 4, 0, 4, 0])


@contextlib.asynccontextmanager
async def _serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> AsyncIterator[int]:
    """On a free port, until the end of the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await serve(reader, writer)
        writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(guarded(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing: the kernel accepts, nobody reads."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen(128)
        yield sock.getsockname()[1]
