"""Well-behaved clients: signed in, one request at a time on kept connections, every answer checked byte for byte."""

from __future__ import annotations

import asyncio
import json
import random
import re

from tests.harness import ALICE, MANAGER
from tests.soak.judge import Wrong, is_explained, outcome
from tests.soak.ledger import Entry, Pattern
from tests.soak.requests import Scene, draw, head, upload
from tests.soak.wire import GONE, Answer, Link, NotHttp

PATIENCE = 60.0
"""Seconds after which a request hangs, on the slowest machine."""
_INVITATION = 0.3  # seconds that a client waits for 100 Continue before it sends its body all the same
PASSWORDS = {user["username"]: user["password"] for user in (ALICE, MANAGER)}


class Guest:
    """One browser with a session of its own."""

    def __init__(self, scene: Scene, number: int, seed: str) -> None:
        self._scene = scene
        self._ledger = scene.ledger
        self._dice = random.Random(f"{seed} guest {number}")
        self._user = ("alice", "mgr")[number % 2]
        self._link: Link | None = None
        self._doing = ""
        self.cookie = ""

    async def run(self) -> None:
        """Until the scene is over."""
        while not self._scene.is_over:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._step()
            except (Wrong, NotHttp) as error:
                self._ledger.breach(f"{self._doing}: {error}")
                self.leave()
            except TimeoutError:
                self._ledger.breach(f"{self._doing}: nothing came of it in {PATIENCE:.0f} s")
                self.leave()
            await asyncio.sleep(self._dice.uniform(0, 0.05))
        self.leave()

    async def _step(self) -> None:
        lot = self._dice.random()
        if not self.cookie:
            await self.sign_in()
        elif lot < 0.02:
            await self._sign_out()
        elif lot < 0.04:
            await self._is_refused("")
        elif lot < 0.07:
            await self._is_known()
        else:
            await self._ask(draw(self._ledger, self._dice, self._user))

    # -- the gateway's own endpoints
    async def sign_in(self) -> None:
        """A session of its own."""
        fields = {"username": self._user, "password": PASSWORDS[self._user]}
        answer = await self._own("POST", "/auth/login", json.dumps(fields).encode())
        if answer.status == 429:
            return await asyncio.sleep(0.2)
        if answer.status != 200 or not self.cookie:
            raise Wrong(f"{answer.status} to a right password: {answer.start[:200]!r}")
        self._ledger.count("guest", "sign-in", "whole")
        return None

    async def _sign_out(self) -> None:
        old = self.cookie
        answer = await self._own("POST", "/auth/logout")
        if answer.status != 200 or self.cookie:
            raise Wrong(f"{answer.status} to a sign-out")
        await self._is_refused(old)
        self._ledger.count("guest", "sign-out", "whole")

    async def _is_refused(self, cookie: str) -> None:
        """A stranger, or who has signed out."""
        kept, self.cookie = self.cookie, cookie
        answer = await self._own("GET", "/calm/never")
        self.cookie = kept
        if answer.status != 302:
            raise Wrong(f"{answer.status} instead of a refusal: {answer.start[:200]!r}")
        self._ledger.count("guest", "stranger", "302")

    async def _is_known(self) -> None:
        answer = await self._own("GET", "/auth/session")
        if answer.status != 200 or json.loads(answer.start)["user"]["username"] != self._user:
            raise Wrong(f"{self._user} is told {answer.status}: {answer.start[:200]!r}")
        self._ledger.count("guest", "session", "whole")

    async def _own(self, method: str, path: str, body: bytes = b"") -> Answer:
        self._doing = f"{method} {path}"
        lines = [f"{method} {path} HTTP/1.1", "Host: www.example.org", "Content-Type: application/json"]
        lines += [f"Cookie: {self.cookie}"] if self.cookie else []
        data = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        link, answer = await self._connected(), Answer()
        try:
            await link.send(data)
            await link.answer(method, Pattern(""), answer)
        except GONE:
            answer.is_whole = False
        if not answer.is_whole:
            raise Wrong("no answer of the gateway's own")
        self._keep_cookie(answer)
        self._go_on(answer)
        return answer

    # -- what the backend is asked
    async def _ask(self, entry: Entry) -> None:
        behind = f" (on the connection of {self._doing.partition(' (on')[0]})" if self._link else ""
        self._doing = f"{entry}{behind}"
        answer = await self._exchange(await self._connected(), entry)
        self._doing = f"{entry}{behind}"
        got = outcome(entry, answer)
        self._ledger.count("guest", entry.plan, got)
        if not is_explained(entry, got):
            raise Wrong(f"{got} is not explained: {answer.status} {answer.start[:200]!r}")
        self._keep_cookie(answer)
        if not entry.is_complete:
            self.leave()
        self._go_on(answer)

    async def _exchange(self, link: Link, entry: Entry) -> Answer:
        """The answer may come before the request has ended."""
        answer = Answer()
        sending = asyncio.create_task(self._send(link, entry, answer), name="soak: upload")
        try:
            return await link.answer(entry.method, Pattern(entry.marker), answer)
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled():
                sending.exception()  # the connection ended: the answer tells

    async def _send(self, link: Link, entry: Entry, answer: Answer) -> None:
        await link.send(head(entry, self.cookie))
        if entry.expects:
            await self._await_invitation(answer)
        for piece in upload(entry, self._dice):
            await link.send(piece)
            if self._dice.random() < 0.02:
                await asyncio.sleep(0.005)

    @staticmethod
    async def _await_invitation(answer: Answer) -> None:
        for _ in range(30):
            if answer.has_begun:
                return
            await asyncio.sleep(_INVITATION / 30)

    # -- the connection
    async def _connected(self) -> Link:
        if self._link is None:
            self._link = await Link.to(self._scene.port)
        return self._link

    def _go_on(self, answer: Answer) -> None:
        """On the same connection, when that is allowed."""
        if answer.closes or not answer.is_whole or self._dice.random() < 0.1:
            self.leave()

    def leave(self) -> None:
        """Ends the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _keep_cookie(self, answer: Answer) -> None:
        """As a browser does: a new value replaces the old one, an empty one deletes it."""
        for name, value in answer.headers:
            if name.lower() == b"set-cookie" and (found := re.match(rb'gw_session="?([^;"]*)', value)):
                self.cookie = f"gw_session={found[1].decode()}" if found[1] else ""
