"""The fakes are tested too: a fake that lies makes tests that cannot fail."""

from __future__ import annotations

import asyncio

from tests.fakes import RecordingBackend


async def _send(backend: RecordingBackend, data: bytes) -> bytes:
    host, port = backend.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    writer.write_eof()
    received = await reader.read()
    writer.close()
    return received


async def test_the_backend_records_what_came_byte_for_byte(backend: RecordingBackend) -> None:
    data = b"PUT /a%20b?c HTTP/1.1\r\nHost: x\r\nA: 1\r\na: caf\xe9\r\nContent-Length: 3\r\n\r\nabc"
    assert (await _send(backend, data)).endswith(b"ok")
    seen = backend.last
    assert (seen.method, seen.target, seen.version, seen.body) == ("PUT", "/a%20b?c", "HTTP/1.1", b"abc")
    assert seen.headers == [("Host", "x"), ("A", "1"), ("a", "caf\xe9"), ("Content-Length", "3")]
    assert seen.values("A") == ["1", "caf\xe9"]


async def test_the_backend_puts_chunks_together(backend: RecordingBackend) -> None:
    data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"
    await _send(backend, data + data)
    assert [request.body for request in backend.requests] == [b"abcde", b"abcde"]
    assert backend.connections == 1
