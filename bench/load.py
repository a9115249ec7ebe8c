"""The load: wrk for requests, own threads for uploads, own connections that wait."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.client import BadAnswer, Client, request

_WRK_SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
_COUNTED = re.compile(r"^counted (.+)$", re.M)
_ERRORS = ("connect", "read", "write", "timeout")
_KEPT_OF_COOKIE = 6  # what may be a version or the number of a key


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load counted. ``bytes``: received, for uploads sent. Latencies in milliseconds. ``errors`` by kind."""

    requests: int
    bytes: int
    seconds: float
    p50: float | None = None
    p99: float | None = None
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request. ``cookies``: several take turns."""

    method: str
    path: str
    cookies: Sequence[str] = ()
    sends: int = 0
    pause: tuple[int, int] | None = None


def parse_wrk(text: str, refusals_count: bool = False) -> Outcome:
    """What bench/wrk.lua printed. ``refusals_count``: statuses from 400 are what is wanted, others are errors.

    :raises ValueError: the line is not there: wrk did not run to its end.
    """
    line = _COUNTED.search(text)
    if line is None:
        raise ValueError(f"wrk counted nothing: {text.strip()[-300:]!r}")
    counted = {name: int(number) for name, number in (pair.split("=") for pair in line[1].split())}
    errors = {name: counted[name] for name in _ERRORS if counted[name]}
    wrong = counted["requests"] - counted["status"] if refusals_count else counted["status"]
    if wrong:
        errors["status"] = wrong
    seconds = counted["microseconds"] / 1e6
    return Outcome(counted["requests"], counted["bytes"], seconds, counted["p50"] / 1000, counted["p99"] / 1000, errors)


def wrk_script(ask: Ask, cookies: Path) -> str:
    """Lua for one load. One cookie stands in the script, several in the file ``cookies``, one a line."""
    lines = [f'wrk.method = "{ask.method}"']
    if ask.sends:
        lines += [f'wrk.body = string.rep("x", {ask.sends})', 'wrk.headers["Content-Type"] = "text/plain"']
    if len(ask.cookies) == 1:
        lines.append(f'wrk.headers["Cookie"] = [==[{ask.cookies[0]}]==]')
    if ask.pause:
        lines.append(f"function delay() return math.random({ask.pause[0]}, {ask.pause[1]}) end")
    if len(ask.cookies) > 1:
        cookies.write_text("".join(f"{cookie}\n" for cookie in ask.cookies))
        lines += [
            "local made, turn = {}, 0",
            "function init(args)",
            f'  for line in io.lines("{cookies}") do',
            '    wrk.headers["Cookie"] = line',
            "    made[#made + 1] = wrk.format()",
            "  end",
            "end",
            "function request() turn = turn % #made + 1; return made[turn] end",
        ]
    return "\n".join([*lines, _WRK_SCRIPT.read_text()])


def find_wrk() -> str | None:
    """The binary."""
    return shutil.which("wrk")


def run_wrk(
    port: int, ask: Ask, connections: int, seconds: int, folder: Path, core: int, refusals_count: bool = False
) -> Outcome:
    """One thread on one core.

    :raises ValueError: wrk could not do it.
    """
    script = folder / "load.lua"
    script.write_text(wrk_script(ask, folder / "cookies"))
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    done = subprocess.run(
        [find_wrk() or "wrk", *options, f"http://127.0.0.1:{port}{ask.path}"],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return parse_wrk(done.stdout + done.stderr, refusals_count)


@cache
def invented(cookie: str, count: int) -> tuple[str, ...]:
    """Different ones in the form of ``cookie``: each letter and digit but the first few and the last is another of
    its kind. Always the same ones, and none is the real one.

    :raises ValueError: ``cookie`` is too short for so many.
    """
    pick, made = random.Random(1), set[str]()  # noqa: S311 - nothing secret
    for _ in range(2 * count):
        pairs = (pair.partition("=") for pair in cookie.split("; "))
        made.add("; ".join(f"{name}={_other(value, pick)}" for name, _, value in pairs))
        made.discard(cookie)
        if len(made) == count:
            return tuple(sorted(made))
    raise ValueError(f"a cookie with too few letters for {count} invented ones")


def _other(value: str, pick: random.Random) -> str:
    head, middle, tail = value[:_KEPT_OF_COOKIE], value[_KEPT_OF_COOKIE:-1], value[-1:]
    kinds = ("0123456789", "abcdef", "ghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    escaped = {index for match in re.finditer("%..", middle) for index in range(*match.span())}
    return (
        head
        + "".join(
            next((pick.choice(kind) for kind in kinds if char in kind and index not in escaped), char)
            for index, char in enumerate(middle)
        )
        + tail
    )


class _Uploader(threading.Thread):
    """Uploads over one connection until the time is over; the last one is finished."""

    def __init__(self, port: int, ask: Ask, body: bytes, until: float) -> None:
        super().__init__(daemon=True)
        self._port, self._ask, self._body, self._until = port, ask, body, until
        self.times: list[float] = []
        self.errors: dict[str, int] = {}

    def run(self) -> None:
        """Errors are counted; after one the connection is a new one."""
        while time.monotonic() < self._until:
            try:
                with Client(self._port) as client:
                    self._upload(client)
            except (BadAnswer, OSError) as error:
                kind = type(error).__name__
                self.errors[kind] = self.errors.get(kind, 0) + 1
                time.sleep(0.1)

    def _upload(self, client: Client) -> None:
        fields = [("Content-Type", "application/octet-stream"), *(("Cookie", one) for one in self._ask.cookies)]
        head = request(self._ask.method, self._ask.path, client.host, fields, self._body)
        while time.monotonic() < self._until:
            began = time.monotonic()
            answer = client.exchange(head, self._body)
            if answer.status != 200:
                raise BadAnswer(f"status {answer.status}")
            self.times.append(time.monotonic() - began)


def run_uploads(port: int, ask: Ask, connections: int, seconds: int) -> Outcome:
    """Whole uploads only: what was begun is finished, so that no work is paid for and not counted."""
    began = time.monotonic()
    body = bytes(ask.sends)
    threads = [_Uploader(port, ask, body, began + seconds) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted(span * 1000 for thread in threads for span in thread.times)
    errors: dict[str, int] = {}
    for thread in threads:
        for kind, count in thread.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    p50, p99 = (statistics.median(times), times[int(len(times) * 0.99)]) if times else (None, None)
    return Outcome(len(times), len(times) * ask.sends, time.monotonic() - began, p50, p99, errors)


def run_idle(port: int, ask: Ask, connections: int, look: Callable[[], None]) -> Outcome:
    """Opens connections, one request on each, and calls ``look`` while all of them wait."""
    began, held, errors = time.monotonic(), list[Client](), 0
    try:
        for _ in range(connections):
            held.append(client := Client(port))
            head = request(ask.method, ask.path, client.host, [("Cookie", one) for one in ask.cookies])
            errors += client.exchange(head).status != 200
        look()
        closed = len(held) - _waiting(held)
    except (BadAnswer, OSError):
        errors, closed = errors + 1, 0
    finally:
        for client in held:
            client.close()
    counted = {"status": errors, "closed": closed}
    faults = {kind: count for kind, count in counted.items() if count}
    return Outcome(len(held), 0, time.monotonic() - began, errors=faults)


def _waiting(held: list[Client]) -> int:
    """How many are still open: of a closed one something can be read."""
    poll = select.poll()
    for client in held:
        poll.register(client.socket, select.POLLIN)
    return len(held) - len(poll.poll(0))
