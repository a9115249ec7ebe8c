"""``python -m tests.soak --seconds 600``: prints a report; exit code 1 when something is not as it must be."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
from pathlib import Path

from tests.soak.run import Soak

_ROUND = 60.0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of load [600]; it ends a little later")
    parser.add_argument("--guests", type=int, default=24, help="well-behaved clients [24]")
    parser.add_argument("--vagabonds", type=int, default=40, help="the others [40]")
    parser.add_argument("--seed", type=int, default=None, help="of all dice [a new one]; timing is not repeated by it")
    given = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # writing to who has gone is what happens here
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    print(f"a soak of {given.seconds:.0f} s with seed {seed}", flush=True)
    rounds = max(3, round(given.seconds / _ROUND))
    soak = Soak(given.seconds, rounds=rounds, guests=given.guests, vagabonds=given.vagabonds, seed=seed)
    with tempfile.TemporaryDirectory(prefix="gws-") as folder:
        report = asyncio.run(soak.run(Path(folder)))
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
