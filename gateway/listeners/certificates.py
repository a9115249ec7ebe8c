"""The certificates of the listeners: chosen by the name that is asked for (SNI), and read again when their files change.

One context stays for the life of the process: it holds the keys of the session tickets, so that clients resume their
sessions after a change, too. It hands each handshake to the context of the certificate for its name. A change is taken over
when the files are the same in two looks, a second apart: who replaces them does so one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from gateway.listeners.pairs import Loaded, Pair, load, server_context, warnings_of
from gateway.upstream.tls import TlsError

log = logging.getLogger("gateway.certificates")
_LOOK_EVERY = 1.0
_Stamp = tuple[tuple[int, ...] | None, ...]


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


class _Watched:
    """A pair of files, what they held when they were right, and how they looked last."""

    def __init__(self, pair: Pair, minimum: str) -> None:
        self.pair = pair
        self._minimum = minimum
        self._seen = self._last = self._look()
        self._told: _Stamp | None = None
        self.loaded = load(pair, minimum)

    def _look(self) -> _Stamp:
        return _stamp(self.pair.cert_file), _stamp(self.pair.key_file)

    def changed(self) -> Loaded | TlsError | None:
        """What the files hold now; None: what they did, or somebody is at work on them. Reads files."""
        stamp, before = self._look(), self._last
        self._last = stamp
        if stamp == self._seen or stamp != before:
            return None
        try:
            found: Loaded | TlsError = load(self.pair, self._minimum)
        except TlsError as error:
            found = error
        except OSError as error:
            found = TlsError("cert_file", f"{self.pair.cert_file} cannot be read: {error.strerror}")
        if self._look() != stamp:
            return None
        if isinstance(found, TlsError):  # tried again, as it may have been no fault of the file; told once
            told, self._told = self._told, stamp
            return None if told == stamp else found
        self._seen = stamp
        return found

    def catch_up(self) -> None:
        """What changed since it was read, if it is right."""
        stamp = self._look()
        if stamp != self._seen:
            with suppress(TlsError, OSError):
                self.loaded = load(self.pair, self._minimum)
                self._seen = self._last = stamp


class Certificates:
    """``pairs``: at least one; the first is for names that no other is for, and for clients that ask for none.

    :raises TlsError: a file is wrong.
    """

    def __init__(self, pairs: Sequence[Pair], minimum: str = "1.2") -> None:
        self._watched = [_Watched(pair, minimum) for pair in pairs]
        self._by_name = self._table()
        self.context = server_context(minimum)
        """For the listeners."""
        self.context.sni_callback = self._choose

    def find(self, name: str | None) -> ssl.SSLContext:
        """For the client that asks for this name: exactly it, a wildcard for it (RFC 6125 §6.4.3), or the first."""
        wanted = (name or "").lower().rstrip(".")
        found = self._by_name.get(wanted) or self._by_name.get("*." + wanted.partition(".")[2])
        return found or self._watched[0].loaded.context

    def _choose(self, handshake: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        handshake.context = self.find(name)

    def _table(self) -> dict[str, ssl.SSLContext]:
        """The first certificate that has a name wins."""
        found: dict[str, ssl.SSLContext] = {}
        for one in self._watched:
            for name in one.loaded.names:
                found.setdefault(name, one.loaded.context)
        return found

    def catch_up(self) -> None:
        """What changed since they were read: a worker may begin long after that."""
        for one in self._watched:
            one.catch_up()
        self._by_name = self._table()

    async def watch(self) -> None:
        """Takes over what changes, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            news = await asyncio.to_thread(lambda: [one.changed() for one in self._watched])
            for one, found in zip(self._watched, news, strict=True):
                self._take_over(one, found)
            if any(isinstance(found, Loaded) for found in news):
                self._by_name = self._table()

    @staticmethod
    def _take_over(one: _Watched, found: Loaded | TlsError | None) -> None:
        if isinstance(found, TlsError):
            log.error("a new certificate cannot be used; the one before stays: %s", found)
        elif found is not None:
            one.loaded = found
            log.info("a certificate was read again: %s, valid until %s", one.pair.cert_file, found.ends.isoformat())
            for text in warnings_of(one.pair, datetime.now(UTC)):
                log.warning(text)
