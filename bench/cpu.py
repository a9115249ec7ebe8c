"""What a program costs, from ``/proc``: CPU seconds and memory of a process and all that descend from it (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_IDLE_TICKS = 1  # in a look of a tenth of a second: what a program does without requests


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/PID/stat``: CPU in clock ticks, user and system, with that of ended children; memory in pages."""

    pid: int
    parent: int
    ticks: int
    pages: int


def parse_stat(text: str) -> Process:
    """The name stands in parentheses and may hold blanks and parentheses: what counts comes after the last one.

    :raises ValueError: it is no such line.
    """
    head, mark, tail = text.rpartition(")")
    fields = tail.split()
    if not mark or len(fields) < 22:
        raise ValueError(f"not a line of /proc/PID/stat: {text!r}")
    return Process(int(head.partition(" ")[0]), int(fields[1]), sum(map(int, fields[11:15])), int(fields[21]))


def tree_of(root: int, processes: Iterable[Process]) -> list[Process]:
    """The process ``root`` and all that descend from it; empty when it is not there."""
    children: dict[int, list[Process]] = {}
    found: list[Process] = []
    for process in processes:
        children.setdefault(process.parent, []).append(process)
        if process.pid == root:
            found.append(process)
    for process in found:  # grows while it is walked
        found += children.get(process.pid, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree of ``pid`` until now."""
    return sum(process.ticks for process in tree_of(pid, _running())) / _TICKS


def memory(pid: int) -> int:
    """Bytes in memory (RSS) of the tree of ``pid``; what processes share counts for each."""
    return sum(process.pages for process in tree_of(pid, _running())) * _PAGE


def settle(pid: int, seconds: float) -> bool:
    """Waits until the tree of ``pid`` does nothing any more, at most so long. Did it come to rest?"""
    deadline, before = time.monotonic() + seconds, cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = cpu_seconds(pid)
        if (now - before) * _TICKS <= _IDLE_TICKS + 0.5:
            return True
        before = now
    return False


def _running() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield parse_stat(Path("/proc", name, "stat").read_text(errors="replace"))
            except OSError:
                continue  # it has just ended
