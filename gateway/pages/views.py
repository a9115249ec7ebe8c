"""What each page shows. A view is plain values: whoever fills it has decided everything, the template decides nothing.

All values are text, never markup, and are escaped on the way out. URLs (`action`, `link` and the `…_url`) must be
http(s), a path, a query or a fragment; anything else is rendered as `#` (see `render.safe_url`). Where a view has
`switch_language_url` it is this same page in the other language; without it there is no switch.
"""

from dataclasses import dataclass, field
from typing import Literal

Language = Literal["en", "zh"]
Said = Literal["", "revoked", "others", "password"]


@dataclass(frozen=True, slots=True)
class LoginView:
    """The sign-in page.

    `error` is a whole sentence in `language`; `fields_wrong`: it is about what was typed. `user` is the display name of
    who is signed in already: the page then says so, offers `continue_url` and `account_url`, and keeps the form below
    for somebody else. `may_remember`: there is a box to be kept signed in; `was_reset`: a new password was just set.
    """

    language: Language
    action: str
    next: str
    csrf: str = field(repr=False)
    username: str = ""
    remember: bool = False
    may_remember: bool = True
    was_reset: bool = False
    error: str | None = None
    fields_wrong: bool = True
    user: str | None = None
    continue_url: str | None = None
    account_url: str | None = None
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class DeniedView:
    """Signed in, but not welcome there. `wanted` is the place, `error` the sentence that says who may go there."""

    language: Language
    user: str
    wanted: str
    error: str
    other_url: str
    start_url: str
    account_url: str
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class CookiesView:
    """The browser keeps no cookies: what that means and what to do. `error` is the sentence that says so."""

    language: Language
    error: str
    retry_url: str
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class LogoutView:
    """The page with one button. `user` None: nobody is signed in, and there is a link to `login_url` instead."""

    language: Language
    action: str
    csrf: str = field(repr=False)
    user: str | None
    login_url: str
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One of somebody's sessions. `device`, `created` and `last_seen` are words; `is_this`: the one that asks."""

    handle: str
    device: str
    address: str
    created: str
    last_seen: str
    is_this: bool = False


@dataclass(frozen=True, slots=True)
class AccountView:
    """Who I am, and where I am signed in.

    `sessions` None: the session engine keeps no list. `more`: so many are not shown. `said`: what was just done.
    `password_url` None: this account's password is changed elsewhere. `keys_url` None: there are no API keys here.
    """

    language: Language
    action: str
    csrf: str = field(repr=False)
    name: str
    username: str
    email: str
    logout_url: str
    password_url: str | None = None
    sessions: tuple[SessionRow, ...] | None = None
    more: int = 0
    said: Said = ""
    switch_language_url: str | None = None
    keys_url: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One of somebody's API keys. `until` is a date or empty (for ever), `last_used` words or empty (never); no `routes`: for
    all of them.
    """

    id: str
    name: str
    until: str = ""
    last_used: str = ""
    routes: tuple[str, ...] = ()
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class KeysView:
    """My API keys, and a form for another.

    `made` is a new key's text, which is shown this once, `made_name` its name. `routes`: those to choose from, with whether
    they are chosen. `longest` is in days, 0: for ever is possible. `may_make` False: there is no form. `wrong` names the field
    (`name`, `expires_in`, `routes`) that `error` is about; `said`: a key was just revoked.
    """

    language: Language
    action: str
    csrf: str = field(repr=False)
    account_url: str
    keys: tuple[KeyRow, ...] = ()
    may_make: bool = True
    routes: tuple[tuple[str, bool], ...] = ()
    longest: int = 365
    name: str = ""
    days: str = ""
    made: str = field(default="", repr=False)
    made_name: str = ""
    error: str | None = None
    wrong: str = ""
    said: bool = False
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class PasswordView:
    """Changing the password. `rules` are the policy's sentences; `wrong` names the field (`old_password`,
    `new_password`, `again`) that `error` is about. `possible` False: the page says so instead of a form.
    """

    language: Language
    action: str
    csrf: str = field(repr=False)
    username: str
    account_url: str
    rules: tuple[str, ...] = ()
    error: str | None = None
    wrong: str = ""
    possible: bool = True
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class ResetView:
    """A new password by a link. `token` is what stands in the link and goes back with the form; `valid` False: the link
    is not valid any more, and there is `login_url` instead of a form.
    """

    language: Language
    action: str
    csrf: str = field(repr=False)
    token: str = field(repr=False)
    login_url: str
    username: str = ""
    rules: tuple[str, ...] = ()
    error: str | None = None
    wrong: str = ""
    valid: bool = True
    switch_language_url: str | None = None


@dataclass(frozen=True, slots=True)
class NoticeView:
    """An error or another small page.

    `status` is the HTTP status; it is shown from 400 on. `detail` is for who has to find the mistake. `link_text` None:
    the link says "Go on". An empty `request_id` is left out.
    """

    language: Language
    status: int
    heading: str
    text: str
    request_id: str
    link: str | None = None
    link_text: str | None = None
    detail: str = ""
