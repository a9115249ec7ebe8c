"""The gate: decides, does no HTTP. The order is written here, once::

    caller ─▶ route ─▶ session ─▶ access ─▶ verdict
      │         │         │          │        ├─ Forward(route, user)
      │         │         │          │        ├─ Refuse(refusal)
      │         │         │          │        └─ Serve(endpoint)
      │         │         │          └ may this user pass?
      │         │         └ absent / lost for a reason / store away / found: three results that never mix
      │         └ our own endpoint, a rule, or nothing (404)
      └ is this a request that any rule may judge? (framing, Host, form of the target)

:meth:`Gate.ask` and :meth:`Gate.answer` decide without awaiting; between them lies the one question that may need the
store. A front door calls :meth:`Gate.decide`, or the two halves itself when it already knows the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gateway.core.access import Denied, check_access
from gateway.core.head import RequestHead, check_head
from gateway.core.hosts import Hosts
from gateway.core.identity import Identity
from gateway.core.paths import Target, parse_target
from gateway.core.refusals import Refusal, Site, refuse, refuse_for
from gateway.core.routes import Route, RouteTable
from gateway.core.sessions import Session
from gateway.core.tickets import cookies_named
from gateway.errors import RequestError, StoreUnavailable
from gateway.store.sessions import Lost, Presented, Sessions


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

    @property
    def user(self) -> Identity | None:
        """Who the backend is told it is."""
        return self.session.record.user if self.session else None

    def still_lets(self, session: Session) -> bool:
        """Would the same session, as it is now, be let through to the same route? Its user may have other rights by now."""
        now, access = session.record.user, self.route.access
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


Place = tuple[Target, Endpoint | Route | None]
_PLACES, _SHORT = 4096, 256  # targets that are remembered, and how long they may be
_READ = (b"accept", b"accept-language", b"sec-fetch-mode", b"x-requested-with", b"referer", b"host")
_LONGEST = 1024  # Cookie headers that are remembered


class Gate:
    """Built once from plain parts; holds no state of any request."""

    def __init__(
        self,
        site: Site,
        routes: RouteTable,
        endpoints: Mapping[str, Endpoint],
        sessions: Sessions,
        cookie_name: str,
        hosts: Hosts | None = None,
    ) -> None:
        self.site = site
        self._hosts = hosts or None
        self._routes = routes
        self._endpoints = endpoints
        self._sessions = sessions
        self._cookie_name = cookie_name
        self._places: dict[str, Place] = {}
        self._cookies: dict[str, Presented] = {}
        self._strangers: dict[tuple[object, ...], Refuse] = {}

    async def decide(self, head: RequestHead) -> Verdict:
        """The verdict. Awaits only when a session has to be looked up."""
        asked = self.ask(head)
        if not isinstance(asked, Question):
            return asked
        known = self._sessions.known(asked.presented)
        if known is not None:
            return self.answer(asked, known)
        try:
            found = await self._sessions.find(asked.presented)
        except StoreUnavailable as error:
            return self.answer(asked, error)
        return self.answer(asked, found)

    def ask(self, head: RequestHead) -> Verdict | Question:
        """Caller and route; and the session as far as the cookie alone tells."""
        try:
            check_head(head)
            place = self._places.get(head.target) or self._find_place(head.target)
        except RequestError as error:
            return Refuse(refuse_for(head, self.site, error))
        target, found = place
        if self._hosts is not None and not self._hosts.named_by(head, target.host):
            return Refuse(refuse(head, self.site, "unknown_host"))
        if isinstance(found, Route):
            return self._ask_session(head, found, target)
        return Serve(found, target) if found is not None else Refuse(refuse(head, self.site, "no_route"))

    def _find_place(self, text: str) -> Place:
        """Where a target leads: the same ones come again and again, and routes do not change."""
        target = parse_target(text, encoded_slash=self._routes.pass_encoded_slash)
        if any(self._is_ours(reading) for reading in target.readings):
            raise RequestError("ambiguous_path", what="an encoded slash")
        place = target, self._endpoint(target.path) or self._route(target)
        if len(text) <= _SHORT:
            if len(self._places) >= _PLACES:
                self._places.clear()
            self._places[text] = place
        return place

    def _endpoint(self, path: str) -> Endpoint | None:
        """One of our own at this path; below our prefix one whose path ends with ``/`` has what is below it."""
        endpoint = self._endpoints.get(path)
        if endpoint is None and path.startswith(self.site.prefix + "/"):
            return self._endpoints.get(path.rpartition("/")[0] + "/")
        return endpoint

    def _route(self, target: Target) -> Route | None:
        """The rule for a target; below our own prefix there is nothing for backends."""
        return None if self._is_below_prefix(target.path) else self._routes.find(target)

    def _is_below_prefix(self, path: str) -> bool:
        return path == self.site.prefix or path.startswith(self.site.prefix + "/")

    def _is_ours(self, path: str) -> bool:
        return self._is_below_prefix(path) or self._endpoint(path) is not None

    def may_pass(self, user: Identity, place: str) -> Denied | None:
        """Would this user be let through to a place on this site? For the sign-in page; None: yes, or no rule says no."""
        try:
            route = self._route(parse_target(place.partition("#")[0]))
        except RequestError:
            return None
        return None if route is None or route.access.public else check_access(route.access, user)

    def _ask_session(self, head: RequestHead, route: Route, target: Target) -> Verdict | Question:
        if route.identity == "none":
            return Forward(route, target)
        try:
            presented = self.presented(head)
        except StoreUnavailable as error:
            return self._without(head, route, target, error)
        if presented is not None:
            return Question(head, route, target, presented)
        if route.identity == "optional":
            return Forward(route, target)
        return self._refuse_stranger(head, route)

    def _refuse_stranger(self, head: RequestHead, route: Route) -> Refuse:
        """Remembered by all that it depends on: strangers come in crowds."""
        by_name = head.by_name
        key = (
            id(route),
            len(by_name) == len(head.raw),
            head.scheme,
            head.method,
            head.target,
            *[by_name.get(name) for name in _READ],
        )
        known = self._strangers.get(key)
        if known is not None:
            return known
        is_plain = len(by_name) == len(head.raw) and len(head.target) <= _SHORT
        is_plain = is_plain and sum([len(by_name.get(name, b"")) for name in _READ]) <= _LONGEST
        made = Refuse(refuse(head, self.site, "no_session", rules=route.refuse), route, again=is_plain)
        if is_plain:
            if len(self._strangers) >= _PLACES:
                self._strangers.clear()
            self._strangers[key] = made
        return made

    def presented(self, head: RequestHead) -> Presented | None:
        """The first cookie of our name that authenticates, or None: strangers cost the store nothing."""
        values = head.values(b"cookie")
        if not values:
            return None
        known = self._cookies.get(values[0]) if len(values) == 1 else None
        if known is None:
            known = self._sessions.presented(cookies_named(values, self._cookie_name))
            if known is not None and len(values) == 1 and len(values[0]) <= _LONGEST:
                if len(self._cookies) >= _PLACES:
                    self._cookies.clear()
                self._cookies[values[0]] = known
        return known

    def answer(self, asked: Question, found: Session | Lost | StoreUnavailable) -> Forward | Refuse:
        """Session and access."""
        route = asked.route
        if not isinstance(found, Session):
            return self._without(asked.head, route, asked.target, found)
        user = found.record.user
        if user is None:  # a session before sign-in
            if route.identity == "optional":
                return Forward(route, asked.target)
            return Refuse(refuse(asked.head, self.site, "no_session", rules=route.refuse), route)
        denied = None if route.access.public else check_access(route.access, user)
        if denied is not None:
            refusal = refuse(asked.head, self.site, denied.code, rules=route.refuse, wanted=denied.wanted)
            return Refuse(refusal, route, user)
        return Forward(route, asked.target, found)

    def _without(
        self, head: RequestHead, route: Route, target: Target, found: Lost | StoreUnavailable
    ) -> Forward | Refuse:
        """A cookie that is definitely dead is deleted; in an outage it is left alone (founding decision 1)."""
        if route.identity == "optional":
            return Forward(route, target)
        if isinstance(found, StoreUnavailable):
            return Refuse(refuse_for(head, self.site, found, route.refuse), route, error=found)
        return Refuse(refuse(head, self.site, found.code, rules=route.refuse, drop_cookie=True), route)
