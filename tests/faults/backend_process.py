"""A backend as a process of its own, to be killed: ``python -m tests.faults.backend_process PORT LOG``.

It takes a moment for every answer, so that some are always under way, and sends some in two parts. Every POST it gets is in LOG
before it is answered.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress

from tests.fakes import read_request


class Backend:
    """Answers with its process id."""

    def __init__(self, log: str) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._name = str(os.getpid()).encode()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await read_request(reader)
                if request.method == "POST":
                    os.write(self._log, f"{request.target}\n".encode())
                await asyncio.sleep(random.uniform(0, 0.02))
                body = b"" if request.method == "HEAD" else self._name
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._name))
                if request.target.endswith("0"):
                    await asyncio.sleep(0.01)
                writer.write(body)
                await writer.drain()
        writer.close()


async def serve(port: int, log: str) -> None:
    """Until it is killed."""
    server = await asyncio.start_server(Backend(log).connected, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
