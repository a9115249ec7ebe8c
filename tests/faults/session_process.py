"""A process of its own with an open session store, led line by line: ``python -m tests.faults.session_process REDIS_URL``.

It says ``ready``, then answers each line on standard input with one on standard output, until there are no more:

- ``write KEY NAME COUNT``: loads the session and saves it, so many times, each with a field more; ``done``.
- ``load KEY``: has it loaded; ``done``.
- ``save SECONDS`` and ``flush SECONDS``: waits so long, then saves what was loaded with a field more, or ends it; ``done``,
  or ``interrupted``.
"""

from __future__ import annotations

import asyncio
import sys

from gateway.errors import SessionInterrupted
from gateway.scripting import Store, open_store
from gateway.web.session import WebSession
from tests.harness import make_settings


async def main(redis_url: str) -> None:
    """Until standard input ends."""
    async with open_store(make_settings(redis_url, "http://127.0.0.1:1")) as store:
        session = store.session()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, *given = line.split()
            answer = "done"
            if what == "write":
                await write(store, given[0], given[1], int(given[2]))
            elif what == "load":
                session = await load(store, given[0])
            else:
                answer = await change(session, what, float(given[0]))
            print(answer, flush=True)


async def load(store: Store, key: str) -> WebSession:
    """A session with what it holds now."""
    session = store.session(key)
    await session.load()
    return session


async def write(store: Store, key: str, name: str, count: int) -> None:
    """``name`` counts, and for each number there is a field."""
    for number in range(count):
        session = await load(store, key)
        session[name] = number
        session[f"{name}{number}"] = True
        await session.save()


async def change(session: WebSession, what: str, delay: float) -> str:
    """What came of it."""
    await asyncio.sleep(delay)
    try:
        if what == "flush":
            await session.flush()
        else:
            session["cart"] = 1
            await session.save()
    except SessionInterrupted:
        return "interrupted"
    return "done"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
