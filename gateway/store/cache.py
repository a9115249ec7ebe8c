"""Sessions that this process knows already. Pure bookkeeping: when it may be believed is the caller's to know.

What makes it safe beside other writers: a look-up says beforehand what it asks for (:meth:`SessionCache.asking`), and what
it brings is kept only if no invalidation of that name came meanwhile. An answer that was read before a write and arrives
after its invalidation would otherwise stay for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.core.sessions import Session

LOST_SECONDS = 30.0
_LOST_AT_MOST = 10_000
_BYTES_AT_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Lost:
    """An authentic id without a living session, and the code of the reason."""

    code: str


@dataclass(frozen=True, slots=True)
class _Known:
    name: bytes
    session: Session
    size: int


class Asking:
    """One look-up (or several that share one), from before it was sent; worthless once its name was invalidated."""

    __slots__ = ()


class SessionCache:
    """At most ``size`` sessions and 64 MiB of records, the least recently used go first; ids that are lost, with their
    reasons, for :data:`LOST_SECONDS`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = 0
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._ids: dict[bytes, bytes] = {}
        self._lost: OrderedDict[bytes, tuple[Lost, float]] = OrderedDict()
        self._asking: dict[bytes, Asking] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, session_id: bytes) -> Session | None:
        """The session, or None when it is not known here."""
        known = self._known.get(session_id)
        if known is None:
            return None
        self._known.move_to_end(session_id)
        return known.session

    def lost(self, name: bytes, now: float) -> Lost | None:
        """Why there is no session of this name, when that was found out a short while ago."""
        known = self._lost.get(name)
        return known[0] if known is not None and now < known[1] else None

    # -- one look-up
    def asking(self, name: bytes) -> Asking:
        """A look-up begins; :meth:`asked` must follow."""
        return self._asking.setdefault(name, Asking())

    def asked(self, name: bytes, asking: Asking, session: Session | None, size: int = 0) -> None:
        """It is over; ``session`` is what it brought, its record ``size`` bytes."""
        if self._asking.get(name) is not asking:
            return
        del self._asking[name]
        if session is not None and self._size:
            self._drop(session.id)
            self._known[session.id] = _Known(name, session, size)
            self._ids[name] = session.id
            self._bytes += size
            while len(self._known) > self._size or self._bytes > _BYTES_AT_MOST:
                self._drop(next(iter(self._known)))

    def keep_lost(self, name: bytes, lost: Lost, now: float) -> None:
        """What is gone stays gone, unless it is told otherwise: ids are random and never given twice."""
        self._lost[name] = (lost, now + LOST_SECONDS)
        if len(self._lost) > _LOST_AT_MOST:
            self._lost.popitem(last=False)

    def seen(self, session: Session) -> None:
        """The session was touched here: that changes nothing for anybody else, so no invalidation comes."""
        known = self._known.get(session.id)
        if known is not None and known.session.version == session.version:
            self._known[session.id] = replace(known, session=session)

    # -- invalidation
    def forget(self, names: Iterable[bytes]) -> None:
        """These changed, or are gone."""
        for name in names:
            self._asking.pop(name, None)
            self._lost.pop(name, None)
            session_id = self._ids.get(name)
            if session_id is not None:
                self._drop(session_id)

    def forget_all(self) -> None:
        """Anything may have changed."""
        for kept in (self._asking, self._ids, self._known, self._lost):
            kept.clear()
        self._bytes = 0

    def _drop(self, session_id: bytes) -> None:
        known = self._known.pop(session_id, None)
        if known is not None:
            self._bytes -= known.size
            del self._ids[known.name]
