"""Views to HTML.

The pages are made for `Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self';
form-action 'self'; base-uri 'none'; frame-ancestors 'self'`: one style sheet, two pictures, no script.
"""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.pages.assets import STATIC
from gateway.pages.messages import MESSAGES
from gateway.pages.views import LoginView, LogoutView, NoticeView

_TEMPLATES = Path(__file__).with_name("templates")

# Escaping does not stop `javascript:`. Nor may a path be `//host` or `/\host`, nor hide one behind a tab or a line
# break, which browsers drop (WHATWG URL, "remove all ASCII tab or newline") before they look for a scheme.
_SAFE_URL = re.compile(r"(?:https?://(?![/\\])|/(?![/\\])|[?#])[^\x00-\x20\x7f\\]*", re.IGNORECASE)


def safe_url(url: str) -> str:
    """`url` when it is http(s), an absolute path, a query or a fragment; `#` otherwise."""
    return url if _SAFE_URL.fullmatch(url) else "#"


class Pages:
    """Renders the views. `title` names the site; `static_url` is where `STATIC` is served (`/auth/static`).

    All templates are compiled here: a broken one stops the start, not the first sign-in.
    """

    def __init__(self, title: str, static_url: str) -> None:
        self._static_url = static_url.rstrip("/")
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {"title": title, "asset": self._asset}
        environment.filters["safe_url"] = safe_url
        self._login, self._logout, self._notice = (
            environment.get_template(name) for name in ("login.html", "logout.html", "notice.html")
        )

    def login(self, view: LoginView) -> str:
        """The sign-in page as HTML."""
        return self._login.render(view=view, t=MESSAGES[view.language])

    def logout(self, view: LogoutView) -> str:
        """The page with the sign-out button as HTML."""
        return self._logout.render(view=view, t=MESSAGES[view.language])

    def notice(self, view: NoticeView) -> str:
        """An error or another small page as HTML."""
        return self._notice.render(view=view, t=MESSAGES[view.language])

    def _asset(self, name: str) -> str:
        """The address of a static file; it changes with the content, so the file may be cached for ever."""
        return f"{self._static_url}/{name}?v={STATIC[name].etag}"
