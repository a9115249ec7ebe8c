"""The audit log: who signed in, who was refused, who changed what. One JSON object a line, in a stream of its own.

Only the fields of :class:`Fields` can be written: no id of a session, no token, no password. What somebody typed as a name is
written only as a keyed hash: people type their password there by mistake. A user who was found is named as his source names
him. Field by field: docs/users.md.
"""

from __future__ import annotations

import hmac
import json
import os
import pwd
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypedDict, Unpack, get_args

from gateway.core.identity import Identity
from gateway.core.keys import KeyRing
from gateway.telemetry.audit_files import Lines

Event = Literal[
    "sign_in",
    "sign_in_failed",
    "sign_out",
    "session_revoked",
    "sessions_revoked",
    "sessions_cleared",
    "password_changed",
    "password_refused",
    "password_reset",
    "reset_link_made",
    "user_added",
    "user_removed",
    "user_disabled",
    "user_enabled",
    "password_set",
    "throttle_cleared",
    "api_key_created",
    "api_key_revoked",
    "key_added",
    "key_activated",
    "key_retired",
]
EVENTS: tuple[str, ...] = get_args(Event)
_FAILED = frozenset({"sign_in_failed", "password_refused"})
_LONGEST = 200
_WAITING = 10_000
_CLOSE_SECONDS = 2.0


class Fields(TypedDict, total=False):
    """What may stand in a line besides the time, the event and the user. ``outcome`` follows from the event."""

    outcome: Literal["success", "failure"]
    typed: str
    """What somebody typed as his name, canonical; it is hashed here."""
    user_id: str
    username: str
    source: str
    address: str
    request_id: str
    reason: str
    session: str
    """The public handle of a session, as the list of a user's sessions has it."""
    count: int
    key: str
    """The id of a key, never the key."""
    file: str
    by: str
    command: str


_ORDER = (
    "user_id",
    "username",
    "source",
    "typed",
    "address",
    "request_id",
    "reason",
    "session",
    "count",
    "key",
    "file",
)
FIELDS = ("time", "event", "outcome", *_ORDER, "by", "command")


class AuditLog:
    """Takes events and has them written by a thread of its own: neither a slow disk nor a full one holds up a request.

    ``lines`` None: nothing is written. ``name_key``: see :func:`name_key`; without it typed names are ``hidden``.
    """

    def __init__(
        self, lines: Lines | None = None, name_key: bytes = b"", clock: Callable[[], float] = time.time
    ) -> None:
        self._lines = lines
        self._name_key = name_key
        self._clock = clock
        self._waiting: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Opens the file, so that it is told now what is wrong with it. Not before workers are forked: no thread is, too."""
        if self._lines is not None and self._thread is None:
            self._thread = threading.Thread(target=self._write, args=(self._lines,), name="audit", daemon=True)
            self._thread.start()

    def note(self, event: Event, user: Identity | None = None, **fields: Unpack[Fields]) -> None:
        """Something happened. Returns at once and never fails."""
        if self._lines is None:
            return
        self.start()
        try:
            self._waiting.put_nowait(self._line(event, user, fields))
        except queue.Full:
            self._lines.lose("lines come faster than they can be written")

    def close(self) -> None:
        """Waits until what was noted is written, two seconds at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._waiting.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        thread.join(_CLOSE_SECONDS)

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, lines: Lines) -> None:
        lines.open()
        while (line := self._waiting.get()) is not None:
            lines.write(line)
        lines.close()

    def _line(self, event: Event, user: Identity | None, fields: Fields) -> str:
        given: dict[str, object] = {**fields}
        if user is not None:
            given = {"user_id": user.id, "username": user.username, "source": user.source, **given}
        if "typed" in given:
            given["typed"] = self._hashed(str(given["typed"]))
        outcome = fields.get("outcome", "failure" if event in _FAILED else "success")
        shown: dict[str, object] = {"time": _time(self._clock()), "event": event, "outcome": outcome}
        shown |= {name: _short(given[name]) for name in FIELDS[3:] if given.get(name) not in (None, "")}
        return json.dumps(shown, ensure_ascii=True) + "\n"

    def _hashed(self, name: str) -> str:
        """The same for the same name, as long as the key is the same; nobody without the key can try names."""
        if not self._name_key:
            return "hidden"
        digest = hmac.digest(self._name_key, name.encode("utf-8", "surrogatepass"), "sha256")
        return f"hmac:{digest[:8].hex()}"


def name_key(ring: KeyRing) -> bytes:
    """What typed names are hashed with: another key of the ring gives other hashes."""
    return ring.active.derived(b"audit log")


def _short(value: object) -> object:
    """A line stays below the 4096 bytes that a pipe takes at once (PIPE_BUF), as nearly every value is far shorter."""
    return value if isinstance(value, int) else str(value)[:_LONGEST]


def _time(at: float) -> str:
    """RFC 3339, UTC, in milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def operator() -> str:
    """Who gives this command, as the system knows him; behind sudo also who became root."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user may have no name
        name = str(uid)
    before = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {before})" if before else name
