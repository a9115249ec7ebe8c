"""Which sources of users are away: told to the operator when it begins and when it is over, not at every sign-in."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import SourceUnavailable

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
        """As far as is known: when it was asked last."""
        return name in self._away

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Something is asked of this source; its outage goes on to whoever asked."""
        try:
            yield
        except SourceUnavailable as error:
            self._begins(name, error)
            raise
        if name in self._away:
            self._ends(name)

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
