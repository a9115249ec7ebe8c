"""Which rule a path falls under. Default deny: no rule, no way.

A path with a slash at its end covers everything below it and itself without the slash (``/mgr/`` covers ``/mgr``,
``/mgr/x``, never ``/mgrx``: P14); a path without one is exactly that path. The longest wins. Looking up costs one
dictionary look-up per segment, however many routes there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.core.access import Access
from gateway.core.identity import Identity
from gateway.core.limits import Limits
from gateway.core.paths import Target
from gateway.core.session_data import Failure
from gateway.core.sessions import Session
from gateway.errors import RequestError


@dataclass(frozen=True, slots=True)
class RefusalRules:
    """How a route says no: ``redirect`` overrides the sign-in page (verbatim; ``{next}`` is filled in)."""

    redirect: str | None = None
    status: Literal[302, 401] = 302
    forbidden: Literal[302, 403] = 302


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, until the backend's answer begins, between two pieces of it (or of the request)."""

    connect: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 300.0
    total: float | None = None
    """From the request's head to the end of the answer; None: as long as it takes."""


@dataclass(frozen=True, slots=True)
class WebSocketRules:
    """``origins``: other sites whose pages may open one (``*``: any); ``idle_timeout``: seconds without a byte; ``activity``:
    does what the client sends keep its session alive?"""

    origins: frozenset[str] = frozenset()
    idle_timeout: float = 3600.0
    activity: bool = True


class Told(Protocol):
    """What the backend of a route is told beside the identity headers, and what becomes of what it says back."""

    @property
    def takes_updates(self) -> bool:
        """May its answers change the session?"""

    @property
    def has_authorization(self) -> bool:
        """Is ``Authorization`` ours there? Then the client's own does not pass."""

    def lines(self, user: Identity | None, session: Session | None, sid: str) -> bytes:
        """Header lines, each with its line end. ``sid`` names the session in public, a token's too."""

    def update(
        self, session: Session | None, values: Sequence[bytes]
    ) -> Awaitable[tuple[Session | None, Failure | None]]:
        """The session as it is now, and why what the answer says of it could not be stored."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule: a path, who may pass, where to, and how."""

    path: str
    upstream: str
    access: Access
    name: str = ""
    identity: Literal["required", "optional", "none"] = "required"
    """``none``: no session is looked up and none told; ``optional``: looked up, in an outage nobody."""
    authorization: Literal["gateway", "backend"] = "gateway"
    preserve_host: bool = True
    encoded_slash: Literal["refuse", "pass"] = "refuse"
    cache: Literal["as_is", "private", "no-store"] = "as_is"
    refuse: RefusalRules = field(default_factory=RefusalRules)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    websocket: WebSocketRules = field(default_factory=WebSocketRules)
    told: Told | None = None
    """None: the identity headers say all."""


class RouteTable:
    """All routes, indexed by path. Two routes with the same path: ValueError naming it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}
        for route in routes:
            subtree = route.path.endswith("/")
            index, key = (self._below, route.path[:-1]) if subtree else (self._exact, route.path)
            if key in index:
                raise ValueError(f"two routes have the path {route.path}")
            index[key] = route
        self._longest = max(map(len, self._below), default=0)
        self.pass_encoded_slash = any(route.encoded_slash == "pass" for route in routes)
        """Does any?"""

    def find(self, target: Target) -> Route | None:
        """The route for a target.

        :raises RequestError: 400 ``ambiguous_path``: as :meth:`match`; or a slash came encoded, and not all that a backend
            may read falls under one route that wants it passed.
        """
        found = self.match(target.path)
        if target.readings:
            same = all(self.match(reading) is found for reading in target.readings)
            if not same or found is None or found.encoded_slash == "refuse":
                raise RequestError("ambiguous_path", what="an encoded slash")
        return found

    def match(self, path: str) -> Route | None:
        """The route for a *normalised* path: the exact one, else the longest that covers it.

        :raises RequestError: 400 ``ambiguous_path``: it holds a ``?`` or ``#`` (it came encoded), and a backend that
            reads it as the end of the path would read one that falls under another rule (P4).
        """
        found = self._match(path)
        for mark in "?#":
            if mark in path and self._match(path.partition(mark)[0]) is not found:
                raise RequestError("ambiguous_path", what=f"an encoded {mark}")
        return found

    def _match(self, path: str) -> Route | None:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        below = self._below
        # Nothing longer than the longest rule: a path of 8,000 slashes would be copied and hashed 8,000 times.
        at = len(path) if len(path) <= self._longest else path.rfind("/", 0, self._longest + 1)
        while at > 0:
            found = below.get(path[:at])
            if found is not None:
                return found
            at = path.rfind("/", 0, at)
        return below.get("") if path.startswith("/") else None
