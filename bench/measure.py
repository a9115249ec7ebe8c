"""One measurement: is the answer right, then the load, and what the program and its Redis spent meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.client import Answer, BadAnswer, Client
from bench.cpu import cpu_seconds, memory, settle
from bench.lab import KILOBYTE, MEGABYTE
from bench.load import Ask, Outcome, invented, run_idle, run_uploads, run_wrk
from bench.programs import Program
from bench.scenarios import Scenario

SPARE_FILES = 1000
"""Descriptors that are not for connections that wait."""
_INVENTED = 10_000
_SETTLE = 3.0
_SHARE = 0.001  # of the requests that may be counted on the other side of the end
_SIZE_OFF = 0.05  # an answer's date and ids differ a little


class Wrong(Exception):
    """A program does not answer as it has to: it is not measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round. Seconds of CPU of the program's tree and of its Redis; ``memory``: bytes that the tree grew by."""

    outcome: Outcome
    cpu: float
    redis_cpu: float
    redis_commands: int
    memory: int
    faults: tuple[str, ...]

    def figure(self, scenario: Scenario) -> float | None:
        """In the scenario's unit; None when nothing was counted."""
        count, cpu = self.outcome.requests, self.cpu
        if not count or (not cpu and scenario.kind != "idle"):
            return None
        if scenario.unit == "µs/request":
            return cpu / count * 1e6
        return self.outcome.bytes / MEGABYTE / cpu if scenario.kind != "idle" else self.memory / count / KILOBYTE

    def as_json(self) -> dict[str, Any]:
        """Flat."""
        flat = asdict(self)
        return {**flat.pop("outcome"), **flat}


def cookies_of(program: Program, who: str) -> Sequence[str]:
    """The Cookie headers that take turns; programs without a gate get those of nobody."""
    real = program.cookie or "sid=abcdefABCDEF0123456789abcdefABCDEF0123456789"
    if who == "invented":
        return invented(real, _INVENTED)
    return [program.cookie] if who == "user" and program.cookie else []


def ask_of(program: Program, scenario: Scenario) -> Ask:
    """What is sent."""
    return Ask(scenario.method, scenario.path, cookies_of(program, scenario.who), scenario.sends, pause=scenario.pause)


def check(program: Program, scenario: Scenario, seconds: float = 10.0) -> Answer:
    """Asks once, and again for a while if the answer is not right: who has just started may not know yet what it has to.

    :raises Wrong: it does not become right.
    """
    deadline = time.monotonic() + seconds
    ask = ask_of(program, scenario)
    while True:
        problem, answer = _asked(program, scenario, ask)
        if answer is not None and not problem:
            return answer
        if time.monotonic() > deadline:
            raise Wrong(problem)
        time.sleep(0.1)


def _asked(program: Program, scenario: Scenario, ask: Ask) -> tuple[str, Answer | None]:
    fields = [("Cookie", one) for one in ask.cookies[:1]] + [("Content-Type", "text/plain")] * bool(ask.sends)
    try:
        with Client(program.port) as client:
            answer = client.ask(ask.method, ask.path, fields, bytes(ask.sends) if ask.sends else None)
    except (BadAnswer, OSError) as error:
        return str(error), None
    is_refused = program.has_gate and scenario.who != "user"
    return (_refusal_problem(program, answer) if is_refused else _problem(scenario, answer)), answer


def _problem(scenario: Scenario, answer: Answer) -> str:
    if answer.status != 200:
        return f"status {answer.status} instead of 200"
    if len(answer.body) != scenario.length:
        return f"a body of {len(answer.body)} bytes instead of {scenario.length}"
    if scenario.sends and int(answer.field("x-received") or 0) < scenario.sends:
        return "the backend did not get the whole body"
    return ""


def _refusal_problem(program: Program, answer: Answer) -> str:
    if answer.status not in program.refusals:
        return f"status {answer.status} instead of a refusal"
    try:
        is_right = answer.status != 302 or json.loads(answer.body)["ret"] == 302
    except (ValueError, KeyError, TypeError):
        is_right = False
    return "" if is_right else "the refusal is not the JSON 302"


def faults_of(
    scenario: Scenario, outcome: Outcome, reached: int, is_refused: bool, expected: Answer
) -> tuple[str, ...]:
    """What is wrong with a round, in words: errors, answers of another size, requests that the backend saw or did not."""
    count = outcome.requests
    found = [f"{number} {kind} errors" for kind, number in outcome.errors.items()]
    if not count:
        found.append("no request was answered")
    elif is_refused and reached > count * _SHARE:
        found.append(f"{reached} refused requests reached the backend")
    elif not is_refused and reached < count * (1 - _SHARE):
        found.append(f"{count - reached} requests did not reach the backend")
    if count and scenario.kind == "wrk" and scenario.unit == "µs/request":
        size = outcome.bytes / count
        if abs(size - expected.size) > expected.size * _SIZE_OFF:
            found.append(f"answers of {size:.0f} bytes instead of {expected.size}")
    return tuple(found)


def measure(program: Program, scenario: Scenario, seconds: int, expected: Answer) -> Sample:
    """One round. The program has come to rest before and after it."""
    lab, redis, pid = program.lab, program.redis, program.child.pid
    is_refused = program.has_gate and scenario.who != "user"
    settle(pid, _SETTLE)
    grown = _Grown(pid)
    seen = lab.backend.requests()
    commands = redis.commands() if redis else 0
    redis_before = cpu_seconds(redis.child.pid) if redis else 0.0
    before = cpu_seconds(pid)
    outcome = _load(program, scenario, seconds, grown, expected)
    cpu = cpu_seconds(pid) - before
    redis_cpu = cpu_seconds(redis.child.pid) - redis_before if redis else 0.0
    commands = redis.commands() - commands - 1 if redis else 0  # the look before is one itself
    reached = lab.backend.requests() - seen - 1
    settle(pid, _SETTLE)
    program.child.forget()
    faults = faults_of(scenario, outcome, reached, is_refused, expected)
    faults += ("it has ended",) if program.child.has_ended else ()
    return Sample(outcome, cpu, redis_cpu, max(0, commands), grown.bytes, faults)


class _Grown:
    """How much memory a program takes when it is looked at, more than now."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before, self.bytes = pid, memory(pid), 0

    def look(self) -> None:
        """When the program has come to rest."""
        settle(self._pid, _SETTLE)
        self.bytes = memory(self._pid) - self._before


def _load(program: Program, scenario: Scenario, seconds: int, grown: _Grown, expected: Answer) -> Outcome:
    ask, lab = ask_of(program, scenario), program.lab
    if scenario.kind == "upload":
        return run_uploads(program.port, ask, scenario.connections, seconds)
    if scenario.kind == "idle":
        count = min(scenario.connections, lab.files - SPARE_FILES)
        return run_idle(program.port, ask, count, grown.look)
    is_error = expected.status >= 400
    try:
        return run_wrk(program.port, ask, scenario.connections, seconds, lab.folder, lab.cores.rest, is_error)
    except (ValueError, subprocess.TimeoutExpired) as error:
        return Outcome(0, 0, float(seconds), errors={f"wrk ({error})": 1})
