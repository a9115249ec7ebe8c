"""A process seen from outside: its descriptors, connections, memory and processor time (Linux: ``/proc``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024 * 1024
_STEP = 0.1
_WINDOW = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment. ``others``: descriptors that are no TCP connections; memory in bytes; processor
    time in seconds."""

    clients: int
    backends: int
    others: int
    memory: int
    peak: int
    spent: float

    def __str__(self) -> str:
        return (
            f"{self.clients} connections of clients, {self.backends} to the backend, {self.others} other descriptors, "
            f"{self.memory / MIB:.1f} MiB (most: {self.peak / MIB:.1f}), {self.spent:.1f} s of processor time"
        )


class Watch:
    """Looks at the process ``pid`` that listens on ``port`` in front of the backend on ``backend_port``."""

    def __init__(self, pid: int, port: int, backend_port: int) -> None:
        self._process = psutil.Process(pid)
        self._status = Path(f"/proc/{pid}/status")
        self._clear = Path(f"/proc/{pid}/clear_refs")
        self._port = port
        self._backend_port = backend_port

    @property
    def is_alive(self) -> bool:
        """Has it not ended?"""
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def look(self) -> Look:
        """Now.

        :raises psutil.Error, OSError: there is nothing to see: it has ended.
        """
        connections = [one for one in self._process.net_connections("tcp") if one.status != psutil.CONN_LISTEN]
        clients = sum(one.laddr.port == self._port for one in connections)
        backends = sum(bool(one.raddr) and one.raddr.port == self._backend_port for one in connections)
        others = self._process.num_fds() - clients - backends
        return Look(clients, backends, others, self._bytes("VmRSS"), self._bytes("VmHWM"), self._spent())

    def _bytes(self, name: str) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise psutil.NoSuchProcess(self._process.pid)

    def forget_peak(self) -> None:
        """What counts as the most memory is counted from now on (proc(5), ``clear_refs``)."""
        self._clear.write_text("5")

    async def idle_share(self, enough: float, seconds: float) -> float:
        """The smallest share of a core that it takes for a second, once that is ``enough`` or ``seconds`` are over."""
        deadline, least = time.monotonic() + seconds, 1.0
        while least > enough and time.monotonic() < deadline:
            before, started = self._spent(), time.monotonic()
            await asyncio.sleep(_WINDOW)
            least = min(least, (self._spent() - before) / (time.monotonic() - started))
        return least

    def _spent(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


async def until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Waits for a condition; False: it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_STEP)
    return True
