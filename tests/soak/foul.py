"""What a broken or hostile backend does. Bytes that nobody may see have :data:`~tests.soak.ledger.POISON` in them."""

from __future__ import annotations

import asyncio

from tests.soak.backend import Line
from tests.soak.fair import chunks
from tests.soak.ledger import POISON

STOLEN = b"HTTP/1.1 200 OK\r\nX-Marker: POISON\r\nContent-Length: 6\r\n\r\nPOISON"
"""An answer for whoever comes next."""
BAD_HEADS: dict[str, bytes] = {
    "no-http": b"POISON\r\n\r\n",
    "rtsp": b"RTSP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
    "http2": b"HTTP/2.0 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 3\r\n\r\nPOISON",
    "same-length-twice": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\nPOISON",
    "length-and-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
    "bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: -6\r\n\r\nPOISON",
    "plus-length": b"HTTP/1.1 200 OK\r\nContent-Length: +6\r\n\r\nPOISON",
    "gzip-coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nPOISON",
    "status-99": b"HTTP/1.1 099 What\r\nContent-Length: 6\r\n\r\nPOISON",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPOISON",
    "fold": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n POISON\r\nContent-Length: 6\r\n\r\nPOISON",
    "nul": b"HTTP/1.1 200 OK\r\nX-A: 1\x00POISON\r\nContent-Length: 6\r\n\r\nPOISON",
    "bare-lf": b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: POISON\r\nContent-Length: 6\r\n\r\nPOISON",
    "bad-first-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nPOISON\r\n",
    "many-fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: POISON\r\n" * 400 + b"Content-Length: 6\r\n\r\nPOISON",
    "long-head": b"HTTP/1.1 200 OK\r\n"
    + b"X-A: POISON%b\r\n" % (b"a" * 2000) * 40
    + b"Content-Length: 6\r\n\r\nPOISON",
    "interim-flood": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40,
}
BAD_CHUNKS = (
    b"POISON\r\n",
    b"-6\r\nPOISON\r\n",
    b"0x6\r\nPOISON\r\n",
    b"f" * 17 + b"\r\nPOISON",
    b"6 6\r\nPOISON\r\n",
    b"\r\n",
)


async def _before(line: Line) -> None:
    """Perhaps the request's body is taken first."""
    if line.dice.random() < 0.5:
        await line.upload()


def _leave(line: Line) -> None:
    """With a RST or a FIN."""
    if line.dice.random() < 0.5:
        line.reset()
    else:
        line.close()


async def ends_at_once(line: Line) -> None:
    """No byte of an answer."""
    await _before(line)
    _leave(line)


async def ends_in_head(line: Line) -> None:
    """Half a head."""
    await _before(line)
    data = line.sized()
    await line.send(data[: line.dice.randint(1, len(data) - 1)])
    _leave(line)


async def ends_after_head(line: Line) -> None:
    """A head that promises a body."""
    await line.upload()
    await line.send(line.sized())
    _leave(line)


async def ends_in_body(line: Line) -> None:
    """Less than the length says."""
    await line.upload()
    await line.send(line.sized())
    await line.stream(line.dice.randrange(line.entry.size))
    await asyncio.sleep(line.dice.choice((0, 0.01)))
    _leave(line)


async def ends_in_chunks(line: Line) -> None:
    """Without the last chunk; perhaps in the middle of one."""
    await line.upload()
    await line.send(line.head(b"Transfer-Encoding: chunked"))
    end = line.dice.randrange(line.entry.size)
    await chunks(line, end)
    await line.send(line.dice.choice((b"", b"ff\r\n" + line.pattern.at(end, 9), b"0\r\n", b"5")))
    _leave(line)


async def resets_before_close(line: Line) -> None:
    """A body without a length whose end is no end."""
    await line.upload()
    await line.send(line.head())
    await line.stream(line.dice.randrange(line.entry.size))
    await asyncio.sleep(line.dice.choice((0, 0.01)))
    line.reset()


async def says_too_much(line: Line) -> None:
    """Bytes behind the answer: somebody else's, if the gateway is careless."""
    await line.upload()
    body = b"" if line.entry.method == "HEAD" else line.pattern.at(0, line.entry.size)
    await line.send(line.sized() + body + line.dice.choice((STOLEN, POISON, b"\r\n" + STOLEN)))


async def says_too_much_late(line: Line) -> None:
    """The same after ``Connection: close``, when nobody listens any more."""
    await line.upload()
    await line.send(line.sized(b"Connection: close") + line.pattern.at(0, line.entry.size))
    await asyncio.sleep(0.01)
    await line.send(STOLEN)
    await line.gone()


async def body_behind_no_body(line: Line) -> None:
    """A body after 204 or 304."""
    await line.upload()
    status = line.dice.choice((b"204 No Content", b"304 Not Modified"))
    length = line.dice.choice((b"Content-Length: 6", b"X-Length: 6"))
    await line.send(line.head(length, status=status) + line.dice.choice((POISON, STOLEN)))


async def too_much_behind_chunks(line: Line) -> None:
    """Bytes behind the last chunk."""
    await line.upload()
    body = line.pattern.at(0, line.entry.size)
    await line.send(line.head(b"Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n%b" % (len(body), body, STOLEN))


async def bad_chunks(line: Line) -> None:
    """Good ones, then one that is none."""
    await line.upload()
    await line.send(line.head(b"Transfer-Encoding: chunked"))
    await chunks(line, line.dice.randint(1, line.entry.size))
    await asyncio.sleep(line.dice.choice((0, 0.01)))
    line.entry.note = repr(bad := line.dice.choice(BAD_CHUNKS))
    await line.send(bad + STOLEN)
    await line.gone()


async def bad_head(line: Line) -> None:
    """No answer in HTTP's sense; the connection stays open if the gateway lets it."""
    await line.upload()
    line.entry.note = line.dice.choice(list(BAD_HEADS))
    await line.send(BAD_HEADS[line.entry.note])
    await line.gone()


async def endless_head(line: Line) -> None:
    """A head without end."""
    await line.upload()
    await line.send(b"HTTP/1.1 200 OK\r\n")
    await line.flood(line.dice.choice((b"X-A: POISON\r\n" * 500, b"POISON" * 1000)))


async def endless_framing(line: Line) -> None:
    """A chunk extension, a chunk size or a trailer without end."""
    await line.upload()
    await line.send(line.head(b"Transfer-Encoding: chunked") + b"3\r\n%b\r\n" % line.pattern.at(0, 3))
    await line.send(line.dice.choice((b"5;a=", b"0", b"0\r\nX-A: ", b"0\r\n")))
    await line.flood(line.dice.choice((b"0" * 6000, b"X-A: 1\r\n" * 800)))


async def stalls_before(line: Line) -> None:
    """Never answers."""
    await _before(line)
    await line.gone()


async def stalls_after_head(line: Line) -> None:
    """The body never comes."""
    await line.upload()
    await line.send(line.sized())
    await line.gone()


async def stalls_in_body(line: Line) -> None:
    """The rest of the body never comes."""
    await line.upload()
    await line.send(line.sized())
    await line.stream(line.dice.randrange(line.entry.size))
    await line.gone()


async def never_reads(line: Line) -> None:
    """Does not take the upload."""
    await line.deaf(2.5)


async def answers_first(line: Line) -> None:
    """The answer before the request's body, which it takes afterwards."""
    await line.send(line.sized() + line.pattern.at(0, line.entry.size))
    await line.discard()


async def answers_first_and_ends(line: Line) -> None:
    """The answer before the body, and then nobody reads that."""
    await line.send(line.sized(b"Connection: close") + line.pattern.at(0, line.entry.size))
    line.close()


async def ends_in_upload(line: Line) -> None:
    """Takes a part of the upload and ends."""
    async for _ in line.pieces():
        if line.dice.random() < 0.5:
            break
    _leave(line)
