"""Do two kinds of requests take the same time? Many of them, interleaved, and a rank test over how long they took."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import combinations

SUSPICIOUS = 4.5
"""Standard deviations: by chance alone about one test in 150,000 is beyond it."""


def rank_z(one: Sequence[float], other: Sequence[float]) -> float:
    """Mann and Whitney's U as standard deviations from what it would be if both came from the same distribution."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    total, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        middle = (at + 1 + end) / 2  # ties share their mean rank
        total += middle * sum(1 for _, kind in ranked[at:end] if kind == 0)
        at = end
    n, m = len(one), len(other)
    u = total - n * (n + 1) / 2
    return float((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5)


async def taken(
    kinds: Mapping[str, Callable[[], Awaitable[None]]], *, rounds: int, lanes: int = 12
) -> dict[str, list[float]]:
    """Seconds that each kind took, ``rounds`` times each, in an order that changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    chance = random.Random(7)
    orders = iter([chance.sample(sorted(kinds), len(kinds)) for _ in range(rounds)])

    async def lane() -> None:
        for order in orders:
            for name in order:
                started = time.perf_counter()
                await kinds[name]()
                seconds[name].append(time.perf_counter() - started)

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return seconds


def suspicions(seconds: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], float]:
    """The pairs of kinds that can be told apart."""
    found = {pair: rank_z(seconds[pair[0]], seconds[pair[1]]) for pair in combinations(seconds, 2)}
    return {pair: z for pair, z in found.items() if abs(z) > SUSPICIOUS}
