"""Every way we refuse or fail: a code for programs, a status for HTTP, and words for people.

``REASONS`` is the one registry. A refusal, an error answer, a log line and a doc heading all use its codes; nothing in
the gateway branches on the words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request was not simply answered. ``en`` and ``zh`` may hold ``{named}`` parts, filled by :meth:`words`."""

    code: str
    status: int
    en: str
    zh: str
    sign_in_helps: bool = False
    """True: signing in (again, or as somebody else) is the way on, so the answer is the JSON 302 with a ``redirect``."""

    def words(self, language: Language, **parts: str) -> str:
        """The sentence for people in ``language``; ``parts`` fill the places it names."""
        if language == "zh":
            return self.zh.format(**{name: _in_chinese(part) for name, part in parts.items()})
        return self.en.format(**parts)


_PARTS_IN_CHINESE = {
    "Transfer-Encoding in an HTTP/1.0 request": "HTTP/1.0 请求中含有 Transfer-Encoding",
    "a broken percent-escape": "百分号编码不完整",
    "a character that no target may hold": "地址中含有非法字符",
    "a fragment in the target": "地址中含有片段（#）",
    "exactly one Host header is needed": "需要且仅需要一个 Host 请求头",
    "it breaks the rules of HTTP": "不符合 HTTP 规范",
    "the Host header is not a host": "Host 请求头无效",
    "its target has a wrong host": "地址中的主机无效",
    "its target is no path": "地址不是路径",
    "its body is not framed as HTTP says": "请求体分帧无效",
    "a field is given twice": "字段重复",
    "this user's groups do not fit into a token": "该用户的组过多，无法写入令牌",
    "the body is not JSON": "请求体不是 JSON",
    "the body is not a JSON object": "请求体不是 JSON 对象",
    "the body is not the form it says it is": "请求体不是其声明的表单",
    "a WebSocket begins with GET and HTTP/1.1": "WebSocket 握手必须使用 GET 和 HTTP/1.1",
    "a WebSocket handshake has no body": "WebSocket 握手不能含有请求体",
    "its Sec-WebSocket-Key is none": "Sec-WebSocket-Key 无效",
    "Forwarded cannot be understood": "Forwarded 请求头无法解析",
    "X-Forwarded-For and Forwarded contradict each other": "X-Forwarded-For 与 Forwarded 请求头相互矛盾",
    "X-Forwarded-For cannot be understood": "X-Forwarded-For 请求头无法解析",
    "X-Forwarded-Proto and Forwarded contradict each other": "X-Forwarded-Proto 与 Forwarded 请求头相互矛盾",
    "X-Forwarded-Proto cannot be understood": "X-Forwarded-Proto 请求头无法解析",
    "a backslash": "反斜杠",
    "a dot segment": "点段（. 或 ..）",
    "a path parameter (;)": "路径参数（;）",
    "an empty segment (//)": "空路径段（//）",
    "an encoded #": "编码的 #",
    "an encoded ?": "编码的 ?",
    "an encoded control character": "编码的控制字符",
    "an encoded slash": "编码的斜杠",
    "double encoding": "双重编码",
    "overlong UTF-8": "过长的 UTF-8 编码",
    "holds a character that no text has": "含有非法字符",
    "is missing": "不能为空",
    "is longer than # characters": "长度不能超过 # 个字符",
    "is not the same as the first one": "两次输入的密码不一致",
    "is one of those that are tried first; please take another one": "过于常见，容易被猜到，请换一个",
    "must have # to # characters": "长度须为 # 至 # 个字符",
    "must not be your own name or e-mail address": "不能与您的姓名、用户名或邮箱相同",
    "must not hold control characters": "不能含有控制字符",
    "the password cannot be written; the operator finds the cause in the log": "无法保存密码，请管理员查看日志",
    "the passwords of this account are changed elsewhere": "该账户的密码需在其他地方修改",
    "the session engine keeps no list of a user's sessions": "会话引擎不保存用户的会话列表",
    "must be a text": "必须是文本",
    "must be a list of names": "必须是名称列表",
    "must be a whole number of days, from # to #": "必须是整数天数，从 # 到 #",
    "must be create or revoke": "必须是 create 或 revoke",
    "is no route that you may use": "不是您可以使用的路由",
    "must be revoke, revoke_others or revoke_all": "必须是 revoke、revoke_others 或 revoke_all",
    "must be true or false": "必须是 true 或 false",
}

_NUMBER = re.compile(r"[0-9]+")


def _in_chinese(part: str) -> str:
    """``#`` above stands for a number."""
    if part in _PARTS_IN_CHINESE:
        return _PARTS_IN_CHINESE[part]
    numbers = iter(_NUMBER.findall(part))
    known = _PARTS_IN_CHINESE.get(_NUMBER.sub("#", part))
    return part if known is None else re.sub("#", lambda _: next(numbers, ""), known)


_ALL = (
    # -- signing in is the way on (docs/http-api.md)
    Reason("no_session", 302, "You are not signed in", "未登录", True),
    Reason("unknown_session", 302, "Your session has ended; please sign in again", "会话已失效，请重新登录", True),
    Reason("expired_idle", 302, "You were away too long; please sign in again", "长时间未操作，请重新登录", True),
    Reason(
        "expired_absolute",
        302,
        "Your session has reached its limit; please sign in again",
        "会话已到期，请重新登录",
        True,
    ),
    Reason("expired_age", 302, "Your session is over; please sign in again", "会话已过期，请重新登录", True),
    Reason("revoked", 302, "This session was ended; please sign in again", "该会话已被注销，请重新登录", True),
    Reason("replaced", 302, "You have signed in again meanwhile; please try again", "您已重新登录，请重试", True),
    Reason("rights_changed", 302, "Your rights have changed; please try again", "您的权限已变更，请重试", True),
    Reason("wrong_usertype", 302, "Only users of type {wanted} may go there", "用户非{wanted}类型", True),
    Reason("wrong_group", 302, "Only members of {wanted} may go there", "用户不属于{wanted}组", True),
    Reason("bad_token", 401, "This token is not valid; please get a new one", "令牌无效，请重新获取", True),
    Reason("insufficient_scope", 403, "This token is not enough for that: {wanted}", "令牌权限不足：{wanted}", True),
    Reason(
        "bad_grant", 400, "This refresh token is not valid any more; please sign in again", "刷新令牌已失效，请重新登录"
    ),
    Reason("invalid_client", 401, "Only known clients with their secret may ask this", "客户端验证失败"),
    Reason("unsupported_grant_type", 400, "This grant_type is not possible here", "不支持该 grant_type"),
    # -- the sign-in itself
    Reason("bad_credentials", 401, "Wrong username or password", "用户名或密码错误"),
    Reason(
        "cookies_off", 400, "Your browser keeps no cookies, and signing in needs one", "浏览器未启用 Cookie，无法登录"
    ),
    Reason(
        "bad_reset_link", 410, "This link is not valid any more; please ask for a new one", "此链接已失效，请重新获取"
    ),
    Reason(
        "cross_site",
        403,
        "This request came from another site, or its form has no token of this site",
        "请求来自其他站点，或表单缺少本站令牌",
    ),
    Reason("throttled", 429, "Too many attempts; please try again later", "尝试次数过多，请稍后再试"),
    Reason(
        "busy", 503, "Too many people sign in just now; please try again in a moment", "当前登录人数过多，请稍后再试"
    ),
    Reason(
        "too_many_sessions",
        403,
        "You are signed in on {limit} devices already; sign out on one of them first",
        "您已在 {limit} 台设备上登录，请先在其中一台退出",
    ),
    Reason(
        "too_many_keys",
        403,
        "You have {limit} API keys already; revoke one of them first",
        "您已有 {limit} 个访问密钥，请先吊销其中一个",
    ),
    Reason("keys_not_allowed", 403, "You may not make API keys", "您无权创建访问密钥"),
    Reason("session_interrupted", 400, "The session was ended while this request ran", "处理请求时会话已被注销"),
    # -- the request
    Reason("bad_request", 400, "The request is malformed: {what}", "请求格式错误：{what}"),
    Reason("bad_field", 400, "{field}: {what}", "{field}：{what}"),
    Reason("ambiguous_path", 400, "The path can be read in two ways: {what}", "路径存在歧义：{what}"),
    Reason("no_route", 404, "There is nothing at this address", "页面不存在"),
    Reason("no_such_session", 404, "You have no such session", "您没有该会话"),
    Reason("no_such_key", 404, "You have no such API key", "您没有该访问密钥"),
    Reason("method_not_allowed", 405, "{method} is not possible here", "不支持 {method} 方法"),
    Reason("slow_request", 408, "The request did not arrive in time", "请求接收超时"),
    Reason("too_large", 413, "The request is larger than {limit} bytes", "请求超过 {limit} 字节"),
    Reason("target_too_long", 414, "The address is too long", "请求地址过长"),
    Reason("headers_too_large", 431, "The headers of the request are too large", "请求头过大"),
    Reason("unsupported_type", 415, "Send JSON or a form, not {got}", "请使用 JSON 或表单格式，而不是 {got}"),
    Reason("not_possible", 501, "That is not possible on this site: {what}", "本站不支持此操作：{what}"),
    Reason("unknown_coding", 501, "The only transfer coding known here is chunked", "仅支持 chunked 传输编码"),
    Reason("unknown_method", 501, "This HTTP method is not known here", "不支持该 HTTP 方法"),
    Reason("unknown_host", 421, "There is no site of this name here", "此处没有该名称的站点"),
    Reason("expectation_failed", 417, "Only Expect: 100-continue is known", "仅支持 Expect: 100-continue"),
    Reason("websocket_version", 426, "Only version 13 of WebSockets is spoken here", "仅支持 WebSocket 版本 13"),
    Reason("bad_version", 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here", "仅支持 HTTP/1.0 和 HTTP/1.1"),
    Reason("loop_detected", 508, "This request goes round in circles", "请求出现循环转发"),
    # -- behind us
    Reason(
        "store_unavailable",
        503,
        "Sign-ins cannot be checked just now. Nobody has been signed out: please try again in a moment",
        "暂时无法验证登录状态，已登录的用户不会被注销，请稍后重试",
    ),
    Reason(
        "users_unavailable",
        503,
        "Passwords cannot be checked just now; please try again in a moment",
        "暂时无法验证密码，请稍后重试",
    ),
    Reason(
        "too_many_connections",
        503,
        "There are too many connections just now; please try again in a moment",
        "当前连接过多，请稍后重试",
    ),
    Reason("upstream_unreachable", 502, "The application behind this gateway does not answer", "后端应用无法连接"),
    Reason(
        "upstream_nonsense", 502, "The application behind this gateway gave an invalid answer", "后端应用返回了无效响应"
    ),
    Reason(
        "upstream_down",
        503,
        "The application behind this gateway is away just now; please try again in a moment",
        "后端应用暂时不可用，请稍后重试",
    ),
    Reason(
        "upstream_busy",
        503,
        "The application behind this gateway is busy; please try again in a moment",
        "后端应用繁忙，请稍后重试",
    ),
    Reason("upstream_timeout", 504, "The application behind this gateway took too long", "后端应用响应超时"),
    Reason(
        "session_too_large",
        507,
        "The session needs {size} bytes; a cookie holds {limit}",
        "会话需要 {size} 字节，而 Cookie 最多容纳 {limit} 字节",
    ),
    Reason(
        "internal_error",
        500,
        "Something went wrong here; the request id helps to find it",
        "内部错误，请提供请求编号以便排查",
    ),
    # -- seen in the log only
    Reason("client_gone", 499, "The client went away", "客户端已断开"),
    Reason("websocket_idle", 408, "Nothing was sent for too long", "长时间无数据传输"),
    Reason("drain_timeout", 499, "The gateway stopped before the answer was whole", "网关在响应完成前已停止"),
    Reason(
        "upstream_broke_off", 502, "The application behind this gateway broke off in mid-answer", "后端应用响应中断"
    ),
)

REASONS: dict[str, Reason] = {reason.code: reason for reason in _ALL}
