"""The path policy: what matches a rule and what a backend reads is the same place, or the answer is 400 (P1 to P22)."""

from __future__ import annotations

import re
import time
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.paths import parse_target
from gateway.errors import RequestError
from tests.core.tables import table

BAD, AMBIGUOUS = "bad_request", "ambiguous_path"


def verdict(target: str) -> str:
    try:
        return parse_target(target).path
    except RequestError as error:
        return error.reason.code if error.reason.status == 400 and error.parts["what"] else "no words"


PEERS_WERE_BYPASSED_BY = {
    "P2 fragment before another path": ("/foo/secret#/bar", BAD),
    "P3 fragment before dot segments": ("/public#/../admin", BAD),
    "P3 fragment in the query": ("/public?x#/../admin", BAD),
    "P4 encoded slash": ("/admin%2f", AMBIGUOUS),
    "P4 encoded slash in capitals": ("/admin%2F", AMBIGUOUS),
    "P4 encoded backslash": ("/admin%5c", AMBIGUOUS),
    "P4 encoded semicolon": ("/admin%3b", AMBIGUOUS),
    "P4 encoded semicolon in capitals": ("/admin%3B", AMBIGUOUS),
    "P17 overlong dots": ("/public/%c0%ae%c0%ae/admin", AMBIGUOUS),
    "P17 overlong slash": ("/public%c0%afadmin", AMBIGUOUS),
    "P17 overlong slash in three bytes": ("/public/..%E0%80%AFadmin", AMBIGUOUS),
    "P17 overlong backslash": ("/public%c1%9cadmin", AMBIGUOUS),
    "P4 encoded NUL": ("/admin%00", AMBIGUOUS),
    "P5 dot segments": ("/public/../admin", AMBIGUOUS),
    "P5 dot segments at the end": ("/public/..", AMBIGUOUS),
    "P6 encoded dot segments": ("/public/%2e%2e/admin", AMBIGUOUS),
    "P6 encoded in capitals": ("/public/%2E%2E/admin", AMBIGUOUS),
    "P6 half encoded, second": ("/public/.%2e/admin", AMBIGUOUS),
    "P6 half encoded, first": ("/public/%2e./admin", AMBIGUOUS),
    "P7 path parameter on dots": ("/api/..;/admin", AMBIGUOUS),
    "P7 path parameter with a value": ("/api/..;v=1/admin", AMBIGUOUS),
    "P7 encoded slash in the prefix": ("/pre%2ffix/admin", AMBIGUOUS),
    "P8 dots behind a prefix that is stripped": ("/static/../../etc", AMBIGUOUS),
    "P9 unnormalised": ("/public/../admin/", AMBIGUOUS),
    "P10 path that looks like an authority": ("//admin/x", AMBIGUOUS),
    "P11 encoded twice": ("/%252e%252e/admin", AMBIGUOUS),
    "P11 slash encoded twice": ("/public%252fadmin", AMBIGUOUS),
    "P11 encoded three times": ("/%25252e%25252e/admin", AMBIGUOUS),
    "P11 every character of the escape encoded": ("/%25%32%65%25%32%65/admin", AMBIGUOUS),
    "P11 first digit encoded": ("/%25%32e/admin", AMBIGUOUS),
    "P11 second digit encoded": ("/%252%65/admin", AMBIGUOUS),
    "P12 other case with an escape": ("/ADMIN%2fx", AMBIGUOUS),
    "P15 encoded backslash": ("/public%5c..%5cadmin", AMBIGUOUS),
    "P15 backslash": ("/public\\..\\admin", AMBIGUOUS),
    "P16 one dot": ("/./admin", AMBIGUOUS),
    "P16 one encoded dot": ("/%2e/admin", AMBIGUOUS),
    "P17 two slashes": ("//admin", AMBIGUOUS),
    "P17 two slashes inside": ("/x//admin", AMBIGUOUS),
    "P17 two slashes at the end": ("/admin//", AMBIGUOUS),
    "P17 encoded slash and dots": ("/x%2f..%2fadmin", AMBIGUOUS),
    "P17 encoded backslash in capitals": ("/x%5C..%5Cadmin", AMBIGUOUS),
    "P18 broken escape": ("/admin%2", BAD),
    "P18 lone percent": ("/%", BAD),
    "P18 escape of no hex digits": ("/%zz", BAD),
    "P18 escape of one hex digit": ("/%2g", BAD),
    "P18 escape of Microsoft's": ("/%u002e%u002e/admin", BAD),
    "P18 escape within an escape": ("/%2%35", BAD),
    "P18 empty": ("", BAD),
    "P19 semicolon": ("/admin;x", AMBIGUOUS),
    "P20 encoded line feed": ("/a%0aHost:%20evil", AMBIGUOUS),
    "P20 encoded carriage return": ("/a%0D", AMBIGUOUS),
    "P20 encoded tab": ("/a%09", AMBIGUOUS),
    "P20 encoded escape character": ("/a%1b", AMBIGUOUS),
    "P20 encoded DEL": ("/a%7f", AMBIGUOUS),
    "P20 encoded DEL in capitals": ("/a%7F", AMBIGUOUS),
}


@pytest.mark.parametrize(("target", "code"), table(PEERS_WERE_BYPASSED_BY))
def test_a_path_that_can_be_read_in_two_ways_is_refused(target: str, code: str) -> None:
    assert verdict(target) == code


@pytest.mark.parametrize(("target", "code"), table(PEERS_WERE_BYPASSED_BY))
def test_the_absolute_form_opens_no_way_around_the_policy(target: str, code: str) -> None:
    if target.startswith("/"):
        assert verdict(f"http://site.test{target}") == code


NO_TARGETS = {
    "blank": " ",
    "blank before": " /a",
    "blank inside": "/a b",
    "blank behind": "/a ",
    "line feed behind": "/a\n",
    "tab": "/a\tb",
    "NUL": "/a\0",
    "DEL": "/a\x7f",
    "C1 control": "/a\x85",
    "non-ASCII": "/é",
    "non-ASCII in the query": "/a?é",
    "a byte that is not UTF-8": "/\udcff",
    "relative": "orders",
    "dots only": "..",
    "query only": "?x",
    "asterisk with a query": "*?x",
    "asterisk with a path": "*/x",
    "authority-form": "site.test:443",
    "authority-form without a port": "site.test",
    "scheme without an authority": "http:/a",
    "scheme without slashes": "http:a",
    "empty authority": "http:///a",
    "empty authority and path": "http://",
    "other scheme": "ftp://site.test/a",
    "script": "javascript://site.test/a",
    "userinfo": "http://user@site.test/a",
    "userinfo with a password": "http://user:pass@site.test/",
    "authority with a backslash": "http://evil\\site.test/a",
    "authority with a bad port": "http://site.test:x/a",
    "authority with a port too many": "http://site.test:80:80/a",
    "authority with a port too large": "http://site.test:65536/a",
    "authority with a broken escape": "http://site.test%/a",
    "authority with a quote": 'http://site"test/a',
    "port without a host": "http://:80/a",
    "unclosed bracket": "http://[::1/a",
}


@pytest.mark.parametrize("target", table(NO_TARGETS))
def test_what_is_no_target_is_a_bad_request(target: str) -> None:
    assert verdict(target) == BAD


READINGS = {
    "a name with a slash": (
        "/projects/group%2Fproject",
        ("/projects/group/project", None, "/projects/group\x7fproject"),
    ),
    "in small letters": ("/a%2fb?x=%2f", ("/a/b", None, "/a\x7fb")),
    "several": ("/a%2f%2Fb%2f", ("/a//b/", "/a/b/", "/a\x7f\x7fb\x7f")),
    "a name that is a slash": ("/queues/%2F/jobs", ("/queues///jobs", "/queues/jobs", "/queues/\x7f/jobs")),
    "at the beginning": ("/%2Fadmin", ("//admin", "/admin", "/\x7fadmin")),
    "beside other escapes": ("/%E8%AE%A2%2F%ff", ("/订/\udcff", None, "/订\x7f\udcff")),
}


@pytest.mark.parametrize(("target", "readings"), table(READINGS))
def test_an_encoded_slash_is_read_in_every_way_where_it_may_pass(
    target: str, readings: tuple[str, str | None, str]
) -> None:
    split, merged, in_a_name = readings
    parsed = parse_target(target, encoded_slash=True)
    assert parsed.readings == (split, merged or split, in_a_name)
    assert (parsed.path, parsed.forward) == (split, target)
    assert verdict(target) == AMBIGUOUS


STILL_REFUSED = {
    "dot segment behind": "/a%2f..",
    "dot segment before": "/a/..%2fadmin",
    "dot segment between": "/a%2f..%2fadmin",
    "one dot": "/a%2f./b",
    "encoded dot segment": "/a%2f%2e%2e%2fadmin",
    "two slashes beside it": "/a//b%2fc",
    "backslash": "/a%2fb%5cc",
    "path parameter": "/a%2f..;x/b",
    "encoded twice": "/a%252fb",
    "encoded twice beside it": "/a%2fb%252fc",
    "broken escape": "/a%2f%2",
    "escape that the slash would complete": "/a%%2f2e",
    "control character": "/a%2f%7f",
    "overlong": "/a%2f%c0%ae",
}


@pytest.mark.parametrize("target", table(STILL_REFUSED))
def test_what_else_is_ambiguous_stays_so_where_an_encoded_slash_may_pass(target: str) -> None:
    with pytest.raises(RequestError):
        parse_target(target, encoded_slash=True)


READ_AS = {
    "root": ("/", "/"),
    "name": ("/orders", "/orders"),
    "folder": ("/orders/", "/orders/"),
    "deep": ("/a/b-c/d_e/f~g.html", "/a/b-c/d_e/f~g.html"),
    "sub-delimiters": ("/a!$&'()*+,=:@", "/a!$&'()*+,=:@"),
    "dot file": ("/.well-known/x", "/.well-known/x"),
    "three dots": ("/...", "/..."),
    "dots behind a name": ("/a../b.", "/a../b."),
    "dots before a name": ("/..a/.b", "/..a/.b"),
    "encoded dot in a name": ("/a%2eb", "/a.b"),
    "encoded blank": ("/a%20b", "/a b"),
    "UTF-8": ("/%E8%AE%A2%E5%8D%95", "/订单"),
    "not UTF-8 stays apart": ("/%ff", "/\udcff"),
    "letter encoded": ("/%61dmin", "/admin"),
    "case is kept": ("/Admin/%C3%89", "/Admin/É"),
    "percent alone": ("/100%25", "/100%"),
    "percent and a letter": ("/100%25off", "/100%off"),
    "P1 query never counts": ("/secret?x=/public/", "/secret"),
    "P4 encoded question mark is part of a name": ("/what%3f", "/what?"),
    "P4 encoded number sign is part of a name": ("/c%23", "/c#"),
    "P14 no boundary": ("/publicx", "/publicx"),
    "P21 repeated and encoded query keys": ("/a?role=user&role=admin&r%6fle=x", "/a"),
    "query with all that a path may not have": ("/a?/../;\\//%2f%00%zz?", "/a"),
    "empty query": ("/a?", "/a"),
    "asterisk": ("*", "*"),
}


@pytest.mark.parametrize(("target", "path"), table(READ_AS))
def test_an_ordinary_target_is_matched_decoded_and_forwarded_as_received(target: str, path: str) -> None:
    parsed = parse_target(target)
    assert (parsed.path, parsed.forward, parsed.host) == (path, target, None)


ABSOLUTE = {
    "with a path": ("http://site.test/a?b", "/a", "/a?b", "site.test"),
    "without a path": ("http://site.test", "/", "/", "site.test"),
    "root": ("http://site.test/", "/", "/", "site.test"),
    "query without a path": ("http://site.test?b", "/", "/?b", "site.test"),
    "query that looks like a path": ("http://site.test?/a", "/", "/?/a", "site.test"),
    "port": ("http://site.test:8080/a", "/a", "/a", "site.test:8080"),
    "https": ("https://site.test/a", "/a", "/a", "site.test"),
    "scheme in capitals": ("HTTP://SITE.test/A", "/A", "/A", "SITE.test"),
    "IPv6": ("http://[::1]:80/a", "/a", "/a", "[::1]:80"),
    "escapes are kept": ("http://site.test/%61?%62", "/a", "/%61?%62", "site.test"),
}


@pytest.mark.parametrize(("target", "path", "forward", "host"), table(ABSOLUTE))
def test_an_absolute_target_gives_its_host_and_forwards_path_and_query(
    target: str, path: str, forward: str, host: str
) -> None:
    parsed = parse_target(target)
    assert (parsed.path, parsed.forward, parsed.host) == (path, forward, host)


TRICKY = "/ / / a b . .. ... %2e %2E %2f %5c \\ ; %3b % %25 %32 %65 2e 2f %61 %3f %23 %00 %0a %7f %c3%a9 %ff %c0%ae"
PIECES = st.sampled_from([*TRICKY.split(), "?", "?", "//", "é", " "])
TARGETS = st.builds(
    lambda start, pieces: start + "".join(pieces),
    st.sampled_from(["/", "/", "/", "", "http://site.test", "http://site.test/"]),
    st.lists(PIECES, max_size=8),
)


@given(TARGETS)
def test_an_accepted_path_is_in_one_form_only_and_forwarded_byte_for_byte(target: str) -> None:
    try:
        parsed = parse_target(target)
    except RequestError:
        return
    path, raw_path = parsed.path, parsed.forward.partition("?")[0]
    assert unquote(raw_path, errors="surrogateescape") == path
    assert unquote(path) == path, "decoding once more would lead elsewhere"
    assert path.startswith("/")
    assert not {".", ".."} & set(path.split("/"))
    assert not re.search(r"//|[\\;\x00-\x1f\x7f]", path)
    origin = re.match(r"(?:http://[^/?]*)?", target)
    assert origin is not None
    rest = target[origin.end() :]
    assert parsed.forward == (rest if rest.startswith("/") else "/" + rest)
    assert parsed.host == (origin[0].removeprefix("http://") or None)


SEGMENT = st.from_regex(r"[A-Za-z0-9_~.,=:@!-]+", fullmatch=True).filter(lambda text: text.strip("."))


@given(st.lists(SEGMENT, min_size=1))
def test_a_path_of_ordinary_names_is_always_accepted(segments: list[str]) -> None:
    target = "/" + "/".join(segments)
    assert parse_target(target).path == target


@given(st.text(st.characters(exclude_characters="/;\\%", exclude_categories=["C"]), min_size=1))
def test_any_name_of_printable_characters_survives_its_encoding(name: str) -> None:
    if name in (".", ".."):
        return
    target = "/" + "".join(f"%{byte:02x}" for byte in name.encode())
    assert parse_target(target).path == "/" + name


SLOW_IF_BACKTRACKING = {
    "dots": "/" + "a." * 8191,
    "dots and an escape that breaks": "/a" + ".a" * 8190 + "%",
    "one long name and a bad end": "/" + "a" * 16382 + "\\",
    "one long name, a dot, a bad end": "/" + "a" * 16380 + ".;",
    "many segments and a bad end": "/a" * 8191 + ";",
    "many short dotted segments and a bad end": "/a.a" * 4095 + "%",
    "percents": "/" + "%" * 16383,
    "encoded dots": "/" + "%2e" * 5461,
    "encoded percents": "/" + "%25" * 5461,
    "dot segments without an end": "/" + "." * 16383,
    "absolute without an end": "http://" + "a" * 16377,
    "colons": "http://" + ":" * 16377,
    "brackets": "http://" + "[" * 16377,
    "escapes in the authority and a bad end": "http://" + "%61" * 5458 + "%",
}


@pytest.mark.parametrize("target", table(SLOW_IF_BACKTRACKING))
def test_a_path_of_sixteen_kibibytes_is_judged_in_no_time(target: str) -> None:
    assert len(target) > 16000
    started = time.process_time()
    verdict(target)
    assert time.process_time() - started < 1
