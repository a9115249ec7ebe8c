"""Our own errors: each carries its reason (:mod:`gateway.reasons`) and the evidence in attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.reasons import REASONS, Language, Reason

__all__ = [
    "REASONS",
    "Busy",
    "GatewayError",
    "Language",
    "Problem",
    "Reason",
    "RequestError",
    "SessionInterrupted",
    "SessionTooLarge",
    "SettingsError",
    "SourceUnavailable",
    "StartError",
    "StoreUnavailable",
    "Throttled",
    "TooManySessions",
    "UpstreamError",
]


class GatewayError(Exception):
    """Root of our own errors: carries its reason, and the evidence in ``parts``."""

    about: object = None
    """Whose account it is about, for the audit log alone."""

    def __init__(self, code: str, **parts: str) -> None:
        super().__init__(code, parts)
        self.reason = REASONS[code]
        self.parts = parts

    def __str__(self) -> str:
        """For authors of handlers and operators, never for clients: :attr:`reason` has the words for those."""
        cause = getattr(self, "cause", "")
        return f"{self.reason.code}: {self.reason.words('en', **self.parts)}" + (f" ({cause})" if cause else "")


class RequestError(GatewayError):
    """The client sent something that cannot be answered as asked (4xx)."""


class StoreUnavailable(GatewayError):
    """The session store cannot be reached or cannot do its work now. Never a statement about a session.

    ``cause`` is for the operator's log; clients never see it.
    """

    def __init__(self, cause: str = "") -> None:
        super().__init__("store_unavailable")
        self.cause = cause


class SessionInterrupted(GatewayError):
    """The session was deleted while this request ran; nothing was written (Django's ``SessionInterrupted``)."""

    def __init__(self) -> None:
        super().__init__("session_interrupted")


class TooManySessions(GatewayError):
    """The user has as many sessions as ``session.max_per_user`` allows, and ``on_limit`` is ``refuse``."""

    def __init__(self, limit: int) -> None:
        super().__init__("too_many_sessions", limit=str(limit))


class SessionTooLarge(GatewayError):
    """The engine ``cookie`` has no room for so much, in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__("session_too_large", size=str(size), limit=str(limit))


class Busy(GatewayError):
    """A bounded queue is full: try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: int = 1, code: str = "busy") -> None:
        super().__init__(code)
        self.retry_after = retry_after


class Throttled(Busy):
    """Too many attempts: try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(retry_after, "throttled")


class SourceUnavailable(GatewayError):
    """A source of users is away, so that nobody can say whether a password is right. ``cause`` is for the log: no secret."""

    def __init__(self, cause: str = "") -> None:
        super().__init__("users_unavailable")
        self.cause = cause


class UpstreamError(GatewayError):
    """The backend could not be reached, was too slow, spoke nonsense or broke off. ``cause`` is for the operator's log."""

    def __init__(self, code: str, cause: str = "") -> None:
        super().__init__(code)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where (``file:line`` or a variable's name), which key, what."""

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.what}" if self.key else f"{self.where}: {self.what}"


class SettingsError(Exception):
    """The configuration is wrong; ``problems`` lists everything that is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class StartError(Exception):
    """The gateway or a command cannot start; the text is for the person at the terminal."""
