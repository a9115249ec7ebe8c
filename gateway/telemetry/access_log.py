"""One line per request: what happened to it. Written in batches: a line costs two microseconds, not thirty.

Values from requests are escaped, on the terminal too: a request cannot write a line of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, TextIO

access = logging.getLogger("gateway.access")
_BATCH = 256
_SECONDS = 0.1  # that a line waits for others at most


class AccessLine:
    """What happened to one request. Each field has one writer; times in seconds, ``at`` since the epoch, ``started`` on the
    loop's clock. What is not written costs nothing."""

    decision = ""
    reason = ""
    detail = ""
    route = ""
    user = ""
    status = 0
    upstream_status = 0
    received = 0
    sent = 0
    upstream_seconds = 0.0
    seconds = 0.0
    started = 0.0
    at = 0.0

    def __init__(self, request_id: str, method: str, path: str, peer: str, **known: Any) -> None:
        self.request_id = request_id
        self.method = method
        self.path = path
        self.peer = peer
        if known:
            self.__dict__.update(known)

    def fields(self) -> dict[str, Any]:
        """For the log: without what is empty, times in milliseconds."""
        times = {"ms": round(self.seconds * 1000, 1), "upstream_ms": round(self.upstream_seconds * 1000, 1)}
        told = ("request_id", "method", "path", "status", "decision", "reason", "detail")
        words = {name: getattr(self, name) for name in told}
        rest = {name: getattr(self, name) for name in ("route", "user", "peer", "upstream_status", "received", "sent")}
        return {name: value for name, value in {**words, **rest, **times}.items() if value not in ("", 0)}


_second, _prefix = 0, ""


def _time(at: float) -> str:
    """As the other lines have it: UTC, in milliseconds."""
    global _second, _prefix
    second = int(at)
    if second != _second:
        _second, _prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_prefix}.{int((at - second) * 1000):03d}Z"


def as_json(line: AccessLine) -> str:
    """As :class:`gateway.telemetry.logs.JsonFormatter` writes a record."""
    took, behind = f"{line.seconds * 1000:.1f}", f"{line.upstream_seconds * 1000:.1f}"
    return "".join(
        (
            f'{{"time": "{_time(line.at)}", "level": "info", "logger": "gateway.access", "event": "request", ',
            f'"request_id": "{line.request_id}"',
            f', "method": {quoted(line.method)}' if line.method else "",
            f', "path": {quoted(line.path)}' if line.path else "",
            f', "status": {line.status}' if line.status else "",
            f', "decision": "{line.decision}"' if line.decision else "",
            f', "reason": {quoted(line.reason)}' if line.reason else "",
            f', "detail": "{line.detail}"' if line.detail else "",
            f', "route": {quoted(line.route)}' if line.route else "",
            f', "user": {quoted(line.user)}' if line.user else "",
            f', "peer": {quoted(line.peer)}' if line.peer else "",
            f', "upstream_status": {line.upstream_status}' if line.upstream_status else "",
            f', "received": {line.received}' if line.received else "",
            f', "sent": {line.sent}' if line.sent else "",
            f', "ms": {took}' if took != "0.0" else "",
            f', "upstream_ms": {behind}' if behind != "0.0" else "",
            "}\n",
        )
    )


def as_text(line: AccessLine) -> str:
    """For a person at a terminal."""
    shown = " ".join(f"{name}={json.dumps(value)}" for name, value in line.fields().items())
    return f"{_time(line.at)[11:23]} info    request {shown}\n"


class Writer:
    """Gathers lines and writes them to ``stream`` at once."""

    def __init__(self, stream: TextIO, form: Callable[[AccessLine], str]) -> None:
        self._stream = stream
        self._form = form
        self._lines: list[AccessLine] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: AccessLine) -> None:
        """Written soon. Nobody changes the line any more."""
        self._lines.append(line)
        if len(self._lines) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            form = self._form
            self._stream.write("".join([form(line) for line in lines]))
            self._stream.flush()


_writer: Writer | None = None


def use(writer: Writer | None) -> None:
    """From now on lines go to ``writer``; None: to :mod:`logging`."""
    global _writer
    _writer = writer


def write_access(line: AccessLine) -> None:
    """Writes the request's one line."""
    line.at = time.time()
    if _writer is not None:
        _writer.add(line)
    elif access.isEnabledFor(logging.INFO):
        access.info("request", extra={"fields": line.fields()})


def flush() -> None:
    """Writes what waits, at the end of a process."""
    if _writer is not None:
        _writer.flush()
