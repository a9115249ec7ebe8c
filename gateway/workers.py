"""Worker processes: a supervisor that serves nothing itself and replaces a worker that died."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable

log = logging.getLogger("gateway.server")
_RESTART_SECONDS = 1.0


class Supervisor:
    """Forks ``count`` workers, which do ``work``, replaces one that died, and passes signals on to all: to stop, and SIGHUP if
    it ``reloads``.

    ``work`` gets a function that says whether SIGHUP came before the worker could hear it. ``stop``: called once the signal to
    stop has come; lets go of what was opened for the workers.
    """

    def __init__(
        self, count: int, work: Callable[[Callable[[], bool]], None], stop: Callable[[], None], *, reloads: bool
    ) -> None:
        self._count = count
        self._work = work
        self._let_go = stop
        self._reloads = reloads
        self._hung_up = False
        self._workers: set[int] = set()
        self._stopping = False

    def run(self, tell: Callable[[], None]) -> None:
        """Returns when every worker has ended after a signal to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if self._reloads:
            signal.signal(signal.SIGHUP, self._hang_up)
        for _ in range(self._count):
            self._fork()
        tell()
        while self._workers:
            self._wait_for_one()

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._workers.add(pid)
            return
        status = 1
        try:
            self._workers = set()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._work(lambda: self._hung_up)
            status = 0
        finally:
            if status:
                log.error("a worker failed", exc_info=sys.exc_info())
            os._exit(status)  # never back into the supervisor's code

    def _wait_for_one(self) -> None:
        try:
            pid, status = os.wait()
        except InterruptedError:
            return
        self._workers.discard(pid)
        if not self._stopping:
            log.error("a worker ended and is replaced", extra={"fields": {"pid": pid, "status": status}})
            time.sleep(_RESTART_SECONDS)
            if not self._stopping:
                self._fork()

    def _stop(self, *_: object) -> None:
        if not self._stopping:
            self._let_go()
        self._stopping = True
        self._pass_on(signal.SIGTERM)

    def _hang_up(self, *_: object) -> None:
        """In a worker, too, until it has a handler of its own."""
        self._hung_up = True
        self._pass_on(signal.SIGHUP)

    def _pass_on(self, number: int) -> None:
        for pid in self._workers:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
