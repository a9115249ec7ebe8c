"""What a session is, and whether it is alive. Times are epoch seconds, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from gateway.core.identity import Identity

RECORD_VERSION = 2
RESERVED = "_gateway."
"""What the keys begin with that the gateway itself keeps in a session's data: nobody else sees or writes them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session may last, in seconds: after it was last written, unused, and after signing in."""

    age: int = 14 * 86400
    idle_timeout: int = 30 * 60
    absolute_timeout: int = 12 * 3600


@dataclass(frozen=True, slots=True)
class SessionPolicy(Limits):
    """The operator's limits (``session:`` in the configuration), in seconds: for everybody, and in ``remember`` for those
    who asked to be kept signed in (None: they are like everybody)."""

    touch_interval: int = 60
    expire_at_browser_close: bool = False
    save_every_request: bool = False
    rotate_interval: int = 15 * 60
    rotate_grace: int = 10
    remember: Limits | None = None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What the store keeps.

    ``expiry``: None = the policy's age, 0 = with the browser, else seconds from ``modified``; ``until``: that moment
    instead. ``issued``: since when the session has its present id; ``before``: what the store calls its predecessor, until
    the present id has been presented once. ``remembered``: its owner asked to be kept signed in.
    """

    created: float
    modified: float
    user: Identity | None = None
    expiry: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    until: float | None = None
    issued: float = 0.0
    before: str = ""
    remembered: bool = False

    def dump(self) -> dict[str, Any]:
        """All but ``data`` as plain data for JSON, without what is as usual; :meth:`load` reads it back."""
        extra: dict[str, Any] = {
            "u": self.user and self.user.dump(),
            "e": self.expiry,
            "t": self.until,
            "i": round(self.issued, 3) if self.issued != self.created else None,
            "b": self.before or None,
            "r": self.remembered or None,
        }
        kept = {name: value for name, value in extra.items() if value is not None}
        return {"v": RECORD_VERSION, "c": round(self.created, 3), "m": round(self.modified, 3), **kept}

    @classmethod
    def load(cls, raw: Any, data: Any) -> SessionRecord:
        """:raises ValueError: when the data is not a record of this version."""
        try:
            if raw["v"] != RECORD_VERSION:
                raise ValueError(f"a session record of version {raw['v']!r}")
            user = None if raw.get("u") is None else Identity.load(raw["u"])
            expiry, until, before = raw.get("e"), raw.get("t"), raw.get("b", "")
            if not (expiry is None or type(expiry) is int) or not isinstance(data, dict) or type(before) is not str:
                raise TypeError("expiry, data or predecessor")
            created = _moment(raw["c"])
            issued = created if raw.get("i") is None else _moment(raw["i"])
            end = None if until is None else _moment(until)
            remembered = raw.get("r") is True
            return cls(created, _moment(raw["m"]), user, expiry, dict(data), end, issued, before, remembered)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError("not a session record") from error


def reserved_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the gateway itself keeps in them."""
    return {key: value for key, value in data.items() if str(key).startswith(RESERVED)}


def visible_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """All else."""
    return {key: value for key, value in data.items() if not str(key).startswith(RESERVED)}


def _moment(value: Any) -> float:
    moment = float(value)
    if not isfinite(moment):  # a session of NaN would be older than no limit, so never over
        raise ValueError("not a moment")
    return moment


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a session was opened from: an address, and a browser in words (``Firefox on Linux``)."""

    address: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a user's list of sessions shows of one. ``handle`` names it there: stable, and worth nothing as a key."""

    handle: str = ""
    source: str = ""
    user_id: str = ""
    username: str = ""
    address: str = ""
    device: str = ""
    created: float = 0.0
    last_seen: float = 0.0

    def dump(self) -> list[Any]:
        """Plain data for the serializer; :meth:`load` reads it back."""
        texts = [self.handle, self.source, self.user_id, self.username, self.address, self.device]
        return [*texts, round(self.created, 3), round(self.last_seen, 3)]

    @classmethod
    def load(cls, raw: Any) -> Card:
        """:raises ValueError: when the data is no card."""
        if not isinstance(raw, list) or len(raw) != 8 or not all(isinstance(text, str) for text in raw[:6]):
            raise ValueError("not a card")
        try:
            handle, source, user_id, username, address, device = raw[:6]
            return cls(handle, source, user_id, username, address, device, _moment(raw[6]), _moment(raw[7]))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("not a card") from error


@dataclass(frozen=True, slots=True)
class Session:
    """A record as found: with its id (never shown in ``repr``), and when it was last seen in use.

    ``came_from``: the older id, still pointing here, under which it was presented. ``version`` is the store's, for
    compare-and-set.
    """

    id: bytes = field(repr=False)
    record: SessionRecord
    last_seen: float
    card: Card = field(default_factory=Card, repr=False)
    version: bytes = field(default=b"", repr=False)
    came_from: bytes | None = field(default=None, repr=False)

    @property
    def moved(self) -> bool:
        """Has the browser to be told the present id?"""
        return self.came_from is not None

    def seen_at(self, now: float) -> Session:
        """The same session, in use now."""
        return replace(self, last_seen=now, card=replace(self.card, last_seen=now))


def limits_of(record: SessionRecord, policy: SessionPolicy) -> Limits:
    """Those that hold for this session."""
    return (record.remembered and policy.remember) or policy


def end_by_age(record: SessionRecord, limits: Limits) -> float:
    """When a session that is not written again ends for its age, or by its own ``set_expiry``."""
    if record.until is not None:
        return record.until
    return record.modified + (record.expiry or limits.age)


def absolute_end(record: SessionRecord, policy: SessionPolicy) -> float:
    """When it is over, come what may."""
    return record.created + limits_of(record, policy).absolute_timeout


def ends_at(record: SessionRecord, last_seen: float, policy: SessionPolicy) -> tuple[float, str]:
    """The earliest end and its reason's code.

    ``last_seen`` is written at most every ``touch_interval``, so the real last request may be that much later: the idle
    end is counted from there. Nobody is signed out before the idle timeout is over, nor later than ``touch_interval``
    after it.
    """
    limits = (record.remembered and policy.remember) or policy  # limits_of, which each request would have to call
    absolute, age = record.created + limits.absolute_timeout, end_by_age(record, limits)
    idle = last_seen + limits.idle_timeout + policy.touch_interval
    if absolute <= age and absolute <= idle:
        return absolute, "expired_absolute"
    return (age, "expired_age") if age <= idle else (idle, "expired_idle")


def why_over(record: SessionRecord, last_seen: float, policy: SessionPolicy, now: float) -> str | None:
    """None while the session is alive, else the code of the reason why it is not."""
    end, code = ends_at(record, last_seen, policy)
    return code if now >= end else None


def time_to_live(record: SessionRecord, last_seen: float, policy: SessionPolicy, now: float) -> float:
    """For the store: the earliest end and ``touch_interval`` more. A broom, not a second opinion."""
    return max(ends_at(record, last_seen, policy)[0] - now, 0) + policy.touch_interval


def needs_touch(session: Session, policy: SessionPolicy, now: float) -> bool:
    """Is the written ``last_seen`` so old that it has to be written again, or from a clock so far ahead of ours?"""
    return abs(now - session.last_seen) >= policy.touch_interval


def rotation_is_due(session: Session, policy: SessionPolicy, now: float) -> bool:
    """Has the session had its id for ``rotate_interval``? 0: ids are not rotated."""
    return 0 < policy.rotate_interval <= now - session.record.issued


def ends_with_browser(record: SessionRecord, policy: SessionPolicy) -> bool:
    """Does its cookie go when the browser is closed?"""
    if record.until is not None or record.expiry is not None:
        return record.until is None and record.expiry == 0
    return policy.expire_at_browser_close and not (record.remembered and policy.remember)


def cookie_age(record: SessionRecord, policy: SessionPolicy, now: float) -> int | None:
    """``Max-Age`` of the cookie: the real time left, or None for a cookie that ends with the browser."""
    if ends_with_browser(record, policy):
        return None
    return max(int(end_unused(record, policy) - now), 0)


def end_unused(record: SessionRecord, policy: SessionPolicy) -> float:
    """When it ends if it is in use, but not written again."""
    return min(end_by_age(record, limits_of(record, policy)), absolute_end(record, policy))


def same(one: Any, other: Any) -> bool:
    """Equal for whoever reads it back: unlike ``==``, ``1``, ``1.0`` and ``True`` are three things."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def merged(base: SessionRecord, mine: SessionRecord, theirs: SessionRecord) -> SessionRecord:
    """What is to be written when somebody else wrote ``theirs`` since ``base`` was read: the keys changed here win over
    what was read, keys changed there alone stay as they are (founding decision 4)."""
    data = dict(theirs.data)
    for key in mine.data.keys() | base.data.keys():
        if key not in mine.data:
            data.pop(key, None)
        elif key not in base.data or not same(mine.data[key], base.data[key]):
            data[key] = mine.data[key]
    ours = (mine.expiry, mine.until) != (base.expiry, base.until)
    return replace(
        theirs,
        modified=max(mine.modified, theirs.modified),
        user=mine.user if mine.user != base.user else theirs.user,
        expiry=mine.expiry if ours else theirs.expiry,
        until=mine.until if ours else theirs.until,
        remembered=mine.remembered if mine.remembered != base.remembered else theirs.remembered,
        data=data,
    )
