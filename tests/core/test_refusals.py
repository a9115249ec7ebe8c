"""What a refusal looks like: status, ``Location``, ``redirect``, headers and words, row by row of the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusals import Refusal, Site, next_page, refuse, refuse_for
from gateway.core.routes import RefusalRules
from gateway.errors import REASONS, RequestError, StoreUnavailable, UpstreamError
from tests.core.tables import BROWSER, head, table

SITE = Site("http://site.test")
PAGE = {"Accept": BROWSER}
SIGN_IN = "/auth/login?next=%2Forders"
HOME = "/auth/login?next=%2F"
NOT_SIGNED_IN = [
    "no_session",
    "unknown_session",
    "expired_idle",
    "expired_absolute",
    "expired_age",
    "revoked",
    "replaced",
]
FORBIDDEN = ["wrong_usertype", "wrong_group", "rights_changed"]
PARTS = {"wanted": "mgr", "what": "x", "field": "f", "method": "PUT", "limit": "9", "size": "10", "got": "text/x"}


def refusal(code: str, rules: RefusalRules | None = None, site: Site = SITE, **asked: Any) -> Refusal:
    return refuse(head(**asked), site, code, rules=rules or RefusalRules(), **PARTS)


RULES = {
    "as it is": RefusalRules(),
    "own page": RefusalRules(redirect="/mgr/sign.html"),
    "401": RefusalRules(status=401),
    "403": RefusalRules(forbidden=403),
    "401 and 403": RefusalRules(status=401, forbidden=403),
}

BY_TOKEN = {"bad_token": 'Bearer error="invalid_token"', "insufficient_scope": 'Bearer error="insufficient_scope"'}
SECTION_1 = {
    # situation: (codes, rules, a page load?, status, Location, redirect)
    "not signed in, page load": (NOT_SIGNED_IN, "as it is", True, 302, SIGN_IN, SIGN_IN),
    "not signed in, anything else": (NOT_SIGNED_IN, "as it is", False, 302, None, HOME),
    "not signed in, own page, page load": (NOT_SIGNED_IN, "own page", True, 302, "/mgr/sign.html", "/mgr/sign.html"),
    "not signed in, own page, anything else": (NOT_SIGNED_IN, "own page", False, 302, None, "/mgr/sign.html"),
    "not signed in, 401, page load": (NOT_SIGNED_IN, "401", True, 401, None, SIGN_IN),
    "not signed in, 401, anything else": (NOT_SIGNED_IN, "401", False, 401, None, HOME),
    "not signed in, 403 is for others": (NOT_SIGNED_IN, "403", True, 302, SIGN_IN, SIGN_IN),
    "not signed in, both": (NOT_SIGNED_IN, "401 and 403", True, 401, None, SIGN_IN),
    "forbidden, page load": (FORBIDDEN, "as it is", True, 302, SIGN_IN, SIGN_IN),
    "forbidden, anything else": (FORBIDDEN, "as it is", False, 302, None, HOME),
    "forbidden, own page": (FORBIDDEN, "own page", True, 302, "/mgr/sign.html", "/mgr/sign.html"),
    "forbidden, 403, page load": (FORBIDDEN, "403", True, 403, None, SIGN_IN),
    "forbidden, 403, anything else": (FORBIDDEN, "403", False, 403, None, HOME),
    "forbidden, 401 is for others": (FORBIDDEN, "401", True, 302, SIGN_IN, SIGN_IN),
    "forbidden, both": (FORBIDDEN, "401 and 403", False, 403, None, HOME),
    "bad token, page load": (["bad_token"], "as it is", True, 401, None, SIGN_IN),
    "bad token, anything else": (["bad_token"], "own page", False, 401, None, "/mgr/sign.html"),
    "good token, too few rights, page load": (["insufficient_scope"], "as it is", True, 403, None, SIGN_IN),
    "good token, too few rights, anything else": (["insufficient_scope"], "401 and 403", False, 403, None, HOME),
    "outage, page load": (["store_unavailable"], "401 and 403", True, 503, None, None),
    "outage, anything else": (["store_unavailable"], "own page", False, 503, None, None),
}


@pytest.mark.parametrize(("codes", "rules", "page", "status", "location", "redirect"), table(SECTION_1))
def test_every_row_of_the_contracts_first_section_is_kept(
    codes: list[str], rules: str, page: bool, status: int, location: str | None, redirect: str | None
) -> None:
    for code in codes:
        made = refusal(code, RULES[rules], headers=PAGE if page else {})
        assert (made.status, made.location, made.redirect) == (status, location, redirect)
        assert made.reason.code == code
        assert made.page_load is page
        assert ("WWW-Authenticate" in made.headers) is (status == 401 or code == "insufficient_scope")
        assert ("Retry-After" in made.headers) is (status == 503)
        assert not made.close


OF_THE_WAY = sorted(REASONS.keys() - {*NOT_SIGNED_IN, *FORBIDDEN, *BY_TOKEN})


@pytest.mark.parametrize(("code", "challenge"), BY_TOKEN.items())
def test_what_is_wrong_with_a_token_is_told_in_the_words_of_rfc_6750(code: str, challenge: str) -> None:
    made = refusal(code, RefusalRules(status=401, forbidden=403))
    assert made.headers["WWW-Authenticate"] == challenge
    assert "Authorization" in made.headers["Vary"]


@pytest.mark.parametrize("code", OF_THE_WAY)
@pytest.mark.parametrize("headers", [PAGE, {}], ids=["page load", "script"])
def test_where_signing_in_does_not_help_nobody_is_sent_anywhere(code: str, headers: dict[str, str]) -> None:
    made = refusal(code, RefusalRules("/mgr/sign.html?{next}", 401, 403), headers=headers)
    assert (made.status, made.redirect, made.location) == (REASONS[code].status, None, None)
    assert "redirect" not in made.body("01J")


@pytest.mark.parametrize("code", REASONS)
def test_every_refusal_is_kept_by_no_cache_and_every_401_names_a_scheme_without_a_dialog(code: str) -> None:
    for rules in RULES.values():
        made = refusal(code, rules)
        assert made.headers["Cache-Control"] == "no-store"
        if made.status == 401:
            assert made.headers["WWW-Authenticate"].split()[0].lower() not in ("basic", "digest", "negotiate", "ntlm")
        if made.status == 503:
            assert 1 <= int(made.headers["Retry-After"]) <= 60
        if made.status == 405:
            assert made.headers["Allow"]


@pytest.mark.parametrize("code", ["bad_request", "bad_version", "too_large", "slow_request"])
def test_a_connection_whose_framing_cannot_be_trusted_is_closed(code: str) -> None:
    assert refusal(code).close


@pytest.mark.parametrize("code", ["no_route", "ambiguous_path", "cross_site", "throttled"])
def test_a_connection_whose_request_was_whole_stays_open(code: str) -> None:
    assert not refusal(code).close


def test_the_body_is_the_same_for_everybody_and_says_who_may_help() -> None:
    script, page = refusal("no_session").body("01J"), refusal("no_session", headers=PAGE).body("01J")
    assert script == {
        "ret": 302,
        "msg": "You are not signed in",
        "redirect": HOME,
        "reason": "no_session",
        "request_id": "01J",
    }
    assert page == {**script, "redirect": SIGN_IN}
    assert refusal("no_session", RULES["401"]).body("")["ret"] == 401
    assert refusal("wrong_usertype", RULES["403"]).body("")["ret"] == 403


SPEAKS = {
    "auto, Chinese": ("auto", "zh-CN", "用户非mgr类型", "zh"),
    "auto, English": ("auto", "en", "Only users of type mgr may go there", "en"),
    "auto, neither": ("auto", "", "Only users of type mgr may go there", "en"),
    "the site's language wins": ("zh", "en", "用户非mgr类型", "zh"),
}


@pytest.mark.parametrize(("setting", "accepted", "words", "language"), table(SPEAKS))
def test_the_message_is_in_the_askers_language(setting: Any, accepted: str, words: str, language: str) -> None:
    made = refusal("wrong_usertype", site=Site(language=setting), headers={"Accept-Language": accepted})
    assert (made.message, made.language) == (words, language)


CHANGES: dict[str, dict[str, str]] = {
    "Accept": {"Accept": BROWSER},
    "Sec-Fetch-Mode": {"Sec-Fetch-Mode": "navigate"},
    "X-Requested-With": {"Accept": BROWSER, "X-Requested-With": "XMLHttpRequest"},
    "Accept-Language": {"Accept-Language": "zh"},
    "Referer": {"Referer": "http://site.test/page"},
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("code", ["no_session", "wrong_group", "no_route", "store_unavailable"])
@pytest.mark.parametrize("language", ["auto", "zh"])
def test_vary_names_every_header_that_changes_the_answer_and_the_cookie(name: str, code: str, language: Any) -> None:
    site = replace(SITE, language=language)
    headers = CHANGES[name]
    without = {key: value for key, value in headers.items() if key != name}
    first, second = refusal(code, site=site, headers=headers), refusal(code, site=site, headers=without)
    named = first.headers["Vary"].split(", ")
    assert "Cookie" in named
    assert "*" not in named
    assert first.headers["Vary"] == second.headers["Vary"], "the same, whatever was asked"
    if (first.body(""), first.location, first.page_load) != (second.body(""), second.location, second.page_load):
        assert name in named
    elif name in ("Accept-Language", "Referer"):
        assert name not in named, "it splits caches for nothing"


OWN_PAGES = {
    "verbatim": ("/mgr/sign.html", "/mgr/sign.html"),
    "verbatim with a query": ("/sign?a=b#c", "/sign?a=b#c"),
    "next": ("/sign?to={next}", "/sign?to=%2Forders%3Fa%3Db%26c%3D%252F"),
    "next twice": ("/sign?to={next}&again={next}", "/sign?to={0}&again={0}".format("%2Forders%3Fa%3Db%26c%3D%252F")),
    "next on another site": ("https://sso.test/?r={next}", "https://sso.test/?r=%2Forders%3Fa%3Db%26c%3D%252F"),
    "other braces": ("/sign?{now}", "/sign?{now}"),
}


@pytest.mark.parametrize(("redirect", "filled"), table(OWN_PAGES))
def test_a_routes_own_sign_in_page_is_told_verbatim_with_next_filled_in(redirect: str, filled: str) -> None:
    made = refusal("no_session", RefusalRules(redirect), target="/orders?a=b&c=%2F", headers=PAGE)
    assert made.redirect == made.location == filled


def came_back(**asked: Any) -> str:
    """Where the sign-in page would send somebody, read from the redirect as the page reads it."""
    redirect = refusal("no_session", **asked).redirect
    assert redirect is not None
    assert redirect.startswith("/auth/login?next=")
    return parse_qs(urlsplit(redirect).query, keep_blank_values=True)["next"][0]


PAGE_TARGETS = {
    "page": ("/orders", "/orders"),
    "query": ("/orders?a=b&next=//evil", "/orders?a=b&next=//evil"),
    "escapes": ("/%E8%AE%A2?a=%2F", "/%E8%AE%A2?a=%2F"),
    "our own page": ("/auth/login?next=/x", "/"),
    "our own prefix, encoded": ("/%61uth/login", "/"),
    "two slashes": ("//evil.example", "/"),
    "dots and two slashes": ("/.//evil.example", "/"),
    "backslash": ("/\\evil.example", "/"),
    "too long": ("/" + "a" * 4000, "/"),
    "asterisk": ("*", "/"),
    "absolute, another site": ("http://evil.example/x", "/"),
}


@pytest.mark.parametrize(("target", "place"), table(PAGE_TARGETS))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_load_comes_back_to_its_own_target(method: str, target: str, place: str) -> None:
    asked: Any = {"method": method, "target": target}
    assert came_back(**asked, headers={**PAGE, "Referer": "http://site.test/page"}) == place
    assert came_back(**asked, headers={"Sec-Fetch-Mode": "navigate"}) == place


REFERERS = {
    "a page of ours": ("http://site.test/page?a=b#c", "/page?a=b"),
    "our root": ("http://site.test", "/"),
    "none": (None, "/"),
    "empty": ("", "/"),
    "another site": ("http://evil.example/page", "/"),
    "another scheme": ("https://site.test/page", "/"),
    "another port": ("http://site.test:8080/page", "/"),
    "ours as a name of theirs": ("http://site.test.evil.example/page", "/"),
    "ours as userinfo": ("http://site.test@evil.example/page", "/"),
    "a path alone": ("/page", "/"),
    "two slashes": ("http://site.test//evil.example", "/"),
    "dots and two slashes": ("http://site.test/..//evil.example", "/"),
    "encoded dots and two slashes": ("http://site.test/%2e%2e//evil.example", "/"),
    "backslashes": ("http://site.test/\\evil.example", "/"),
    "our own sign-in page": ("http://site.test/auth/login?next=/x", "/"),
    "garbage": ("http://[", "/"),
    "bytes that are no text": ("http://site.test/\udcff", "/"),
}
SCRIPTS = {
    "fetch": {"method": "GET", "headers": {"Sec-Fetch-Mode": "cors"}},
    "XHR": {"method": "GET", "headers": {"X-Requested-With": "XMLHttpRequest", "Accept": BROWSER}},
    "POST": {"method": "POST", "headers": {"Sec-Fetch-Mode": "navigate"}},
    "POST over plain http": {"method": "POST", "headers": {"Accept": BROWSER}},
}


@pytest.mark.parametrize(("referer", "place"), table(REFERERS))
@pytest.mark.parametrize("asked", table(SCRIPTS))
def test_a_script_or_a_post_comes_back_to_the_page_it_stands_on(
    asked: dict[str, Any], referer: str | None, place: str
) -> None:
    headers = asked["headers"] if referer is None else {**asked["headers"], "Referer": referer}
    assert came_back(method=asked["method"], target="/api/x", headers=headers) == place


SITES = {
    # site.url, Host, Referer, place
    "url set, Referer of the site": ("https://site.test", "backend:80", "https://site.test/page", "/page"),
    "url set, P35 the Host is not believed": ("https://site.test", "evil.example", "https://evil.example/page", "/"),
    "url set, default port": ("https://site.test", "x", "https://site.test:443/page", "/page"),
    "url unset, Referer of the Host": (None, "site.test:8080", "http://site.test:8080/page", "/page"),
    "url unset, other port": (None, "site.test:8080", "http://site.test/page", "/"),
    "url unset, other host": (None, "site.test", "http://evil.example/page", "/"),
    "url unset, https": (None, "site.test", "https://site.test/page", "/"),
}


@pytest.mark.parametrize(("url", "host", "referer", "place"), table(SITES))
def test_our_own_origin_is_what_the_settings_say_else_the_host(
    url: str | None, host: str, referer: str, place: str
) -> None:
    assert came_back(site=Site(url), host=host, headers={"Referer": referer}) == place


def test_without_a_host_no_referer_is_ours() -> None:
    asked: Any = {"host": None, "version": (1, 0), "headers": {"Referer": "http://site.test/page"}}
    assert came_back(site=Site(None), **asked) == "/"


def test_the_prefix_of_our_own_pages_may_be_another() -> None:
    site = Site("http://site.test", prefix="/gate/way")
    assert refusal("no_session", site=site, headers=PAGE).redirect == "/gate/way/login?next=%2Forders"
    assert next_page(head(target="/gate/way/login"), site, True) == "/"
    assert next_page(head(target="/auth/login"), site, True) == "/auth/login"


@pytest.mark.parametrize(("url", "https"), [("https://site.test", True), ("http://site.test", False), (None, False)])
def test_the_site_is_https_when_its_own_url_says_so(url: str | None, https: bool) -> None:
    assert Site(url).is_https is https


@given(st.text(), st.text())
def test_next_is_always_a_place_on_this_site(target: str, referer: str) -> None:
    for method in ("GET", "POST"):
        asked = head(method, "/" + target, {**PAGE, "Referer": "http://site.test/" + referer})
        for page in (True, False):
            place = next_page(asked, SITE, page)
            assert place[0] == "/"
            assert place[1:2] not in ("/", "\\")
            assert place.isascii()


ERRORS = {
    "outage": (StoreUnavailable("10.0.0.7"), 503, None),
    "bad request": (RequestError("bad_request", what="the Host header"), 400, None),
    "backend": (UpstreamError("upstream_timeout"), 504, None),
    "no session": (RequestError("no_session"), 401, HOME),
}


@pytest.mark.parametrize(("error", "status", "redirect"), table(ERRORS))
def test_an_error_ends_as_its_refusal_and_never_drops_the_cookie(error: Any, status: int, redirect: str | None) -> None:
    made = refuse_for(head(), SITE, error, RULES["401"])
    assert (made.status, made.redirect, made.drop_cookie) == (status, redirect, False)
    assert made.reason is error.reason
    assert "10.0.0.7" not in str(made.body("")) + str(made.headers)


def test_a_cookie_is_dropped_only_when_that_was_asked_for() -> None:
    assert refuse(head(), SITE, "unknown_session", drop_cookie=True).drop_cookie
    assert not refuse(head(), SITE, "unknown_session").drop_cookie
