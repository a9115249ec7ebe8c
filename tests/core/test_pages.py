"""The gateway's own pages: what a browser, a screen reader and a password manager find in the HTML."""

import re
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import gateway.pages
from gateway.pages import (
    MESSAGES,
    STATIC,
    AccountView,
    CookiesView,
    DeniedView,
    KeyRow,
    KeysView,
    LoginView,
    LogoutView,
    NoticeView,
    Pages,
    PasswordView,
    ResetView,
    SessionRow,
    View,
)

FOLDER = Path(gateway.pages.__file__).parent
CSS = STATIC["gateway.css"].body.decode()
PAYLOAD = """/"><xss/onx=1>'&lt;{{7*7}}{%raw%}</title></style>"""
URLS = {"action", "link"} | {f"{name}_url" for name in ("continue", "switch_language", "login", "logout", "account")}
URLS |= {f"{name}_url" for name in ("password", "other", "start", "retry", "keys")}

LOGIN = LoginView("en", "/auth/login", "/orders", "t0ken", switch_language_url="?lang=zh")
FAILED = replace(LOGIN, username="ada", remember=True, error="Wrong.")
PRESENT = replace(LOGIN, user="Ada", continue_url="/orders", account_url="/auth/account")
PRESENT_FAILED = replace(FAILED, user="Ada", continue_url="/orders", account_url="/auth/account")
LOGOUT = LogoutView("en", "/auth/logout", "t0ken", "Ada", "/auth/login")
STRANGER = replace(LOGOUT, user=None)
DENIED = DeniedView("en", "Ada", "/mgr/", "Managers only.", "/auth/login?other=1", "/", "/auth/account", "?lang=zh")
COOKIES = CookiesView("en", "No cookies.", "/auth/login", "?lang=zh")
THIS = SessionRow("h1", "Firefox on Linux", "192.0.2.1", "3 hours ago", "just now", True)
OTHER = SessionRow("h2", "Safari on iPhone", "192.0.2.2", "2 days ago", "5 minutes ago")
ACCOUNT = AccountView(
    "en",
    "/auth/account",
    "t0ken",
    "Ada L.",
    "ada",
    "ada@example.org",
    "/auth/logout",
    "/auth/password",
    (THIS, OTHER),
    3,
    keys_url="/auth/keys",
)
ALONE = replace(ACCOUNT, sessions=(THIS,), more=0, said="others", switch_language_url="?lang=zh")
NO_LIST = replace(ACCOUNT, sessions=None, more=0, said="password")
LITTLE = replace(NO_LIST, password_url=None, email="", said="revoked")
PASSWORD = PasswordView("en", "/auth/password", "t0ken", "ada", "/auth/account", ("Long.", "Not known."))
PASSWORD_FAILED = replace(PASSWORD, error="Wrong.", wrong="old_password", switch_language_url="?lang=zh")
NOT_POSSIBLE = replace(PASSWORD, possible=False)
RESET = ResetView("en", "/auth/reset", "t0ken", "s3cret", "/auth/login", "ada", ("Long.",))
RESET_FAILED = replace(RESET, error="Too short.", wrong="new_password", switch_language_url="?lang=zh")
RESET_OVER = replace(RESET, valid=False)
KEY = KeyRow("k1", "Nightly", "2027-01-31", "2 days ago", ("orders", "bills"))
KEYS = KeysView("en", "/auth/keys", "t0ken", "/auth/account", (KEY, replace(KEY, id="k2", name="Old", is_over=True)))
KEYS_MADE = replace(KEYS, made="gwk_s3cret", made_name="Nightly", routes=(("orders", False),), days="30", said=True)
KEYS_FAILED = replace(
    KEYS_MADE, name="x", error="Wrong.", wrong="name", longest=0, routes=(("a", True),), switch_language_url="?lang=zh"
)
KEYS_DENIED = replace(KEYS, keys=(), may_make=False)
NOTICE = NoticeView("en", 503, "One moment", "Try again.", "01J", "/orders", "Again", "It broke.")
BARE = NoticeView("en", 200, "Done", "All good.", "")
VIEWS: tuple[View, ...] = (LOGIN, FAILED, PRESENT, PRESENT_FAILED, DENIED, COOKIES, LOGOUT, STRANGER)
VIEWS += (ACCOUNT, ALONE, NO_LIST, LITTLE)
VIEWS += (KEYS, KEYS_MADE, KEYS_FAILED, KEYS_DENIED)
VIEWS += (PASSWORD, PASSWORD_FAILED, NOT_POSSIBLE, RESET, RESET_FAILED, RESET_OVER, NOTICE, BARE)
every_view = pytest.mark.parametrize("view", VIEWS)


@dataclass
class Element:
    tag: str
    attrs: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page in order, each with all the text inside it; fails on a tag that does not close."""

    html: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in {"img", "input", "link", "meta"}:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str, **attrs: str) -> list[Element]:
        return [e for e in self.elements if e.tag == tag and attrs.items() <= e.attrs.items()]

    def one(self, tag: str, **attrs: str) -> Element:
        (element,) = self.all(tag, **attrs)
        return element

    def shape(self) -> list[tuple[str, list[str]]]:
        return [(e.tag, list(e.attrs)) for e in self.elements]


def draw(view: Any, title: str = "Orders", static_url: str = "/auth/static", **changes: Any) -> Page:
    return Page(Pages(title, static_url).render(replace(view, **changes)))


CHOICES = {"language", "said", "wrong"}
"""Fields whose values are not shown: they are words of the program."""


def texts(view: Any) -> set[str]:
    """The fields of a view that hold text now."""
    return {f.name for f in fields(view) if f.name not in CHOICES and isinstance(getattr(view, f.name), str)}


WHOLE = (PRESENT_FAILED, DENIED, COOKIES, ACCOUNT, KEYS_FAILED, PASSWORD_FAILED, RESET_FAILED, NOTICE)
SHOWN: list[tuple[View, str]] = [(view, name) for view in WHOLE for name in sorted(texts(view) - {"login_url"})]
SHOWN += [(LOGOUT, "action"), (LOGOUT, "csrf"), (LOGOUT, "user"), (STRANGER, "login_url"), (RESET_OVER, "login_url")]
SHOWN += [(ALONE, "switch_language_url")]


@pytest.mark.parametrize(("view", "name"), SHOWN)
def test_every_value_comes_out_as_it_went_in_and_never_as_markup(view: Any, name: str) -> None:
    page = draw(view, **{name: PAYLOAD})
    assert page.shape() == draw(view).shape()
    assert PAYLOAD in {value for e in page.elements for value in (e.text.strip(), *e.attrs.values())}


def test_the_table_of_values_above_is_whole() -> None:
    table = {(type(view), name) for view, name in SHOWN}
    assert table == {(type(view), name) for view in VIEWS for name in texts(view)}


@pytest.mark.parametrize("name", ["handle", "device", "address", "created", "last_seen"])
def test_what_a_session_says_of_itself_never_becomes_markup(name: str) -> None:
    row: Any = {name: PAYLOAD}
    page = draw(ACCOUNT, sessions=(THIS, replace(OTHER, **row)))
    assert page.shape() == draw(ACCOUNT).shape()
    found = [value for e in page.elements for value in (e.text, *e.attrs.values()) if value]
    assert any(PAYLOAD in value for value in found)


@pytest.mark.parametrize("view", [PASSWORD, RESET])
def test_a_rule_never_becomes_markup(view: Any) -> None:
    page = draw(view, rules=(PAYLOAD,) * len(view.rules))
    assert page.shape() == draw(view).shape()
    assert PAYLOAD in {e.text for e in page.all("li")}


@every_view
def test_the_title_and_the_static_url_never_become_markup(view: Any) -> None:
    page = draw(view, title=PAYLOAD, static_url=PAYLOAD)
    assert page.shape() == draw(view).shape()
    assert page.one("title").text.endswith(PAYLOAD)


BAD_URLS = ["javascript:alert(1)", " javascript:x", "java\tscript:x", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x"]
BAD_URLS += ["//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "https:///evil", "https:x"]
GOOD_URLS = ["/", "/a?b=c%2F#d", "?lang=zh", "#", "https://a.example/b", "http://[::1]:8/", "/订单"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_link_never_leads_to_a_script_or_a_disguised_host(url: str) -> None:
    for view in VIEWS:
        page = draw(view, **dict.fromkeys(texts(view) & URLS, url))
        assert {e.attrs["href"] for e in page.all("a")} | {e.attrs["action"] for e in page.all("form")} <= {"#"}


@pytest.mark.parametrize("url", GOOD_URLS)
def test_an_honest_link_is_left_alone(url: str) -> None:
    assert draw(STRANGER, login_url=url).one("a").attrs["href"] == url


@every_view
def test_no_page_has_a_script_or_a_style_inside(view: Any) -> None:
    page = draw(view)
    assert not {"script", "style", "base", "iframe", "object", "svg"} & {e.tag for e in page.elements}
    assert not [name for e in page.elements for name in e.attrs if name == "style" or name.startswith("on")]


@every_view
def test_a_page_loads_nothing_but_our_static_files_at_their_present_version(view: Any) -> None:
    page = draw(view, static_url="/auth/static/")
    loaded = {e.attrs["href"] for e in page.all("link")} | {e.attrs["src"] for e in page.all("img")}
    assert loaded == {f"/auth/static/{name}?v={file.etag}" for name, file in STATIC.items()}


def test_the_static_files_load_nothing_themselves() -> None:
    assert not re.search(r"url\(|@import", CSS)
    for name in STATIC.keys() - {"gateway.css"}:
        assert not re.search(r"<script|<style|style=|href|\son\w+=|<foreignObject|<!", STATIC[name].body.decode())


@pytest.mark.parametrize("name", ["gate.svg", "gateway.css", "mark.svg"])
def test_a_static_file_has_its_type_and_an_entity_tag_of_its_content(name: str) -> None:
    body = (FOLDER / "static" / name).read_bytes()
    assert STATIC[name].body == body
    assert STATIC[name].etag == sha256(body).hexdigest()[:16]
    assert STATIC[name].content_type == ("image/svg+xml" if name.endswith(".svg") else "text/css; charset=utf-8")


def test_both_languages_have_the_same_keys_and_no_empty_word() -> None:
    assert MESSAGES["en"].keys() == MESSAGES["zh"].keys()
    assert all(text.strip() for words in MESSAGES.values() for text in words.values())


def test_the_templates_use_every_word_there_is_and_no_other() -> None:
    sources = "".join(path.read_text("utf-8") for path in (FOLDER / "templates").iterdir())
    assert set(re.findall(r"\bt\.(\w+)", sources)) == set(MESSAGES["en"])


@every_view
@pytest.mark.parametrize(("language", "tag", "foreign"), [("en", "en", "[^\x00-\x7f–]"), ("zh", "zh-CN", "[A-Za-z]")])
def test_a_page_names_its_language_and_uses_no_other(view: Any, language: str, tag: str, foreign: str) -> None:
    silent: dict[str, Any] = dict.fromkeys(texts(view) - URLS, "0")
    silent |= {"rules": ("0",)} if hasattr(view, "rules") else {}
    if getattr(view, "sessions", None):
        silent["sessions"] = (SessionRow("0", "", "0", "0", "0", True), SessionRow("0", "", "0", "0", "0"))
    if isinstance(view, KeysView):
        row = KeyRow("0", "0", "0", "0", ("0",))
        silent |= {"keys": (row, replace(row, is_over=True), KeyRow("0", "0")), "routes": (("0", False),)}
    page = draw(view, title="0", **silent | {"language": language}).one("html")
    assert page.attrs["lang"] == tag
    said = page.text.replace(MESSAGES[language]["other_language_name"], "")
    assert not re.search(foreign, said.replace("Cookie", "") if language == "zh" else said)


@pytest.mark.parametrize(("language", "other", "name"), [("en", "zh-CN", "中文"), ("zh", "en", "English")])
def test_the_switch_names_the_other_language_in_that_language(language: str, other: str, name: str) -> None:
    assert draw(LOGIN, language=language).one("a", lang=other, hreflang=other, href="?lang=zh").text == name
    assert not draw(LOGIN, language=language, switch_language_url=None).all("a")


@every_view
def test_a_page_has_one_heading_in_its_main_part_and_a_title_that_names_the_site(view: Any) -> None:
    page = draw(view)
    assert page.one("h1").text in page.one("main").text
    assert page.one("title").text.endswith(f"{page.one('h1').text} – Orders")


@every_view
def test_a_page_can_be_zoomed_and_is_not_indexed_and_knows_both_schemes(view: Any) -> None:
    meta = {e.attrs["name"]: e.attrs["content"] for e in draw(view).all("meta") if "name" in e.attrs}
    assert meta.pop("viewport") == "width=device-width, initial-scale=1"
    assert meta == {"robots": "noindex", "color-scheme": "light dark"}


@every_view
def test_every_field_has_a_visible_label_and_every_reference_an_aim(view: Any) -> None:
    page = draw(view)
    ids = [e.attrs["id"] for e in page.elements if "id" in e.attrs]
    labels = {e.attrs["for"]: e.text.strip() for e in page.all("label")}
    assert len(ids) == len(set(ids))
    assert set(labels) == {
        e.attrs["id"] for e in page.all("input") if e.attrs["type"] != "hidden" and "hidden" not in e.attrs
    }
    assert all(labels.values())
    assert {
        one
        for e in page.elements
        for name in ("aria-describedby", "aria-labelledby")
        for one in (e.attrs.get(name) or "").split()
    } <= set(ids)
    assert all("alt" in e.attrs for e in page.all("img"))


def test_the_sign_in_form_is_what_password_managers_know() -> None:
    page = draw(LOGIN, username="ada")
    assert page.one("form").attrs == {"method": "post", "action": "/auth/login"}
    username = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false", "value": "ada"}
    assert page.one("input", name="username", type="text", **username)
    assert "value" not in page.one("input", name="password", type="password", autocomplete="current-password").attrs
    assert page.one("input", name="next", type="hidden", value="/orders")
    assert page.one("input", name="csrf", type="hidden", value="t0ken")


def test_remember_is_always_sent_and_the_box_comes_after_the_hidden_zero() -> None:
    sent = [(e.attrs["type"], e.attrs["value"]) for e in draw(LOGIN).all("input", name="remember")]
    assert sent == [("hidden", "0"), ("checkbox", "1")]
    for view in (LOGIN, FAILED):
        assert ("checked" in draw(view).one("input", name="remember", type="checkbox").attrs) == view.remember


FOCUS = [(LOGIN, ["username"]), (FAILED, ["password"]), (PRESENT, []), (PRESENT_FAILED, ["password"])]


@pytest.mark.parametrize(("view", "focused"), FOCUS)
def test_the_first_empty_field_has_the_focus_unless_the_news_is_who_is_signed_in(view: Any, focused: list[str]) -> None:
    assert [e.attrs["name"] for e in draw(view).all("input") if "autofocus" in e.attrs] == focused


@pytest.mark.parametrize(("language", "title"), [("en", "Error: Sign in – Orders"), ("zh", "错误：登录 – Orders")])
def test_an_error_is_announced_and_tied_to_both_fields(language: str, title: str) -> None:
    page = draw(FAILED, language=language)
    assert page.one("p", role="alert", id="error").text == "Wrong."
    tied = page.all("input", **{"aria-invalid": "true", "aria-describedby": "error"})
    assert [e.attrs["name"] for e in tied] == ["username", "password"]
    assert page.one("title").text == title


def test_without_an_error_nothing_looks_like_one() -> None:
    assert draw(LOGIN).one("title").text == "Sign in – Orders"
    for view in (PASSWORD, RESET):
        assert not [e for e in draw(view).elements if {"role", "aria-invalid"} & e.attrs.keys()]
    assert not [e for e in draw(LOGIN).elements if {"role", "aria-invalid", "aria-describedby"} & e.attrs.keys()]


def test_who_is_signed_in_already_may_go_on_or_sign_in_as_somebody_else() -> None:
    page = draw(PRESENT)
    assert "You are signed in as Ada" in page.one("main").text
    assert page.one("a", href="/orders").text == "Go on"
    assert page.one("a", href="/auth/account").text == "My account"
    assert page.one("h2").text == "Sign in as somebody else"
    assert page.one("input", name="password")


def test_signing_out_is_one_button_and_a_stranger_gets_the_way_in_instead() -> None:
    page = draw(LOGOUT)
    assert page.one("form").attrs == {"method": "post", "action": "/auth/logout"}
    assert page.one("input").attrs == {"type": "hidden", "name": "csrf", "value": "t0ken"}
    assert page.one("button", type="submit").text == "Sign out"
    assert not draw(STRANGER).all("form")
    assert draw(STRANGER).one("a", href="/auth/login").text == "Sign in"


def test_a_notice_shows_the_status_of_an_error_and_only_what_it_was_given() -> None:
    assert all(text in draw(NOTICE).one("main").text for text in ("503", "Try again.", "01J"))
    assert draw(NOTICE, link_text=None).one("a", href="/orders").text == "Go on"
    assert draw(BARE).one("main").text.split() == ["Done", "All", "good."]


def test_a_view_cannot_be_changed_and_hides_its_token() -> None:
    with pytest.raises(FrozenInstanceError):
        LOGIN.csrf = "x"  # type: ignore[misc]
    assert "t0ken" not in "".join(map(repr, VIEWS))
    assert "s3cret" not in repr(RESET)


# -- the style sheet ---------------------------------------------------------------------------------------------------

TEXT = [
    "text/page",
    "text/field",
    "text/tint",
    "quiet/page",
    "quiet/tint",
    "accent/page",
    "accent/tint",
    "well/page",
    "well/well-tint",
]
TEXT += ["on-accent/accent", "on-accent/accent-strong", "alarm/alarm-tint"]
EDGES = ["edge/page", "edge/field", "alarm/field", "focus/page", "focus/tint"]


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [1, 2], ids=["light", "dark"])
@pytest.mark.parametrize(("pair", "least"), [(p, 7.0) for p in TEXT] + [(p, 3.0) for p in EDGES])
def test_colours_can_be_told_apart(scheme: int, pair: str, least: float) -> None:
    palette = dict(re.findall(r"--([\w-]+): (#\w{6});", CSS.split(":root {")[scheme].split("}")[0]))
    darker, lighter = sorted(luminance(palette[name]) for name in pair.split("/"))
    assert (lighter + 0.05) / (darker + 0.05) >= least


def test_the_style_sheet_knows_no_left_and_no_right() -> None:
    assert not re.search(r"\b(left|right)\b|^\s*(min-|max-)?(width|height):", CSS, re.MULTILINE)
