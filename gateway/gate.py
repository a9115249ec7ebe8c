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

from gateway.core.access import Denied, check_access
from gateway.core.head import RequestHead, check_head
from gateway.core.hosts import Hosts
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.paths import Target, parse_target
from gateway.core.refusals import Site, refuse, refuse_for
from gateway.core.routes import Route, RouteTable
from gateway.core.sessions import Session
from gateway.core.tickets import cookies_named
from gateway.errors import RequestError, StoreUnavailable
from gateway.store.bearers import Bearer, Bearers
from gateway.store.sessions import Lost, Presented, Sessions
from gateway.verdicts import Endpoint, Forward, Question, Refuse, Serve, TokenQuestion, Verdict

__all__ = ["Endpoint", "Forward", "Gate", "Question", "Refuse", "Serve", "TokenQuestion", "Verdict"]

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
        bearers: Bearers | None = None,
    ) -> None:
        self.site = site
        self._hosts = hosts or None
        self._routes = routes
        self._endpoints = endpoints
        self._sessions = sessions
        self._bearers = bearers
        self._cookie_name = cookie_name
        self._places: dict[str, Place] = {}
        self._cookies: dict[str, Presented] = {}
        self._strangers: dict[tuple[object, ...], Refuse] = {}

    async def decide(self, head: RequestHead) -> Verdict:
        """The verdict. Awaits only when a session or a token has to be looked up."""
        asked = self.ask(head)
        if isinstance(asked, Question):
            known = self._sessions.known(asked.presented)
            return self.answer(asked, known) if known is not None else await self.find(asked)
        return await self.find(asked) if isinstance(asked, TokenQuestion) else asked

    async def find(self, asked: Question | TokenQuestion) -> Forward | Refuse:
        """The store's answer to the one question that was left."""
        if isinstance(asked, TokenQuestion):
            assert self._bearers is not None
            try:
                return self._answer_bearer(asked.head, asked.route, asked.target, await self._bearers.find(asked.text))
            except StoreUnavailable as error:
                return self._without(asked.head, asked.route, asked.target, error)
        try:
            found = await self._sessions.find(asked.presented)
        except StoreUnavailable as error:
            return self.answer(asked, error)
        return self.answer(asked, found)

    def ask(self, head: RequestHead) -> Verdict | Question | TokenQuestion:
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

    def _ask_session(self, head: RequestHead, route: Route, target: Target) -> Verdict | Question | TokenQuestion:
        if route.identity == "none":
            return Forward(route, target)
        if self._bearers is not None and route.authorization == "gateway":
            asked = self._ask_bearer(self._bearers, head, route, target)
            if asked is not None:
                return asked
        try:
            presented = self.presented(head)
        except StoreUnavailable as error:
            return self._without(head, route, target, error)
        if presented is not None:
            return Question(head, route, target, presented)
        if route.identity == "optional":
            return Forward(route, target)
        return self._refuse_stranger(head, route)

    def _ask_bearer(
        self, bearers: Bearers, head: RequestHead, route: Route, target: Target
    ) -> Forward | Refuse | TokenQuestion | None:
        """None: no token came; whoever brings one is judged by it alone, whatever his cookie says."""
        text = bearers.presented(head)
        if text is None:
            return None
        found = text if isinstance(text, BadToken) else bearers.known(text)
        if found is None:
            assert isinstance(text, str)
            return TokenQuestion(head, route, target, text)
        return self._answer_bearer(head, route, target, found)

    def _answer_bearer(
        self, head: RequestHead, route: Route, target: Target, found: Bearer | BadToken
    ) -> Forward | Refuse:
        """What exactly is wrong with a token is for the log alone."""
        if isinstance(found, BadToken):
            return Refuse(refuse(head, self.site, "bad_token", rules=route.refuse), route, detail=found.event)
        denied = None if route.access.public else check_access(route.access, found.user)
        if denied is not None or not found.may_use(route):
            wanted = denied.wanted if denied else route.name
            refusal = refuse(head, self.site, "insufficient_scope", rules=route.refuse, wanted=wanted)
            return Refuse(refusal, route, found.user)
        return Forward(route, target, bearer=found)

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
