"""Which sources of users are away: told to the operator when it begins and when it is over, not at every sign-in."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

from gateway.core.identity import Identity
from gateway.errors import SourceUnavailable
from gateway.identity.source import Found

T = TypeVar("T")
log = logging.getLogger("gateway.identity")
_AT_MOST_EVERY = 10.0
"""Seconds between two lines of one source: one that comes and goes does not fill the log."""
_MAX_CAUSE = 300


class Outages:
    """Of all sources, by their names."""

    def __init__(self) -> None:
        self._away: dict[str, bool] = {}
        """Was it told?"""
        self._last: dict[str, float] = {}

    def is_away(self, name: str) -> bool:
        """As far as is known: it failed when it was asked last, and has told of nobody since."""
        return name in self._away

    async def noted(self, name: str, answer: Awaitable[T], *, is_asked: bool = False) -> T:
        """What this source answers; its outage goes on to whoever asked.

        ``is_asked``: every answer says that it is back. Else only one that tells of somebody does: for a login that nobody can
        have, and where a hash is checked that is there already, a source answers "nobody" without having been asked.
        """
        try:
            given = await answer
        except SourceUnavailable as error:
            self._begins(name, error)
            raise
        if name in self._away and (is_asked or isinstance(given, Found | Identity | str)):
            self._ends(name)
        return given

    def _begins(self, name: str, error: SourceUnavailable) -> None:
        if self._away.get(name):
            return
        now = time.monotonic()
        told = now - self._last.get(name, -_AT_MOST_EVERY) >= _AT_MOST_EVERY
        self._away[name] = told
        if told:
            self._last[name] = now
            log.warning(
                "a source of users is away", extra={"fields": {"source": name, "cause": error.cause[:_MAX_CAUSE]}}
            )

    def _ends(self, name: str) -> None:
        if self._away.pop(name):
            log.info("a source of users is back", extra={"fields": {"source": name}})
