"""Views to HTML.

The pages are made for `Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self';
form-action 'self'; base-uri 'none'; frame-ancestors 'self'`: style sheets and pictures of this site, no script.
"""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.pages.brand import Brand
from gateway.pages.messages import MESSAGES
from gateway.pages.views import (
    AccountView,
    CookiesView,
    DeniedView,
    KeysView,
    LoginView,
    LogoutView,
    NoticeView,
    PasswordView,
    ResetView,
)

View = (
    LoginView | DeniedView | CookiesView | LogoutView | AccountView | KeysView | PasswordView | ResetView | NoticeView
)

_TEMPLATES = Path(__file__).with_name("templates")
_TEMPLATE_OF: dict[type[View], str] = {
    LoginView: "login.html",
    DeniedView: "denied.html",
    CookiesView: "cookies.html",
    LogoutView: "logout.html",
    AccountView: "account.html",
    KeysView: "keys.html",
    PasswordView: "password.html",
    ResetView: "reset.html",
    NoticeView: "notice.html",
}
_PLAIN = Brand()

# Escaping does not stop `javascript:`. Nor may a path be `//host` or `/\host`, nor hide one behind a tab or a line
# break, which browsers drop (WHATWG URL, "remove all ASCII tab or newline") before they look for a scheme.
_SAFE_URL = re.compile(r"(?:https?://(?![/\\])|/(?![/\\])|[?#])[^\x00-\x20\x7f\\]*", re.IGNORECASE)


def safe_url(url: str) -> str:
    """`url` when it is http(s), an absolute path, a query or a fragment; `#` otherwise."""
    return url if _SAFE_URL.fullmatch(url) else "#"


class Pages:
    """Renders the views. `title` names the site; `static_url` is where the brand's files are served (`/auth/static`).

    All templates are compiled here: a broken one stops the start, not the first sign-in.
    """

    def __init__(self, title: str, static_url: str, brand: Brand = _PLAIN) -> None:
        self._static_url = static_url.rstrip("/")
        self.files = brand.files
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {"title": title, "asset": self._asset, "brand": brand}
        environment.filters["safe_url"] = safe_url
        self._templates = {view: environment.get_template(name) for view, name in _TEMPLATE_OF.items()}

    def render(self, view: View) -> str:
        """The view's page as HTML."""
        return self._templates[type(view)].render(view=view, t=MESSAGES[view.language])

    def _asset(self, name: str) -> str:
        """The address of a static file; it changes with the content, so the file may be cached for ever."""
        return f"{self._static_url}/{name}?v={self.files[name].etag}"
