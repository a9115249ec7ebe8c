"""The gateway's own pages: sign in, sign out, and notices. Values in, HTML out; no request, no clock, no network."""

from gateway.pages.assets import STATIC, StaticFile
from gateway.pages.messages import MESSAGES
from gateway.pages.render import Pages
from gateway.pages.views import Language, LoginView, LogoutView, NoticeView

__all__ = ["MESSAGES", "STATIC", "Language", "LoginView", "LogoutView", "NoticeView", "Pages", "StaticFile"]
