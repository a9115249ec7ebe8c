"""The words of the pages. A key is read in a template as `t.key`; both languages have the same keys."""

from collections.abc import Mapping
from types import MappingProxyType

_ENGLISH = {
    "language_tag": "en",
    "other_language_tag": "zh-CN",
    "other_language_name": "中文",
    "title_separator": " – ",
    "error_prefix": "Error: ",
    "sign_in": "Sign in",
    "username": "Username or email",
    "password": "Password",
    "remember": "Keep me signed in",
    "signed_in_as": "You are signed in as ",
    "go_on": "Go on",
    "somebody_else": "Sign in as somebody else",
    "sign_out": "Sign out",
    "nobody_signed_in": "Nobody is signed in here.",
    "request_id": "Request ID",
}

_CHINESE = {
    "language_tag": "zh-CN",
    "other_language_tag": "en",
    "other_language_name": "English",
    "title_separator": " – ",
    "error_prefix": "错误：",
    "sign_in": "登录",
    "username": "用户名或邮箱",
    "password": "密码",
    "remember": "保持登录状态",
    "signed_in_as": "当前登录的账号：",
    "go_on": "继续",
    "somebody_else": "使用其他账号登录",
    "sign_out": "退出登录",
    "nobody_signed_in": "当前没有账号登录。",
    "request_id": "请求编号",
}

MESSAGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"en": MappingProxyType(_ENGLISH), "zh": MappingProxyType(_CHINESE)}
)
