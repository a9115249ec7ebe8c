"""Logs: text on a terminal, JSON lines elsewhere. One line per request; never a session id, a token or a password.

Values from requests are escaped by the JSON encoder, on the terminal too: a request cannot write a line of its own.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

access = logging.getLogger("gateway.access")
_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error", logging.INFO: "info"}


@dataclass(slots=True)
class AccessLine:
    """What happened to one request. Each field has one writer; times in seconds."""

    request_id: str
    method: str
    path: str
    peer: str
    decision: str = ""
    reason: str = ""
    route: str = ""
    user: str = ""
    status: int = 0
    upstream_status: int = 0
    received: int = 0
    sent: int = 0
    upstream_seconds: float = 0.0
    seconds: float = 0.0

    def fields(self) -> dict[str, Any]:
        """For the log: without what is empty, times in milliseconds."""
        times = {"ms": round(self.seconds * 1000, 1), "upstream_ms": round(self.upstream_seconds * 1000, 1)}
        words = {name: getattr(self, name) for name in ("request_id", "method", "path", "status", "decision", "reason")}
        rest = {name: getattr(self, name) for name in ("route", "user", "peer", "upstream_status", "received", "sent")}
        return {name: value for name, value in {**words, **rest, **times}.items() if value not in ("", 0)}


def write_access(line: AccessLine) -> None:
    """Writes the request's one line."""
    if access.isEnabledFor(logging.INFO):
        access.info("request", extra={"fields": line.fields()})


class JsonFormatter(logging.Formatter):
    """``{"time": …, "level": …, "logger": …, "event": …, fields…}``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event = {"time": _time(record), "level": _LEVELS.get(record.levelno, "debug"), "logger": record.name}
        event["event"] = record.getMessage()
        event.update(getattr(record, "fields", {}))
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=True, default=str)


class TextFormatter(logging.Formatter):
    """For a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        fields = getattr(record, "fields", {})
        shown = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
        message = record.getMessage().encode("unicode_escape").decode() if not record.exc_info else record.getMessage()
        line = f"{_time(record)[11:23]} {_LEVELS.get(record.levelno, 'debug'):7} {message} {shown}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(
    form: Literal["auto", "json", "text"] = "auto", stream: TextIO | None = None, *, level: str = "info"
) -> None:
    """Sends the gateway's logs, and warnings of the libraries, to ``stream`` (stderr)."""
    stream = stream or sys.stderr
    text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
