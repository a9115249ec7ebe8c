"""The file of a key ring: read, and changed whole or not at all; mode, owner and the operator's comments are kept.

What is a ring stands in :mod:`gateway.core.keys`. The commands leave marks in comments behind a key, for the next one::

    (key)  # active since 2026-01-31T12:00:00Z
    (key)  # active until 2026-01-31T12:00:00Z
    (key)  # added 2026-01-31T12:00:00Z                  it waits: nothing was sealed with it yet
    # 1a2b3c4d retired 2026-01-31T12:00:00Z              where a key was

Comment lines right above a key belong to it and move with it. No error here shows a line of the file: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.core.keys import format_key, parse_ring
from gateway.errors import StartError
from gateway.private_files import hold, read_text

MIN_PREFIX = 4
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_MARK = re.compile(rf"\s*# (added|active since|active until) ({_STAMP})(?=\s|$)")
_RETIRED = re.compile(rf"# ([0-9a-f]{{8}}) retired {_STAMP}(?=\s|$)")


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime(_TIME)


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key of the file. ``id``: hex; ``line``: from 1; ``mark``: what a command noted last, and ``at`` when, if at all."""

    id: str
    line: int
    is_active: bool
    mark: str = ""
    at: datetime | None = None

    @property
    def waits(self) -> bool:
        """It was added and has never been active."""
        return self.mark == "added" and not self.is_active

    def why_it_must_stay(self, now: datetime, absolute_timeout: timedelta) -> str | None:
        """Words, or None: no living session needs it, as far as the file tells."""
        if self.waits:
            return None
        if self.mark != "active until" or self.at is None:
            return "the file does not say until when it was active"
        over = self.at + absolute_timeout
        if now < over:
            return f"it was active until {utc_text(self.at)}: sessions may need it until {utc_text(over)}"
        return None


class RingText:
    """A ring as it is written. A change gives another one.

    :raises ValueError: it is no ring; with the line's number, never its content.
    """

    def __init__(self, text: str) -> None:
        parse_ring(text)
        self._end = "\r\n" if "\r\n" in text else "\n"
        self._lines = text.splitlines()
        self.keys: list[RingKey] = []
        for number, line in enumerate(self._lines, 1):
            if word := line.partition("#")[0].strip():
                key_id = parse_ring(word).active.id.hex()
                self.keys.append(RingKey(key_id, number, not self.keys, *_mark_of(line)))
        self.retired = {found[1] for line in self._lines if (found := _RETIRED.match(line.strip()))}

    def __str__(self) -> str:
        return "".join(line + self._end for line in self._lines)

    def __repr__(self) -> str:
        return f"<RingText {' '.join(key.id for key in self.keys)}>"

    @property
    def active(self) -> RingKey:
        """Seals and signs."""
        return self.keys[0]

    def newest(self) -> RingKey:
        """The last that was added and has never been active.

        :raises StartError: there is none; which of the others is meant cannot be known.
        """
        waiting = [key for key in self.keys if key.waits]
        if not waiting:
            raise StartError(
                "no key waits to become active: gateway keys new adds one; --to ID takes one of the others"
            )
        return waiting[-1]

    def find(self, prefix: str) -> RingKey:
        """The key whose id begins so.

        :raises StartError: none, several, or too little to tell.
        """
        wanted = self._whole_id(prefix, [key.id for key in self.keys])
        return next(key for key in self.keys if key.id == wanted)

    def find_retired(self, prefix: str) -> str | None:
        """The id of a key that was here once, or None."""
        with suppress(StartError):
            return self._whole_id(prefix, list(self.retired - {key.id for key in self.keys}))
        return None

    @staticmethod
    def _whole_id(prefix: str, ids: list[str]) -> str:
        word = prefix.strip().lower()
        if not re.fullmatch(r"[0-9a-f]*", word) or len(word) > 8:
            raise StartError("an id is 8 hexadecimal digits, as gateway keys list shows them")
        if len(word) < MIN_PREFIX:
            raise StartError(f"{word or 'nothing'} is too short for an id: give at least {MIN_PREFIX} digits")
        found = [one for one in ids if one.startswith(word)]
        if not found:
            raise StartError(f"there is no key {word}; gateway keys list shows those that there are")
        if len(found) > 1:
            raise StartError(f"{word} could be {' or '.join(found)}: give more digits")
        return found[0]

    def with_new(self, secret: bytes, now: datetime) -> RingText:
        """One key more, at the end: it opens."""
        return self._of([*self._lines, _marked(format_key(secret).strip(), "added", now)])

    def with_active(self, key: RingKey, now: datetime) -> RingText:
        """That key first, with its comments; the one that was notes until when."""
        if key.is_active:
            return self
        lines = list(self._lines)
        old, new = self.active.line - 1, key.line - 1
        lines[old] = _marked(lines[old], "active until", now)
        lines[new] = _marked(lines[new], "active since", now)
        moved = lines[self._start(new) : new + 1]
        del lines[self._start(new) : new + 1]
        at = self._start(old)
        return self._of([*lines[:at], *moved, *lines[at:]])

    def without(self, key: RingKey, now: datetime) -> RingText:
        """That key's line becomes a comment that says so; what the operator wrote behind it stays."""
        lines = list(self._lines)
        _, _, comment = _MARK.sub("", lines[key.line - 1]).partition("#")
        lines[key.line - 1] = f"# {key.id} retired {utc_text(now)}" + (f"  #{comment}" if comment else "")
        return self._of(lines)

    def _start(self, index: int) -> int:
        """Where the comments right above a key begin."""
        while index and (above := self._lines[index - 1].strip()).startswith("#") and not _RETIRED.match(above):
            index -= 1
        return index

    def _of(self, lines: list[str]) -> RingText:
        return RingText("".join(line + self._end for line in lines))


def _mark_of(line: str) -> tuple[str, datetime | None]:
    found = list(_MARK.finditer(line))
    if not found:
        return "", None
    try:
        return found[-1][1], datetime.fromisoformat(found[-1][2])
    except ValueError:  # the 31st of February
        return "", None


def _marked(line: str, mark: str, now: datetime) -> str:
    return f"{_MARK.sub('', line).rstrip()}  # {mark} {utc_text(now)}"


def read_ring(path: Path) -> RingText:
    """What the file holds now.

    :raises StartError: it cannot be read, or is no ring.
    """
    text = read_text(path)
    try:
        return RingText(text)
    except ValueError as error:
        raise StartError(f"{path}: {error}") from error


def change_ring(path: Path, change: Callable[[RingText], RingText]) -> RingText:
    """What ``change`` makes of the ring takes its place; links are followed, and stay. One command at a time.

    Returns what the file holds then. Nothing is written when ``change`` returns what it was given, or raises.

    :raises StartError: it cannot be read or written, others can read it, or it is no ring.
    """
    with hold(path) as held:
        ring = read_ring(held.path)
        changed = change(ring)
        if changed is not ring:
            held.replace(str(changed))
        return changed
