"""Which names the site answers to."""

from __future__ import annotations

import pytest

from gateway.core.hosts import Hosts, is_pattern

HOSTS = Hosts(["www.Example.org", "*.shop.example.org", "api.example.org:8443", "[2001:DB8:0::7]", "192.0.2.7"])


@pytest.mark.parametrize(
    "host",
    [
        "www.example.org",
        "WWW.EXAMPLE.ORG",
        "www.example.org.",
        "www.example.org:8080",
        "www.example.org:",
        "a.shop.example.org",
        "A.B.Shop.example.org:443",
        "api.example.org:8443",
        "[2001:db8::7]",
        "[2001:db8:0:0::7]:8080",
        "192.0.2.7",
    ],
)
def test_a_listed_name_is_allowed_however_it_is_spelled(host: str) -> None:
    assert HOSTS.allows(host)
    assert HOSTS.allows(host), "the second time it is remembered"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.org",
        "evil.test",
        "xwww.example.org",
        "www.example.org.evil.test",
        "www.example.org..",
        "shop.example.org",
        ".shop.example.org",
        "..shop.example.org",
        "a..shop.example.org",
        "evilshop.example.org",
        "evil.test%23.shop.example.org",
        "a@b.shop.example.org",
        "*.shop.example.org",
        "api.example.org",
        "api.example.org:443",
        "[2001:db8::8]",
        "192.0.2.70",
    ],
)
def test_any_other_name_is_not(host: str) -> None:
    assert not HOSTS.allows(host)


def test_the_port_of_a_scheme_is_one_that_browsers_leave_out() -> None:
    hosts = Hosts(["example.org:443"])
    assert hosts.allows("example.org")
    assert hosts.allows("example.org:443")
    assert not hosts.allows("example.org:80")


def test_no_names_are_no_rule() -> None:
    assert not Hosts()
    assert HOSTS


@pytest.mark.parametrize(
    "text", ["www.example.org", "*.example.org", "a:80", "[::1]", "[::1]:80", "192.0.2.7", "a_b.test"]
)
def test_a_name_and_one_with_a_star_at_its_start_can_be_listed(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "a.*.b",
        "*a.test",
        "*.*.test",
        "http://a",
        "a/b",
        "a b",
        "*.[::1]",
        "[::1",
        "a:b",
        ":80",
        "*.a%41",
    ],
)
def test_nothing_else_can_be_listed(text: str) -> None:
    assert not is_pattern(text)
