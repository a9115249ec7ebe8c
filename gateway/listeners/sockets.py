"""Sockets to listen on: bound before anything is served, and before worker processes are forked."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import StartError

BACKLOG = 1024
_KNOCK_SECONDS = 1.0
_OTHER_FILES = 512


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: ``host`` and ``port``, or ``unix`` with its ``mode``. ``option``: how to choose another place."""

    host: str = ""
    port: int = 0
    option: str = ""
    unix: Path | None = None
    mode: int = 0o660
    tls: bool = False
    redirects: bool = False
    """Is http sent to https here?"""


@dataclass(slots=True)
class Bound:
    """A place with its socket; ``file`` tells its file from one that somebody else put there (device, number)."""

    place: Place
    sock: socket.socket
    file: tuple[int, int] | None = field(default=None)

    @property
    def url(self) -> str:
        """For people."""
        return url_of(self.sock, "https" if self.place.tls else "http")

    def remove(self) -> None:
        """The socket's file goes, if it is still ours. Once, and while it still listens: the next one's could look the same."""
        path, file, self.file = self.place.unix, self.file, None
        if path is not None and file is not None:
            with suppress(OSError):
                found = path.stat()
                if (found.st_dev, found.st_ino) == file:
                    path.unlink()


def allow_files(connections: int) -> None:
    """So many connections need about two file descriptors each: as many are allowed as the operator's hard limit lets us
    (getrlimit(2)). The soft one is small for programs that use select(2), which we do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # the system has a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def bind_all(places: Sequence[Place]) -> list[Bound]:
    """All of them, or none.

    :raises StartError: says which one cannot be had, and why.
    """
    bound: list[Bound] = []
    with_ipv4 = {place.port for place in places if place.unix is None and ":" not in place.host and place.port}
    try:
        for place in places:
            bound.append(_bind(place, shares=place.port in with_ipv4))
    except StartError:
        for one in bound:
            one.sock.close()
            one.remove()
        raise
    return bound


def _bind(place: Place, *, shares: bool) -> Bound:
    if place.unix is not None:
        return _bind_unix(place, place.unix)
    return Bound(place, bind(place.host, place.port, place.option, shares=shares))


def bind(host: str, port: int, option: str, *, shares: bool = False) -> socket.socket:
    """A socket that listens already. ``shares``: the port has a listener for IPv4 of its own.

    :raises StartError: the address is taken or not ours; ``option`` says how to choose another.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if family == socket.AF_INET6 and shares:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        where = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
        raise StartError(f"{where} {why}; choose another with {option}") from error
    return sock


def _bind_unix(place: Place, path: Path) -> Bound:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777)  # nobody connects before the mode is the one that was wanted
    try:
        _remove_stale(path, place.option)
        sock.bind(str(path))
        found = path.stat()
        path.chmod(place.mode)
        sock.listen(BACKLOG)
    except (OSError, StartError) as error:
        sock.close()
        if isinstance(error, StartError):
            raise
        what = error.strerror or str(error)
        raise StartError(f"{path} cannot be used ({what}); choose another with {place.option}") from error
    finally:
        os.umask(before)
    return Bound(place, sock, (found.st_dev, found.st_ino))


def _remove_stale(path: Path, option: str) -> None:
    """A socket that a process left behind. Anything else, and one where somebody listens, is not ours to remove."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"{path} is there, and no socket; choose another with {option}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(_KNOCK_SECONDS)
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise StartError(
                f"{path} cannot be used ({error.strerror or error}); choose another with {option}"
            ) from error
    raise StartError(f"{path} is in use; choose another with {option}")


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """``http://HOST:PORT`` or ``unix:/PATH``."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
