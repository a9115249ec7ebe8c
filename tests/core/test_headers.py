"""What passes to a backend and back: ours alone is ours, everything else keeps its bytes (P24 to P30, P38, P39)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.headers import (
    FIELDS,
    PRESETS,
    HeaderPolicy,
    Origin,
    connection_named,
    identity_headers,
    origin_headers,
    request_headers,
    response_headers,
)
from gateway.core.identity import Identity
from gateway.core.own_cookies import without_cookies
from tests.core.tables import table

OWN_COOKIES = frozenset({"gw_session", "__Host-gw_session", "gw_form"})
POLICY = HeaderPolicy(PRESETS["forwarded"], own_cookies=OWN_COOKIES)
CUSTOM = HeaderPolicy({**PRESETS["remote"], "user": "X_Legacy.User"}, own_cookies=OWN_COOKIES)
ALICE = Identity("7", "alice", "Alice", "alice@example.org", "mgr", ("sales", "it"), "file")
Pairs = list[tuple[bytes, bytes]]


def passed(*pairs: tuple[bytes, bytes], policy: HeaderPolicy = POLICY, authorization: bool = True) -> Pairs:
    return request_headers(pairs, policy, host=None, authorization=authorization)


# -- identity ----------------------------------------------------------------------------------------------------------

NAMES = {
    "forwarded": "X-Forwarded-User X-Forwarded-Preferred-Username X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Usertype",
    "remote": "Remote-User Remote-Name Remote-Email Remote-Groups Remote-Usertype",
    "auth-request": "X-Auth-Request-User X-Auth-Request-Preferred-Username X-Auth-Request-Email X-Auth-Request-Groups "
    "X-Auth-Request-Usertype",
}


@pytest.mark.parametrize(("preset", "names"), NAMES.items(), ids=NAMES)
def test_a_preset_tells_the_five_fields_under_its_own_names(preset: str, names: str) -> None:
    values = [b"7", b"alice", b"alice@example.org", b"sales,it", b"mgr"]
    told = identity_headers(ALICE, HeaderPolicy(PRESETS[preset]))
    assert told == list(zip(names.encode().split(), values, strict=True))


def test_every_preset_names_every_field_and_no_two_alike() -> None:
    assert PRESETS.keys() == NAMES.keys()
    for names in PRESETS.values():
        assert set(names) == {*FIELDS}
        assert len({name.lower() for name in names.values()}) == 5


def test_an_operators_own_name_is_told_as_it_is_written() -> None:
    assert identity_headers(ALICE, CUSTOM)[0] == (b"X_Legacy.User", b"7")


def test_p27_a_field_without_a_value_is_told_empty_and_never_left_out() -> None:
    told = identity_headers(Identity("7", "alice"), POLICY)
    assert [value for _, value in told] == [b"7", b"alice", b"", b"", b""]


def value_of(text: str, encoding: Any, field: str = "username") -> bytes:
    user = Identity("7", text, groups=(text,))
    return dict(identity_headers(user, HeaderPolicy(PRESETS["forwarded"], encoding)))[
        PRESETS["forwarded"][field].encode()
    ]


ENCODED = {
    # text: percent, utf8, latin1
    "ASCII": ("Alice O'Neil <a@b> {c}|d~e", b"Alice O'Neil <a@b> {c}|d~e", b"Alice O'Neil <a@b> {c}|d~e", None),
    "percent": ("100%", b"100%25", b"100%", None),
    "what looks encoded": ("%41", b"%2541", b"%41", None),
    "comma": ("a,b", b"a,b", b"a,b", None),
    "accent": ("Zoë", b"Zo%C3%AB", "Zoë".encode(), b"Zo\xeb"),
    "Chinese": ("爱丽丝", b"%E7%88%B1%E4%B8%BD%E4%B8%9D", "爱丽丝".encode(), b"???"),
    "emoji": ("😀", b"%F0%9F%98%80", "😀".encode(), b"?"),
    "CR LF": ("a\r\nX-Evil: 1", b"a%0D%0AX-Evil: 1", b"a??X-Evil: 1", None),
    "NUL": ("a\0b", b"a%00b", b"a?b", None),
    "tab": ("a\tb", b"a%09b", b"a?b", None),
    "DEL": ("a\x7fb", b"a%7Fb", b"a?b", None),
    "next line": ("a\x85b", b"a%C2%85b", b"a\xc2\x85b", b"a\x85b"),
    "letters whose last byte is CR and LF": ("\u010d\u010a", b"%C4%8D%C4%8A", "\u010d\u010a".encode(), b"??"),
    "a surrogate": ("a\udcff", b"a?", b"a?", None),
    "empty": ("", b"", b"", None),
}


@pytest.mark.parametrize(("text", "percent", "utf8", "latin1"), table(ENCODED))
def test_a_value_is_encoded_as_the_settings_say(text: str, percent: bytes, utf8: bytes, latin1: bytes | None) -> None:
    assert value_of(text, "percent") == percent
    assert value_of(text, "utf8") == utf8
    assert value_of(text, "latin1") == (utf8 if latin1 is None else latin1)


def test_percent_is_the_encoding_when_nothing_is_said() -> None:
    assert HeaderPolicy({}).encoding == "percent"


TEXT = st.text(st.one_of(st.sampled_from("%,\r\n\0\t\x7f\x85 ÿ\u010a\u010d\u560a\udc0a"), st.characters()))


@given(TEXT, st.sampled_from(["percent", "utf8", "latin1"]))
def test_no_control_character_survives_in_any_encoding(text: str, encoding: str) -> None:
    for field in FIELDS:
        assert not re.search(rb"[\x00-\x1f\x7f]", value_of(text, encoding, field))


@given(TEXT)
def test_a_percent_encoded_value_is_printable_ascii_and_decodes_to_what_it_was(text: str) -> None:
    value = value_of(text, "percent")
    assert re.fullmatch(rb"[\x20-\x7e]*", value)
    assert unquote(value.decode()) == text.encode("utf-8", "replace").decode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_groups_are_told_apart_by_commas_whatever_they_hold(groups: list[str]) -> None:
    told = dict(identity_headers(Identity("7", "alice", groups=tuple(groups)), POLICY))[b"X-Forwarded-Groups"]
    assert [unquote(group) for group in told.decode().split(",")] == groups


@pytest.mark.parametrize("encoding", ["percent", "utf8", "latin1"])
def test_a_comma_inside_a_group_makes_no_second_group(encoding: Any) -> None:
    assert value_of("sales,admin", encoding, "groups") == b"sales%2Cadmin"


# -- what a client cannot bring along ----------------------------------------------------------------------------------

IDENTITY_NAMES = [name for preset in PRESETS.values() for name in preset.values()]
ORIGIN_NAMES = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Ssl",
    "X-Forwarded-Server",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Request-Id",
    "X-Gateway-Assertion",
    "X-Session-Data",
    "X-Session-Update",
]
HOP_NAMES = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy",
]
STRIPPED = [*IDENTITY_NAMES, *ORIGIN_NAMES, *HOP_NAMES]
SPELLINGS = {
    "as it is": lambda name: name,
    "lower case": str.lower,
    "upper case": str.upper,
    "odd case": str.swapcase,
    "P24 P25 underscores": lambda name: name.replace("-", "_"),
    "underscores and capitals": lambda name: name.replace("-", "_").upper(),
    "one underscore": lambda name: name.replace("-", "_", 1),
    "the last one": lambda name: "_".join(name.rsplit("-", 1)),
    "dots (PHP)": lambda name: name.replace("-", "."),
    "other characters (Apache 2.2)": lambda name: name.replace("-", "!", 1).replace("-", "~"),
}


@pytest.mark.parametrize("spell", table(SPELLINGS))
@pytest.mark.parametrize("name", STRIPPED)
def test_no_header_of_ours_comes_from_a_client_in_any_spelling(name: str, spell: Any) -> None:
    header = (spell(name).encode(), b"admin")
    for policy in (POLICY, CUSTOM):
        assert passed((b"A", b"1"), header, (b"B", b"2"), header, policy=policy) == [(b"A", b"1"), (b"B", b"2")]


@pytest.mark.parametrize(
    "name", [b"X_Legacy.User", b"x-legacy-user", b"X_LEGACY_USER", b"X-Legacy_User", b"x.legacy.user"]
)
def test_an_operators_own_identity_header_comes_from_no_client_either(name: bytes) -> None:
    assert passed((name, b"admin"), policy=CUSTOM) == []
    assert passed((name, b"alice")) == [(name, b"alice")], "where it is nobody's it passes"


LOOKALIKES = [
    "XX-Forwarded-User",
    "X-ForwardedUser",
    "Remote",
    "User",
    "X-Forwarded",
    "X-Proxy",
    "Hosts",
]


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_name_that_only_resembles_ours_passes(name: str) -> None:
    assert passed((name.encode(), b"1")) == [(name.encode(), b"1")]


@pytest.mark.parametrize("name", ["Content_Length", "content_length", "Content.Length", "Content_Type", "CONTENT_TYPE"])
def test_a6_framing_with_an_underscore_never_passes(name: str) -> None:
    assert passed((name.encode(), b"5"), (b"Content-Length", b"7"), (b"content-type", b"a/b")) == [
        (b"Content-Length", b"7"),
        (b"content-type", b"a/b"),
    ]


@pytest.mark.parametrize("name", [b"Authorization", b"authorization", b"AUTHORIZATION"])
def test_authorization_passes_only_where_it_is_the_backends(name: bytes) -> None:
    assert passed((name, b"Basic x"), authorization=False) == []
    assert passed((name, b"Basic x")) == [(name, b"Basic x")]


NAMED = {
    "one": ([b"X-Hop"], {b"x-hop"}),
    "several": ([b"close, X-Hop ,\tx-other"], {b"close", b"x-hop", b"x-other"}),
    "several lines": ([b"x-hop", b"x-other"], {b"x-hop", b"x-other"}),
    "underscores": ([b"X_Hop"], {b"x-hop"}),
    "framing is ours to judge": ([b"close, Content-Length, HOST"], {b"close"}),
    "empty": ([b"close,, "], {b"close", b""}),
}


@pytest.mark.parametrize(("values", "names"), table(NAMED))
def test_connection_names_the_fields_that_end_here(values: list[bytes], names: set[bytes]) -> None:
    assert connection_named([(b"Connection", value) for value in values]) == names
    assert connection_named([(b"cOnNeCtIoN", value) for value in values]) == names
    assert connection_named([(b"X-Connection", value) for value in values]) == set()


@pytest.mark.parametrize("connection", [b"close, X-Hop", b"close,x-hop", b"X_HOP", b"keep-alive,\tx-Hop\t"])
@pytest.mark.parametrize("name", [b"X-Hop", b"x-hop", b"X_HOP"])
def test_d1_a_field_that_connection_names_is_not_passed_on_in_any_spelling(connection: bytes, name: bytes) -> None:
    assert passed((name, b"1"), (b"Connection", connection), (b"A", b"2"), (name, b"3")) == [(b"A", b"2")]


@pytest.mark.parametrize("named", [b"Host", b"Content-Length", b"content-length, HOST"])
def test_d1_framing_and_host_cannot_be_named_away(named: bytes) -> None:
    framing = [(b"Host", b"site.test"), (b"Content-Length", b"5")]
    assert passed(*framing, (b"Connection", named)) == framing


@pytest.mark.parametrize("name", [*IDENTITY_NAMES, "X-Real-Ip", "X-Forwarded-For", "X-User"])
def test_p29_p30_our_own_headers_cannot_be_named_away_for_they_are_added_afterwards(name: str) -> None:
    kept = passed((b"Connection", f"close, {name}".encode()), (name.encode(), b"admin"))
    assert kept == []
    ours = kept + identity_headers(ALICE, POLICY) + origin_headers(ORIGIN, POLICY, (1, 1))
    assert (b"X-Forwarded-User", b"7") in ours
    assert (b"X-Forwarded-For", b"192.0.2.7") in ours


ANY_NAME = st.one_of(
    st.sampled_from(STRIPPED).flatmap(
        lambda name: st.sampled_from([*SPELLINGS.values()]).map(lambda spell: spell(name).encode())
    ),
    st.sampled_from([b"Accept", b"X-Hop", b"Cookie", b"Host", b"Content-Length", b"Content_Length"]),
    st.from_regex(rb"[A-Za-z0-9_.!-]{1,12}", fullmatch=True),
)
ANY_HEADERS = st.lists(st.tuples(ANY_NAME, st.binary(max_size=30)))


def words(name: bytes) -> tuple[bytes, ...]:
    """A name as the most careless backend reads it: no case, any separator."""
    return tuple(re.split(rb"[^a-z0-9]", name.lower()))


@given(ANY_HEADERS, st.sampled_from([POLICY, CUSTOM]))
def test_whatever_a_client_sends_none_of_our_names_survives_in_any_spelling(headers: Pairs, policy: Any) -> None:
    ours = {words(name.encode()) for name in [*STRIPPED, *policy.names.values()]}
    for name, _ in passed(*headers, policy=policy):
        assert words(name) not in ours
        assert words(name) != (b"content", b"length") or name.lower() == b"content-length"


@given(ANY_HEADERS)
def test_what_passes_came_from_the_client_in_its_order_with_its_bytes(headers: Pairs) -> None:
    rest = iter(pair for pair in headers if pair[0].lower() != b"cookie")
    assert all(pair in rest for pair in passed(*headers) if pair[0].lower() != b"cookie")


# -- what passes as it came --------------------------------------------------------------------------------------------


def test_order_repeats_case_and_bytes_are_kept() -> None:
    headers = [
        (b"Host", b"site.test"),
        (b"X-B", b"1"),
        (b"accept", b"*/*"),
        (b"X-B", b""),
        (b"x-b", b"\xe9\xff \x80"),
        (b"X-A_B", "订单".encode()),
        (b"Via", b"1.1 front"),
        (b"X-B", b"1"),
        (b"Accept-Encoding", b"gzip"),
        (b"Content-Length", b"5"),
        (b"Upgrade-Insecure-Requests", b"1"),
    ]
    assert passed(*headers) == headers


def test_host_is_replaced_in_its_place_only_where_that_is_asked_for() -> None:
    headers = [(b"A", b"1"), (b"hOsT", b"site.test"), (b"B", b"2")]
    assert request_headers(headers, POLICY, host=None) == headers
    assert request_headers(headers, POLICY, host="backend:9") == [(b"A", b"1"), (b"hOsT", b"backend:9"), (b"B", b"2")]
    assert request_headers([], POLICY, host="backend:9") == []


# -- cookies -----------------------------------------------------------------------------------------------------------

COOKIES = {
    "none of ours": (b"a=b; c=d", b"a=b; c=d"),
    "bytes of others": (b' a = b ;c="d; e";; f;\xff=\xe9', b' a = b ;c="d; e";; f;\xff=\xe9'),
    "alone": (b"gw_session=x", b""),
    "first": (b"gw_session=x; a=b; c=d", b"a=b; c=d"),
    "middle": (b"a=b; gw_session=x; c=d", b"a=b; c=d"),
    "last": (b"a=b; c=d; gw_session=x", b"a=b; c=d"),
    "without blanks": (b"a=b;gw_session=x;c=d", b"a=b;c=d"),
    "with blanks": (b"a=b;  gw_session = x ; c=d", b"a=b; c=d"),
    "with tabs": (b"a=b;\tgw_session\t=x;\tc=d", b"a=b;\tc=d"),
    "twice": (b"gw_session=x; a=b; gw_session=y", b"a=b"),
    "all names of ours": (b"__Host-gw_session=x; gw_form=y; gw_session=z", b""),
    "empty value": (b"a=b; gw_session=", b"a=b"),
    "without a value": (b"a=b; gw_session", b"a=b"),
    "equals signs in the value": (b"gw_session=x==; a=b", b"a=b"),
    "in quotes of another": (b'a="1; gw_session=x; b="', b'a="1; b="'),
    "quoted": (b'gw_session="x"; a=b', b"a=b"),
    "blank and nothing else left": (b"gw_session=x; ", b""),
    "case counts": (b"GW_SESSION=x", b"GW_SESSION=x"),
    "another name that ends alike": (b"xgw_session=x", b"xgw_session=x"),
    "another name that begins alike": (b"gw_session2=x; gw_sessio=y", b"gw_session2=x; gw_sessio=y"),
    "our name in a value": (b"a=gw_session=x", b"a=gw_session=x"),
}


@pytest.mark.parametrize(("sent", "left"), table(COOKIES))
def test_p38_p39_our_cookies_never_reach_a_backend_and_others_keep_their_bytes(sent: bytes, left: bytes) -> None:
    assert without_cookies(sent, OWN_COOKIES) == left
    for name in (b"Cookie", b"cookie", b"COOKIE"):
        expected = [(b"A", b"1"), *([(name, left)] if left else [])]
        assert passed((b"A", b"1"), (name, sent)) == expected


def test_each_of_several_cookie_headers_loses_ours() -> None:
    kept = passed((b"Cookie", b"a=b"), (b"Cookie", b"gw_session=x"), (b"cookie", b"gw_form=y; c=d"))
    assert kept == [(b"Cookie", b"a=b"), (b"cookie", b"c=d")]


# -- where it came from ------------------------------------------------------------------------------------------------

ORIGIN = Origin("192.0.2.7", "https", "site.test", "01J")


def test_a_backend_is_told_where_the_request_came_from() -> None:
    assert origin_headers(ORIGIN, POLICY, (1, 1)) == [
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"site.test"),
        (b"X-Forwarded-Port", b"443"),
        (b"X-Request-Id", b"01J"),
        (b"Via", b"1.1 auth-gateway"),
    ]


PORTS = {
    "https": ("site.test", "https", b"443"),
    "http": ("site.test", "http", b"80"),
    "named": ("site.test:8443", "https", b"8443"),
    "empty": ("site.test:", "http", b"80"),
    "IPv6": ("[::1]", "http", b"80"),
    "IPv6 and named": ("[::1]:8080", "http", b"8080"),
    "no host": ("", "http", b"80"),
}


@pytest.mark.parametrize(("host", "scheme", "port"), table(PORTS))
def test_the_port_is_the_one_the_client_named_else_the_schemes(host: str, scheme: str, port: bytes) -> None:
    told = dict(origin_headers(Origin("192.0.2.7", scheme, host, "01J"), POLICY, (1, 1)))
    assert told[b"X-Forwarded-Port"] == port


FORWARDED = {
    "IPv4": ("192.0.2.7", b'for=192.0.2.7;host="site.test";proto=https'),
    "IPv6 (RFC 7239 §6)": ("2001:db8::1", b'for="[2001:db8::1]";host="site.test";proto=https'),
    "a unix socket": ("", b'for=unknown;host="site.test";proto=https'),
}


@pytest.mark.parametrize(("address", "value"), table(FORWARDED))
def test_forwarded_and_via_are_told_where_the_settings_say(address: str, value: bytes) -> None:
    origin = Origin(address, "https", "site.test", "01J")
    told = origin_headers(origin, HeaderPolicy({}, forwarded=True, via=False), (1, 1))
    assert (b"Forwarded", value) in told
    assert b"Via" not in dict(told)
    assert b"Forwarded" not in dict(origin_headers(origin, POLICY, (1, 1)))


def test_d2_via_names_the_version_that_was_received() -> None:
    assert dict(origin_headers(ORIGIN, POLICY, (1, 0)))[b"Via"] == b"1.0 auth-gateway"


# -- answers -----------------------------------------------------------------------------------------------------------


def answered(*pairs: tuple[bytes, bytes], cache: str = "as_is") -> Pairs:
    return response_headers(pairs, OWN_COOKIES, cache)[0]


def test_an_answer_passes_as_it_came() -> None:
    headers = [
        (b"Server", b"legacy"),
        (b"Set-Cookie", b"a=b; Path=/"),
        (b"set-cookie", b"gw_session2=x"),
        (b"Set-Cookie", b"a=gw_session=x"),
        (b"X-B", b"\xe9\xff"),
        (b"x-b", b""),
        (b"WWW-Authenticate", b'Basic realm="x"'),
        (b"Content-Length", b"5"),
        (b"Cache-Control", b"public, max-age=5"),
        (b"Proxy-Authenticate", b"Basic"),
    ]
    assert response_headers(headers, OWN_COOKIES, "as_is") == (headers, 0)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "transfer_encoding",
    ],
)
def test_hop_by_hop_headers_of_an_answer_end_here(name: str) -> None:
    assert answered((name.encode(), b"1"), (b"A", b"2")) == [(b"A", b"2")]


def test_what_an_answers_connection_names_ends_here_but_its_length_does_not() -> None:
    headers = [(b"X-Hop", b"1"), (b"X_Hop", b"1"), (b"Content-Length", b"5"), (b"connection", b"x-hop, content-length")]
    assert answered(*headers) == [(b"Content-Length", b"5")]


STOLEN = {
    "ours": b"gw_session=x; Path=/",
    "with a prefix": b"__Host-gw_session=x",
    "the form's": b"gw_form=x",
    "with blanks": b"  gw_session = x",
    "deleted": b"gw_session=; Max-Age=0",
    "nameless, which a browser sends back as ours": b"=gw_session=x",
    "nameless with blanks": b" = gw_session=x",
}


@pytest.mark.parametrize("value", table(STOLEN))
def test_a_backend_sets_no_cookie_of_our_name_and_is_counted(value: bytes) -> None:
    headers = [(b"A", b"1"), (b"Set-Cookie", value), (b"SET-COOKIE", value), (b"Set-Cookie", b"a=b")]
    assert response_headers(headers, OWN_COOKIES, "as_is") == ([(b"A", b"1"), (b"Set-Cookie", b"a=b")], 2)


CACHES = {
    # what the backend said: private, no-store
    "nothing": ([], b"private"),
    "public": ([b"public, max-age=60"], b"private, max-age=60"),
    "private": ([b"private, max-age=60"], b"private, max-age=60"),
    "shared age": ([b"s-maxage=600, max-age=60"], b"private, max-age=60"),
    "capitals": ([b"Public, S-MaxAge=600, Max-Age=60"], b"private, Max-Age=60"),
    "several lines": ([b"public", b"max-age=60,must-revalidate"], b"private, max-age=60, must-revalidate"),
    "no-store": ([b"no-store"], b"private, no-store"),
    "empty words": ([b",, max-age=60,"], b"private, max-age=60"),
}


@pytest.mark.parametrize(("said", "private"), table(CACHES))
def test_a_route_may_take_shared_caches_or_all_caches_out_of_an_answer(said: list[bytes], private: bytes) -> None:
    headers = [(b"A", b"1"), *((b"cache-control", value) for value in said), (b"B", b"2")]
    rest = [(b"A", b"1"), (b"B", b"2")]
    assert answered(*headers, cache="private") == [*rest, (b"Cache-Control", private)]
    assert answered(*headers, cache="no-store") == [*rest, (b"Cache-Control", b"no-store")]
    assert answered(*headers) == headers


@pytest.mark.parametrize("name", [b"CDN-Cache-Control", b"cloudflare-cdn-cache-control", b"Surrogate-Control"])
def test_what_is_said_to_a_cdn_alone_does_not_overrule_the_route(name: bytes) -> None:
    for cache, value in (("private", b"private"), ("no-store", b"no-store")):
        assert answered((name, b"max-age=600"), cache=cache) == [(b"Cache-Control", value)]
    assert answered((name, b"max-age=600")) == [(name, b"max-age=600")]
