"""Where somebody may be sent after signing in: a place on this site, however it is spelled (P40 to P45)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.redirects import MAX_LENGTH, path_of_same_origin, safe_next, same_origin, with_next
from tests.core.tables import table

SITE = "http://site.test"

LEAVES_THE_SITE = {
    "empty": "",
    "relative": "orders",
    "query only": "?next=/",
    "fragment only": "#",
    "absolute": "https://evil.example/",
    "absolute, even to ourselves": "http://site.test/",
    "scheme without slashes (Django)": "https:evil.example",
    "scheme with one slash": "https:/evil.example",
    "scheme with three slashes": "https:///evil.example",
    "script": "javascript:alert(1)",
    "data": "data:text/html,x",
    "P40 two slashes": "//evil.example",
    "P40 three slashes": "///evil.example",
    "P40 two slashes and the origin the parser is given": "//site.invalid/orders",
    "P40 four slashes": "////evil.example",
    "P40 slash backslash": "/\\evil.example",
    "P40 backslash slash": "\\/evil.example",
    "P40 two backslashes": "\\\\evil.example",
    "P40 slash tab slash": "/\t/evil.example",
    "P40 two slashes and a tab": "//\tevil.example",
    "P40 sibling domain": "evilsite.test",
    "P41 backslash inside": "/a\\..\\evil",
    "P42 dots behind two slashes": "//evil.example/..",
    "P42 dots and a way back": "//evil.example/%2e%2e",
    "P43 https evil": "https://evil",
    "P44 userinfo": "//site.test@evil.example",
    "P44 userinfo with a scheme": "http://site.test@evil.example/",
    "P45 taken as is": "http://evil.example",
    "Django 1, tab": "/\t/evil.example/x",
    "Django 2, line feed": "/\n/evil.example",
    "Django 3, carriage return": "/\r/evil.example",
    "Django 4, tab behind": "/a\t",
    "Django 5, tab before": "\t//evil.example",
    "Django 6, blank before": " //evil.example",
    "Django 7, NUL before": "\0//evil.example",
    "Django 8, C0 control before": "\x1f//evil.example",
    "CR LF and a header": "/a\r\nSet-Cookie: x=1",
    "blank": "/a b",
    "DEL": "/a\x7f",
    "dot, two slashes": "/.//evil.example",
    "encoded dot, two slashes": "/%2e//evil.example",
    "encoded dots, two slashes": "/%2e/%2e//evil.example",
    "up, two slashes": "/..//evil.example",
    "encoded up, two slashes": "/%2e%2e//evil.example",
    "half encoded up, two slashes": "/.%2E//evil.example",
    "in and out, two slashes": "/a/..//evil.example",
    "in and encoded out, two slashes": "/a/%2e%2e//evil.example",
    "a lone surrogate": "/a\udcff",
    "the first surrogate": "/\ud800",
    "the last surrogate": "/\udfff",
    "longer than any page": "/" + "a" * MAX_LENGTH,
    "longer than any page once encoded": "/" + "订" * (MAX_LENGTH // 9 + 1),
    "full-width slashes before": "／／evil.example",
}


@pytest.mark.parametrize("value", table(LEAVES_THE_SITE))
def test_a_place_that_is_not_plainly_on_this_site_is_none(value: str) -> None:
    assert safe_next(value) is None


STAYS = {
    "root": ("/", "/"),
    "page": ("/orders?a=b&c=%2F#top", "/orders?a=b&c=%2F#top"),
    "two slashes further in": ("/a//b", "/a//b"),
    "two slashes in the query": ("/a?next=//evil.example", "/a?next=//evil.example"),
    "address in the query": ("/a?next=https://evil.example", "/a?next=https://evil.example"),
    "two slashes in the fragment": ("/#//evil.example", "/#//evil.example"),
    "dots are resolved": ("/a/./b/../c", "/a/c"),
    "encoded dots are resolved": ("/a/%2e%2e/c", "/c"),
    "dots above the root": ("/../../x", "/x"),
    "userinfo that is a name": ("/@evil.example", "/@evil.example"),
    "scheme that is a name": ("/https://evil.example", "/https://evil.example"),
    "encoded tab": ("/%09/evil.example", "/%09/evil.example"),
    "encoded slash": ("/%2f/evil.example", "/%2f/evil.example"),
    "encoded backslash": ("/%5cevil.example", "/%5cevil.example"),
    "encoded twice": ("/%252f%252fevil.example", "/%252f%252fevil.example"),
    "encoded line break": ("/a%0d%0aSet-Cookie:x", "/a%0d%0aSet-Cookie:x"),
    "Chinese": ("/订单", "/%E8%AE%A2%E5%8D%95"),
    "full-width slash is a name": ("/／evil.example", "/%EF%BC%8Fevil.example"),
    "ideographic full stop is a name": ("/。。/evil", "/%E3%80%82%E3%80%82/evil"),
    "markup is encoded": ('/"><script>', "/%22%3E%3Cscript%3E"),
    "as long as allowed": ("/" + "a" * (MAX_LENGTH - 1), "/" + "a" * (MAX_LENGTH - 1)),
}


@pytest.mark.parametrize(("value", "place"), table(STAYS))
def test_a_place_on_this_site_comes_back_in_the_parsers_spelling(value: str, place: str) -> None:
    assert safe_next(value) == place


OWN = {
    "prefix": ("/auth", None),
    "prefix with a slash": ("/auth/", None),
    "page": ("/auth/login", None),
    "page with a query": ("/auth/login?next=/x", None),
    "prefix with a query": ("/auth?x", None),
    "prefix with a fragment": ("/auth#x", None),
    "by dots": ("/a/../auth/login", None),
    "by encoded dots": ("/%2e/auth/login", None),
    "letter encoded": ("/%61uth/login", None),
    "slash encoded": ("/auth%2Flogin", None),
    "all encoded": ("/%61%75%74%68%2flogin", None),
    "another name that begins alike": ("/authors", "/authors"),
    "below another": ("/a/auth/login", "/a/auth/login"),
    "in the query only": ("/?/auth/login", "/?/auth/login"),
    "my account": ("/auth/account", "/auth/account"),
    "my account, with a query": ("/auth/account?lang=zh", "/auth/account?lang=zh"),
    "my password": ("/auth/password", "/auth/password"),
    "my account, by dots": ("/auth/x/../account", "/auth/account"),
    "my account with a slash": ("/auth/account/", None),
    "below my account": ("/auth/account/x", None),
    "my account, a letter encoded": ("/auth/%61ccount", None),
    "my account, its slash encoded": ("/auth%2Faccount", None),
    "another name that begins like it": ("/auth/accounts", None),
    "account of somebody else's prefix": ("/account", "/account"),
}


@pytest.mark.parametrize(("value", "place"), table(OWN))
def test_of_our_own_pages_only_my_account_and_my_password_are_places_to_come_back_to(
    value: str, place: str | None
) -> None:
    assert safe_next(value, "/auth") == place


def test_without_a_prefix_every_page_may_be_come_back_to() -> None:
    assert safe_next("/auth/login") == "/auth/login"


PIECES = "/ / // /// \\ . .. %2e %2E %2f %5c %09 \t \r \n \0 evil.example @ : ? # https: ; % & é 。 ／ \u200b auth a b"
VALUES = st.one_of(
    st.text(),
    st.text().map("/".__add__),
    st.lists(st.sampled_from(PIECES.split(" "))).map("".join),
    st.lists(st.sampled_from(PIECES.split(" "))).map(lambda pieces: "/" + "".join(pieces)),
)


@given(VALUES)
def test_whatever_comes_back_stays_on_the_origin_however_often_it_is_resolved(value: str) -> None:
    place = safe_next(value, "/auth")
    if place is None:
        return
    assert place[0] == "/"
    assert place[1:2] not in ("/", "\\")
    assert place.isascii()
    assert place.isprintable()
    first = ada_url.URL(place, base=SITE)
    second = ada_url.URL(first.pathname + first.search + first.hash, base=first.href)
    assert first.origin == second.origin == SITE
    assert first.href == second.href == SITE + place
    assert urlsplit(place)[:2] == ("", ""), "another parser sees an authority"
    assert safe_next(place, "/auth") == place, "checked on the way out, and again on the way in"


@given(st.from_regex(r"(/[a-z0-9~_-]+)+(\?[a-z0-9=&/]+)?", fullmatch=True).filter(lambda text: "/auth" not in text))
def test_an_ordinary_page_is_never_refused(value: str) -> None:
    if len(value) <= MAX_LENGTH:
        assert safe_next(value, "/auth") == value


ORIGINS = {
    "the same": ("http://site.test", "http://site.test", True),
    "with a path": ("http://site.test/a?b#c", "http://site.test", True),
    "default port spelled out": ("http://site.test:80/", "http://site.test", True),
    "host in capitals": ("http://SITE.test/", "http://site.test", True),
    "userinfo does not count": ("http://a:b@site.test/", "http://site.test", True),
    "full-width letters are the same host": ("http://ｓite.test/", "http://site.test", True),
    "other scheme": ("https://site.test/", "http://site.test", False),
    "other port": ("http://site.test:8080/", "http://site.test", False),
    "subdomain": ("http://www.site.test/", "http://site.test", False),
    "parent domain": ("http://test/", "http://site.test", False),
    "ours as a name of theirs": ("http://site.test.evil.example/", "http://site.test", False),
    "theirs before ours": ("http://evilsite.test/", "http://site.test", False),
    "ours as userinfo": ("http://site.test@evil.example/", "http://site.test", False),
    "null": ("null", "http://site.test", False),
    "both null": ("null", "null", False),
    "both opaque": ("data:a", "data:a", False),
    "both files": ("file:///a", "file:///a", False),
    "empty": ("", "http://site.test", False),
    "garbage": ("http://[", "http://site.test", False),
    "bytes that are no text": ("http://site.test/\udcff", "http://site.test", False),
    "our own is garbage": ("http://site.test/", "http://a b", False),
    "both garbage": ("http://", "http://", False),
}


@pytest.mark.parametrize(("value", "origin", "same"), table(ORIGINS))
def test_an_origin_is_scheme_host_and_port_and_nothing_less(value: str, origin: str, same: bool) -> None:
    assert same_origin(value, origin) is same
    assert (path_of_same_origin(value, origin) is not None) is same


def test_the_path_of_a_page_of_ours_has_its_query_and_not_its_fragment() -> None:
    assert path_of_same_origin("http://u:p@site.test/a/../b?c=d#e", SITE) == "/b?c=d"


NEXT = {
    "path": "/orders",
    "query": "/orders?a=b&next=/x",
    "fragment": "/orders#x",
    "escapes": "/%2F%25",
    "plus": "/a+b",
}


@pytest.mark.parametrize("place", table(NEXT))
def test_the_place_is_one_value_of_the_sign_in_pages_query(place: str) -> None:
    page = with_next("/auth/login", place)
    assert page.startswith("/auth/login?next=%2F")
    assert parse_qs(urlsplit(page).query) == {"next": [place]}
