"""The half of a session that is in memory: a mapping that knows what was read and written, and how long it lives.

aiohttp-session's names and Django's stand side by side; nothing here awaits. What goes to the store and comes from there is
in :mod:`gateway.web.session`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import aiohttp_session

from gateway.core.identity import Identity
from gateway.core.keys import b64url
from gateway.core.sessions import (
    RESERVED,
    Session,
    SessionPolicy,
    SessionRecord,
    end_unused,
    ends_with_browser,
    limits_of,
    merged,
    reserved_of,
    same,
    visible_of,
)
from gateway.web.expiry import Expiry, checked_expiry, date_of, end_as_given, moment_of, whole_seconds

_OWN: Any = object()


class SessionMapping(aiohttp_session.Session):
    """Reading sets ``accessed``; writing, also deep inside a value, ``modified``. ``clock`` gives epoch seconds."""

    TEST_COOKIE_NAME = "testcookie"
    TEST_COOKIE_VALUE = "worked"

    def __init__(self, policy: SessionPolicy, found: Session | None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None, data=None, new=found is None)
        self._policy = policy
        self._clock = clock
        self._unread: bytes | None = None
        self.ending = False
        """Was it emptied by :meth:`invalidate`? Then its record goes."""
        self._read(found)

    def _read(self, found: Session | None) -> None:
        """From now on it is what was found, unchanged."""
        record = found.record if found else SessionRecord(0, 0)
        self._found = found
        self._unread = None
        self._user, self._expiry, self._until = record.user, record.expiry, record.until
        self._remembered = record.remembered
        self._base = visible_of(record.data)
        self._reserved = reserved_of(record.data)
        self._mapping = copied(self._base)
        self._touched = self.accessed = self.ending = False

    def _wrote(self, before: SessionRecord, session: Session) -> None:
        """It was written, and is now what the store says; what was changed here since ``before`` is still to be written.
        What did not change stays the same object: a handler may have it at hand."""
        changes = self._record(self._clock())
        self._found = session
        self._base, self._reserved = visible_of(session.record.data), reserved_of(session.record.data)
        now = merged(before, changes, session.record)
        self._user, self._expiry, self._until = now.user, now.expiry, now.until
        self._remembered = now.remembered
        data = visible_of(now.data)
        for key in self._mapping.keys() - data.keys():
            del self._mapping[key]
        for key, value in data.items():
            if key not in self._mapping or not same(self._mapping[key], value):
                self._mapping[key] = copy.deepcopy(value)

    def _record(self, now: float) -> SessionRecord:
        """What is to be written; the values of its data are those of the mapping itself."""
        self._require_loaded()
        base = self._found.record if self._found else SessionRecord(now, now, issued=now)
        return replace(
            base,
            modified=now,
            user=self._user,
            expiry=self._expiry,
            until=self._until,
            data={**self._mapping, **self._reserved},
            remembered=self._remembered,
        )

    def _require_loaded(self) -> None:
        if self._unread is not None:
            raise RuntimeError("the session is not loaded yet: await session.load()")

    # -- the mapping
    @property
    def _data(self) -> dict[str, Any]:
        self._require_loaded()
        self.accessed = True
        return self._mapping

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __setitem__(self, key: str, value: Any) -> None:
        if str(key).startswith(RESERVED):
            raise KeyError(f"keys that begin with {RESERVED} are the gateway's own")
        self._data[key] = value
        self._touched = True

    def __delitem__(self, key: str) -> None:
        del self._data[key]
        self._touched = True

    def has_key(self, key: str) -> bool:
        """``key in session``."""
        return key in self

    def clear(self) -> None:
        """No data, no user, no expiry of its own; the id and ``created`` stay. Signing out is ``flush``."""
        self._data.clear()
        self._reserved = {}
        self._user = self._expiry = self._until = None
        self._remembered = False
        self._touched = True

    # -- aiohttp-session's names
    @property
    def _changed(self) -> bool:
        """aiohttp-session's own middleware asks this before it hands a session over; the rules apply to every one."""
        return True

    @_changed.setter
    def _changed(self, value: bool) -> None:
        self._touched = value

    @property
    def identity(self) -> str | None:
        """As :attr:`session_key`."""
        return self.session_key

    def set_new_identity(self, identity: Any) -> None:
        """Only for a session that is new, which gets an id of its own anyway: the store draws it, ``identity`` is not used.

        :raises RuntimeError: it is not new; what changes its id is ``cycle_key``.
        """
        super().set_new_identity(None)

    @property
    def created(self) -> int:
        """When it began, in epoch seconds; it never moves. A session without a record begins now."""
        return int(self._found.record.created if self._found else self._clock())

    @property
    def empty(self) -> bool:
        """Has it no data?"""
        return not self._data

    @property
    def max_age(self) -> int | None:
        """Its own seconds from the last modification, or None. Writing it is :meth:`set_expiry`, except that 0 is over now."""
        return self._expiry or None

    @max_age.setter
    def max_age(self, value: int | None) -> None:
        """:raises TypeError, ValueError: as :meth:`set_expiry`."""
        self.set_expiry(-1 if value == 0 else value)

    def invalidate(self) -> None:
        """Empties it; afterwards the middleware ends it. What is written after this goes into another session."""
        self.clear()
        self.ending = True

    # -- Django's names
    @property
    def found(self) -> Session | None:
        """The session in the store behind this view."""
        return self._found

    @property
    def session_key(self) -> str | None:
        """The id, or None for a session that was never written. Never log it."""
        session_id = self._found.id if self._found else self._unread
        return b64url(session_id) if session_id else None

    @property
    def user(self) -> Identity | None:
        """Who signed in, or None."""
        self._require_loaded()
        self.accessed = True
        return self._user

    @property
    def last_seen(self) -> float | None:
        """When it was last in use, in epoch seconds, as far as that is written; None when it has no record."""
        return self._found.last_seen if self._found else None

    @property
    def modified(self) -> bool:
        """Has anything to be written? Notices a change inside a value too, unlike Django. ``False`` forgets what changed."""
        return self._touched or not same(self._mapping, dict(self._base))

    @modified.setter
    def modified(self, value: bool) -> None:
        """As in Django."""
        self._touched = value
        if not value:
            self._base = copied(self._mapping)

    def is_empty(self) -> bool:
        """Neither key nor data: nothing to keep."""
        return self.session_key is None and not self._mapping and self._user is None

    def set_test_cookie(self) -> None:
        """Writes the session, so that a cookie is sent: does this browser keep cookies?"""
        self[self.TEST_COOKIE_NAME] = self.TEST_COOKIE_VALUE

    def test_cookie_worked(self) -> bool:
        """Did it come back? To be asked in a later request."""
        return bool(self.get(self.TEST_COOKIE_NAME) == self.TEST_COOKIE_VALUE)

    def delete_test_cookie(self) -> None:
        """:raises KeyError: it is not there."""
        del self[self.TEST_COOKIE_NAME]

    # -- how long
    def set_expiry(self, value: Expiry) -> None:
        """Seconds from the last modification; 0: until the browser is closed; None: as the policy says; a timedelta or
        datetime (without a time zone: UTC): that moment. A negative number is over at once.

        :raises TypeError, ValueError: what no expiry is; nothing is changed.
        """
        self._require_loaded()
        self._expiry, self._until = checked_expiry(value, self._clock())
        self._touched = self.accessed = True

    def get_expiry_date(self, modification: datetime | None = None, expiry: Expiry = _OWN) -> datetime:
        """The end, in UTC, if it is modified then (default: now) and not again; never later than the policy allows.

        A passed ``expiry`` is used as it is; None and 0: the default age.
        """
        return date_of(self._end(self._start(modification), expiry))

    def get_expiry_age(self, modification: datetime | None = None, expiry: Expiry = _OWN) -> int:
        """Seconds from the modification to :meth:`get_expiry_date`."""
        start = self._start(modification)
        return whole_seconds(start, self._end(start, expiry))

    def _start(self, modification: datetime | None) -> float:
        return self._clock() if modification is None else moment_of(modification)

    def _end(self, start: float, expiry: Expiry) -> float:
        self.accessed = True
        record = self._record(self._clock())
        if expiry is not _OWN:
            return end_as_given(expiry, start, limits_of(record, self._policy).age)
        return end_unused(replace(record, modified=start), self._policy)

    def get_expire_at_browser_close(self) -> bool:
        """Is its expiry 0, or unset and the policy says so?"""
        self.accessed = True
        return ends_with_browser(self._record(self._clock()), self._policy)

    def get_session_cookie_age(self) -> int:
        """The policy's age, in seconds."""
        return limits_of(self._record(self._clock()), self._policy).age

    def __repr__(self) -> str:
        user = self._user.username if self._user else None
        return f"<{type(self).__name__} user={user!r} keys={sorted(map(str, self._mapping))}>"


def copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """Down to the last value, so that what was read can be compared with what is there later."""
    try:
        return copy.deepcopy(dict(data))
    except (TypeError, RecursionError):  # a lock, a generator: the serializer refuses it, and says under which key
        return dict(data)
