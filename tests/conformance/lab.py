"""A gateway and a backend that hundreds of cases share, and how a case is told when it fails."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.backend import Backend, Exchange, Replying
from tests.conformance.wire import PATIENCE, Wire, shown
from tests.harness import MASTER, GatewayProcess

PLACE = b"CASE0000"  # stands for the case's token in what is written in tables; as long as one, so lengths stay right
_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class Case:
    """One case under way: its token, its connections, what it sent, and what was wrong."""

    lab: Lab
    token: bytes
    sent: list[bytes] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)

    def connect(self, patience: float = PATIENCE) -> Wire:
        """A new connection to the gateway, closed with the case."""
        self.wires.append(Wire(self.lab.port, patience))
        return self.wires[-1]

    def own(self, data: bytes) -> bytes:
        """The bytes of a table with the token in its place."""
        return data.replace(PLACE, self.token)

    def send(self, wire: Wire, data: bytes, *, pieces: int = 1) -> None:
        """Sends, and remembers it for the message."""
        self.sent.append(self.own(data))
        wire.send(self.own(data), pieces=pieces)

    def ask(self, data: bytes, *, pieces: int = 1) -> Wire:
        """Sends on a new connection."""
        wire = self.connect()
        self.send(wire, data, pieces=pieces)
        return wire

    def reply(self, *replies: Replying) -> None:
        """What the backend answers to the first requests of this case."""
        self.lab.backend.reply(self.token, *replies)

    @property
    def seen(self) -> list[Exchange]:
        """What came to the backend so far."""
        return self.lab.backend.seen(self.token)

    def arrived(self, count: int = 1) -> list[Exchange]:
        """What came to the backend, once that many requests have come."""
        return self.lab.backend.wait_for(self.token, count)

    def plain(self) -> list[bytes]:
        """What came to the backend in the words of the table."""
        return [exchange.plain().replace(self.token, PLACE) for exchange in self.seen]

    def expect(self, is_so: bool, what: str) -> None:
        """Notes what is wrong."""
        if not is_so:
            self.wrong.append(what)

    def is_usable(self, wire: Wire) -> bool:
        """Does the connection answer another request, as it should?"""
        again = b"/public/" + self.token + b"/again"
        wire.send(b"GET " + again + b" HTTP/1.1\r\nHost: a.example\r\n\r\n")
        answer = wire.answer()
        return answer.status == 200 and answer.body == again

    def story(self) -> str:
        """What happened, for whoever reads the failure."""
        sent = "\n       then:  ".join(map(shown, self.sent))
        got = [shown(wire.received) + f"\n              ({wire.end or 'still open'})" for wire in self.wires]
        came = [shown(exchange.head + exchange.body) for exchange in self.seen] or ["nothing"]
        told = "\n     and:      "
        return f"sent:         {sent}\n     got:          {told.join(got)}\n     backend got:  {told.join(came)}"

    def close(self) -> None:
        """The case is over."""
        for wire in self.wires:
            wire.close()
        self.lab.backend.retire(self.token)

    def finish(self) -> None:
        """Closes, and fails with everything that was wrong; also when no gateway may send what came to the backend."""
        self.close()
        backend = self.lab.backend
        self.wrong += [f"the backend got no request: {fault}" for fault in backend.faults]
        self.wrong += [
            f"the backend got a request of nobody, or of a case that was over: {s!r}" for s in backend.strays
        ]
        backend.faults.clear()
        backend.strays.clear()
        if self.wrong:
            pytest.fail("\n  ".join(["", *self.wrong, "", self.story()]), pytrace=False)


@dataclass(slots=True)
class Lab:
    """What a module's cases share."""

    process: GatewayProcess
    backend: Backend

    @property
    def port(self) -> int:
        """The gateway's."""
        return self.process.port

    def case(self) -> Case:
        """A fresh one."""
        return Case(self, b"c%07d" % next(_NUMBERS))


def start(folder: Path, backend: Backend, routes: list[dict[str, Any]], **over: Mapping[str, Any]) -> Lab:
    """A gateway as ``gateway serve`` runs it, without Redis: these cases are about bytes, not about sessions."""
    data: dict[str, Any] = {
        "keys": {"master": MASTER},
        "session": {"engine": "memory"},
        "users": [{"source": "file", "path": str(folder / "users.yaml")}],
        "login": {"throttle": {"enabled": False}},
        "upstreams": {"backend": {"url": backend.url}},
        "routes": routes,
        "server": {"port": 0},
        "management": {"port": 0},
        "log": {"level": "error"},
    }
    for name, value in over.items():
        data[name] = {**data.get(name, {}), **value}
    config = folder / "gateway.yaml"
    config.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML, too
    return Lab(GatewayProcess("serve", "--config", str(config)).start(), backend)
