"""Do the requests of signed-in users feel a flood of sign-ins? ``.venv/bin/python -m bench.sign_in_flood``.

The gateway has one core, backend, Redis and load have another. The load of the scenario ``paced`` of the comparison is
timed alone and beside a flood of wrong passwords from as many networks as there are guessers, in rounds that take turns.
``flooded`` is the gateway as it is shipped. For ``unthrottled`` nobody is throttled, so that every guess is hashed or told to
come back. Both share one core with the hashing: there is no other.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.children import Child
from bench.client import BadAnswer, Client
from bench.lab import ROOT, Lab, pick_cores
from bench.load import Ask, run_wrk
from bench.programs import Gateway
from bench.scenarios import SCENARIOS

RESULT = ROOT / "bench/results/sign_in_flood.json"
PACED = next(one for one in SCENARIOS if one.name == "paced")
GUESSERS = 96
_NAMES = 1000


class FloodGateway(Gateway):
    """``is_throttled``: as it is shipped."""

    is_throttled = True

    def run(self, folder: Path) -> Child:
        """On a port that it finds itself."""
        child = self.serve(folder, "gateway-flood.yaml", THROTTLED=str(self.is_throttled).lower())
        found = re.search(r"listens on http://[^:]+:(\d+)", child.out.read_text())
        self.port = int(found[1]) if found else 0
        return child


def timed(program: FloodGateway, seconds: int) -> dict[str, float]:
    """The paced load.

    :raises ValueError: an answer was an error.
    """
    folder = Path(tempfile.mkdtemp(dir=program.lab.folder))
    ask = Ask("GET", PACED.path, [program.cookie], pause=PACED.pause)
    outcome = run_wrk(program.port, ask, PACED.connections, seconds, folder, program.lab.cores.rest)
    if outcome.errors:
        raise ValueError(f"wrong answers: {outcome.errors}")
    return {
        "requests_per_second": outcome.requests / outcome.seconds,
        "p50_ms": outcome.p50 or 0,
        "p99_ms": outcome.p99 or 0,
    }


def guess(port: int, number: int, over: threading.Event, answers: Counter[int]) -> None:
    """One guess after the other, at one name after the other; the gateway sees each guesser come from a network of his own."""
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", f"198.18.{number}.1")]
    names = itertools.count(number)
    while not over.is_set():
        with suppress(BadAnswer, OSError), Client(port) as client:
            while not over.is_set():
                given = {"username": f"user{next(names) % _NAMES}", "password": "not the password"}
                answers[client.ask("POST", "/auth/login", fields, json.dumps(given).encode()).status] += 1


def flood(
    port: int, core: int, over: multiprocessing.synchronize.Event, told: multiprocessing.Queue[Counter[int]]
) -> None:
    """In a process of its own, so that it does not hold up the clock of the other one."""
    os.sched_setaffinity(0, {core})
    os.nice(5)
    stop, answers = threading.Event(), Counter[int]()
    threads = [
        threading.Thread(target=guess, args=(port, number, stop, answers), daemon=True) for number in range(GUESSERS)
    ]
    for thread in threads:
        thread.start()
    over.wait()
    stop.set()
    for thread in threads:
        thread.join(5)
    told.put(answers)


def measure(program: FloodGateway, seconds: int, is_flooded: bool) -> dict[str, float]:
    """One round."""
    context = multiprocessing.get_context("fork")
    over, told = context.Event(), context.Queue()
    guessing = context.Process(target=flood, args=(program.port, program.lab.cores.rest, over, told))
    if is_flooded:
        guessing.start()
        time.sleep(2)  # until the queue of password checks is full
    found = timed(program, seconds)
    if is_flooded:
        over.set()
        answers = told.get(timeout=60)
        guessing.join(60)
        kinds = {"hashed": answers[401], "throttled": answers[429], "busy": answers[503]}
        found |= {f"{kind}_per_second": count / seconds for kind, count in kinds.items()}
    return found


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(prog="bench.sign_in_flood", description="What a flood of sign-ins does to others.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=int, default=10, metavar="N")
    parser.add_argument("--json-out", type=Path, default=RESULT, metavar="FILE")
    given = parser.parse_args()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    folder.chmod(0o755)
    lab = Lab(folder, pick_cores(os.sched_getaffinity(0)), files, ROOT)
    os.sched_setaffinity(0, {lab.cores.rest})
    shipped, unthrottled = FloodGateway(lab), FloodGateway(lab)
    unthrottled.is_throttled = False
    rounds: dict[str, list[dict[str, float]]] = {"quiet": [], "flooded": [], "unthrottled": []}
    try:
        shipped.start()
        unthrottled.start()
        for _ in range(given.rounds):
            rounds["quiet"].append(measure(shipped, given.seconds, False))
            rounds["flooded"].append(measure(shipped, given.seconds, True))
            rounds["unthrottled"].append(measure(unthrottled, given.seconds, True))
        version = shipped.version()
    finally:
        shipped.stop()
        unthrottled.stop()
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _report(rounds, version, given.json_out)


def _report(rounds: dict[str, list[dict[str, float]]], version: str, path: Path) -> None:
    medians = {
        name: {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}
        for name, found in rounds.items()
    }
    for name, found in medians.items():
        times = found["p99_ms"] / medians["quiet"]["p99_ms"]
        print(f"{name:11} p99 {times:5.2f} x quiet ", "  ".join(f"{key} {value:.2f}" for key, value in found.items()))
    made = datetime.now(UTC).isoformat(timespec="seconds")
    written = {"made": made, "gateway": version, "guessers": GUESSERS}
    path.write_text(json.dumps({**written, "medians": medians, "rounds": rounds}, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
