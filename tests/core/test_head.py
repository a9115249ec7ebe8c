"""What no route may see: Host, versions, framing, expectations, decided from the head alone."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.head import check_head, is_host
from gateway.errors import RequestError
from tests.core.tables import head, table

HOSTS = {
    "name": ("site.test", True),
    "P13 name in capitals": ("EXAMPLE.com", True),
    "one label": ("localhost", True),
    "trailing dot": ("site.test.", True),
    "underscore": ("my_host", True),
    "port": ("site.test:8080", True),
    "empty port (RFC 3986 §3.2.3)": ("site.test:", True),
    "highest port": ("site.test:65535", True),
    "IPv4": ("127.0.0.1:80", True),
    "IPv6": ("[::1]", True),
    "IPv6 with a port": ("[2001:db8::1]:443", True),
    "IPv6 with an empty port": ("[::1]:", True),
    "IPv4 in IPv6": ("[::ffff:127.0.0.1]", True),
    "escape": ("%73ite.test", True),
    "empty": ("", False),
    "port alone": (":80", False),
    "A5 blank inside": ("site test", False),
    "A5 blank before": (" site.test", False),
    "A5 blank behind": ("site.test ", False),
    "tab": ("site\ttest", False),
    "line feed behind": ("site.test\n", False),
    "slash": ("site.test/a", False),
    "backslash": ("site.test\\a", False),
    "userinfo": ("user@site.test", False),
    "query": ("site.test?a", False),
    "fragment": ("site.test#a", False),
    "scheme": ("http://site.test", False),
    "quote": ('site"test', False),
    "markup": ("<b>", False),
    "pipe": ("a|b", False),
    "A11 bytes that are no text": ("site\udcff", False),
    "non-ASCII": ("sité.test", False),
    "broken escape": ("site%test", False),
    "escape cut short": ("site%2", False),
    "lone percent": ("%", False),
    "port of letters": ("site.test:http", False),
    "port too large": ("site.test:65536", False),
    "port of six digits": ("site.test:000080", False),
    "port of a thousand digits": ("site.test:" + "1" * 1000, False),
    "port with a sign": ("site.test:+80", False),
    "port with a blank": ("site.test: 80", False),
    "port of other digits": ("site.test:٨٠", False),
    "two ports": ("site.test:80:80", False),
    "IPv6 without brackets": ("::1", False),
    "IPv6 without an end": ("[::1", False),
    "brackets with nothing": ("[]", False),
    "brackets with a name": ("[site]", False),
    "brackets with colons": ("[:::]", False),
    "brackets with dots": ("[....]", False),
    "brackets with one group": ("[abcd]", False),
    "IPv6 with a zone": ("[fe80::1%25eth0]", False),
    "text behind the bracket": ("[::1]evil", False),
    "bad port behind the bracket": ("[::1]:x", False),
}


@pytest.mark.parametrize(("value", "good"), table(HOSTS))
def test_a_host_is_a_name_or_an_address_and_a_port(value: str, good: bool) -> None:
    assert is_host(value) is good


@pytest.mark.parametrize(("value", "good"), table(HOSTS))
def test_a_request_is_refused_for_its_host_alone(value: str, good: bool) -> None:
    assert code_of(host=value) == (None if good else "bad_request")


def code_of(**changes: Any) -> str | None:
    try:
        check_head(head(**changes))
    except RequestError as error:
        return error.reason.code
    return None


JUDGED = {
    "plain": ({}, None),
    "any method": ({"method": "PROPFIND"}, None),
    "P84 CONNECT": ({"method": "CONNECT"}, "method_not_allowed"),
    "A3 version 0.9": ({"version": (0, 9)}, "bad_version"),
    "A3 version 1.2": ({"version": (1, 2)}, "bad_version"),
    "A3 version 2.0": ({"version": (2, 0)}, "bad_version"),
    "A3 version 3.0": ({"version": (3, 0)}, "bad_version"),
    "version 1.0": ({"version": (1, 0)}, None),
    "version 1.0 without Host": ({"version": (1, 0), "host": None}, None),
    "version 1.0 with a bad Host": ({"version": (1, 0), "host": "a b"}, "bad_request"),
    "D9 version 1.1 without Host": ({"host": None}, "bad_request"),
    "D9 two hosts": ({"headers": [("Host", "evil.example")]}, "bad_request"),
    "D9 the same host twice": ({"headers": [("host", "site.test")]}, "bad_request"),
    "D9 two hosts on 1.0": ({"version": (1, 0), "headers": [("HOST", "evil.example")]}, "bad_request"),
    "A4 D6 chunked on 1.0": ({"version": (1, 0), "headers": {"Transfer-Encoding": "chunked"}}, "bad_request"),
    "A4 D6 chunked on 1.0, other case": ({"version": (1, 0), "headers": {"transfer-encoding": ""}}, "bad_request"),
    "chunked on 1.1": ({"headers": {"Transfer-Encoding": "chunked"}}, None),
    "D13 continue": ({"headers": {"Expect": "100-continue"}}, None),
    "D13 continue, other case": ({"headers": {"Expect": "100-Continue"}}, None),
    "other expectation": ({"headers": {"Expect": "200-ok"}}, "expectation_failed"),
    "empty expectation": ({"headers": {"Expect": ""}}, "expectation_failed"),
    "two expectations in one": ({"headers": {"Expect": "100-continue, x"}}, "expectation_failed"),
    "another expectation first": (
        {"headers": [("Expect", "x"), ("Expect", "100-continue")]},
        "expectation_failed",
    ),
    "another expectation behind": (
        {"headers": [("Expect", "100-continue"), ("Expect", "x")]},
        "expectation_failed",
    ),
    "continue twice": ({"headers": [("Expect", "100-continue"), ("Expect", "100-continue")]}, None),
}


@pytest.mark.parametrize(("changes", "code"), table(JUDGED))
def test_a_head_is_judged_before_any_rule(changes: dict[str, Any], code: str | None) -> None:
    assert code_of(**changes) == code
