"""The gateway's own pages: sign in, my account, passwords, notices. Values in, HTML out; no request, no clock, no network."""

from gateway.pages.assets import STATIC, StaticFile
from gateway.pages.brand import Brand, make_brand
from gateway.pages.messages import MESSAGES
from gateway.pages.render import Pages, View
from gateway.pages.views import (
    AccountView,
    CookiesView,
    DeniedView,
    KeyRow,
    KeysView,
    Language,
    LoginView,
    LogoutView,
    NoticeView,
    PasswordView,
    ResetView,
    Said,
    SessionRow,
)

__all__ = [
    "MESSAGES",
    "STATIC",
    "AccountView",
    "Brand",
    "CookiesView",
    "DeniedView",
    "KeyRow",
    "KeysView",
    "Language",
    "LoginView",
    "LogoutView",
    "NoticeView",
    "Pages",
    "PasswordView",
    "ResetView",
    "Said",
    "SessionRow",
    "StaticFile",
    "View",
    "make_brand",
]
