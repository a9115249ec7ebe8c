"""One soak from start to end: Redis, the backend, ``gateway serve``, rounds of load, and what must be so after each."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from gateway.store.redis_server import RedisServer
from tests.harness import MASTER, GatewayProcess
from tests.quick import cheap_users
from tests.soak.backend import Backend
from tests.soak.judge import Wrong
from tests.soak.ledger import Ledger
from tests.soak.load import REDIS, Load, settings
from tests.soak.plans import ACTS
from tests.soak.report import Report
from tests.soak.watch import MIB, Watch, until
from tests.soak.wire import NotHttp

_QUIET_SECONDS = 60.0
_IDLE_SHARE = 0.1  # of a core: a task that spins takes a whole one
_MAY_GROW = 24 * MIB  # from the end of the first round to the end of the last; what is remembered has bounds
_MAY_PEAK = (
    128 * MIB
)  # above that: a huge body that is collected shows; half of it is a weak hash that is replaced (argon2)
_OTHERS = 10  # the pool of Redis, and what the system takes


class Soak:
    """``seconds`` of load in ``rounds``; the first one warms up, and the last one is compared with it."""

    def __init__(self, seconds: float, *, rounds: int, guests: int, vagabonds: int, seed: int) -> None:
        self._seconds = seconds
        self._rounds = rounds
        self._clients = {"guests": guests, "vagabonds": vagabonds}
        self._ledger = Ledger()
        self._backend = Backend(self._ledger, ACTS)
        self.report = Report(seed, seconds, self._ledger.outcomes)

    async def run(self, folder: Path) -> Report:
        """All of it; everything that it starts ends with it."""
        asyncio.get_running_loop().set_exception_handler(self._note_own_error)
        redis = RedisServer(folder / "redis", append_only=False)
        await self._backend.start()
        try:
            await asyncio.to_thread(redis.start)
            gateway = GatewayProcess("serve", "--config", str(self._config(folder, redis.url)))
            await asyncio.to_thread(gateway.start)
            try:
                await self._in_front_of(gateway)
            finally:
                await asyncio.to_thread(self._stop, gateway)
        finally:
            await asyncio.to_thread(redis.stop)
            await self._backend.stop()
        self.report.problems += self._ledger.breaches
        if self._ledger.kinds.total() > len(self._ledger.breaches):
            self.report.problems.append(f"{self._ledger.kinds.total()} of these in all")
        return self.report

    def _note_own_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.report.problems.append(f"an error of the soak's own: {context}")

    def _config(self, folder: Path, redis_url: str) -> Path:
        data: dict[str, Any] = {
            "redis": {"url": redis_url, **REDIS},
            "keys": {"master": MASTER},
            "users": [{"source": "file", "path": str(cheap_users(folder / "users.yaml"))}],
            "management": {"port": 0},
            **settings(self._backend.url),
        }
        path = folder / "gateway.yaml"
        path.write_text(json.dumps(data))  # which is YAML, too
        return path

    async def _in_front_of(self, gateway: GatewayProcess) -> None:
        load = Load(gateway.port, self._ledger, seed=self.report.seed, **self._clients)
        watch = Watch(gateway.pid, gateway.port, self._backend.port)
        try:
            await load.prepare()
            for number in range(self._rounds):
                await self._round(load, watch, f"after round {number + 1}")
                if self.report.problems:
                    break  # what is left over now only spoils what comes
            self._compare()
            await self._is_well(gateway)
        except (psutil.Error, OSError, Wrong, NotHttp) as error:
            self.report.problems.append(f"it came to an end: {error!r}; the gateway is alive: {watch.is_alive}")

    async def _round(self, load: Load, watch: Watch, when: str) -> None:
        try:
            await load.run(self._seconds / self._rounds, lambda: watch.is_alive and not self._ledger.is_full)
        except TimeoutError:
            self.report.problems.append(f"{when}: a client hangs")
        await self._is_quiet(watch, when)
        if len(self.report.looks) == 1:
            watch.forget_peak()  # hashing a password at the start takes more than any request

    # -- when the load is over
    async def _is_quiet(self, watch: Watch, when: str) -> None:
        """Nothing is left of the clients; no task spins."""
        loop, conditions = asyncio.get_running_loop(), self._conditions(watch)
        started = loop.time()
        for what, is_so in conditions.items():
            if not await until(is_so, _QUIET_SECONDS):
                self.report.problems.append(f"{when}: {what}: {watch.look()}; under way: {self._backend.busy}")
        seconds = loop.time() - started
        share = await watch.idle_share(_IDLE_SHARE, _QUIET_SECONDS)
        if share > _IDLE_SHARE:
            self.report.problems.append(f"{when}: the gateway takes {share:.0%} of a core with nothing to do")
        self.report.add(watch.look(), seconds, share)

    def _conditions(self, watch: Watch) -> dict[str, Callable[[], bool]]:
        backend = self._backend
        return {
            "connections of clients who are gone": lambda: watch.look().clients == 0,
            "requests at the backend that nobody waits for": lambda: not backend.busy,
            "more connections to the backend than there were clients": lambda: (
                backend.open <= sum(self._clients.values())
            ),
            "connections that the backend has ended": lambda: watch.look().backends == backend.open,
        }

    def _compare(self) -> None:
        """What one round leaves behind, another may not double."""
        first, last, problems = self.report.looks[0], self.report.looks[-1], self.report.problems
        if last.others > first.others + _OTHERS:
            problems.append(f"descriptors: {first.others} after the first round, {last.others} after the last")
        if last.memory - first.memory > _MAY_GROW:
            problems.append(f"memory grows: {', '.join(f'{look.memory / MIB:.1f}' for look in self.report.looks)} MiB")
        if last.peak - first.memory > _MAY_PEAK:
            problems.append(f"memory under load: {last.peak / MIB:.1f} MiB, {first.memory / MIB:.1f} at rest")

    async def _is_well(self, gateway: GatewayProcess) -> None:
        status, body = await asyncio.to_thread(_get, f"{gateway.management}/readyz")
        bad = [name for name, how in body["components"].items() if how != "ok"]
        if (status, body["status"], bad) != (200, "degraded", ["upstream:dead"]):
            self.report.problems.append(f"/readyz after the load: {status} {body}")
        if not self.report.succeeded:
            self.report.problems.append("not one request succeeded")

    def _stop(self, gateway: GatewayProcess) -> None:
        """A process that has come through it ends in order, and has told of no error of its own."""
        try:
            if status := gateway.stop():
                self.report.problems.append(f"the gateway ended with {status}")
        except subprocess.TimeoutExpired:
            self.report.problems.append("the gateway did not end when it was told to")
        errors = Counter(filter(None, map(_error, gateway.output.splitlines())))
        self.report.problems += [f"in the log, {count} times: {error}" for error, count in errors.items()]


def _get(url: str) -> tuple[int, dict[str, Any]]:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.status, json.loads(response.read())


def _error(line: str) -> str:
    """What an event of level error says, or that there is a traceback outside of any event; nothing for other lines."""
    if not line.startswith("{"):
        return line if "Traceback" in line else ""
    event = json.loads(line)
    if event["level"] != "error":
        return ""
    trace = [part.strip() for part in event.get("trace", "").splitlines()[-6:]]
    return " | ".join([f"{event['logger']}: {event['event']}", *trace])
