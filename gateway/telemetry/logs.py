"""Logs: text on a terminal, JSON lines elsewhere; never a session id, a token or a password.

Values from requests are escaped by the JSON encoder, on the terminal too: a request cannot write a line of its own.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from gateway.telemetry import access_log

_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error", logging.INFO: "info"}


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
    wanted = logging.getLogger("gateway").isEnabledFor(logging.INFO)
    access_log.use(access_log.Writer(stream, access_log.as_text if text else access_log.as_json) if wanted else None)
