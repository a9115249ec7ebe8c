"""Error pages in words for a person: what happened, what to do now, and how long to wait."""

from __future__ import annotations

import re

import pytest

from gateway.core.head import RequestHead
from gateway.core.refusals import Site, refuse, refuse_for
from gateway.errors import REASONS, Busy, Language, Throttled
from gateway.front.notices import notice
from gateway.pages import NoticeView
from gateway.pages.words import ago, device, wait

HEAD = RequestHead("GET", "/orders?page=2", (1, 1), [(b"Host", b"site.test"), (b"Accept", b"text/html")], "192.0.2.1")
POST = RequestHead("POST", "/orders", (1, 1), HEAD.raw, HEAD.peer)
PARTS = dict.fromkeys(("what", "field", "limit", "got", "method", "wanted", "size"), "x")
ON_PAGES = [reason for reason in REASONS.values() if not reason.sign_in_helps and 400 <= reason.status < 600]


def shown(code: str, language: Language = "en", head: RequestHead = HEAD) -> NoticeView:
    return notice(head, refuse(head, Site(language=language), code, **PARTS), "01J")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("reason", ON_PAGES, ids=lambda reason: reason.code)
def test_every_refusal_has_a_heading_a_text_and_a_way_on_in_its_language(reason: object, language: Language) -> None:
    view = shown(reason.code, language)
    assert view.heading
    assert view.text
    assert view.link
    assert bool(re.search("[\u4e00-\u9fff]", view.heading + view.text)) == (language == "zh")


@pytest.mark.parametrize("code", ["upstream_unreachable", "upstream_nonsense", "upstream_timeout", "store_unavailable"])
def test_what_failed_behind_us_can_be_tried_again(code: str) -> None:
    view = shown(code)
    assert (view.link, view.link_text) == ("/orders?page=2", "Try again")
    assert (shown(code, head=POST).link, shown(code, head=POST).link_text) == ("/", "Start page")


def test_technical_words_stand_apart_from_what_a_person_can_do() -> None:
    view = shown("bad_request")
    assert "malformed" not in view.text
    assert view.detail == "The request is malformed: x"
    assert shown("no_route").detail == ""


WAITS = [
    (Throttled(1), "en", "Too many attempts. Please try again in 1 second."),
    (Throttled(40), "en", "Too many attempts. Please try again in 40 seconds."),
    (Throttled(91), "en", "Too many attempts. Please try again in 2 minutes."),
    (Throttled(900), "zh", "尝试次数过多。请在 15 分钟后重试。"),
    (Busy(2), "en", "Too many people sign in just now. Please try again in 2 seconds."),
]


@pytest.mark.parametrize(("error", "language", "text"), WAITS)
def test_who_has_to_wait_is_told_how_long(error: Busy, language: Language, text: str) -> None:
    refusal = refuse_for(HEAD, Site(language=language), error)
    assert notice(HEAD, refusal, "01J").text == text
    assert refusal.headers["Retry-After"] == str(error.retry_after)


def test_a_wait_in_minutes_is_never_too_short() -> None:
    for seconds in range(91, 4000):
        minutes = re.search(r"in (\d+) minutes", wait(seconds, "en"))
        assert minutes is not None
        assert 0 <= int(minutes[1]) * 60 - seconds < 60


AGO = [
    (-5, "just now", "刚刚"),
    (59.9, "just now", "刚刚"),
    (60, "1 minute ago", "1 分钟前"),
    (3599, "59 minutes ago", "59 分钟前"),
    (7200, "2 hours ago", "2 小时前"),
    (86400, "1 day ago", "1 天前"),
]


@pytest.mark.parametrize(("seconds", "en", "zh"), AGO)
def test_how_long_ago_is_said_in_the_largest_unit(seconds: float, en: str, zh: str) -> None:
    assert (ago(seconds, "en"), ago(seconds, "zh")) == (en, zh)


@pytest.mark.parametrize(
    ("words", "zh"), [("Firefox on Linux", "Linux 上的 Firefox"), ("curl", "curl"), ("", ""), ("WeChat", "WeChat")]
)
def test_a_device_is_said_in_the_language_of_the_page(words: str, zh: str) -> None:
    assert (device(words, "en"), device(words, "zh")) == (words, zh)
