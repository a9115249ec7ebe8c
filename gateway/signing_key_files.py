"""The file of the signing keys: made, read, changed by the commands, and read again by the gateway when it changes.

What it holds stands in :mod:`gateway.core.signing_keys`. Each key is ``next`` (published, signs nothing yet), ``active`` (the
one that signs) or ``old`` (only verifies what it has signed), in this order, and notes since when. No error here shows
what is in the file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.core.signing_keys import (
    Algorithm,
    SigningKey,
    SigningKeys,
    State,
    dump_signing_keys,
    new_signing_key,
    parse_signing_keys,
)
from gateway.errors import StartError
from gateway.key_files import MIN_PREFIX, utc_text
from gateway.private_files import hold, in_words, read_text, require_private

log = logging.getLogger("gateway.signing_keys")
LOOK_EVERY = 1.0
_Stamp = tuple[int, ...]


def fresh_key(algorithm: Algorithm, state: State, now: datetime) -> SigningKey:
    """Its id can be an argument of a command: with a ``-`` in front it would be an option."""
    while (key := new_signing_key(algorithm, state, utc_text(now))).kid.startswith("-"):
        pass
    return key


def first_keys(algorithm: Algorithm, now: datetime) -> str:
    """The text of a new file: one key, which signs."""
    return dump_signing_keys([fresh_key(algorithm, "active", now)])


def since(key: SigningKey) -> datetime | None:
    """When its state changed last; None: the file does not say."""
    try:
        found = datetime.fromisoformat(key.at)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC)


def find_key(keys: SigningKeys, prefix: str) -> SigningKey:
    """The key with this id, or the one whose id begins so.

    :raises StartError: none, several, or too little to tell.
    """
    if (whole := keys.get(prefix)) is not None:
        return whole
    found = [key for key in keys if key.kid.startswith(prefix)]
    if len(prefix) < MIN_PREFIX:
        raise StartError(f"{prefix or 'nothing'} is too short for an id: give at least {MIN_PREFIX} characters")
    if not found:
        raise StartError(f"there is no signing key {prefix}; gateway keys list --signing shows those that there are")
    if len(found) > 1:
        raise StartError(f"{prefix} could be {' or '.join(key.kid for key in found)}: give more characters")
    return found[0]


def with_active(keys: SigningKeys, wanted: SigningKey, now: datetime) -> list[SigningKey]:
    """That key signs from now on; the one that did becomes ``old``."""

    def moved(key: SigningKey) -> SigningKey:
        if key.kid == wanted.kid:
            return replace(key, state="active", at=utc_text(now))
        return replace(key, state="old", at=utc_text(now)) if key.state == "active" else key

    return [moved(key) for key in keys]


def why_not_sign(key: SigningKey, now: datetime, published: timedelta) -> str | None:
    """Words, or None: every verifier has had the time to learn of it. ``published``: how long that takes."""
    if key.state != "next":
        return None  # it was active once, and has been in the set since
    at = since(key)
    if at is None:
        return "the file does not say since when it is published"
    if now < at + published:
        return (
            f"it is published since {utc_text(at)}: there may be verifiers without it until {utc_text(at + published)}"
        )
    return None


def why_it_must_stay(key: SigningKey, now: datetime, needed: timedelta) -> str | None:
    """Words, or None: nothing that it has signed is valid any more. ``needed``: how long after it stopped something may be."""
    if key.state != "old":
        return None
    at = since(key)
    if at is None:
        return "the file does not say until when it signed"
    if now < at + needed:
        return f"it signed until {utc_text(at)}: tokens may need it until {utc_text(at + needed)}"
    return None


def read_signing_keys(path: Path) -> SigningKeys:
    """What the file holds now.

    :raises StartError: it cannot be read, others can read it, or it is no set of signing keys.
    """
    with in_words(path):
        if not path.exists():
            raise StartError(f"{path}: there is no such file; gateway keys new --signing --file {path} makes one")
        require_private(path)
    text = read_text(path)
    try:
        return parse_signing_keys(text)
    except ValueError as error:
        raise StartError(f"{path}: {error}") from error


def change_signing_keys(path: Path, change: Callable[[SigningKeys], Iterable[SigningKey]]) -> SigningKeys:
    """What ``change`` makes of the keys takes their place; links are followed, and stay. One command at a time.

    Returns what the file holds then. Nothing is written when ``change`` returns what it was given, or raises.

    :raises StartError: it cannot be read or written, others can read it, or it is no set of signing keys.
    :raises ValueError: ``change`` made none.
    """
    with hold(path) as held:
        keys = read_signing_keys(held.path)
        changed = change(keys)
        if changed is keys:
            return keys
        made = SigningKeys(changed)
        held.replace(dump_signing_keys(made))
        return made


class SigningKeyFile:
    """The signing keys of a running gateway: what the file held when it was right last.

    :raises StartError: it is not right now, at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._told: _Stamp | None = None
        self._keys = read_signing_keys(path)

    def keys(self) -> SigningKeys:
        """Those of this moment: the same object until the file changes."""
        return self._keys

    async def watch(self) -> None:
        """Notices about a second later that the file was changed, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes over what the file holds now. One that is wrong changes nothing, and is told once."""
        found = await asyncio.to_thread(self._look)
        if isinstance(found, StartError):
            log.error("the signing keys cannot be used; those from before stay: %s", found)
        elif found is not None:
            self._keys = found
            log.info("the signing keys were read again: %s", ", ".join(f"{key.kid} {key.state}" for key in found))

    def _look(self) -> SigningKeys | StartError | None:
        """What is new in the file; None: nothing, or somebody is writing it just now. In a thread."""
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return None
        try:
            found = read_signing_keys(self._path)
        except StartError as error:  # tried again, as it may have been no fault of the file
            told, self._told = self._told, stamp
            return None if told == stamp else error
        if _stamp(self._path) != stamp:
            return None
        self._seen, self._told = stamp, None
        return found


def _stamp(path: Path) -> _Stamp:
    """What changes when the file does, its mode included; empty: it is away."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
