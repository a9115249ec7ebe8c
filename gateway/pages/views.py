"""What each page shows. A view is plain values: whoever fills it has decided everything, the template decides nothing.

All values are text, never markup, and are escaped on the way out. URLs (`action`, `link` and the `…_url`) must be
http(s), a path, a query or a fragment; anything else is rendered as `#` (see `render.safe_url`).
"""

from dataclasses import dataclass, field
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class LoginView:
    """The sign-in page.

    `error` is a whole sentence in `language`; `fields_wrong`: it is about what was typed. `user` is the display name of
    who is signed in already: the page then says so, offers `continue_url`, and keeps the form below for somebody else.
    `switch_language_url` is this same page in the other language; without it there is no switch.
    """

    language: Language
    action: str
    next: str
    csrf: str = field(repr=False)
    username: str = ""
    remember: bool = False
    error: str | None = None
    fields_wrong: bool = True
    user: str | None = None
    continue_url: str | None = None
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class LogoutView:
    """The page with one button. `user` None: nobody is signed in, and there is a link to `login_url` instead."""

    language: Language
    action: str
    csrf: str = field(repr=False)
    user: str | None
    login_url: str


@dataclass(frozen=True, slots=True)
class NoticeView:
    """An error or another small page.

    `status` is the HTTP status; it is shown from 400 on. `link_text` None: the link says "Go on". An empty `request_id` is
    left out.
    """

    language: Language
    status: int
    heading: str
    text: str
    request_id: str
    link: str | None = None
    link_text: str | None = None
