"""What is asked of the programs: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.lab import KILOBYTE, MEGABYTE

Who = Literal["user", "stranger", "invented"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``kind``: who makes the load. ``pause``: milliseconds (least, most) between two requests of a connection."""

    name: str
    title: str
    kind: Literal["wrk", "upload", "idle"] = "wrk"
    who: Who = "user"
    method: str = "GET"
    path: str = "/1k"
    connections: int = 64
    length: int = KILOBYTE  # of the body of a good answer
    sends: int = 0  # bytes of the request's body
    pause: tuple[int, int] | None = None
    unit: Literal["µs/request", "MiB/CPU s", "KiB/connection"] = "µs/request"

    @property
    def payload(self) -> int:
        """Bytes of content that a request moves, for figures per byte."""
        return self.sends or self.length

    @property
    def more_is_better(self) -> bool:
        """Else less is."""
        return self.unit == "MiB/CPU s"


_TAKEN = len("taken\n")

IDLE = Scenario(
    "idle", "10,000 connections that wait after one request", kind="idle", connections=10_000, unit="KiB/connection"
)

SCENARIOS = (
    Scenario("get-64", "signed in, GET 1 KiB, 64 connections"),
    Scenario("get-1000", "signed in, GET 1 KiB, 1,000 connections", connections=1000),
    Scenario("paced", "signed in, GET 1 KiB, 64 connections that pause: the same load for all", pause=(20, 60)),
    Scenario("post", "signed in, POST 1 KiB", method="POST", path="/sink", sends=KILOBYTE, length=_TAKEN),
    Scenario("large", "signed in, GET 1 MiB", path="/1m", length=MEGABYTE, connections=16, unit="MiB/CPU s"),
    Scenario(
        "upload",
        "signed in, upload of 10 MiB",
        kind="upload",
        method="POST",
        path="/sink",
        connections=8,
        sends=10 * MEGABYTE,
        length=_TAKEN,
        unit="MiB/CPU s",
    ),
    Scenario("refusal", "nobody signed in (programs without a gate: GET 1 KiB)", who="stranger"),
    Scenario("invented", "10,000 invented cookies (programs without a gate: GET 1 KiB)", who="invented"),
    IDLE,
)
