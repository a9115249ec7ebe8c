"""Who is calling, as trusted proxies tell it: tables of what they say and what it means."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.callers import Callers, as_address, as_network
from gateway.core.head import RequestHead
from gateway.errors import RequestError

PROXY = "10.0.0.1"
CALLERS = Callers(["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.200"])
Lines = list[tuple[str, str]]


def head(*lines: tuple[str, str], peer: str = PROXY) -> RequestHead:
    raw = [(b"Host", b"site.test"), *[(name.encode(), value.encode("latin-1")) for name, value in lines]]
    return RequestHead("GET", "/", (1, 1), raw, peer)


def seen(*lines: tuple[str, str], peer: str = PROXY) -> tuple[str, str]:
    """Address and scheme."""
    told = CALLERS.seen(head(*lines, peer=peer))
    return told.peer, told.scheme


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True),
        ("10.255.255.255", True),
        ("11.0.0.1", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("::10.1.2.3", False),
        ("192.0.2.200", True),
        ("192.0.2.201", False),
        ("2001:db8:ffff::7", True),
        ("2001:DB8:FFFF:0:0::7%eth0", True),
        ("2001:db8:fffe::7", False),
        ("", False),
        ("unix", False),
        ("localhost", False),
    ],
)
def test_a_proxy_is_trusted_when_it_is_listed(address: str, expected: bool) -> None:
    assert CALLERS.trusts(address) is expected
    assert CALLERS.trusts(address) is expected, "the second time it is remembered"


def test_nobody_is_trusted_by_default() -> None:
    assert not any(Callers().trusts(address) for address in ("", "127.0.0.1", "::1", "10.0.0.1"))


def test_who_comes_by_a_unix_socket_is_trusted_when_unix_is_listed() -> None:
    assert Callers(["unix"]).trusts("")
    assert Callers(["unix", "10.0.0.1"]).trusts("")
    assert not Callers(["unix"]).trusts("10.0.0.1")


def test_a_network_of_ipv4_inside_of_ipv6_is_one_of_ipv4() -> None:
    callers = Callers(["::ffff:10.0.0.0/104"])
    assert callers.trusts("10.9.9.9")
    assert callers.trusts("::ffff:10.9.9.9")
    assert not callers.trusts("11.9.9.9")


def test_thousands_of_addresses_are_judged_and_forgotten() -> None:
    assert not any(CALLERS.trusts(f"203.0.{number // 256}.{number % 256}") for number in range(10_000))
    assert CALLERS.trusts(PROXY)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("::ffff:0.0.0.0/96", "everybody"),
        ("proxy.example.org", "must be addresses"),
        ("10.0.0.0/33", "must be addresses"),
        ("10.0.0.0/", "must be addresses"),
        ("fe80::1%eth0", "zone"),
        ("", "must be addresses"),
    ],
)
def test_what_is_no_network_is_said_to_be_none(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        as_network(text)


@pytest.mark.parametrize(
    ("said", "caller"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7,10.0.0.9", "10.0.0.8"], "203.0.113.7"),
        (["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (["10.9.9.9, 203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7:51234"], "203.0.113.7"),
        (["203.0.113.7, 10.0.0.9:80"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["2001:DB8:0:0::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:443, 2001:db8:ffff::1"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, [::ffff:10.0.0.9]:80"], "203.0.113.7"),
        (["\t203.0.113.7 ,, "], "203.0.113.7"),
        ([", 203.0.113.7"], "203.0.113.7"),
        ([""], PROXY),
        ([" , "], PROXY),
        (["unknown, 203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, unknown"], PROXY),
        (["203.0.113.7, Unknown, 10.0.0.9"], "10.0.0.9"),
    ],
)
def test_the_caller_is_the_first_address_from_the_right_that_is_no_proxy(said: list[str], caller: str) -> None:
    assert seen(*[("X-Forwarded-For", value) for value in said]) == (caller, "")


BROKEN_NODES = [
    "a",
    "localhost",
    "203.0.113",
    "203.0.113.256",
    "203.0.113.07",
    "0x7f.0.0.1",
    "2130706433",
    "203.0.113.7:",
    "203.0.113.7:x",
    "203.0.113.7:65536",
    "203.0.113.7:123456",
    "203.0.113.7 203.0.113.8",
    "[203.0.113.7]",
    "[2001:db8::7",
    "2001:db8::7]",
    "[2001:db8::7]x",
    "[2001:db8::7]:",
    "fe80::1%eth0",
    "[fe80::1%25eth0]",
    "2001:db8:::7",
    "203.0.113.7/32",
    "'203.0.113.7'",
    "-",
    "é",
    "٣.0.113.7",
    "\xff\xfe",
    "unknown:x",
    "unknownx",
]


@pytest.mark.parametrize("node", BROKEN_NODES)
@pytest.mark.parametrize("form", ["{}", "{}, 203.0.113.7", "203.0.113.7, {}", "203.0.113.7, {}, 10.0.0.9"])
def test_a_list_that_cannot_be_understood_is_refused_wherever_it_is_wrong(node: str, form: str) -> None:
    said = form.format(node).encode("utf-8").decode("latin-1")
    with pytest.raises(RequestError, match="X-Forwarded-For") as caught:
        seen(("X-Forwarded-For", said))
    assert caught.value.reason.code == "bad_request"


@pytest.mark.parametrize("said", ["_hidden", '"203.0.113.7"', "for=203.0.113.7"])
def test_what_only_forwarded_may_say_is_no_word_of_x_forwarded_for(said: str) -> None:
    assert seen(("Forwarded", "for=_hidden")) == (PROXY, "")
    with pytest.raises(RequestError, match="X-Forwarded-For"):
        seen(("X-Forwarded-For", said))


def test_a_list_longer_than_any_chain_of_proxies_is_refused() -> None:
    assert seen(("X-Forwarded-For", ", ".join(["10.0.0.2"] * 64))) == ("10.0.0.2", "")
    with pytest.raises(RequestError, match="X-Forwarded-For"):
        seen(("X-Forwarded-For", ", ".join(["10.0.0.2"] * 65)))
    with pytest.raises(RequestError, match="Forwarded"):
        seen(("Forwarded", ", ".join(["for=10.0.0.2"] * 65)))


@pytest.mark.parametrize(
    ("said", "caller", "scheme"),
    [
        (["for=203.0.113.7"], "203.0.113.7", ""),
        (["For=203.0.113.7;PROTO=HTTPS"], "203.0.113.7", "https"),
        (["proto=http;by=10.0.0.1;for=203.0.113.7;host=site.test"], "203.0.113.7", "http"),
        (['for="203.0.113.7:1234"'], "203.0.113.7", ""),
        (['for="[2001:db8::7]"'], "2001:db8::7", ""),
        (['for="[2001:db8::7]:4711";proto=https'], "2001:db8::7", "https"),
        (['for="203.0.113.7:_port"'], "203.0.113.7", ""),
        (['for="[::ffff:203.0.113.7]"'], "203.0.113.7", ""),
        (["for=198.51.100.1;proto=http, for=203.0.113.7;proto=https"], "203.0.113.7", "https"),
        (["for=203.0.113.7;proto=https, for=10.0.0.9;proto=http"], "203.0.113.7", "https"),
        (["for=203.0.113.7;proto=https", "for=10.0.0.9;proto=http"], "203.0.113.7", "https"),
        (["for=10.0.0.7;proto=https, for=10.0.0.9;proto=http"], "10.0.0.7", "https"),
        (["for=203.0.113.7;proto=https, for=10.0.0.9"], "203.0.113.7", "https"),
        (["for=203.0.113.7, for=10.0.0.9;proto=https"], "203.0.113.7", ""),
        (["for=203.0.113.7, for=unknown;proto=https"], PROXY, "https"),
        (["for=203.0.113.7, for=_hidden, for=10.0.0.9"], "10.0.0.9", ""),
        (['for=203.0.113.7, for="_hidden:80"'], PROXY, ""),
        (["proto=https"], PROXY, "https"),
        (['for=203.0.113.7;ext="a, \\"b\\"; for=x";host="site.test:80"'], "203.0.113.7", ""),
        (['for="203\\.0.113.7"'], "203.0.113.7", ""),
        (["for=203.0.113.7; proto=https ,, "], "203.0.113.7", "https"),
        ([";for=203.0.113.7;;proto=https;"], "203.0.113.7", "https"),
        ([""], PROXY, ""),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(said: list[str], caller: str, scheme: str) -> None:
    assert seen(*[("Forwarded", value) for value in said]) == (caller, scheme)


@pytest.mark.parametrize(
    "said",
    [
        *[f'for="{node}"' for node in BROKEN_NODES],
        "for",
        "for=",
        "=203.0.113.7",
        "for =203.0.113.7",
        "for= 203.0.113.7",
        "for=203.0.113.7 proto=https",
        "for=203.0.113.7:80",
        "for=[2001:db8::7]",
        'for="203.0.113.7',
        'for="203.0.113.7"x',
        'for=""',
        "for=203.0.113.7;for=203.0.113.7",
        "for=203.0.113.7;proto=ftp",
        "for=203.0.113.7;proto=https;Proto=http",
        'for=203.0.113.7;host="a b"',
        'for=203.0.113.7;host="evil.test/path"',
        "203.0.113.7",
        "for=203.0.113.7, x",
        'for="203.0.113.7\\"',
    ],
)
def test_a_forwarded_that_cannot_be_understood_is_refused(said: str) -> None:
    with pytest.raises(RequestError, match="Forwarded cannot") as caught:
        seen(("Forwarded", said.encode("utf-8").decode("latin-1")))
    assert caught.value.reason.code == "bad_request"


def test_two_lists_that_agree_are_one_and_two_that_do_not_are_refused() -> None:
    listed = ("X-Forwarded-For", "198.51.100.1, 203.0.113.7")
    assert seen(listed, ("Forwarded", "for=203.0.113.7;proto=https")) == ("203.0.113.7", "https")
    assert seen(listed, ("Forwarded", "")) == ("203.0.113.7", "")
    assert seen(("X-Forwarded-For", ""), ("Forwarded", "for=203.0.113.7")) == ("203.0.113.7", "")
    for other in ("for=203.0.113.8", "for=unknown", "for=10.0.0.9"):
        with pytest.raises(RequestError, match="X-Forwarded-For and Forwarded"):
            seen(listed, ("Forwarded", other))


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        (["https"], "https"),
        (["HTTP"], "http"),
        (["https, https"], "https"),
        (["https", " https"], "https"),
        (["wss"], "https"),
        (["ws"], "http"),
        (["wss, https"], "https"),
    ],
)
def test_the_scheme_is_http_or_https(said: list[str], scheme: str) -> None:
    assert seen(*[("X-Forwarded-Proto", value) for value in said]) == (PROXY, scheme)


@pytest.mark.parametrize(
    "said", ["", "ftp", "https:", "https, http", "http, wss", "https,", "javascript", "é", "h ttp"]
)
def test_another_scheme_or_two_of_them_are_refused(said: str) -> None:
    with pytest.raises(RequestError, match="X-Forwarded-Proto cannot"):
        seen(("X-Forwarded-Proto", said))


def test_two_headers_with_two_schemes_are_refused() -> None:
    assert seen(("X-Forwarded-Proto", "https"), ("Forwarded", "for=203.0.113.7;proto=https"))[1] == "https"
    with pytest.raises(RequestError, match="X-Forwarded-Proto and Forwarded"):
        seen(("X-Forwarded-Proto", "https"), ("Forwarded", "for=203.0.113.7;proto=http"))


def test_what_proxies_say_of_hosts_and_ports_is_not_believed() -> None:
    lines = [("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Port", "1"), ("X-Real-IP", "198.51.100.1")]
    assert seen(*lines, ("X_Forwarded_For", "198.51.100.1")) == (PROXY, "")


def test_a_shared_head_is_judged_once_and_stays_what_it_was() -> None:
    shared = head(("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"))
    shared.is_shared = True
    told = CALLERS.seen(shared)
    assert CALLERS.seen(shared) is told
    assert (told.peer, told.scheme, told.is_shared) == ("203.0.113.7", "https", True)
    assert (shared.peer, shared.scheme) == (PROXY, ""), (
        "whoever sends the same bytes and is no proxy must not get these"
    )


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(st.lists(ADDRESSES, min_size=1, max_size=8), st.integers(0, 5))
def test_whatever_a_client_claims_the_caller_is_whom_the_nearest_proxy_names(claims: list[str], hops: int) -> None:
    chain = [*claims, "203.0.113.7", *[f"10.0.0.{hop}" for hop in range(hops)]]
    assert seen(("X-Forwarded-For", ", ".join(chain)))[0] == "203.0.113.7"
    elements = [f'for="[{one}]"' if ":" in one else f"for={one}" for one in chain]
    assert seen(("Forwarded", ",".join(elements)))[0] == "203.0.113.7"


@given(
    st.sampled_from(["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"]), st.text(st.characters(max_codepoint=255))
)
def test_anything_is_understood_or_refused_and_every_caller_is_an_address(name: str, said: str) -> None:
    try:
        address, scheme = seen((name, said))
    except RequestError:
        return
    assert as_address(address) is not None
    assert scheme in ("", "http", "https")


@pytest.mark.parametrize(
    "said", [" " * 16000 + "x", 'for="' + "\\" * 15999, "for=a;" * 2600, ("for=" + "a" * 60) * 250]
)
def test_a_long_header_is_judged_in_no_time(said: str) -> None:
    started = time.process_time()
    for name in ("X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"):
        with pytest.raises(RequestError):
            seen((name, said))
    assert time.process_time() - started < 0.5
