"""Session files, the blocking half of :class:`gateway.store.files.FileSessionEngine`.

::

    <folder>/sessions/<hash of the name>    end, what is seen, value
             notes/<hash of the name>       why a deleted one is gone
             keys/<hash of the key id>      announced key ids
             new/…                          files that are being written
             locks/00 … 63                  held (flock) around every write

A file is written whole beside its place and then moved there, so that readers need no lock and ``kill -9`` or a full disk
leave the old file or the new one. Writes are on disk (fsync) when they return: a deletion that a power cut took back would
be a resurrection. Names are hashed: none can lead out of the folder.

Nothing here waits for a lock: :class:`LockHeld` says that somebody else is writing there, and nothing was done.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from gateway.store.engine import Gone, Kept, Write, may_touch, version_of

_LOCKS = 64
_BROKEN_STAYS = 86400.0  # seconds: a file that says no end; long enough for an operator to look at it

_MAGIC = b"GWS1"
_HEADER = struct.Struct("<4sdI")  # magic, end (epoch seconds), length of what is seen
_NOTHING = 0xFFFFFFFF  # as that length: what was seen is forgotten, which is not the same as empty


class LockHeld(Exception):
    """Somebody else is writing there."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What a file holds. One that is cut or is none of ours: its bytes as the value, no ``seen``, no end."""

    end: float
    seen: bytes | None
    value: bytes

    def dump(self) -> bytes:
        """The bytes of a file; :func:`_parse` is the way back."""
        if self.seen is None:
            return _HEADER.pack(_MAGIC, self.end, _NOTHING) + self.value
        return _HEADER.pack(_MAGIC, self.end, len(self.seen)) + self.seen + self.value


def _parse(data: bytes) -> _Record:
    if len(data) >= _HEADER.size:
        magic, end, length = _HEADER.unpack_from(data)
        is_whole = magic == _MAGIC and math.isfinite(end)
        start = _HEADER.size + length
        if is_whole and length == _NOTHING:
            return _Record(end, None, data[_HEADER.size :])
        if is_whole and start <= len(data):
            return _Record(end, data[_HEADER.size : start], data[start:])
    return _Record(math.inf, None, data)


class SessionFiles:
    """The blocking half. Everything raises OSError, and what writes raises :class:`LockHeld`, before it did anything."""

    def __init__(self, folder: Path, linger: float, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._linger = linger
        self._clock = clock
        self._ready = False
        self.sessions, self.notes, self.keys, self.new, self._locks = (
            folder / part for part in ("sessions", "notes", "keys", "new", "locks")
        )

    def prepare(self) -> None:
        """Makes the folders, once: one that vanishes later is an outage (a volume that went away), not an empty store."""
        if self._ready:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (self.sessions, self.notes, self.keys, self.new, self._locks):
            part.mkdir(mode=0o700, exist_ok=True)
            part.chmod(0o700)
        for number in range(_LOCKS):  # now: a full disk must not prevent a deletion (hazard R9)
            (self._locks / f"{number:02}").touch(mode=0o600)
        self._ready = True

    # -- sessions
    def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """What is kept under each, in order, read without locks."""
        return [self._look_up(_hashed(name)) for name in names]

    def _look_up(self, hashed: str) -> Kept | Gone:
        if record := self._living(self.sessions / hashed):
            return Kept(record.value, record.seen)
        note = self._living(self.notes / hashed)
        return Gone(note.value.decode("utf-8", "replace") if note and note.seen is not None else "")

    def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Only if nothing is there."""
        path = self.sessions / _hashed(name)
        with self._locked(path):
            if self._living(path):
                return False
            path.unlink(missing_ok=True)  # over, but the broom has not come yet
            self._write(path, _Record(self._end(ttl), seen, value), link=True)
        return True

    def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """Compare-and-set."""
        path = self.sessions / _hashed(name)
        with self._locked(path):
            record = self._living(path)
            if record is None:
                return Write.GONE
            if version_of(record.value) != expected:
                return Write.CHANGED
            self._write(path, _Record(self._end(ttl), seen, value))
        return Write.DONE

    def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """Writes the file anew with the same value; a pointer stays one."""
        path = self.sessions / _hashed(name)
        with self._locked(path):
            record = self._living(path)
            if record is not None and may_touch(record.seen, seen):
                self._write(path, replace(record, end=self._end(ttl), seen=seen))

    def shorten(self, name: bytes, ttl: float) -> None:
        """Another end, without lingering; nothing is seen any more."""
        path = self.sessions / _hashed(name)
        with self._locked(path):
            if record := self._living(path):
                self._write(path, replace(record, end=self._clock() + ttl, seen=None))

    def delete(self, name: bytes) -> bytes | None:
        """Unlinks it, which needs no space; the value it had."""
        path = self.sessions / _hashed(name)
        with self._locked(path):
            record = self._living(path)
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)
        return record.value if record else None

    def bury(self, name: bytes, note: str, ttl: float) -> None:
        """A note in a file of its own."""
        path = self.notes / _hashed(name)
        with self._locked(path):
            self._write(path, _Record(self._clock() + ttl, b"", note.encode()))

    # -- key ids
    def announce(self, key_id: str) -> None:
        """A file that holds the key id."""
        path = self.keys / _hashed(key_id.encode())
        with self._locked(path):
            self._write(path, _Record(0, b"", key_id.encode()))

    def withdraw(self, key_id: str) -> None:
        """Removes it, if it is there."""
        (self.keys / _hashed(key_id.encode())).unlink(missing_ok=True)
        _sync_folder(self.keys)

    def announced(self) -> frozenset[str]:
        """The key ids whose file is whole."""
        found = ((name, self._read(self.keys / name)) for name in os.listdir(self.keys))
        whole = (record.value for name, record in found if record and _hashed(record.value) == name)
        return frozenset(key_id.decode() for key_id in whole)

    # -- the broom, and whether all is well
    def sweep(self, folder: Path, names: Sequence[str]) -> int:
        """Removes what is over; how many. What somebody is writing just now is left to the next time."""
        removed = 0
        for path in (folder / name for name in names):
            with suppress(LockHeld, FileNotFoundError):
                if self._is_over(path):
                    with self._locked(path):
                        if self._is_over(path):
                            path.unlink()
                            removed += 1
        return removed

    def _is_over(self, path: Path) -> bool:
        if path.parent == self.new:
            return True  # under its lock nobody is writing it: left by a process that was killed
        end = _parse(path.read_bytes()).end
        if math.isinf(end):
            end = path.stat().st_mtime + self._linger + _BROKEN_STAYS
        return end <= self._clock()

    def check(self) -> None:
        """Are the folders there, and may they be written?"""
        for part in (self.sessions, self.new):
            part.stat()
            if not os.access(part, os.W_OK | os.X_OK):
                raise PermissionError(f"{part}: cannot be written")

    # -- files
    def _end(self, ttl: float) -> float:
        return self._clock() + ttl + self._linger

    def _living(self, path: Path) -> _Record | None:
        record = self._read(path)
        return record if record and record.end > self._clock() else None

    def _read(self, path: Path) -> _Record | None:
        try:
            return _parse(path.read_bytes())
        except FileNotFoundError:
            path.parent.stat()  # without its folder nothing can be said about a session
            return None

    def _write(self, path: Path, record: _Record, *, link: bool = False) -> None:
        """Whole or not at all, under the lock. ``link``: fails if the place is taken, even by one who ignores locks."""
        temporary = self.new / f"{path.name}-{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(record.dump())
                file.flush()
                os.fsync(file.fileno())
            (os.link if link else os.replace)(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Every opening has a lock of its own (flock(2)), between threads as between processes; closing gives it up."""
        lock = self._locks / f"{int(path.name[:2], 16) % _LOCKS:02}"
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _hold(handle, lock)
            yield
        finally:
            os.close(handle)


def _hold(handle: int, lock: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_the_lock = os.path.samestat(os.fstat(handle), lock.stat())
    except (BlockingIOError, FileNotFoundError) as error:
        raise LockHeld from error
    if not is_the_lock:  # somebody cleaned up in between: the next one would lock another file
        raise LockHeld


def _hashed(name: bytes) -> str:
    return sha256(name).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
