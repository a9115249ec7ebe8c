"""May a shared cache store an answer? Then it must carry no cookie of ours (RFC 9111 §3; gateway/core/caching.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.caching import may_be_shared
from tests.core.tables import table

CC, EXPIRES = "Cache-Control", "Expires"
Headers = list[tuple[str, str]]

STORED: dict[str, tuple[str, int, Headers]] = {
    "nothing said, 200": ("GET", 200, []),
    "nothing said, HEAD": ("HEAD", 200, []),
    "nothing said, 404": ("GET", 404, []),
    "nothing said, 301": ("GET", 301, []),
    "nothing said, 204": ("GET", 204, []),
    "nothing said, 501": ("GET", 501, []),
    "public": ("GET", 200, [(CC, "public")]),
    "max-age": ("GET", 200, [(CC, "max-age=60")]),
    "max-age in capitals": ("GET", 200, [("CACHE-CONTROL", "MAX-AGE=60")]),
    "max-age=0 may be stored, to be asked again": ("GET", 200, [(CC, "max-age=0")]),
    "no-cache may be stored, to be asked again": ("GET", 200, [(CC, "no-cache")]),
    "must-revalidate": ("GET", 200, [(CC, "must-revalidate")]),
    "s-maxage": ("GET", 302, [(CC, "s-maxage=60")]),
    "a status that is not stored by itself, but told to": ("GET", 302, [(CC, "max-age=60")]),
    "Expires": ("GET", 302, [(EXPIRES, "Wed, 21 Oct 2099 07:28:00 GMT")]),
    "Expires in the past may be stored, too": ("GET", 200, [(EXPIRES, "0")]),
    "POST that says so": ("POST", 200, [(CC, "public, max-age=60")]),
    "POST with Expires": ("POST", 200, [(EXPIRES, "Wed, 21 Oct 2099 07:28:00 GMT")]),
    "a word that only looks like it": ("GET", 200, [(CC, "privateer, x-no-store")]),
    "private for a CDN's ear only": ("GET", 200, [("CDN-Cache-Control", "private"), (CC, "public")]),
    "what a CDN is told comes first": ("GET", 200, [(CC, "no-store"), ("CDN-Cache-Control", "max-age=60")]),
    "of any CDN": ("GET", 200, [(CC, "private"), ("Acme-CDN-Cache-Control", "max-age=60")]),
    "Surrogate-Control": ("GET", 200, [(CC, "private"), ("Surrogate-Control", "max-age=60")]),
    "an empty field": ("GET", 200, [(CC, "")]),
    "private, but only one field of it": ("GET", 200, [(CC, 'private="x"')]),
    "private, but only some fields of it": ("GET", 200, [(CC, 'max-age=60, private="x, y"')]),
    "private in quotes": ("GET", 200, [(CC, 'x="private, no-store"')]),
    "must-understand lifts no-store": ("GET", 200, [(CC, "must-understand, no-store")]),
    "a 304 changes what is stored": ("GET", 304, []),
    "a 304 of HEAD": ("HEAD", 304, [(CC, "no-cache")]),
    "bytes of no text": ("GET", 200, [(CC, "\xff\xfe")]),
}
NOT_STORED: dict[str, tuple[str, int, Headers]] = {
    "private": ("GET", 200, [(CC, "private")]),
    "private in capitals": ("GET", 200, [("cache-control", "PRIVATE")]),
    "private among others": ("GET", 200, [(CC, "max-age=60 ,private")]),
    "private in a second field": ("GET", 200, [(CC, "max-age=60"), (CC, "private")]),
    "no-store": ("GET", 200, [(CC, "no-store")]),
    "no-store beats max-age": ("GET", 200, [(CC, "public, max-age=60, no-store")]),
    "no-store and Expires": ("GET", 200, [(CC, "no-store"), (EXPIRES, "Wed, 21 Oct 2099 07:28:00 GMT")]),
    "a 304 of something private": ("GET", 304, [(CC, "private")]),
    "nothing said, 302": ("GET", 302, []),
    "nothing said, 303": ("GET", 303, []),
    "nothing said, 500": ("GET", 500, []),
    "nothing said, 403": ("GET", 403, []),
    "nothing said, 201": ("GET", 201, []),
    "POST": ("POST", 200, []),
    "POST no-cache": ("POST", 200, [(CC, "no-cache")]),
    "PUT": ("PUT", 200, [(CC, "public, max-age=60")]),
    "DELETE": ("DELETE", 204, []),
    "PATCH": ("PATCH", 200, [(CC, "max-age=60")]),
    "OPTIONS": ("OPTIONS", 204, []),
}


def asked(method: str, status: int, headers: Headers) -> bool:
    return may_be_shared(method, status, [(name.encode(), value.encode("latin-1")) for name, value in headers])


@pytest.mark.parametrize(("method", "status", "headers"), table(STORED))
def test_what_may_be_stored(method: str, status: int, headers: Headers) -> None:
    assert asked(method, status, headers)


@pytest.mark.parametrize(("method", "status", "headers"), table(NOT_STORED))
def test_what_may_not(method: str, status: int, headers: Headers) -> None:
    assert not asked(method, status, headers)


WORDS = st.sampled_from(["public", "max-age=60", "no-cache", "s-maxage=1", "must-revalidate", "x", ""])


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
    st.integers(100, 599),
    st.lists(WORDS),
    st.integers(0, 9),
    st.sampled_from(["private", "no-store", "No-Store", " private "]),
)
def test_whoever_says_private_or_no_store_anywhere_is_heard(
    method: str, status: int, words: list[str], place: int, word: str
) -> None:
    said = [*words[:place], word, *words[place:]]
    assert not asked(method, status, [(CC, ",".join(said))])
    assert not asked(method, status, [(CC, one) for one in said])


@given(st.binary(), st.binary())
def test_no_header_is_a_surprise(name: bytes, value: bytes) -> None:
    assert may_be_shared("GET", 200, [(name, value)]) in (True, False)
