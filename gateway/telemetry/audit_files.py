"""Where the audit log is written: a file that may be moved away at any time (logrotate), or a stream that is open already.

Each line is one write to a file opened with O_APPEND, so that several processes can write to it. What cannot be written is
lost: that is told once, and once more when writing works again, in the stream itself, too.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path

log = logging.getLogger("gateway.audit")
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Lines:
    """``place``: a file, made with mode 0600 when it is not there; or the number of an open descriptor."""

    def __init__(self, place: Path | int) -> None:
        self._place = place
        self._fd: int | None = None
        self._lost = 0
        self._counting = threading.Lock()
        self._told = False
        self._torn = False

    def open(self) -> None:
        """Opens the file, if that is possible; if not, it is told and tried again for every line."""
        try:
            self._open()
        except OSError as error:
            self._tell(error.strerror or type(error).__name__)

    def write(self, line: str) -> None:
        """Writes one line. Never fails."""
        lost, told = self._lost, self._told
        try:
            if lost:
                self._put(self._about(lost, line))
                with self._counting:
                    self._lost -= lost
            self._put(line)
        except OSError as error:
            self.lose(error.strerror or type(error).__name__)
            return
        if told:
            self._told = False
            log.warning("the audit log is written again; lines lost: %d", lost)

    def lose(self, cause: str) -> None:
        """A line could not be written. From any thread."""
        with self._counting:
            self._lost += 1
        self._tell(cause)

    def _tell(self, cause: str) -> None:
        if not self._told:
            self._told = True
            log.error("the audit log cannot be written, its lines are lost: %s: %s", self._name(), cause)

    def close(self) -> None:
        """Lets go of the file; the next line opens it again."""
        if isinstance(self._place, Path) and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _name(self) -> str:
        return str(self._place) if isinstance(self._place, Path) else "the standard streams"

    @staticmethod
    def _about(lost: int, line: str) -> str:
        shown = {"time": json.loads(line)["time"], "event": "lines_lost", "outcome": "failure", "count": lost}
        return json.dumps(shown) + "\n"

    def _put(self, line: str) -> None:
        """:raises OSError: it is not there, or not all of it; then the next one begins on a line of its own."""
        fd = self._open()
        data = (b"\n" if self._torn else b"") + line.encode("ascii")
        while data:
            written = os.write(fd, data)
            data = data[written:]
            self._torn = bool(data)

    def _open(self) -> int:
        if isinstance(self._place, int):
            return self._place
        if self._fd is not None and not self._is_in_place(self._place, self._fd):
            self.close()
        if self._fd is None:
            self._fd = os.open(self._place, _FLAGS, 0o600)
            self._torn = self._has_half_a_line(self._fd)
        return self._fd

    @staticmethod
    def _has_half_a_line(fd: int) -> bool:
        """Was the last line not written to its end?"""
        there = os.fstat(fd)
        return stat.S_ISREG(there.st_mode) and there.st_size > 0 and os.pread(fd, 1, there.st_size - 1) != b"\n"

    @staticmethod
    def _is_in_place(path: Path, fd: int) -> bool:
        """Is what is open still what has this name?"""
        try:
            there = os.stat(path)
        except OSError:
            return False
        open_one = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (open_one.st_dev, open_one.st_ino)


def lines_to(place: str, *, standard: int = 1) -> Lines | None:
    """For ``log.audit``; ``standard``: what ``stdout`` means here. None: ``off``."""
    if place == "off":
        return None
    return Lines(standard if place == "stdout" else Path(place))
