"""The gateway beside its peers, in one run: ``.venv/bin/python -m bench.compare`` (bench/README.md says what is measured).

One core for the program that is measured, another for the backend, Redis and the load. Each round measures every program
once; the figures are medians over the rounds. A peer that is not there is left out with a line that says how to get it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.children import NotStarted
from bench.client import Answer
from bench.gates import Express, Fastify, NginxLua, OAuth2Proxy
from bench.lab import APT, ROOT, Lab, find_nginx, pick_cores
from bench.load import find_wrk
from bench.measure import SPARE_FILES, Sample, Wrong, check, measure
from bench.programs import VENV, Caddy, Envoy, Gateway, NginxLargeBuffers, NginxPlain, Program, Traefik
from bench.report import as_json, as_table, row_of
from bench.scenarios import IDLE, SCENARIOS, Scenario

PROGRAMS: tuple[type[Program], ...] = (
    *(Gateway, NginxPlain, NginxLargeBuffers, NginxLua, Traefik, Envoy, Caddy, Fastify, Express, OAuth2Proxy),
)
RESULT = ROOT / "bench/results/compare.json"
QUICK_RESULT = ROOT / "var/bench/quick.json"
_BUSY = 0.5  # processes that wanted to run in the last minute


def options_from(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ends the process when it is wrong."""
    parser = argparse.ArgumentParser(prog="bench.compare", description="The gateway beside its peers, in one run.")
    parser.add_argument("--rounds", type=_positive, metavar="N", default=5, help="each measures every program once [5]")
    parser.add_argument("--seconds", type=_positive, metavar="N", default=3, help="of load in a round [3]")
    parser.add_argument("--only", type=_names([one.name for one in PROGRAMS]), metavar="PROGRAM,…")
    parser.add_argument("--scenario", type=_names([one.name for one in SCENARIOS]), metavar="NAME,…")
    parser.add_argument("--json-out", type=Path, metavar="FILE", help="the chart lies beside it, as .png")
    parser.add_argument("--quick", action="store_true", help="one round of one second, to see that it works")
    parser.add_argument("--gateway-root", type=Path, default=ROOT, metavar="DIR", help="the gateway of another clone")
    given = parser.parse_args(arguments)
    if given.quick:
        given.rounds, given.seconds = 1, 1
    given.json_out = (given.json_out or (QUICK_RESULT if given.quick else RESULT)).absolute()
    given.gateway_root = given.gateway_root.absolute()
    return given


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("a whole number from 1")
    return int(text)


def _names(known: list[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return names

    return parse


def start(programs: Sequence[Program]) -> dict[str, str]:
    """Starts them and signs somebody in; of those that cannot be measured a line why not."""
    left_out: dict[str, str] = {}
    for program in programs:
        try:
            if missing := program.missing():
                left_out[program.name] = f"not here ({missing})"
            else:
                program.start()
        except NotStarted as error:
            left_out[program.name] = f"did not start ({error})"
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}", flush=True)
    return left_out


def right_ones(programs: Sequence[Program], scenario: Scenario) -> dict[str, Answer]:
    """Each program's answer; one that answers wrongly is not measured."""
    found: dict[str, Answer] = {}
    for program in programs:
        if scenario.name in (program.scenarios or [scenario.name]):
            try:
                found[program.name] = check(program, scenario)
            except Wrong as error:
                print(f"left out of {scenario.name}: {program.name} answers wrongly: {error}", flush=True)
    return found


def rounds(programs: Sequence[Program], scenario: Scenario, count: int, seconds: int) -> dict[str, list[Sample]]:
    """Every program once a round, each round beginning with another one."""
    expected = right_ones(programs, scenario)
    measured = [program for program in programs if program.name in expected]
    samples: dict[str, list[Sample]] = {program.name: [] for program in measured}
    for number in range(count if measured else 0):
        turn = number % len(measured)
        for program in measured[turn:] + measured[:turn]:
            if scenario.kind != "idle" or is_renewed(program, scenario):
                samples[program.name].append(measure(program, scenario, seconds, expected[program.name]))
            print(".", end="", flush=True)
    print()
    return {name: found for name, found in samples.items() if found}


def is_renewed(program: Program, scenario: Scenario) -> bool:
    """Memory that a program once had it has again for nothing: it is measured fresh, after a few requests."""
    program.stop()
    try:
        program.start()
        for _ in range(100):
            check(program, scenario)
    except (NotStarted, Wrong) as error:
        print(f"left out of a round of {scenario.name}: {program.name}: {error}", flush=True)
        return False
    return True


def machine() -> dict[str, Any]:
    """What it was measured on, without its name."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system() + " " + platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def write_result(result: dict[str, Any], target: Path) -> None:
    """JSON, and the chart where matplotlib is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {target}")
    python = VENV / "bin/python" if (VENV / "bin/python").exists() else Path(sys.executable)
    chart = target.with_suffix(".png")
    done = subprocess.run([python, "-m", "bench.chart", target, chart], cwd=ROOT, capture_output=True, text=True)
    reason = (done.stderr.strip().splitlines() or ["?"])[-1]
    print(f"written: {chart}" if done.returncode == 0 else f"no chart ({reason}): bench/setup installs matplotlib")


def compare(given: argparse.Namespace, lab: Lab) -> dict[str, Any]:
    """Starts everything, measures, stops everything."""
    found = machine()
    if found["load_before"] > _BUSY:
        print(
            f"this machine is busy (load {found['load_before']}): caches and cores are shared, figures will be too high"
        )
    wanted = [make(lab) for make in PROGRAMS if not given.only or make.name in given.only]
    try:
        left_out = start(wanted)
        programs = [program for program in wanted if program.name not in left_out]
        rounds(programs, Scenario("warm-up", "for compilers and pools"), 1, given.seconds)
        scenarios = [one for one in SCENARIOS if not given.scenario or one.name in given.scenario]
        return {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": found,
            "rounds": given.rounds,
            "seconds": given.seconds,
            "programs": {one.name: {"title": one.title, "version": one.version()} for one in programs},
            "left_out": left_out,
            "scenarios": [_scenario(programs, one, given) for one in scenarios],
        }
    finally:
        for program in wanted:
            program.stop()


def _scenario(programs: Sequence[Program], scenario: Scenario, given: argparse.Namespace) -> dict[str, Any]:
    samples = rounds(programs, scenario, given.rounds, given.seconds)
    keeps = {program.name: program.keeps_sessions for program in programs}
    rows = {name: row_of(name, scenario, found, keeps[name]) for name, found in samples.items()}
    print(as_table(scenario, rows, {program.name: program.title for program in programs}) + "\n", flush=True)
    return as_json(scenario, rows, samples)


def raise_limit() -> int:
    """As many descriptors as is allowed, for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> None:
    """The exit code is 1 when nothing can be measured."""
    given = options_from()
    for there, package in ((find_wrk(), "wrk"), (find_nginx(), "nginx")):
        if not there:
            sys.exit(f"bench.compare needs {package}: {APT} {package}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cores = pick_cores(os.sched_getaffinity(0))
    if cores.program == cores.rest:
        print("one core only: the figures are still CPU time, but requests a second and latency mean nothing")
    os.sched_setaffinity(0, {cores.rest})
    files = raise_limit()
    if files < IDLE.connections + SPARE_FILES:
        print(
            f"{files} descriptors are allowed: only {files - SPARE_FILES} connections wait in the scenario {IDLE.name}"
        )
    folder = Path(tempfile.mkdtemp(prefix="gwb-"))
    folder.chmod(0o755)  # nginx' workers have to reach their folder
    lab = Lab(folder, cores, files, given.gateway_root)
    try:
        write_result(compare(given, lab), given.json_out)
    finally:
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
