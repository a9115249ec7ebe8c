"""What a session is, and whether it is alive. Times are epoch seconds, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from gateway.core.identity import Identity

RECORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """The operator's limits (``session:`` in the configuration)."""

    age: int = 14 * 86400
    idle_timeout: int = 30 * 60
    absolute_timeout: int = 12 * 3600
    touch_interval: int = 60
    expire_at_browser_close: bool = False


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What the store keeps. ``expiry``: None = the policy's age, 0 = with the browser, else seconds from ``modified``."""

    created: float
    modified: float
    user: Identity | None = None
    expiry: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def dump(self) -> dict[str, Any]:
        """Plain data for the serializer; :meth:`load` reads it back."""
        return {
            "v": RECORD_VERSION,
            "c": self.created,
            "m": self.modified,
            "u": self.user and self.user.dump(),
            "e": self.expiry,
            "d": dict(self.data),
        }

    @classmethod
    def load(cls, raw: Any) -> SessionRecord:
        """:raises ValueError: when the data is not a record of this version."""
        try:
            if raw["v"] != RECORD_VERSION:
                raise ValueError(f"a session record of version {raw['v']!r}")
            user = None if raw["u"] is None else Identity.load(raw["u"])
            if not (raw["e"] is None or isinstance(raw["e"], int)) or not isinstance(raw["d"], dict):
                raise TypeError("expiry or data")
            return cls(_moment(raw["c"]), _moment(raw["m"]), user, raw["e"], dict(raw["d"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("not a session record") from error


def _moment(value: Any) -> float:
    moment = float(value)
    if not isfinite(moment):  # a session of NaN would be older than no limit, so never over
        raise ValueError("not a moment")
    return moment


@dataclass(frozen=True, slots=True)
class Session:
    """A record as found: with its id (never shown in ``repr``), and when it was last seen in use."""

    id: bytes = field(repr=False)
    record: SessionRecord
    last_seen: float

    def with_record(self, record: SessionRecord, last_seen: float) -> Session:
        """The same session after a write."""
        return replace(self, record=record, last_seen=last_seen)


def ends_at(record: SessionRecord, last_seen: float, policy: SessionPolicy) -> tuple[float, str]:
    """The earliest end and its reason's code.

    ``last_seen`` is written at most every ``touch_interval``, so the real last request may be that much later: the idle
    end is counted from there. Nobody is signed out before the idle timeout is over, nor later than ``touch_interval``
    after it.
    """
    age = record.expiry or policy.age
    return min(
        (record.created + policy.absolute_timeout, "expired_absolute"),
        (record.modified + age, "expired_age"),
        (last_seen + policy.idle_timeout + policy.touch_interval, "expired_idle"),
    )


def why_over(record: SessionRecord, last_seen: float, policy: SessionPolicy, now: float) -> str | None:
    """None while the session is alive, else the code of the reason why it is not."""
    end, code = ends_at(record, last_seen, policy)
    return code if now >= end else None


def time_to_live(record: SessionRecord, last_seen: float, policy: SessionPolicy, now: float) -> float:
    """For the store: the earliest end and ``touch_interval`` more. A broom, not a second opinion."""
    return max(ends_at(record, last_seen, policy)[0] - now, 0) + policy.touch_interval


def needs_touch(session: Session, policy: SessionPolicy, now: float) -> bool:
    """Is the written ``last_seen`` old enough to be written again?"""
    return now - session.last_seen >= policy.touch_interval


def cookie_age(record: SessionRecord, policy: SessionPolicy, now: float) -> int | None:
    """``Max-Age`` of the cookie: the real time left, or None for a cookie that ends with the browser."""
    if record.expiry == 0 or (record.expiry is None and policy.expire_at_browser_close):
        return None
    age = record.expiry or policy.age
    return max(int(min(record.modified + age, record.created + policy.absolute_timeout) - now), 0)
