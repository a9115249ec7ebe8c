"""The session store, for the time that a command needs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from gateway.errors import StartError, StoreUnavailable
from gateway.scripting import open_store
from gateway.settings import Settings
from gateway.store.sessions import Sessions

T = TypeVar("T")


def with_store(settings: Settings, work: Callable[[Sessions], Awaitable[T]]) -> T:
    """What ``work`` returns, given the ``sessions`` of an open store. Nothing is logged meanwhile: a command has its own
    words, and what a gateway would write into its log was not asked for.

    :raises StartError: the store cannot be used.
    """

    async def run() -> T:
        async with open_store(settings) as store:
            return await work(store.sessions)

    return run_quietly(run)


def run_quietly(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What ``run`` returns, with the log switched off.

    :raises StartError: the store cannot be used.
    """
    try:
        with _quiet():
            return asyncio.run(run())
    except StoreUnavailable as error:
        raise StartError(f"the session store cannot be used: {cause_of(error)}") from error


def cause_of(error: StoreUnavailable) -> str:
    """For the middle or the end of a sentence: drivers put full stops behind theirs."""
    return error.cause.rstrip(". ") or "it does not answer"


@contextmanager
def _quiet() -> Iterator[None]:
    """The log is switched off below CRITICAL, for this process."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.ERROR))
    try:
        yield
    finally:
        logging.disable(before)
