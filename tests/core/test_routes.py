"""Which rule a path falls under: default deny, boundaries, the longest wins (P14, P22)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import Access
from gateway.core.paths import parse_target
from gateway.core.routes import Route, RouteTable
from gateway.errors import RequestError
from tests.core.tables import table


def routes(*paths: str) -> RouteTable:
    return RouteTable([Route(path, "backend", Access()) for path in paths])


def matched(rules: RouteTable, path: str) -> str | None:
    route = rules.match(path)
    return route.path if route else None


DEMO = ("/", "/public/", "/mgr/", "/mgr/sign.html", "/mgr/deep/er/", "/api/v1", "/订单/")
MATCHES = {
    "root": ("/", "/"),
    "anything below the root": ("/x/y", "/"),
    "subtree": ("/mgr/x", "/mgr/"),
    "subtree with its slash": ("/mgr/", "/mgr/"),
    "subtree without its slash": ("/mgr", "/mgr/"),
    "deep in a subtree": ("/mgr/a/b/c/d/e/f/g", "/mgr/"),
    "exact beats the subtree it lies in": ("/mgr/sign.html", "/mgr/sign.html"),
    "exact and a slash is another path": ("/mgr/sign.html/", "/mgr/"),
    "exact and more is another path": ("/mgr/sign.htmlx", "/mgr/"),
    "below an exact path is another path": ("/api/v1/x", "/"),
    "exact": ("/api/v1", "/api/v1"),
    "longest subtree": ("/mgr/deep/er/x", "/mgr/deep/er/"),
    "longest subtree without its slash": ("/mgr/deep/er", "/mgr/deep/er/"),
    "half of a longer subtree": ("/mgr/deep", "/mgr/"),
    "P14 subtree and a letter": ("/mgrx", "/"),
    "P14 public and a letter": ("/publicx", "/"),
    "P14 public and a dash": ("/public-admin", "/"),
    "P14 deep boundary": ("/mgr/deep/erx/y", "/mgr/"),
    "P22 public as a folder of another": ("/evil/public", "/"),
    "P22 public and a suffix": ("/public.evil", "/"),
    "P22 public twice": ("/x/public/", "/"),
    "case counts": ("/MGR/x", "/"),
    "not ASCII": ("/订单/7", "/订单/"),
    "bytes that are no text": ("/\udcff", "/"),
    "asterisk is no path": ("*", None),
    "empty is no path": ("", None),
    "relative is no path": ("mgr/x", None),
}


@pytest.mark.parametrize(("path", "rule"), table(MATCHES))
def test_a_path_falls_under_the_longest_rule_that_covers_it(path: str, rule: str | None) -> None:
    assert matched(routes(*DEMO), path) == rule
    assert matched(routes(*reversed(DEMO)), path) == rule, "the order of the rules does not count"


DENIED = {
    "no rules": ((), "/"),
    "no rules, a path": ((), "/a"),
    "beside a subtree": (("/a/",), "/b"),
    "above a subtree": (("/a/b/",), "/a"),
    "root above a subtree": (("/a/",), "/"),
    "P14 boundary": (("/a/",), "/ab"),
    "P14 boundary, deep": (("/a/",), "/ab/c"),
    "below an exact path": (("/a",), "/a/b"),
    "exact path with a slash": (("/a",), "/a/"),
    "beginning of a longer path": (("/abc/",), "/ab"),
}


@pytest.mark.parametrize(("paths", "path"), table(DENIED))
def test_without_a_rule_there_is_no_way(paths: tuple[str, ...], path: str) -> None:
    assert matched(routes(*paths), path) is None


@pytest.mark.parametrize("path", ["/", "/a", "/a/"])
def test_two_routes_with_one_path_are_an_error_that_names_it(path: str) -> None:
    with pytest.raises(ValueError, match=f"the path {path}$"):
        routes("/b", path, "/c/", path)


def test_a_path_may_have_a_rule_for_itself_and_one_for_what_lies_below() -> None:
    both = routes("/a", "/a/")
    assert [matched(both, path) for path in ("/a", "/a/", "/a/b")] == ["/a", "/a/", "/a/"]


def naive(paths: list[str], path: str) -> str | None:
    """The rule as the docs say it, tried on every route."""
    if path in paths and not path.endswith("/"):
        return path
    covering = [rule for rule in paths if rule.endswith("/") and (path + "/").startswith(rule)]
    return max(covering, key=len, default=None)


PATHS = st.lists(st.sampled_from(["a", "b", "ab", "é"]), max_size=4).flatmap(
    lambda names: st.sampled_from(["/" + "/".join(names), "/" + "".join(f"{name}/" for name in names)])
)


@given(st.lists(PATHS, unique=True, max_size=8), PATHS)
def test_the_table_agrees_with_trying_every_route(paths: list[str], path: str) -> None:
    assert matched(routes(*paths), path) == naive(paths, path)


def test_a_path_of_slashes_costs_no_more_than_its_rules_are_long() -> None:
    rules = routes("/", "/mgr/", "/mgr/deep/er/")
    path = "/a" * 100_000
    started = time.process_time()
    assert matched(rules, path) == "/"
    assert matched(rules, "/mgr" + path) == "/mgr/"
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/admin?x", False),
        ("/admin#", False),
        ("/admin/a?b", True),
        ("/wiki/What?", True),
        ("/exact?", False),
        ("/c#/d?e", True),
    ],
)
def test_an_encoded_mark_may_not_hide_a_path_of_another_rule(path: str, passes: bool) -> None:
    """P4: /admin%3fx is a name to us; a backend that decodes before it looks for the query reads /admin."""
    rules = [Route(p, "app", Access()) for p in ("/", "/admin/", "/exact")]
    if passes:
        assert RouteTable(rules).match(path) is not None
        return
    with pytest.raises(RequestError) as caught:
        RouteTable(rules).match(path)
    assert caught.value.reason.code == "ambiguous_path"


ENCODED_SLASH = {
    "below one rule": ("/api/projects/group%2Fproject", "/api/"),
    "a name that is a slash": ("/api/queues/%2F/jobs", "/api/"),
    "at the end": ("/api/x%2f", "/api/"),
    "no slash at all": ("/api/x", "/api/"),
    "in the query only": ("/x?a%2fb", "/"),
    "a strict rule when it is a slash": ("/api/admin%2fx", None),
    "a strict rule when slashes are merged": ("/api/%2fadmin/x", None),
    "a strict rule when it is none": ("/api/admin/x%2fy", None),
    "exact rule when it is a slash": ("/api/one%2fexact", None),
    "the rule itself only when it is a slash": ("/api%2fx", None),
    "where no rule wants it": ("/x%2fy", None),
}


@pytest.mark.parametrize(("target", "rule"), table(ENCODED_SLASH))
def test_an_encoded_slash_passes_where_every_reading_is_one_route_s_that_wants_it(
    target: str, rule: str | None
) -> None:
    table_of = RouteTable(
        [
            Route("/", "backend", Access()),
            Route("/api/", "backend", Access(), encoded_slash="pass"),
            Route("/api/admin/", "backend", Access()),
            Route("/api/one/exact", "backend", Access(), encoded_slash="pass"),
        ]
    )
    if rule is None:
        with pytest.raises(RequestError) as raised:
            table_of.find(parse_target(target, encoded_slash=table_of.pass_encoded_slash))
        assert (raised.value.reason.code, raised.value.parts["what"]) == ("ambiguous_path", "an encoded slash")
    else:
        found = table_of.find(parse_target(target, encoded_slash=table_of.pass_encoded_slash))
        assert found is not None
        assert found.path == rule


def test_only_a_table_with_such_a_route_reads_on() -> None:
    assert not routes("/", "/api/").pass_encoded_slash
