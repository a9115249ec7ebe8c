"""The same request and the same answer, with the gateway in between and without it: what differs stands in the tables below.

A rule makes of what was seen without the gateway what must be seen with it. What is different then fails, with the lines; so
does a rule that nothing needed in the whole run, as what it says is not (or no longer) true.
"""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gateway.store.redis_server import RedisServer
from tests.differential import changes
from tests.differential.generated import SESSION, exchanges
from tests.differential.lab import Lab, Outgoing
from tests.differential.rules import Facts, Rule, is_needed, unexplained
from tests.differential.wire import Field, Message, Wire, read_request
from tests.harness import ALICE, MASTER, ROOT, GatewayProcess

ROUTES = [{"path": "/out/", "access": "public"}, {"path": "/in/", "access": "authenticated"}]
EXAMPLES = 400

REQUESTS = [
    Rule("RFC 9112 §2.2", "empty lines ahead of a request are ignored", lambda m, _: replace(m, empty_lines=0)),
    Rule("RFC 9112 §2.3", "each hop speaks its own version", lambda m, _: replace(m, start=(*m.start[:2], b"HTTP/1.1"))),
    Rule("RFC 9112 §3.2.2", "an absolute target becomes a path, and its host the Host", changes.origin_form),
    Rule("RFC 9112 §3.2", "a request in HTTP/1.1 has a Host", changes.with_host),
    Rule("RFC 9110 §7.6.1", "what Connection names ends here", changes.without_named),
    Rule("RFC 9110 §7.6.1", "Connection and its elder kin end here", changes.without(b"connection", b"keep-alive", b"proxy-connection")),
    Rule("RFC 9110 §10.1.4", "TE ends here", changes.without(b"te")),
    Rule("RFC 9110 §7.8", "Upgrade ends here", changes.without(b"upgrade")),
    Rule("RFC 9110 §11.7.2", "what is said to a proxy ends here", changes.without(b"proxy-authorization", b"proxy-authenticate")),
    Rule("RFC 9110 §6.6.2", "no trailers are announced where none are passed on", changes.without(b"trailer")),
    Rule("contract, section 3", "trailers are never forwarded", lambda m, _: replace(m, trailers=())),
    Rule("RFC 9112 §7.1.1", "chunk extensions are of one connection", lambda m, _: replace(m, extensions=())),
    Rule("RFC 9112 §7.1", "chunks are of one connection", lambda m, _: replace(m, chunks=()), both=True),
    Rule("RFC 9110 §7.6.2", "OPTIONS and TRACE have one hop fewer to go", changes.one_hop_fewer),
    Rule("RFC 3875 §4.1.18", "what CGI reads as the length or the type is not passed on", changes.without_look_alikes),
    Rule("RFC 3875 §4.1.18", "what CGI reads as HTTP_PROXY is not passed on", changes.without(b"proxy")),
    Rule("contract, section 3", "nobody else says where a request came from (X-Forwarded-*)", changes.without_beginning(b"x-forwarded-")),
    Rule("contract, section 3", "nor in another way", changes.without(b"forwarded", b"x-real-ip", b"x-original-url", b"x-rewrite-url")),
    Rule("contract, section 5", "nor how, to ask whether it may pass", changes.without(b"x-original-method")),
    Rule("contract, section 3", "nor gives it an id", changes.without(b"x-request-id")),
    Rule("contract, section 3", "nor who somebody is, in any preset",
         changes.without(*(b"remote-" + name for name in (b"user", b"name", b"email", b"groups", b"usertype")),
                 *(b"x-auth-request-" + name for name in (b"user", b"preferred-username", b"email", b"groups", b"usertype", b"access-token")))),
    Rule("contract, section 3", "nor what a session holds", changes.without(b"x-gateway-assertion", b"x-session-data", b"x-session-update", b"x-session-update-failed")),
    Rule("contract, section 3", "our cookies are not the backend's", changes.without_our_cookies),
    Rule("contract, section 3", "Authorization is the gateway's where one has to sign in",
         lambda m, facts: changes.without(b"authorization")(m, facts) if facts.identity else m),
    Rule("contract, section 3", "who is signed in is told", lambda m, facts: changes.with_fields(m, facts.identity)),
    Rule("contract, section 3", "where the request came from is told", changes.with_origin),
    Rule("contract, section 3", "the request has an id", changes.with_id),
    Rule("RFC 9110 §7.6.3", "the gateway adds its Via, with the version that it was spoken to in",
         lambda m, facts: changes.with_fields(m, ((b"Via", b" " + facts.request.start[2][5:] + b" auth-gateway"),))),
    Rule("RFC 9112 §5.1", "blanks around a value are no part of it", changes.with_trimmed_values, both=True),
]  # fmt: skip

ANSWERS = [
    Rule("RFC 9112 §2.3", "each hop speaks its own version",
         lambda m, _: replace(m, start=(b"HTTP/1.1", *m.start[1:]))),
    Rule("RFC 9110 §15.2", "a client of HTTP/1.0 gets no interim answer",
         lambda m, facts: replace(m, interim=()) if facts.is_old else m),
    Rule("RFC 9110 §7.6.1", "what Connection names ends here", changes.without_named),
    Rule("RFC 9110 §7.6.1", "Connection and its elder kin end here", changes.without(b"connection", b"keep-alive", b"proxy-connection")),
    Rule("RFC 9110 §10.1.4", "TE ends here", changes.without(b"te")),
    Rule("RFC 9110 §7.8", "Upgrade ends here", changes.without(b"upgrade")),
    Rule("RFC 9110 §6.6.2", "no trailers are announced where none are passed on", changes.without(b"trailer")),
    Rule("contract, section 3", "trailers are never forwarded", lambda m, _: replace(m, trailers=())),
    Rule("RFC 9110 §6.6.1", "an answer without a date gets one", changes.with_date),
    Rule("contract, section 3", "a backend cannot set our cookies", changes.without_stolen_cookies),
    Rule("RFC 9110 §8.6", "204 has no length", changes.without_length),
    Rule("RFC 9112 §6.1", "a client of HTTP/1.0 is sent no chunks",
         lambda m, facts: replace(m, framing="close") if facts.is_old and m.framing == "chunked" else m),
    Rule("RFC 9112 §7.1", "what ends with the backend's connection is sent in chunks, and its end can be told from a break",
         lambda m, facts: replace(m, framing="chunked") if not facts.is_old and m.framing == "close" else m),
    Rule("RFC 9112 §7.1.1", "chunk extensions are of one connection", lambda m, _: replace(m, extensions=())),
    Rule("RFC 9112 §7.1", "chunks are of one connection", lambda m, _: replace(m, chunks=()), both=True),
    Rule("RFC 9112 §9.3", "the client's connection stays or ends as the client's request says, not as the backend does", changes.client_stays),
    Rule("RFC 9112 §5.1", "blanks around a value are no part of it", changes.with_trimmed_values, both=True),
]  # fmt: skip
TABLES = {"the backend received": REQUESTS, "the client got": ANSWERS}


# one exchange at least for every rule, so that it does not hang on what hypothesis comes upon
BY_HAND = [
    (b"\r\nGET http://b.example/out/?q HTTP/1.1\r\nhost:  a \t\r\nX: 1\r\nConnection: X\r\n\r\n",
     b"HTTP/1.1 200 All\tright\r\nConnection: x, proxy-authenticate\r\nX: 1\r\nProxy-Authenticate: Basic\r\nY:  2\t\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx"),
    (b"GET /out/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    (b"POST /in/ HTTP/1.1\r\nHost: a\r\nCookie: a=1; " + SESSION + b"\r\nAuthorization: Basic eDp5\r\nTransfer-Encoding: chunked\r\n"
     b"TE: trailers\r\nTrailer: X-Late\r\n\r\n1;a=b\r\na\r\n1\r\nb\r\n0\r\nX-Late: 1\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\na\r\n1\r\nb\r\n0\r\nX-Late: 1\r\n\r\n"),
    (b"OPTIONS /out/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\nUpgrade: h2c\r\nContent_Length: 5\r\nProxy: http://b.example\r\n"
     b"x_forwarded_for: 10.0.0.1\r\nX-Real.IP: 10.0.0.1\r\nX-Request-Id: 1\r\nX-Original-Method: GET\r\nProxy-Authorization: Basic eDp5\r\nREMOTE_USER: root\r\nX-Session-Data: e30\r\n\r\n",
     b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: gw_session=stolen\r\n\r\nHTTP/1.1 204 No Content\r\nSet-Cookie: gw_session=stolen\r\nContent-Length: 0\r\n\r\n"),
]  # fmt: skip
UNTIL_CLOSE = Outgoing(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", closes=True)


# -- the run
class Comparison:
    """Runs exchanges, explains what differs, and knows which rules were needed for it."""

    def __init__(self, lab: Lab, cookie: bytes, identity: tuple[Field, ...]) -> None:
        self.lab, self.cookie, self.identity = lab, cookie, identity
        self.needless = {what: list(rules) for what, rules in TABLES.items()}

    def run(self, sent: Outgoing, signed_in: bool, answer: Outgoing) -> None:
        sent = replace(sent, data=sent.data.replace(SESSION, self.cookie))
        direct, seen = self.lab.directly(sent, answer), self.lab.through_the_gateway(sent, answer)
        asked = [f"asked {sent.data[:2000]!r}", f"answered {answer.data[:2000]!r}"]
        assert direct.received is not None
        if seen.received is None:
            pytest.fail(
                "\n".join([*asked, "the backend received nothing; the client got", *seen.answer.lines()]), pytrace=False
            )
        dates = [[value.strip() for value in one.answer.values(b"date")] for one in (direct, seen)]
        facts = Facts(direct.received, b"127.0.0.1:%d" % self.lab.port, self.identity if signed_in else ())
        for what, one, other in (
            ("the backend received", direct.received, changes.any_id(seen.received)),
            ("the client got", direct.answer, seen.answer if dates[0] == dates[1] else changes.any_date(seen.answer)),
        ):
            if lines := unexplained(one, other, TABLES[what], facts):
                pytest.fail("\n".join([*asked, f"no rule explains what {what}", *lines]), pytrace=False)
            self.needless[what] = [
                rule for rule in self.needless[what] if not is_needed(rule, one, other, TABLES[what], facts)
            ]


@pytest.fixture
def comparison(redis_server: RedisServer, tmp_path: Path) -> Iterator[Comparison]:
    """A gateway as a process, and alice's cookie."""
    lab = Lab()
    config = {
        "server": {"port": 0},
        "management": {"port": 0},
        "redis": {"url": redis_server.url},
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"demo": {"url": f"http://127.0.0.1:{lab.port}"}},
        "routes": ROUTES,
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    with GatewayProcess("serve", "--config", str(file)) as process:
        lab.gateway_port = process.port
        yield Comparison(lab, *sign_in(process.url))
        lab.close()


def sign_in(url: str) -> tuple[bytes, tuple[Field, ...]]:
    asked = urllib.request.Request(
        f"{url}/auth/login", json.dumps(ALICE).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        user, set_cookies = json.load(answer)["user"], answer.headers.get_all("Set-Cookie")
    cookie = next(line.partition(";")[0] for line in set_cookies if line.startswith("gw_session="))
    told = [
        ("User", user["id"]),
        ("Preferred-Username", "alice"),
        ("Email", user["email"]),
        ("Groups", "sales"),
        ("Usertype", "user"),
    ]
    return cookie.encode(), tuple((f"X-Forwarded-{name}".encode(), f" {value}".encode()) for name, value in told)


def test_nothing_differs_but_what_a_rule_explains_and_every_rule_is_needed(comparison: Comparison) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],  # what differs is told line by line; a smaller example tells no more
        suppress_health_check=list(HealthCheck),
    )
    @given(exchanges())
    def any_exchange(exchange: tuple[Outgoing, bool, Outgoing]) -> None:
        comparison.run(*exchange)

    for request, answer in BY_HAND:
        comparison.run(Outgoing(request), b" /in/" in request, Outgoing(answer))
    comparison.run(Outgoing(b"GET /out/ HTTP/1.1\r\nHost: a\r\n\r\n"), False, UNTIL_CLOSE)
    any_exchange()
    needless = [f"{what}: {rule.says}" for what, rules in comparison.needless.items() for rule in rules]
    assert not needless, "\n".join(["no exchange needed these rules:", *needless])


# -- the comparison itself
def read(data: bytes) -> Message:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        return read_request(Wire(theirs))


HEAD = b"POST /out/ HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\nContent-Length: 2\r\n"
ADDED = (
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: 80\r\n"
    b"X-Request-Id: an id\r\nVia: 1.1 auth-gateway\r\n\r\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"POST", b"PUT"),
        (b"/out/", b"/out"),
        (b"X: 1\r\nx: 2", b"x: 2\r\nX: 1"),
        (b"X: 1", b"x: 1"),
        (b"X: 1\r\n", b""),
        (b"X: 1\r\n", b"X: 1\r\nY:\r\n"),
        (b"x: 2", b"x: \xe9"),
        (b"ok", b"ko"),
        (b"Proto: http", b"Proto: https"),
        (b"Content-Length: 2\r\n", b""),
    ],
    ids=lambda data: data.decode("latin-1"),
)
def test_what_no_rule_explains_is_found(old: bytes, new: bytes) -> None:
    direct, seen = read(HEAD + b"\r\nok"), read((HEAD + ADDED + b"ok").replace(old, new))
    assert bool(unexplained(direct, seen, REQUESTS, Facts(direct))) is (old != new)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nok",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n",
    ],
    ids=repr,
)
def test_the_reader_takes_strict_http_alone(data: bytes) -> None:
    with pytest.raises(AssertionError):
        read(data)


def test_every_rule_names_its_source_and_no_two_say_the_same() -> None:
    for rules in TABLES.values():
        assert len({rule.says for rule in rules}) == len(rules)
        assert all(re.fullmatch(r"RFC \d{4} §[0-9.]*\d|contract, section \d", rule.source) for rule in rules)
