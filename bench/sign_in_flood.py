"""Do the requests of signed-in users feel a flood of sign-ins? ``.venv/bin/python -m bench.sign_in_flood``.

The gateway has one core, backend, Redis and load have another. Paced requests of a signed-in user are timed, with and
without a flood of wrong passwords beside them, in rounds that take turns; nobody is throttled, so that every guess is
hashed or told to come back.
"""

from __future__ import annotations

import argparse
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
from bench.programs import Gateway

RESULT = ROOT / "bench/results/sign_in_flood.json"
PER_SECOND = 200
GUESSERS = 96
_GUESS = json.dumps({"username": "alice", "password": "not her password"}).encode()


class FloodGateway(Gateway):
    """Nobody is throttled."""

    def run(self, folder: Path) -> Child:
        """On a port that it finds itself."""
        child = self.serve(folder, "gateway-flood.yaml")
        found = re.search(r"listens on http://[^:]+:(\d+)", child.out.read_text())
        self.port = int(found[1]) if found else 0
        return child


def timed(port: int, cookie: str, seconds: float) -> list[float]:
    """How long each of :data:`PER_SECOND` requests a second took. One that is late begins late; its wait counts (coordinated
    omission)."""
    taken: list[float] = []
    with Client(port) as client:
        begun = time.perf_counter()
        for number in range(int(seconds * PER_SECOND)):
            due = begun + number / PER_SECOND
            time.sleep(max(due - time.perf_counter(), 0))
            client.ask("GET", "/1k", [("Cookie", cookie)])
            taken.append(time.perf_counter() - due)
    return taken


def guess(port: int, over: threading.Event, answers: Counter[int]) -> None:
    """One guess after the other."""
    while not over.is_set():
        with suppress(BadAnswer, OSError), Client(port) as client:
            while not over.is_set():
                answers[client.ask("POST", "/auth/login", [("Content-Type", "application/json")], _GUESS).status] += 1


def flood(
    port: int, core: int, over: multiprocessing.synchronize.Event, told: multiprocessing.Queue[Counter[int]]
) -> None:
    """In a process of its own, so that it does not hold up the clock of the other one."""
    os.sched_setaffinity(0, {core})
    os.nice(5)
    stop, answers = threading.Event(), Counter[int]()
    threads = [threading.Thread(target=guess, args=(port, stop, answers), daemon=True) for _ in range(GUESSERS)]
    for thread in threads:
        thread.start()
    over.wait()
    stop.set()
    for thread in threads:
        thread.join(5)
    told.put(answers)


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure(program: FloodGateway, seconds: float, is_flooded: bool) -> dict[str, float]:
    """One round."""
    context = multiprocessing.get_context("fork")
    over, told = context.Event(), context.Queue()
    guessing = context.Process(target=flood, args=(program.port, program.lab.cores.rest, over, told))
    if is_flooded:
        guessing.start()
        time.sleep(2)  # until the queue of password checks is full
    taken = timed(program.port, program.cookie, seconds)
    found = {"p50_ms": percentile(taken, 0.5), "p99_ms": percentile(taken, 0.99), "max_ms": 1000 * max(taken)}
    if is_flooded:
        over.set()
        answers = told.get(timeout=60)
        guessing.join(60)
        found |= {"hashed_per_second": answers[401] / seconds, "busy_per_second": answers[503] / seconds}
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
    program = FloodGateway(lab)
    rounds: dict[str, list[dict[str, float]]] = {"quiet": [], "flooded": []}
    try:
        program.start()
        for _ in range(given.rounds):
            rounds["quiet"].append(measure(program, given.seconds, False))
            rounds["flooded"].append(measure(program, given.seconds, True))
        version = program.version()
    finally:
        program.stop()
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _report(rounds, version, given.json_out)


def _report(rounds: dict[str, list[dict[str, float]]], version: str, path: Path) -> None:
    medians = {
        name: {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}
        for name, found in rounds.items()
    }
    for name, found in medians.items():
        print(f"{name:8}", "  ".join(f"{key} {value:8.2f}" for key, value in found.items()))
    print(f"p99 flooded: {medians['flooded']['p99_ms'] / medians['quiet']['p99_ms']:.2f} x quiet")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    written = {"made": made, "gateway": version, "requests_per_second": PER_SECOND, "guessers": GUESSERS}
    path.write_text(json.dumps({**written, "medians": medians, "rounds": rounds}, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
