"""Refusals as pages, in words for a person: what happened, and what to do now. Programs get the reason's own words."""

from __future__ import annotations

from gateway.core.head import RequestHead
from gateway.core.redirects import safe_next
from gateway.core.refusals import Refusal
from gateway.errors import Language
from gateway.pages import NoticeView
from gateway.pages.words import with_wait

_HEADINGS: dict[Language, dict[int, str]] = {
    "en": {
        400: "That request cannot be read",
        403: "Not allowed",
        404: "Nothing here",
        405: "Not possible here",
        408: "That took too long",
        413: "Too large",
        414: "The address is too long",
        421: "Another site",
        429: "One moment, please",
        431: "Your browser sent too much",
        502: "The application does not answer",
        503: "One moment, please",
        504: "The application is too slow",
    },
    "zh": {
        400: "无法理解该请求",
        403: "不允许",
        404: "页面不存在",
        405: "不支持此操作",
        408: "请求超时",
        413: "请求过大",
        414: "地址过长",
        421: "站点不符",
        429: "请稍候",
        431: "浏览器发送的数据过多",
        502: "后端应用无响应",
        503: "请稍候",
        504: "后端应用响应超时",
    },
}
_OTHER: dict[Language, str] = {"en": "Something went wrong", "zh": "出错了"}
_LINK_WORDS: dict[Language, tuple[str, str]] = {"en": ("Start page", "Try again"), "zh": ("返回首页", "重试")}

# By reason: what a person can do. The words of the others say so already.
_TEXTS: dict[str, tuple[str, str]] = {
    "bad_request": (
        "Your browser, or the link you followed, sent something that this site does not understand. Go back and try "
        "again. If it happens again, tell those who run this site the request ID below.",
        "浏览器或您点击的链接发送了本站无法理解的内容。请返回重试；如果再次出现，请将下方的请求编号告知本站管理员。",
    ),
    "ambiguous_path": (
        "This address can be read in two ways, so it is not followed. Check it for typing mistakes, or begin at the "
        "start page.",
        "此地址存在歧义，因此未被打开。请检查地址是否有误，或从首页开始。",
    ),
    "cross_site": (
        "For your safety this was not done: the request did not come from a page of this site. Open the page here and "
        "try again.",
        "为了您的安全，操作未执行：请求不是从本站页面发出的。请在本站打开页面后重试。",
    ),
    "no_route": (
        "There is nothing at this address. It may have moved, or there is a typing mistake in it.",
        "此地址没有任何内容。它可能已被移动，或地址有误。",
    ),
    "headers_too_large": (
        "Your browser sent more than this site takes, often because of too many cookies. Delete the cookies of this site and "
        "try again.",
        "浏览器发送的数据过多，通常是因为 Cookie 太多。请清除本站的 Cookie 后重试。",
    ),
    "upstream_unreachable": (
        "The application behind this gateway does not answer. It is not your fault: wait a moment and try again.",
        "后端应用无法连接。这不是您的问题，请稍候片刻再试。",
    ),
    "upstream_nonsense": (
        "The application behind this gateway gave an invalid answer. Try again. If it happens again, tell those who run "
        "this site the request ID below.",
        "后端应用返回了无效响应。请重试；如果再次出现，请将下方的请求编号告知本站管理员。",
    ),
    "upstream_timeout": (
        "The application behind this gateway took too long. What you sent may have been done all the same: look before "
        "you send it again.",
        "后端应用响应超时。您提交的操作可能已经完成，请确认后再重新提交。",
    ),
}
_WITH_DETAIL = frozenset({"bad_request", "ambiguous_path"})


def notice(head: RequestHead, refusal: Refusal, request_id: str) -> NoticeView:
    """A page with a way on: the same page again when something behind us failed, else the site's root."""
    language, code = refusal.language, refusal.reason.code
    again = refusal.status >= 500 and head.method == "GET"
    return NoticeView(
        language,
        refusal.status,
        _HEADINGS[language].get(refusal.status, _OTHER[language]),
        _text(refusal, language, code),
        request_id,
        (safe_next(head.target) if again else None) or "/",
        _LINK_WORDS[language][again],
        refusal.message if code in _WITH_DETAIL else "",
    )


def _text(refusal: Refusal, language: Language, code: str) -> str:
    seconds = refusal.headers.get("Retry-After", "")
    if code in ("throttled", "busy") and seconds:
        return with_wait(refusal.message, int(seconds), language)
    return _TEXTS[code][language == "zh"] if code in _TEXTS else refusal.message
