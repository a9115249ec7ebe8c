"""What a decent backend does: every answer is whole, though it may be slow, huge, or the last one on its connection."""

from __future__ import annotations

import asyncio

from tests.soak.backend import Line


async def plain(line: Line) -> None:
    """With a length; HEAD gets the head."""
    await line.upload()
    body = b"" if line.entry.method == "HEAD" else line.pattern.at(0, line.entry.size)
    await line.send(line.sized() + body)


async def chunked(line: Line) -> None:
    """In chunks of any size."""
    await line.upload()
    await line.send(line.head(b"Transfer-Encoding: chunked", b"Trailer: X-Late"))
    await chunks(line, line.entry.size)
    await line.send(b"0\r\nX-Late: 1\r\n\r\n" if line.dice.random() < 0.3 else b"0\r\n\r\n")


async def chunks(line: Line, end: int) -> None:
    """The body up to ``end``, without the last chunk."""
    at, pattern = 0, line.pattern
    while at < end:
        size = min(end - at, line.dice.choice((1, 7, 300, 4000, 20_000)))
        extension = b";a=b" if line.dice.random() < 0.1 else b""
        await line.send(b"%x%b\r\n%b\r\n" % (size, extension, pattern.at(at, size)))
        at += size


async def until_close(line: Line) -> None:
    """Without a length: the end of the connection is the end (RFC 9112 §6.3, rule 8)."""
    await line.upload()
    await line.send(line.head(b"Connection: close"))
    await line.stream(line.entry.size)
    line.close()


async def drip(line: Line) -> None:
    """A few bytes at a time, the head too."""
    await line.upload()
    data, at = line.sized() + line.pattern.at(0, line.entry.size), 0
    while at < len(data):
        size = line.dice.randint(1, 120)
        await line.send(data[at : at + size])
        at += size
        await asyncio.sleep(line.dice.uniform(0, 0.01))


async def huge(line: Line) -> None:
    """More than any buffer on the way holds."""
    await line.upload()
    if line.dice.random() < 0.5:
        await line.send(line.sized())
        return await line.stream(line.entry.size)
    await line.send(line.head(b"Transfer-Encoding: chunked"))
    pattern, end, step = line.pattern, line.entry.size, 50_000
    for at in range(0, end, step):
        size = min(step, end - at)
        await line.send(b"%x\r\n%b\r\n" % (size, pattern.at(at, size)))
    await line.send(b"0\r\n\r\n")
    return None


async def interim(line: Line) -> None:
    """A few 1xx first."""
    for _ in range(line.dice.randint(1, 5)):
        status = line.dice.choice((b"102 Processing", b"103 Early Hints"))
        await line.send(line.head(b"Link: </style.css>; rel=preload", status=status))
    await plain(line)


async def no_content(line: Line) -> None:
    """204 and 304 have no body, whatever their head says."""
    await line.upload()
    await line.send(line.head(status=line.dice.choice((b"204 No Content", b"304 Not Modified"))))


async def closes_later(line: Line) -> None:
    """Ends the kept connection without a word, perhaps just when the next request comes."""
    await plain(line)
    await asyncio.sleep(line.dice.choice((0, 0.001, 0.01, 0.05)))
    if line.dice.random() < 0.5:
        line.close()
    else:
        line.reset()


async def says_close(line: Line) -> None:
    """Ends the connection as it has said."""
    await line.upload()
    await line.send(line.sized(b"Connection: close"))
    await line.stream(line.entry.size)
    line.close()


async def slow_reader(line: Line) -> None:
    """Takes an upload in sips."""
    await line.upload(pace=0.01)
    await line.send(line.sized())
    await line.stream(line.entry.size)
