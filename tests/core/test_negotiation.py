"""A page or JSON, English or Chinese: as the contract says, and never an exception whatever the header holds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.negotiation import is_form_page_load, is_page_load, pick_language
from tests.core.tables import BROWSER, head, table

ACCEPTS = {
    "Chrome, Firefox, Safari": (BROWSER, True),
    "html": ("text/html", True),
    "html in capitals": ("TEXT/HTML", True),
    "html with a parameter": ("text/html;level=1", True),
    "html with blanks": (" text/html ; q=0.5 ", True),
    "html with a capital Q": ("text/html;Q=0, application/json", False),
    "xhtml": ("application/xhtml+xml", True),
    "html and JSON alike": ("application/json, text/html", True),
    "html less than JSON": ("application/json, text/html;q=0.9", False),
    "html more than JSON": ("application/json;q=0.8, text/html;q=0.9", True),
    "xhtml more than JSON, html less": ("text/html;q=0.1, application/xhtml+xml;q=0.9, application/json;q=0.5", True),
    "three digits": ("text/html;q=0.998, application/json;q=0.999", False),
    "Java's old default": ("text/html, image/gif, *; q=.2, */*; q=.2", True),
    "a point and no digit behind": ("text/html;q=0., */*", False),
    "one, spelled long": ("application/json;q=0.999, text/html;q=1.000", True),
    "quality behind another parameter": ("text/html;level=1;q=0, application/json", False),
    "curl, the default fetch": ("*/*", False),
    "axios": ("application/json, text/plain, */*", False),
    "jQuery's JSON": ("application/json, text/javascript, */*; q=0.01", False),
    "event stream": ("text/event-stream", False),
    "text of any kind": ("text/*", False),
    "image": ("image/avif,image/webp,*/*;q=0.8", False),
    "html not wanted": ("text/html;q=0", False),
    "html not wanted, but the rest": ("text/html;q=0.0, */*", False),
    "broken quality": ("text/html;q=high", False),
    "quality above one": ("text/html;q=1.1", False),
    "negative quality": ("text/html;q=-1", False),
    "infinite quality": ("text/html;q=inf", False),
    "no number": ("text/html;q=nan", False),
    "exponent": ("text/html;q=1e0", False),
    "digits of another script": ("text/html;q=٠", False),
    "quality of a thousand digits": ("text/html;q=0." + "1" * 1000, False),
    "two points": ("text/html;q=0.0.1", False),
    "empty quality": ("text/html;q=", False),
    "empty": ("", False),
    "commas": (",,,", False),
    "semicolons": (";;;q=1", False),
    "garbage": ("\x01\udcff=;q,;=", False),
    "html inside another word": ("application/text/html", False),
    "html within the first 32 items": ("a/b," * 31 + "text/html", True),
    "html behind more items than anybody reads": ("a/b," * 32 + "text/html", False),
}


@pytest.mark.parametrize(("accept", "page"), table(ACCEPTS))
def test_a_page_load_without_fetch_metadata_is_known_by_its_accept(accept: str, page: bool) -> None:
    assert is_page_load(head(headers={"Accept": accept})) is page
    assert is_page_load(head("HEAD", headers={"Accept": accept})) is page
    assert is_form_page_load(head("POST", headers={"Accept": accept})) is page


ASKERS: dict[str, tuple[str, dict[str, str], bool, bool]] = {
    # what is sent: (method, headers, a page load?, a page load if it is a form posted to a page of ours?)
    "nothing": ("GET", {}, False, False),
    "a browser over plain http": ("GET", {"Accept": BROWSER}, True, True),
    "a form over plain http": ("POST", {"Accept": BROWSER}, False, True),
    "PUT": ("PUT", {"Accept": BROWSER}, False, True),
    "OPTIONS": ("OPTIONS", {"Accept": BROWSER}, False, True),
    "lower case is another method": ("get", {"Accept": BROWSER}, False, True),
    "jQuery asking for html": ("GET", {"Accept": BROWSER, "X-Requested-With": "XMLHttpRequest"}, False, False),
    "the same in other case": ("GET", {"Accept": BROWSER, "x-requested-with": "xmlhttprequest"}, False, False),
    "an Android web view": ("GET", {"Accept": BROWSER, "X-Requested-With": "com.example.app"}, True, True),
    "navigation": ("GET", {"Sec-Fetch-Mode": "navigate"}, True, True),
    "navigation by form": ("POST", {"Sec-Fetch-Mode": "navigate"}, True, True),
    "navigation wins over Accept": ("GET", {"Sec-Fetch-Mode": "navigate", "Accept": "application/json"}, True, True),
    "navigation wins over X-Requested-With": (
        "GET",
        {"Sec-Fetch-Mode": "navigate", "X-Requested-With": "XMLHttpRequest"},
        True,
        True,
    ),
    "fetch wins over Accept": ("GET", {"Sec-Fetch-Mode": "cors", "Accept": BROWSER}, False, False),
    "same-origin fetch": ("GET", {"Sec-Fetch-Mode": "same-origin", "Accept": BROWSER}, False, False),
    "image": ("GET", {"Sec-Fetch-Mode": "no-cors", "Accept": BROWSER}, False, False),
    "WebSocket": ("GET", {"Sec-Fetch-Mode": "websocket", "Accept": BROWSER}, False, False),
    "an empty mode": ("GET", {"Sec-Fetch-Mode": "", "Accept": BROWSER}, False, False),
    "nested navigation is no mode": ("GET", {"Sec-Fetch-Mode": "nested-navigate", "Accept": BROWSER}, False, False),
}


@pytest.mark.parametrize(("method", "headers", "page", "form_page"), table(ASKERS))
def test_a_page_load_is_what_a_browser_shows_to_a_person(
    method: str, headers: dict[str, str], page: bool, form_page: bool
) -> None:
    assert is_page_load(head(method, headers=headers)) is page
    assert is_form_page_load(head(method, headers=headers)) is form_page


def test_an_accept_in_several_lines_counts_as_one() -> None:
    lines = [("Accept", "application/json"), ("Accept", "text/html;q=0.5")]
    assert not is_page_load(head(headers=lines))
    assert is_page_load(head(headers=[("Accept", "*/*"), ("Accept", "text/html")]))


LANGUAGES = {
    "none": ("", "en"),
    "English": ("en", "en"),
    "Chinese": ("zh", "zh"),
    "zh-CN": ("zh-CN", "zh"),
    "zh-Hant": ("zh-Hant", "zh"),
    "zh-Hant-TW": ("zh-Hant-TW", "zh"),
    "capitals": ("ZH-cn", "zh"),
    "a Chinese browser": ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
    "an English browser": ("en-US,en;q=0.9,zh;q=0.8", "en"),
    "the weight counts, not the place": ("en;q=0.1, zh;q=0.2", "zh"),
    "a tie goes to the one named first": ("zh;q=0.5, en;q=0.5", "zh"),
    "a tie the other way round": ("en, zh", "en"),
    "English not wanted": ("en;q=0, zh;q=0.1", "zh"),
    "Chinese not wanted": ("zh;q=0", "en"),
    "neither wanted": ("en;q=0, zh;q=0", "en"),
    "another before": ("fr, de;q=0.9, zh;q=0.1", "zh"),
    "only others": ("fr, de", "en"),
    "anything": ("*", "en"),
    "anything, and some Chinese": ("*, zh;q=0.1", "zh"),
    "a language whose name begins alike": ("zha, enm", "en"),
    "an underscore is no tag": ("zh_CN", "en"),
    "broken weight": ("zh;q=x", "en"),
    "garbage": ("\udcff;;q=;,=,-", "en"),
}


@pytest.mark.parametrize(("accepted", "language"), table(LANGUAGES))
def test_the_language_is_the_one_the_browser_likes_best(accepted: str, language: str) -> None:
    assert pick_language("auto", head(headers={"Accept-Language": accepted}).headers) == language


@pytest.mark.parametrize("setting", ["en", "zh"])
def test_a_language_in_the_settings_wins(setting: Any) -> None:
    for accepted in ("en", "zh-CN", ""):
        assert pick_language(setting, head(headers={"Accept-Language": accepted}).headers) == setting


def test_without_the_header_the_language_is_english() -> None:
    assert pick_language("auto", head().headers) == "en"


@given(st.text(), st.text())
def test_no_header_whatsoever_raises(accept: str, language: str) -> None:
    asked = head(headers={"Accept": accept, "Accept-Language": language})
    assert is_page_load(asked) in (True, False)
    assert pick_language("auto", asked.headers) in ("en", "zh")


HUGE = {
    "items": "zh;q=0.1," * 200_000,
    "parameters": "zh" + ";q=0.1" * 50_000,
    "commas": "," * 1_000_000,
    "a number": "zh;q=0." + "1" * 1_000_000,
}


@pytest.mark.parametrize("value", table(HUGE))
def test_a_huge_header_is_read_in_no_time(value: str) -> None:
    started = time.process_time()
    asked = head(headers={"Accept": value, "Accept-Language": value})
    is_page_load(asked)
    pick_language("auto", asked.headers)
    assert time.process_time() - started < 1
