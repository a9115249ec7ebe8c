"""Why something behind us failed: told to the operator once in a while, not once per request."""

from __future__ import annotations

import logging
import time

from gateway.errors import StoreUnavailable, UpstreamError

log = logging.getLogger("gateway.failures")
_EVERY_SECONDS = 10.0
_MAX_CAUSE = 300


class Failures:
    """Remembers what was told when. ``note`` writes at most one line in ten seconds for each reason and route."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def note(self, error: StoreUnavailable | UpstreamError, route: str = "") -> None:
        """Tells the cause, unless the same was told just now."""
        key, now = (error.reason.code, route), time.monotonic()
        if now - self._told.get(key, -_EVERY_SECONDS) < _EVERY_SECONDS:
            return
        self._told[key] = now
        fields = {"reason": error.reason.code, "cause": error.cause[:_MAX_CAUSE], **({"route": route} if route else {})}
        log.warning("something behind the gateway failed", extra={"fields": fields})
