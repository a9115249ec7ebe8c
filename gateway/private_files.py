"""Files that hold secrets: only their owner may read them; made or changed whole or not at all, one command at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import StartError

_LOCK_SECONDS = 10.0


def require_private(path: Path) -> None:
    """:raises StartError: others could read the key, or have put it there (as ssh says of its own)."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise StartError(f"{path} is open to others (mode {mode:o}): if only you can have written it, chmod 600 {path}")


def write_once(path: Path, text: str) -> bool:
    """Writes a secret with mode 0600, whole or not at all, unless the file is there. True: it was written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(name, path)  # atomic, and fails when somebody else was first
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    return True


def read_text(path: Path) -> str:
    """What the file holds now; a folder, a pipe or a loop of links is none.

    :raises StartError: it cannot be read, or is no text.
    """
    with in_words(path):
        try:
            return _real(path).read_bytes().decode()
        except UnicodeDecodeError as error:
            raise StartError(f"{path}: is not UTF-8") from error


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that no other command changes meanwhile. ``path``: the one behind all links, which stay."""

    path: Path
    _folder: int

    def replace(self, text: str) -> None:
        """The text takes the place of what is there; mode and owner are kept.

        :raises StartError: others can read it, or it is not to be changed here.
        :raises OSError: it cannot be written.
        """
        _require_changeable(self.path)
        _replace(self.path, text)
        os.fsync(self._folder)  # a power cut must not undo it: something may be sealed with the new key by then


@contextmanager
def hold(path: Path) -> Iterator[HeldFile]:
    """To read the file and then to replace it.

    :raises StartError: there is no such file, somebody else holds it, or what is done with it fails.
    """
    with in_words(path):
        real = _real(path)
        with _locked(real.parent) as folder:
            yield HeldFile(real, folder)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """What the system says about the file becomes a sentence for the operator."""
    known = {
        errno.ENOENT: "there is no such file; gateway secrets makes one",
        errno.EBUSY: "is mounted by itself: change it where it comes from",
        errno.EROFS: "is mounted read-only here: change it where it comes from",
        errno.EPERM: "its owner cannot be kept: run this as its owner, or as root",
    }
    try:
        yield
    except OSError as error:
        words = known.get(error.errno or 0, f"cannot be used: {error.strerror}")
        raise StartError(f"{path}: {words}") from error


def _real(path: Path) -> Path:
    """Behind all links. :raises OSError: there is no such file. :raises StartError: it is something else."""
    real = Path(os.path.realpath(path, strict=True))
    if not stat.S_ISREG(real.stat().st_mode):
        raise StartError(f"{path} is no file")
    return real


def _require_changeable(real: Path) -> None:
    if any(part.startswith("..") for part in real.parts):  # ..data/…: Kubernetes would put its own back
        raise StartError(f"{real} is a mounted secret: change it where it comes from")
    if os.statvfs(real).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    require_private(real)
    if not os.access(real, os.W_OK):
        raise StartError(f"{real} is read-only for you: run this as its owner, with chmod u+w, or as root")


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Of the folder, whose descriptor it yields: the file is another one after each change, a lock file would stay behind."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _has_lock(handle):
            if time.monotonic() > deadline:
                raise StartError(f"{folder}: another command is changing the keys there; try again")
            time.sleep(0.02)
        yield handle
    finally:
        os.close(handle)


def _has_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, text: str) -> None:
    like = path.stat()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
