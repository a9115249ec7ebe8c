"""How many requests may be repeated: a share of all. Without a bound a backend in trouble gets more load, not less."""

from __future__ import annotations

_SECONDS = (
    10  # the window: long enough that a server which dies under load is not held against the first requests after it
)


class RetryBudget:
    """In any ten seconds: ``share`` of the requests, and ``least`` a second besides (as Finagle counts)."""

    def __init__(self, share: float = 0.2, least: float = 10.0) -> None:
        self._share = share
        self._least = least * _SECONDS
        self._requests = [0] * _SECONDS
        self._retries = [0] * _SECONDS
        self._second = 0

    def note_request(self, now: float) -> None:
        """A request, not a repetition."""
        self._advance(now)
        self._requests[self._second % _SECONDS] += 1

    def spend(self, now: float, under_way: int = 0) -> bool:
        """May one more be repeated? Then it counts. ``under_way``: how many are now, some of them for long."""
        self._advance(now)
        if sum(self._retries) + 1 > self._share * max(sum(self._requests), under_way) + self._least:
            return False
        self._retries[self._second % _SECONDS] += 1
        return True

    def _advance(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        for passed in range(max(self._second + 1, second - _SECONDS + 1), second + 1):
            self._requests[passed % _SECONDS] = self._retries[passed % _SECONDS] = 0
        self._second = max(second, self._second)
