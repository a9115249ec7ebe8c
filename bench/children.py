"""Processes that a measurement starts: each on one core, in a folder of its own, and none outlives the measurement."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class NotStarted(Exception):
    """A program did not come up; the text is what it said last."""


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    """Does anybody listen there?"""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Child:
    """A process on one core. What it says goes to ``out`` and ``err`` in its folder."""

    def __init__(
        self, command: Sequence[str | Path], core: int, folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._core = core
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, "HOME": str(folder), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for the measurement; it stops the rest
                preexec_fn=self._prepare,
            )

    def _prepare(self) -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {self._core})

    @property
    def pid(self) -> int:
        """Of the process that was started; it may have children."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """By itself, or because it was stopped?"""
        return self._process.poll() is not None

    def wait_for(self, is_ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Returns when it is ready.

        :raises NotStarted: it ended, or the time is over. It is stopped then.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.has_ended or time.monotonic() > deadline:
                self.stop()
                raise NotStarted(self.last_words() or "it said nothing")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The last line that it wrote."""
        lines = [path.read_text(errors="replace").strip().splitlines() for path in (self.out, self.err)]
        return " / ".join(found[-1][-300:] for found in lines if found)

    def forget(self) -> None:
        """Empties what it has written, so that no log grows over a long measurement (it appends, open(2) O_APPEND)."""
        for path in (self.out, self.err):
            os.truncate(path, 0)

    def stop(self) -> None:
        """In order, or after five seconds not."""
        if not self.has_ended:
            self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
