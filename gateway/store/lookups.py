"""Look-ups share: all of one turn of the event loop go to the store together, and several for one name are one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import StoreUnavailable
from gateway.store.engine import Gone, Kept

Load = Callable[[Sequence[bytes]], Awaitable[list[Kept | Gone]]]
_AT_ONCE = 256


class Lookups:
    """Nobody's going away disturbs the others: the store is asked by tasks of our own (hazard P63)."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._queue: dict[bytes, asyncio.Future[Kept | Gone]] = {}
        self._under_way: dict[bytes, asyncio.Future[Kept | Gone]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, name: bytes) -> Kept | Gone:
        """What is kept under this name, read after this call began or by a look-up that nothing has overtaken since.

        :raises StoreUnavailable: when the store does not answer.
        """
        future = self._queue.get(name) or self._under_way.get(name)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._queue:
                loop.call_soon(self._send)
            future = self._queue[name] = loop.create_future()
        return await asyncio.shield(future)

    def overtake(self, name: bytes) -> None:
        """Something was written under this name: who asks from now on does not share a look-up that began before."""
        self._under_way.pop(name, None)

    def overtake_all(self) -> None:
        """As :meth:`overtake`, for all names."""
        self._under_way.clear()

    def _send(self) -> None:
        names = list(self._queue)[:_AT_ONCE]
        batch = {name: self._queue.pop(name) for name in names}
        if self._queue:
            asyncio.get_running_loop().call_soon(self._send)
        self._under_way.update(batch)
        task = asyncio.create_task(self._ask(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, batch: dict[bytes, asyncio.Future[Kept | Gone]]) -> None:
        try:
            answers = await self._load(list(batch))
        except StoreUnavailable as error:
            for future in batch.values():
                future.set_exception(error)
                future.exception()  # whoever asked may be gone: then nobody is left to be told
        except BaseException:
            for future in batch.values():
                future.cancel()
            raise
        else:
            for future, answer in zip(batch.values(), answers, strict=True):
                future.set_result(answer)
        finally:
            for name, future in batch.items():
                if self._under_way.get(name) is future:
                    del self._under_way[name]
