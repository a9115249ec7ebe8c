"""What every session engine can do: keep bytes under a name, for a while. It knows neither sessions nor keys' meaning.

A *name* is printable ASCII (base64url). A *value* begins with :data:`VERSION_BYTES` bytes that are different in every
write: they are its version, for compare-and-set. Beside the value stands what is *seen* (sealed, too): it slides with
every touch and must be writable without rewriting the value. Where nothing is seen on purpose (``b""``) the value is no
session but a *pointer* to another name; a touch of the one kind never changes the other.

``ttl`` is in seconds and says when a session is over at the latest, as things stand. An engine keeps the value ``linger``
seconds longer (given to its constructor), so that the reason why a session is over can still be told; whether it is over
is never the engine's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

VERSION_BYTES = 17


def version_of(value: bytes) -> bytes:
    """What tells this write of a value from every other."""
    return value[:VERSION_BYTES]


def may_touch(stored: bytes | None, seen: bytes) -> bool:
    """May what is seen take the place of what is ``stored`` (None: gone)? See :meth:`SessionEngine.touch`."""
    return (stored == b"") == (seen == b"")


@dataclass(frozen=True, slots=True)
class Kept:
    """What an engine found: the value, and what is seen, or None when that is gone (shortened, or evicted)."""

    value: bytes
    seen: bytes | None


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is kept under the name; ``note`` is what :meth:`SessionEngine.bury` left there, or empty."""

    note: str = ""


class Write(Enum):
    """How a compare-and-set ended."""

    DONE = "done"
    CHANGED = "changed"
    """Something is there, but not the version that was expected; nothing was written."""
    GONE = "gone"
    """Nothing is there (any more); nothing was written."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond keeping sessions (docs/sessions.md has the table, the contract suite asserts it)."""

    directory: bool
    """Sessions by user: list, revoke, cap."""
    revocation_within_a_second: bool
    """A session ended by one process is refused by every other within a second."""
    merge: bool
    """Concurrent writers of different keys both win, and nothing that was deleted comes back."""
    survives_loss_of_redis: bool
    several_processes: bool


class SessionEngine(Protocol):
    """Every method may raise :class:`gateway.errors.StoreUnavailable`, and that is never a statement about a session.

    Writes cannot resurrect (founding decision 4). A method that was carried out but whose answer was lost may be
    repeated by the engine itself only where that is harmless.
    """

    capabilities: Capabilities

    @property
    def directory(self) -> SessionDirectory | None:
        """Sessions by user, or None where the engine keeps none."""

    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """What is kept under each name, in order; one round trip for all."""

    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Keeps it only if nothing is there; False when something is. Returns when it is safe (``wait_replicas``)."""

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """Compare-and-set: replaces the value of version ``expected``."""

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """Replaces what is seen and moves the end, in one step: a touch that comes late must not revive an old name.

        Nothing happens when no value is there; when something is to be seen and the stored one is ``b""``; and when
        ``seen`` is ``b""`` and the stored one is anything else, or gone. A real ``seen`` replaces one that is gone.
        """

    async def shorten(self, name: bytes, ttl: float) -> None:
        """Ends it ``ttl`` seconds from now, without lingering, and forgets what is seen, in one step: no touch of a pointer
        (``b""``) moves that end again. Nothing happens when no value is there.
        """

    async def delete(self, name: bytes) -> bytes | None:
        """Removes it and returns the value it had. Must work on a full store (hazard R9)."""

    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """After :meth:`delete`: leaves a note why. May do nothing; its failure harms nobody."""

    async def announce(self, key_ids: Sequence[str]) -> None:
        """Tells all processes on this store that keys with these ids (not the keys) are in use."""

    async def withdraw(self, key_id: str) -> None:
        """Takes one announcement back."""

    async def announced(self) -> frozenset[str]:
        """The key ids that somebody announced."""

    async def clear_expired(self) -> int:
        """Deletes what is over and lingers no more; how many. Engines that expire by themselves do nothing."""

    async def ping(self) -> None:
        """Returns when the store answers."""

    async def close(self) -> None:
        """Gives up connections, files and tasks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One living session in the directory; ``seen`` as in :class:`Kept`."""

    name: bytes
    seen: bytes | None


class SessionDirectory(Protocol):
    """Sessions by owner. An *owner* is printable ASCII that stands for a user; a user may have had several (key rotation):
    the first of ``owners`` is the one to write under, all are read.

    A pointer (nothing is seen on purpose, ``b""``) is no session of its own, but leads to one: it is listed, and never
    counts against a limit. What was shortened to less than the linger is dead here: it ends by itself.
    """

    async def add(
        self, owners: Sequence[bytes], name: bytes, ttl: float, *, limit: int | None = None, evict: bool = False
    ) -> list[bytes] | None:
        """Notes that the session belongs to the owner, for ``ttl`` seconds at most (its absolute end).

        With a ``limit`` the living sessions, this one included, are never more: the oldest are taken out and returned
        (``evict``; the caller ends them), or None is returned and nothing was noted. A name that is noted already stays,
        whatever the limit. Pointers may be taken out as if they were dead; they are not among those returned.
        """

    async def remove(self, owners: Sequence[bytes], name: bytes) -> None:
        """Takes it out, if it is there."""

    async def entries(self, owners: Sequence[bytes]) -> list[Entry]:
        """The living sessions, oldest first; dead ones are taken out on the way."""

    def everything(self) -> AsyncIterator[Entry]:
        """All sessions and pointers of all users, in no order; for commands, never on a request's path."""
