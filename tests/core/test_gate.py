"""The gate: every verdict there is, from plain data and a store that is found, lost or away."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar, cast

import pytest

from gateway.core.access import Access
from gateway.core.identity import Identity
from gateway.core.keys import KeyRing, MasterKey
from gateway.core.paths import Target
from gateway.core.refusals import Refusal, Site
from gateway.core.routes import RefusalRules, Route, RouteTable
from gateway.core.sessions import Session, SessionRecord
from gateway.core.tickets import COOKIES_TRIED, session_tickets
from gateway.errors import StoreUnavailable
from gateway.gate import Endpoint, Forward, Gate, Question, Refuse, Serve, Verdict
from gateway.store.sessions import Lost, Presented, Sessions
from tests.core.tables import BROWSER, head, table

T = TypeVar("T")
COOKIE = "gw_session"
UNKNOWN_KEY = "sealed-elsewhere"
TICKETS = session_tickets(KeyRing([MasterKey(bytes(32))]))
FOREIGN = session_tickets(KeyRing([MasterKey(b"x" * 32)]))
MGR, USER, NOBODY, OLD, GONE, DOWN = (bytes([number]) * 32 for number in range(6))


def session(session_id: bytes, user: Identity | None) -> Session:
    return Session(session_id, SessionRecord(0, 0, user), 0)


KEPT: dict[bytes, Session | Lost] = {
    MGR: session(MGR, Identity("1", "boss", usertype="mgr")),
    USER: session(USER, Identity("2", "alice", usertype="user")),
    NOBODY: session(NOBODY, None),
    OLD: Lost("expired_idle"),
    GONE: Lost("unknown_session"),
}


class Store:
    """Finds what is kept; away for the session named ``DOWN``. ``asked`` has every question."""

    def __init__(self, *in_memory: bytes) -> None:
        self.asked: list[bytes] = []
        self.in_memory = in_memory

    def presented(self, texts: Iterable[str]) -> Presented | None:
        for text in texts:
            if (session_id := TICKETS.open(text)) is not None:
                return Presented(text, session_id)
            if text == UNKNOWN_KEY:
                raise StoreUnavailable("under a key that is not here")
        return None

    def known(self, presented: Presented) -> Session | Lost | None:
        return KEPT[presented.id] if presented.id in self.in_memory else None

    async def find(self, presented: Presented) -> Session | Lost:
        self.asked.append(presented.id)
        if presented.id == DOWN:
            raise StoreUnavailable("away")
        return KEPT[presented.id]


def route(path: str, access: Access | None = None, **more: Any) -> Route:
    return Route(path, "backend", access or Access(), path, **more)


ROUTES = [
    route("/"),
    route("/public/", Access(public=True), identity="none"),
    route("/maybe/", Access(public=True), identity="optional"),
    route("/known/", Access(public=True, usertypes=frozenset({"mgr"})), identity="optional"),
    route("/mgr/", Access(usertypes=frozenset({"mgr"})), refuse=RefusalRules("/mgr/sign.html", forbidden=403)),
    route("/api/", refuse=RefusalRules(status=401)),
    route("/auth/below/"),
    route("/auth/static/gateway.css"),
]
ENDPOINTS = {
    "/auth/login": Endpoint("login"),
    "/auth/logout": Endpoint("logout"),
    "/api/signin": Endpoint("login", True, 200),
}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Without an event loop: the gate awaits nothing but the store, and this store waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("the gate waits for something")


def gate(store: Store, site: Site | None = None, routes: list[Route] = ROUTES) -> Gate:
    return Gate(site or Site(), RouteTable(routes), ENDPOINTS, cast(Sessions, store), COOKIE)


def decide(target: str, session_id: bytes | None = None, **more: Any) -> Verdict:
    headers = {**more.pop("headers", {})}
    if session_id is not None:
        headers["Cookie"] = f"a=b; {COOKIE}={TICKETS.sign(session_id)}"
    return run(gate(Store()).decide(head(target=target, headers=headers, **more)))


def refused(verdict: Verdict) -> Refusal:
    assert isinstance(verdict, Refuse)
    return verdict.refusal


WHO = {
    # target, session: the route and who the backend is told it is
    "signed in": ("/orders", USER, "/", "alice"),
    "of the usertype": ("/mgr/x", MGR, "/mgr/", "boss"),
    "public, a stranger": ("/public/x", None, "/public/", None),
    "public, signed in": ("/public/x", USER, "/public/", None),
    "public, expired": ("/public/x", OLD, "/public/", None),
    "public, in an outage": ("/public/x", DOWN, "/public/", None),
    "optional, a stranger": ("/maybe/x", None, "/maybe/", None),
    "optional, signed in": ("/maybe/x", USER, "/maybe/", "alice"),
    "optional, before sign-in": ("/maybe/x", NOBODY, "/maybe/", None),
    "optional, expired": ("/maybe/x", OLD, "/maybe/", None),
    "optional, unknown": ("/maybe/x", GONE, "/maybe/", None),
    "optional, in an outage passes as nobody": ("/maybe/x", DOWN, "/maybe/", None),
    "public wins over a usertype": ("/known/x", USER, "/known/", "alice"),
}


@pytest.mark.parametrize(("target", "session_id", "path", "username"), table(WHO))
def test_who_may_pass_is_forwarded_as_himself_or_as_nobody(
    target: str, session_id: bytes | None, path: str, username: str | None
) -> None:
    verdict = decide(target, session_id)
    assert isinstance(verdict, Forward)
    assert verdict.route.path == path
    assert verdict.target == Target(target, target)
    assert (verdict.user.username if verdict.user else None) == username
    assert (verdict.session is None) is (username is None)


REFUSED = {
    # target, session: code, status, is the cookie dropped?, who was refused
    "a stranger": ("/orders", None, "no_session", 302, False, None),
    "a stranger, 401": ("/api/x", None, "no_session", 401, False, None),
    "before sign-in": ("/orders", NOBODY, "no_session", 302, False, None),
    "before sign-in, usertype": ("/mgr/x", NOBODY, "no_session", 302, False, None),
    "expired": ("/orders", OLD, "expired_idle", 302, True, None),
    "expired, 401": ("/api/x", OLD, "expired_idle", 401, True, None),
    "unknown": ("/orders", GONE, "unknown_session", 302, True, None),
    "outage": ("/orders", DOWN, "store_unavailable", 503, False, None),
    "outage, 401": ("/api/x", DOWN, "store_unavailable", 503, False, None),
    "outage, own page": ("/mgr/x", DOWN, "store_unavailable", 503, False, None),
    "wrong usertype": ("/mgr/x", USER, "wrong_usertype", 403, False, "alice"),
}


@pytest.mark.parametrize(("target", "session_id", "code", "status", "drop", "username"), table(REFUSED))
def test_who_may_not_pass_is_refused_for_the_reason_and_only_a_dead_cookie_is_dropped(
    target: str, session_id: bytes | None, code: str, status: int, drop: bool, username: str | None
) -> None:
    verdict = decide(target, session_id)
    refusal = refused(verdict)
    assert (refusal.reason.code, refusal.status, refusal.drop_cookie) == (code, status, drop)
    assert isinstance(verdict, Refuse)
    assert verdict.route is not None, "the log line names the rule"
    assert (verdict.user.username if verdict.user else None) == username
    own_page = target.startswith("/mgr/")
    assert refusal.redirect == (None if status == 503 else "/mgr/sign.html" if own_page else "/auth/login?next=%2F")


def test_the_words_say_what_would_have_been_wanted() -> None:
    assert refused(decide("/mgr/x", USER, headers={"Accept-Language": "zh"})).message == "用户非mgr类型"


COOKIES = {
    "no cookie": ({}, None),
    "another cookie": ({"Cookie": "a=b"}, None),
    "of another key": ({"Cookie": f"{COOKIE}={FOREIGN.sign(USER)}"}, None),
    "invented": ({"Cookie": f"{COOKIE}=" + "A" * 70}, None),
    "cut": ({"Cookie": f"{COOKIE}={TICKETS.sign(USER)[:-1]}"}, None),
    "under another name": ({"Cookie": f"sessionid={TICKETS.sign(USER)}"}, None),
    "ours": ({"Cookie": f"{COOKIE}={TICKETS.sign(USER)}"}, USER),
    "P49 behind a planted one": ({"Cookie": f"{COOKIE}=planted; {COOKIE}={TICKETS.sign(USER)}"}, USER),
    "the first that authenticates": (
        {"Cookie": f"{COOKIE}={TICKETS.sign(MGR)}; {COOKIE}={TICKETS.sign(USER)}"},
        MGR,
    ),
    "the last that is tried": (
        {"Cookie": f"{COOKIE}=planted; a=b; " * (COOKIES_TRIED - 1) + f"{COOKIE}={TICKETS.sign(USER)}"},
        USER,
    ),
    "one too many": ({"Cookie": f"{COOKIE}=planted; " * COOKIES_TRIED + f"{COOKIE}={TICKETS.sign(USER)}"}, None),
    "one too many, in a header of its own": (
        [*[("Cookie", f"{COOKIE}=planted")] * COOKIES_TRIED, ("Cookie", f"{COOKIE}={TICKETS.sign(USER)}")],
        None,
    ),
    "in the second header": ([("Cookie", "a=b"), ("Cookie", f"{COOKIE}={TICKETS.sign(USER)}")], USER),
}


@pytest.mark.parametrize(("headers", "found"), table(COOKIES))
def test_a_cookie_that_does_not_authenticate_costs_the_store_nothing(headers: Any, found: bytes | None) -> None:
    store = Store()
    verdict = run(gate(store).decide(head(headers=headers)))
    assert store.asked == ([] if found is None else [found])
    if found is None:
        assert refused(verdict).reason.code == "no_session"
        assert not refused(verdict).drop_cookie, "another site or key may have written it"
    else:
        assert isinstance(verdict, Forward)


@pytest.mark.parametrize("session_id", [USER, OLD, DOWN])
def test_a_public_route_asks_nothing(session_id: bytes) -> None:
    store = Store()
    headers = {"Cookie": f"{COOKIE}={TICKETS.sign(session_id)}"}
    assert run(gate(store).decide(head(target="/public/x", headers=headers))) == Forward(
        ROUTES[1], Target("/public/x", "/public/x")
    )
    assert store.asked == []


OWN = {
    "endpoint": ("/auth/login", "login"),
    "endpoint with a query": ("/auth/login?next=/x", "login"),
    "endpoint, absolute-form": ("http://site.test/auth/login", "login"),
    "endpoint, encoded": ("/%61uth/logi%6e", "login"),
    "an alias under a route of a backend": ("/api/signin", "login"),
    "prefix": ("/auth", None),
    "prefix and a slash": ("/auth/", None),
    "nothing there": ("/auth/nothing", None),
    "an endpoint and more": ("/auth/login/x", None),
    "an endpoint and a slash": ("/auth/login/", None),
    "encoded": ("/%61uth/nothing", None),
    "absolute-form": ("http://site.test/auth/nothing", None),
    "a subtree of a route below it": ("/auth/below/x", None),
    "an exact route below it": ("/auth/static/gateway.css", None),
}


@pytest.mark.parametrize(("target", "handler"), table(OWN))
@pytest.mark.parametrize("session_id", [None, USER, DOWN])
def test_our_own_endpoints_come_before_routes_and_nothing_else_below_our_prefix_is_anybodys(
    target: str, handler: str | None, session_id: bytes | None
) -> None:
    verdict = decide(target, session_id, method="POST")
    if handler is None:
        assert refused(verdict).reason.code == "no_route"
    else:
        assert isinstance(verdict, Serve)
        assert verdict.endpoint.handler == handler
        assert target.endswith(verdict.target.forward)


@pytest.mark.parametrize("target", ["/authors", "/auth-x/login", "/x/auth/login", "/AUTH/login"])
def test_a_path_that_only_resembles_our_prefix_is_the_backends(target: str) -> None:
    assert isinstance(decide(target, USER), Forward)


def test_another_prefix_moves_what_is_kept_from_backends() -> None:
    moved = gate(Store(), Site(prefix="/gate"))
    headers = {"Cookie": f"{COOKIE}={TICKETS.sign(USER)}"}
    assert refused(run(moved.decide(head(target="/gate/x", headers=headers)))).reason.code == "no_route"
    assert isinstance(run(moved.decide(head(target="/auth/x", headers=headers))), Forward)


BAD: Mapping[str, tuple[dict[str, Any], str, bool]] = {
    # head: code, is the connection closed?
    "P5 dot segments": ({"target": "/public/../mgr/x"}, "ambiguous_path", False),
    "P6 encoded dot segments": ({"target": "/public/%2e%2e/mgr/x"}, "ambiguous_path", False),
    "P10 two slashes": ({"target": "//mgr/x"}, "ambiguous_path", False),
    "P18 no target": ({"target": "mgr/x"}, "bad_request", True),
    "P2 fragment": ({"target": "/mgr/x#/public/"}, "bad_request", True),
    "two hosts": ({"headers": {"host": "evil.example"}}, "bad_request", True),
    "bad host": ({"host": "a b"}, "bad_request", True),
    "bad host in the target": ({"target": "http://a\\b/public/"}, "bad_request", True),
    "version": ({"version": (2, 0)}, "bad_version", True),
    "P84 CONNECT": ({"method": "CONNECT", "target": "site.test:443"}, "method_not_allowed", True),
    "expectation": ({"headers": {"Expect": "x"}}, "expectation_failed", False),
    "asterisk": ({"method": "OPTIONS", "target": "*"}, "no_route", False),
}


@pytest.mark.parametrize(("changes", "code", "close"), table(BAD))
def test_what_no_rule_may_judge_is_refused_before_any_rule(changes: dict[str, Any], code: str, close: bool) -> None:
    for session_id in (None, MGR, DOWN):
        verdict = decide(**{"target": "/public/x", **changes}, session_id=session_id)
        refusal = refused(verdict)
        assert (refusal.reason.code, refusal.close, refusal.redirect) == (code, close, None)
        assert not refusal.drop_cookie


def test_without_a_rule_nothing_passes() -> None:
    store = Store()
    headers = {"Cookie": f"{COOKIE}={TICKETS.sign(MGR)}"}
    only = gate(store, routes=[route("/a/", Access(public=True))])
    for target in ("/", "/ab", "/b"):
        assert refused(run(only.decide(head(target=target, headers=headers)))).reason.code == "no_route"
    assert store.asked == []


def test_the_bytes_that_are_forwarded_are_the_ones_received() -> None:
    verdict = decide("/%6frders/%E8%AE%A2?a=%2F..;//", USER)
    assert isinstance(verdict, Forward)
    assert verdict.target == Target("/orders/订", "/%6frders/%E8%AE%A2?a=%2F..;//")


def test_a_page_load_is_sent_to_sign_in_and_back() -> None:
    refusal = refused(decide("/orders?a=b", headers={"Accept": BROWSER}))
    assert refusal.location == "/auth/login?next=%2Forders%3Fa%3Db"


def test_the_two_halves_decide_as_the_whole_and_never_wait() -> None:
    whole = gate(Store())
    for session_id, found in [*KEPT.items(), (DOWN, StoreUnavailable())]:
        for target in ("/orders", "/mgr/x", "/maybe/x"):
            asked = head(target=target, headers={"Cookie": f"{COOKIE}={TICKETS.sign(session_id)}"})
            question = whole.ask(asked)
            assert isinstance(question, Question)
            assert question.presented.id == session_id
            assert whole.answer(question, found) == run(whole.decide(asked))


def test_an_unexpected_error_of_the_store_is_nobodys_verdict() -> None:
    """It ends as a 500 in the front door; here it must neither pass nor sign anybody out."""
    asked = head(headers={"Cookie": f"{COOKIE}={TICKETS.sign(b'?' * 32)}"})
    with pytest.raises(KeyError):
        run(gate(Store()).decide(asked))


def test_no_verdict_shows_a_session_id() -> None:
    verdict = decide("/orders", USER)
    assert not re.search(r"\\x01", repr(verdict))
    assert TICKETS.sign(USER) not in repr(verdict)


KNOWN: dict[str, tuple[bytes, type[Verdict]]] = {"alive": (USER, Forward), "lost": (OLD, Refuse)}


@pytest.mark.parametrize(("session_id", "verdict"), table(KNOWN))
def test_what_the_process_knows_is_decided_without_asking_the_store(session_id: bytes, verdict: type[Verdict]) -> None:
    store = Store(session_id)
    headers = {"Cookie": f"{COOKIE}={TICKETS.sign(session_id)}"}
    assert isinstance(run(gate(store).decide(head(headers=headers))), verdict)
    assert store.asked == []


def test_a_cookie_under_a_key_of_the_site_that_is_not_here_is_an_outage_and_no_sign_out() -> None:
    headers = {"Cookie": f"{COOKIE}={UNKNOWN_KEY}"}
    verdict = run(gate(Store()).decide(head(headers=headers)))
    assert isinstance(verdict, Refuse)
    assert (verdict.refusal.status, verdict.refusal.drop_cookie) == (503, False)
    assert isinstance(verdict.error, StoreUnavailable)
    optional = run(gate(Store()).decide(head(target="/maybe/x", headers=headers)))
    assert isinstance(optional, Forward)
    assert optional.user is None


def test_what_lies_below_an_endpoint_is_its_own_and_of_an_alias_it_is_not() -> None:
    endpoints = {"/auth/sessions/": Endpoint("sessions"), "/api/": Endpoint("login", True)}
    one = Gate(Site(), RouteTable(ROUTES), endpoints, cast(Sessions, Store()), COOKIE)
    assert isinstance(run(one.decide(head(target="/auth/sessions/abc"))), Serve)
    assert refused(run(one.decide(head(target="/auth/sessions/abc/def")))).status == 404
    assert not isinstance(run(one.decide(head(target="/api/below"))), Serve)
