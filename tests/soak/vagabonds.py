"""Clients that vanish, dawdle and send what is no request. What does come back to them is looked at, too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.soak.judge import Wrong, outcome
from tests.soak.ledger import POISON, Entry, Pattern
from tests.soak.malformed import BAD_CHUNKS, MALFORMED, mutated
from tests.soak.requests import Scene, draw, head, upload, whole
from tests.soak.watch import until
from tests.soak.wire import GONE, Answer, Link, NotHttp

_PATIENCE = 30.0
_AT_LAST = 20.0
"""Seconds after which the gateway must have ended what waits for nothing, on the slowest machine; it is told two."""
_ENDLESS = 100 * 1024 * 1024
_PIPELINED = ("plain", "chunked", "interim", "no_content", "closes_later", "says_too_much", "ends_in_body", "bad_head")


class Vagabond:
    """Does one bad turn after the other, each on a connection of its own."""

    def __init__(self, scene: Scene, number: int, seed: str) -> None:
        self._scene = scene
        self._ledger = scene.ledger
        self._dice = random.Random(f"{seed} vagabond {number}")
        self._turns: list[Callable[[], Awaitable[str]]] = [
            *(self.vanish, self.vanish, self.vanish, self.half_close, self.read_slowly, self.never_read),
            *(self.drip, self.half_a_head, self.pipeline, self.malformed, self.malformed, self.stop_uploading),
            *(self.idle, self.old_version, self.bad_chunks),
        ]

    async def run(self) -> None:
        """Until the scene is over."""
        while not self._scene.is_over:
            turn = self._dice.choice(self._turns)
            name = turn.__name__
            got = "left"
            try:
                async with asyncio.timeout(_PATIENCE):
                    got = await turn()
            except TimeoutError:
                got = "lost patience"
            except GONE:
                got = "was left"
            except (Wrong, NotHttp) as error:
                self._ledger.breach(f"{name}: {error}")
            self._ledger.count("vagabond", name, got)
            await asyncio.sleep(self._dice.uniform(0, 0.05))

    def _draw(self, plan: str | None = None) -> tuple[Entry, str]:
        """A request, and the cookie that goes with it: somebody's, or none."""
        user = self._dice.choice(["", *self._scene.cookies])
        return draw(self._ledger, self._dice, user, plan), self._scene.cookies.get(user, "")

    @asynccontextmanager
    async def _visit(self, *, receive_buffer: int = 0) -> AsyncIterator[Link]:
        """A connection that ends with a RST or a FIN, wherever it stands."""
        link = await Link.to(self._scene.port, receive_buffer=receive_buffer)
        try:
            yield link
        finally:
            (link.reset if self._dice.random() < 0.6 else link.close)()

    async def _rest(self, link: Link, seconds: float) -> str:
        """What comes until the gateway ends the connection: the status, or how it ended."""
        data = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                with suppress(OSError):
                    while piece := await link.reader.read(65536):
                        data += piece
        if POISON in data:
            raise Wrong(f"bytes that nobody may see: {data[:300]!r}")
        return data[9:12].decode() if data.startswith(b"HTTP/1.") else f"{len(data)} bytes"

    async def _ending(self, link: Link) -> str:
        """Leaves soon, or waits until the gateway ends what goes nowhere."""
        if self._dice.random() < 0.5:
            return await self._rest(link, 0.2)
        came = await self._rest(link, _AT_LAST)
        if link.is_open:
            raise Wrong(f"nobody ends what goes nowhere: {came}")
        return f"{came}, at last"

    # -- who vanishes
    async def vanish(self) -> str:
        """At any byte of the request or of the answer."""
        entry, cookie = self._draw()
        size = len(head(entry, cookie)) + entry.upload
        async with self._visit() as link:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._dice.choice((0.1, 0.5, 1.5))):
                    await self._send_up_to(link, entry, cookie, self._dice.choice((None, self._dice.randrange(size))))
                    await asyncio.sleep(self._dice.choice((0, 0, 0.01, 0.1)))
                    if self._dice.random() < 0.5:
                        await link.reader.read(self._dice.choice((1, 300, 5000)))
        return "left"

    async def stop_uploading(self) -> str:
        """In mid-body; perhaps waits until the gateway has had enough."""
        entry, cookie = self._draw("slow_reader")
        entry.route = "rough" if entry.user else "open"
        async with self._visit() as link:
            end = len(head(entry, cookie)) + self._dice.randrange(entry.upload)
            await self._send_up_to(link, entry, cookie, end)
            return await self._ending(link)

    async def half_a_head(self) -> str:
        """And nothing more; perhaps behind a whole one that came in two pieces."""
        entry, cookie = self._draw("plain")
        data = head(entry, cookie)
        half = data[: self._dice.randrange(1, len(data))]
        async with self._visit() as link:
            if self._dice.random() < 0.5:
                await link.send(b"GET /auth/session HT")
                await asyncio.sleep(0.02)
                half = b"TP/1.1\r\nHost: a\r\n\r\n" + half
            await link.send(half)
            return await self._ending(link)

    async def idle(self) -> str:
        """Has one answer, and stays a little."""
        async with self._visit() as link:
            got = await self._ask(link, *self._draw("plain"))
            await asyncio.sleep(self._dice.uniform(0, 1.5))
        return got

    # -- who is slow
    async def read_slowly(self) -> str:
        """Takes a huge answer in sips."""
        entry, cookie = self._draw_endless()
        async with self._visit(receive_buffer=4096) as link:
            await self._send(link, entry, cookie)
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    for _ in range(self._dice.randint(1, 100)):
                        await link.reader.read(2048)
                        await asyncio.sleep(0.01)
        return "left"

    async def never_read(self) -> str:
        """Does not take a huge answer."""
        entry, cookie = self._draw_endless()
        entry.route = "rough" if entry.user else "open"
        async with self._visit(receive_buffer=4096) as link:
            await self._send(link, entry, cookie)
            if self._dice.random() < 0.7:
                await asyncio.sleep(self._dice.uniform(0.2, 2.5))
                return "left"
            if not await until(lambda: not link.is_open, _AT_LAST):
                raise Wrong(f"{entry}: who does not read may stay for ever")
        return "was left"

    async def drip(self) -> str:
        """A request in sips, which is answered all the same."""
        entry, cookie = self._draw("plain")
        data, at = head(entry, cookie), 0
        async with self._visit() as link:
            while at < len(data):
                size = self._dice.randint(1, 40)
                await link.send(data[at : at + size])
                at += size
                await asyncio.sleep(self._dice.uniform(0, 0.02))
            for piece in upload(entry, self._dice):
                await link.send(piece)
            return await self._answer(link, entry)

    # -- who speaks oddly
    async def half_close(self) -> str:
        """FIN behind a whole request: it may be answered, or count as gone."""
        entry, cookie = self._draw()
        async with self._visit() as link:
            await self._send(link, entry, cookie)
            link.half_close()
            return await self._answer(link, entry)

    async def pipeline(self) -> str:
        """Several requests at once; their answers come in order, as long as they come."""
        drawn = [self._draw(self._dice.choice(_PIPELINED)) for _ in range(self._dice.randint(2, 6))]
        data = b""
        for entry, cookie in drawn:
            entry.expects = False
            data += whole(entry, self._dice, cookie)
        for entry, _ in drawn:
            entry.sent_all = True
        read = self._dice.randint(0, len(drawn))
        async with self._visit() as link:
            sending = asyncio.create_task(link.send(data), name="soak: upload")
            try:
                for entry, _ in drawn[:read]:
                    if (got := await self._answer(link, entry)) in ("cut", "nothing"):
                        return got
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        return "answered" if read == len(drawn) else "left"

    async def old_version(self) -> str:
        """HTTP/1.0: no chunks, and the end of the connection is the end of the answer."""
        entry, cookie = self._draw()
        _without_body(entry)
        async with self._visit() as link:
            await link.send(head(entry, cookie, version="1.0"))
            return await self._answer(link, entry)

    async def malformed(self) -> str:
        """What is no request; perhaps behind one."""
        data = self._dice.choice(MALFORMED) if self._dice.random() < 0.5 else mutated(self._dice)
        async with self._visit() as link:
            if self._dice.random() < 0.3:
                await self._ask(link, *self._draw("plain"))
            with suppress(OSError):
                await link.send(data)
            return await self._rest(link, 0.5)

    async def bad_chunks(self) -> str:
        """An upload whose framing goes wrong."""
        entry, cookie = self._draw("plain")
        entry.method, entry.upload, entry.chunked = "POST", 5, True
        async with self._visit() as link:
            await link.send(head(entry, cookie) + b"5\r\nabcde\r\n")
            await asyncio.sleep(self._dice.choice((0, 0.05)))
            with suppress(OSError):
                await link.send(self._dice.choice(BAD_CHUNKS))
            return await self._rest(link, 3)

    # -- a request and its answer
    def _draw_endless(self) -> tuple[Entry, str]:
        """An answer of which only a little is taken: collected somewhere, it would be seen in the memory."""
        entry, cookie = self._draw("huge")
        entry.size = _ENDLESS
        return _without_body(entry), cookie

    async def _send_up_to(self, link: Link, entry: Entry, cookie: str, end: int | None) -> None:
        """So many bytes of the request and no more; None: all of it."""
        await link.send(head(entry, cookie)[:end])
        left = None if end is None else end - len(head(entry, cookie))
        for piece in upload(entry, self._dice):
            if left is not None and left < len(piece):
                entry.sent_all = False
                return await link.send(piece[: max(left, 0)])
            await link.send(piece)
            left = None if left is None else left - len(piece)
        return None

    async def _send(self, link: Link, entry: Entry, cookie: str) -> None:
        data = whole(entry, self._dice, cookie)
        entry.sent_all = True
        with suppress(OSError):
            await link.send(data)

    async def _ask(self, link: Link, entry: Entry, cookie: str) -> str:
        await self._send(link, entry, cookie)
        return await self._answer(link, entry)

    async def _answer(self, link: Link, entry: Entry) -> str:
        answer: Answer = await link.answer(entry.method, Pattern(entry.marker))
        try:
            return outcome(entry, answer)
        except Wrong as error:
            raise Wrong(f"{entry}: {error}") from error


def _without_body(entry: Entry) -> Entry:
    """The same as a GET, which is repeated when a kept connection has just ended."""
    entry.method, entry.upload, entry.chunked, entry.expects = "GET", 0, False, False
    return entry
