"""What the gate says of a request, as plain data; every front door carries it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from gateway.core.access import check_access
from gateway.core.head import RequestHead
from gateway.core.identity import Identity
from gateway.core.paths import Target
from gateway.core.refusals import Refusal
from gateway.core.routes import Route
from gateway.core.sessions import Session
from gateway.errors import StoreUnavailable
from gateway.store.bearers import Bearer
from gateway.store.sessions import Presented


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of our own: which handler, and whether its path is an alias that a legacy front end uses."""

    handler: str
    alias: bool = False
    wrong_status: int = 401


@dataclass(slots=True)
class Forward:
    """Pass it on: to this route's upstream, as this user (None: as nobody)."""

    word: ClassVar[str] = "forward"
    route: Route
    target: Target
    session: Session | None = None
    bearer: Bearer | None = None

    @property
    def user(self) -> Identity | None:
        """Who the backend is told it is."""
        if self.session:
            return self.session.record.user
        return self.bearer.user if self.bearer else None

    def still_lets(self, now: Identity | None) -> bool:
        """Would the same user, as he is now, be let through to the same route? He may have other rights by now."""
        access = self.route.access
        if now is None or now is self.user:
            return now is not None or self.user is None
        return access.public or check_access(access, now) is None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Say no. ``user`` is set when somebody signed in was refused, ``error`` when something of ours failed."""

    word: ClassVar[str] = "refuse"
    refusal: Refusal
    route: Route | None = None
    user: Identity | None = None
    error: StoreUnavailable | None = field(default=None, compare=False)
    detail: str = field(default="", compare=False)
    """For the log alone: what exactly was wrong with a token."""
    again: bool = field(default=False, compare=False)
    """The same object is the verdict for every request like this one."""


@dataclass(frozen=True, slots=True)
class Serve:
    """One of our own endpoints answers."""

    word: ClassVar[str] = "serve"
    endpoint: Endpoint
    target: Target


Verdict = Forward | Refuse | Serve


@dataclass(slots=True)
class Question:
    """All that is left to know: is this session alive?"""

    head: RequestHead
    route: Route
    target: Target
    presented: Presented


@dataclass(slots=True)
class TokenQuestion:
    """All that is left to know: is this token or key good?"""

    head: RequestHead
    route: Route
    target: Target
    text: str = field(repr=False)
