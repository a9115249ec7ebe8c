"""What ``set_expiry`` may be given, as Django has it, and the moments that follow. Moments are epoch seconds.

A ``datetime`` without a time zone is read as UTC: the same moment on every machine.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import floor

Expiry = int | timedelta | datetime | None
"""Seconds from the last modification; 0: with the browser; None: as the policy says; or a moment."""

LONGEST = 10_000_000_000
"""Seconds; 317 years. More is a mistake (milliseconds, say), and no date any more."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def checked_expiry(value: object, now: float) -> tuple[int | None, float | None]:
    """What a record keeps of it: seconds or None, and the moment or None.

    :raises TypeError: it is none of :data:`Expiry` (a bool and a float are none).
    :raises ValueError: it lies beyond every date.
    """
    if isinstance(value, timedelta):
        try:
            return None, moment_of(date_of(now) + value)
        except OverflowError as error:
            raise ValueError(f"an expiry of {value.days} days is no date") from error
    if isinstance(value, datetime):
        return None, moment_of(value)
    if value is None:
        return None, None
    if isinstance(value, bool) or not isinstance(value, int):
        kinds = "whole seconds (int), a timedelta, a datetime or None"
        raise TypeError(f"an expiry is {kinds}, not {type(value).__name__}")
    if abs(value) > LONGEST:
        raise ValueError(f"an expiry is at most {LONGEST} seconds")
    return int(value), None


def end_as_given(expiry: Expiry, start: float, default_age: int) -> float:
    """The end of a session modified at ``start``, by this expiry and nothing else."""
    seconds, until = checked_expiry(expiry, start)
    return until if until is not None else start + (seconds or default_age)


def moment_of(value: datetime) -> float:
    """:raises TypeError: it is no datetime."""
    if not isinstance(value, datetime):
        raise TypeError(f"a moment is a datetime, not {type(value).__name__}")
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()


def date_of(moment: float) -> datetime:
    """In UTC."""
    return _EPOCH + timedelta(seconds=moment)


def whole_seconds(start: float, end: float) -> int:
    """From one to the other, rounded down as Django does; what binary fractions add or take (microseconds) does not count."""
    return floor(round(end - start, 4))
