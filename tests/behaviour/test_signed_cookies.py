"""Signed and encrypted cookies as a handler and a browser meet them (docs/signed-cookies.md)."""

from __future__ import annotations

import re
import string
from collections.abc import Awaitable, Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestServer

from gateway.core.keys import KeyRing, MasterKey, from_b64url
from gateway.core.signing import BadSignature, Encrypter, SignatureExpired, Signer
from gateway.web.signed_cookies import (
    SignedCookies,
    get_encrypted_cookie,
    get_signed_cookie,
    set_encrypted_cookie,
    set_signed_cookie,
    signed_cookies,
    with_signed_cookies,
)
from tests.core.tables import table

NEW, OLD, FOREIGN = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
PAGE = Path(__file__).resolve().parent.parent.parent / "docs/signed-cookies.md"

SIGNED = SimpleNamespace(set=set_signed_cookie, get=get_signed_cookie)
ENCRYPTED = SimpleNamespace(set=set_encrypted_cookie, get=get_encrypted_cookie)
both = pytest.mark.parametrize("kind", table({"signed": SIGNED, "encrypted": ENCRYPTED}))


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A five-line application on a real socket: ``do`` runs in a handler, and nothing is remembered between requests."""

    def __init__(self, session: ClientSession, cookies: SignedCookies) -> None:
        self._session = session
        self._do: Callable[[web.Request, web.Response], object] = lambda *_: None
        self._cookies = cookies
        self.fault: Exception | None = None

    async def start(self) -> Site:
        app = web.Application()
        app.router.add_get("/", with_signed_cookies(self._cookies, self._handle))
        self.server = TestServer(app)
        await self.server.start_server()
        return self

    async def _handle(self, request: web.Request) -> web.Response:
        response = web.Response()
        try:
            response.text = str(self._do(request, response))
        except (BadSignature, KeyError, TypeError, ValueError, RuntimeError) as error:
            self.fault = error
            response.set_status(500)
        return response

    async def run(self, do: Callable[[web.Request, web.Response], object], *cookies: str) -> tuple[str, SimpleCookie]:
        """What ``do`` returned, as text, and the cookies set. Each of ``cookies`` is one Cookie header."""
        self._do, self.fault = do, None
        async with self._session.get(
            self.server.make_url("/"), headers=[("Cookie", cookie) for cookie in cookies]
        ) as response:
            text = await response.text()
            headers = response.headers.getall("Set-Cookie", [])
        if self.fault is not None:
            raise self.fault
        found = SimpleCookie()
        for header in headers:
            found.load(header)
        return text, found

    async def write(self, kind: Any, name: str, value: str, **options: Any) -> str:
        """The value of the cookie that a handler set."""
        _, cookies = await self.run(lambda _, response: kind.set(response, name, value, **options))
        return cookies[name].value

    async def read(self, kind: Any, name: str, *headers: str, default: Any = ..., **options: Any) -> str:
        """What a handler gets of these Cookie headers."""
        given = () if default is ... else (default,)
        text, _ = await self.run(lambda request, _: kind.get(request, name, *given, **options), *headers)
        return text


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def make_site() -> Any:
    """``await make_site(key, …, secure=…)``."""
    sites: list[Site] = []
    async with ClientSession(cookie_jar=CookieJar()) as session:

        async def make(*keys: MasterKey, secure: bool = False, clock: Clock | None = None) -> Site:
            ring = KeyRing(list(keys) or [NEW])
            cookies = signed_cookies(ring, secure=secure)
            if clock is not None:
                cookies = SignedCookies(cookies.signer, cookies.encrypter, secure, clock)
            sites.append(await Site(session, cookies).start())
            return sites[-1]

        yield make
        for site in sites:
            await site.server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def site(make_site: MakeSite, clock: Clock) -> Site:
    return await make_site(clock=clock)


# -- setting
@both
@pytest.mark.parametrize("value", ["dark", "", "深色, 😀", 'a; b=c, "d"\r\nSet-Cookie: x=y', "\0", "\ud800", "=" * 100])
async def test_any_text_comes_back_from_a_browser(site: Site, kind: Any, value: str) -> None:
    cookie = await site.write(kind, "theme", value, salt="é")
    assert {*cookie} <= {*string.ascii_letters, *string.digits, "-", "_"}
    seen: list[str] = []
    await site.run(lambda request, _: seen.append(kind.get(request, "theme", salt="é")), f"a=b; theme={cookie}; c=d")
    assert seen == [value]


async def test_a_signed_cookie_can_be_read_by_its_owner_and_an_encrypted_one_cannot(site: Site) -> None:
    assert b"secret" in (from_b64url(await site.write(SIGNED, "a", "secret")) or b"")
    assert b"secret" not in (from_b64url(await site.write(ENCRYPTED, "a", "secret")) or b"")


@both
async def test_a_cookie_is_of_this_site_only_and_not_for_scripts_unless_said_otherwise(
    make_site: MakeSite, kind: Any
) -> None:
    def attributes(cookies: SimpleCookie) -> dict[str, Any]:
        return {name: value for name, value in cookies["a"].items() if value}

    plain, secure = await make_site(), await make_site(secure=True)
    _, cookies = await plain.run(lambda _, response: kind.set(response, "a", "x"))
    assert attributes(cookies) == {"path": "/", "httponly": True, "samesite": "Lax"}
    _, cookies = await secure.run(lambda _, response: kind.set(response, "a", "x"))
    assert attributes(cookies) == {"path": "/", "httponly": True, "samesite": "Lax", "secure": True}
    said = {"path": "/x", "domain": "example.org", "httponly": False, "samesite": "Strict", "secure": False}
    _, cookies = await secure.run(lambda _, response: kind.set(response, "a", "x", **said))
    assert attributes(cookies) == {"path": "/x", "domain": "example.org", "samesite": "Strict"}


@both
async def test_the_name_is_taken_as_it_is(make_site: MakeSite, kind: Any) -> None:
    site = await make_site(secure=True)
    for name in ("__Host-a", "__Secure-a", "a"):
        _, cookies = await site.run(lambda _, response, name=name: kind.set(response, name, "x"))
        assert [*cookies] == [name]
        assert await site.read(kind, name, f"{name}={cookies[name].value}") == "x"


@both
@pytest.mark.parametrize("max_age", [60, 60.9, timedelta(minutes=1)])
async def test_the_browser_is_told_the_age(site: Site, kind: Any, max_age: Any) -> None:
    _, cookies = await site.run(lambda _, response: kind.set(response, "a", "x", max_age=max_age))
    assert cookies["a"]["max-age"] == "60"
    assert cookies["a"]["expires"] == "Tue, 14 Nov 2023 22:14:20 GMT"
    _, cookies = await site.run(lambda _, response: kind.set(response, "a", "x"))
    assert cookies["a"]["max-age"] == cookies["a"]["expires"] == "", "it ends with the browser"


@both
async def test_of_a_cookie_that_is_set_twice_nothing_of_the_first_is_left(site: Site, kind: Any) -> None:
    def twice(_: web.Request, response: web.Response) -> None:
        kind.set(response, "a", "first", max_age=60, domain="example.org", path="/x")
        kind.set(response, "a", "second")

    _, cookies = await site.run(twice)
    assert {name for name, value in cookies["a"].items() if value} == {"path", "httponly", "samesite"}
    assert cookies["a"]["path"] == "/"
    assert await site.read(kind, "a", f"a={cookies['a'].value}") == "second"


@both
async def test_4096_bytes_are_a_cookie_and_one_more_is_an_error(make_site: MakeSite, kind: Any) -> None:
    site = await make_site(secure=True)

    async def size(value: int, path: int = 0) -> int:
        options = {"path": "/" + "p" * path, "max_age": 60, "domain": "example.org"}
        _, cookies = await site.run(lambda _, response: kind.set(response, "a", "x" * value, **options))
        return len(cookies["a"].OutputString())

    room = 4096 - await size(2000)
    assert await size(2000, room) == 4096
    with pytest.raises(ValueError, match=r"4097 bytes .* 4096"):
        await size(2000, room + 1)
    assert await size(2850) <= 4096, "as the page says: about 2,900 bytes of text"
    with pytest.raises(ValueError, match="4096"):
        await size(3000)


@both
@pytest.mark.parametrize("value", ["x" * 4096, "é" * 2000, "😀" * 1000, "x" * 10_000_000])
async def test_a_value_that_is_too_large_says_so_and_leaves_the_response_as_it_was(
    site: Site, kind: Any, value: str
) -> None:
    def attempt(_: web.Request, response: web.Response) -> str:
        kind.set(response, "a", "small")
        with pytest.raises(ValueError, match=r"'a' would have \d+ bytes .* 4096"):
            kind.set(response, "a", value)
        return "done"

    text, cookies = await site.run(attempt)
    assert text == "done"
    assert await site.read(kind, "a", f"a={cookies['a'].value}") == "small"


@both
async def test_long_names_and_attributes_count(site: Site, kind: Any) -> None:
    for options in ({"name": "a" * 4096}, {"name": "a", "path": "/" + "x" * 4096}, {"name": "a", "domain": "é" * 2048}):
        with pytest.raises(ValueError, match="4096"):
            await site.run(lambda _, response, options=options: kind.set(response, value="x", **options))


@both
@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "a\r\nb", "é", "path", "Secure", "a,b", "\0"])
async def test_a_name_that_no_cookie_has_is_an_error(site: Site, kind: Any, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a cookie"):
        await site.run(lambda _, response: kind.set(response, name, "x"))


@both
async def test_an_attribute_that_is_none_is_an_error(site: Site, kind: Any) -> None:
    with pytest.raises(TypeError):
        await site.run(lambda _, response: kind.set(response, "a", "x", same_site="Lax"))


@both
async def test_after_the_head_of_the_response_is_sent_it_is_too_late(make_site: MakeSite, kind: Any) -> None:
    site = await make_site()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        kind.set(response, "early", "x")
        await response.prepare(request)
        with pytest.raises(RuntimeError, match="sent already"):
            kind.set(response, "late", "x")
        await response.write(b"too late")
        return response

    app = web.Application()
    app.router.add_get("/", with_signed_cookies(site._cookies, handler))
    async with TestServer(app) as server, ClientSession() as session, session.get(server.make_url("/")) as response:
        assert await response.text() == "too late"
        assert [*response.cookies] == ["early"]


# -- reading
@both
async def test_without_a_cookie_it_is_the_default_or_a_key_error(site: Site, kind: Any) -> None:
    for headers in ((), ("",), ("b=c",), ("A=x",), ("xa=x; ax=x; a",)):
        with pytest.raises(KeyError, match="a"):
            await site.read(kind, "a", *headers)
        assert await site.read(kind, "a", *headers, default="light") == "light"
        assert await site.read(kind, "a", *headers, default=None) == "None", "None is a default as any other"


def tampered(cookie: str) -> dict[str, str]:
    middle = len(cookie) // 2
    other = "A" if cookie[middle] != "A" else "B"
    return {
        "empty": "",
        "cut": cookie[:-1],
        "cut at its front": cookie[1:],
        "one character changed": cookie[:middle] + other + cookie[middle + 1 :],
        "padded": cookie + "=",
        "quoted": f'"{cookie}"',
        "twice": cookie + cookie,
        "a comma": cookie + ",",
        "deleted": "deleted",
        "bytes that are no text": "\udcff" * 60,
        "long": "A" * 4000,
    }


@both
async def test_a_changed_cookie_is_the_default_or_bad(site: Site, kind: Any) -> None:
    for name, text in tampered(await site.write(kind, "a", "admin=0")).items():
        header = f"a={text}"
        if name == "bytes that are no text":
            header = "a=" + "ÿ" * 60
        with pytest.raises(BadSignature):
            await site.read(kind, "a", header)
        assert await site.read(kind, "a", header, default="light") == "light", name


@both
async def test_a_cookie_for_another_purpose_is_bad(site: Site, kind: Any) -> None:
    cookie = await site.write(kind, "theme", "admin", salt="looks")
    assert await site.read(kind, "theme", f"theme={cookie}", salt="looks") == "admin"
    other = ENCRYPTED if kind is SIGNED else SIGNED
    for asked, name, salt in (
        (kind, "role", "looks"),
        (kind, "theme", "rights"),
        (kind, "theme", ""),
        (kind, "them", "elooks"),
        (kind, "themel", "ooks"),
        (other, "theme", "looks"),
    ):
        with pytest.raises(BadSignature):
            await site.read(asked, name, f"{name}={cookie}", salt=salt)
        assert await site.read(asked, name, f"{name}={cookie}", salt=salt, default="light") == "light"


@both
async def test_a_cookie_of_an_old_key_is_good_until_the_key_leaves_the_ring(make_site: MakeSite, kind: Any) -> None:
    header = "a=" + await (await make_site(OLD)).write(kind, "a", "x")
    assert await (await make_site(NEW, OLD)).read(kind, "a", header) == "x"
    for keys in ([NEW], [FOREIGN]):
        with pytest.raises(BadSignature):
            await (await make_site(*keys)).read(kind, "a", header)


@both
@pytest.mark.parametrize("max_age", [60, timedelta(minutes=1)])
async def test_the_age_is_checked_here_and_not_left_to_the_browser(
    site: Site, clock: Clock, kind: Any, max_age: Any
) -> None:
    header = "a=" + await site.write(kind, "a", "x", max_age=3600)
    clock.now += 60
    assert await site.read(kind, "a", header, max_age=max_age) == "x"
    clock.now += 0.01
    with pytest.raises(SignatureExpired):
        await site.read(kind, "a", header, max_age=max_age)
    assert await site.read(kind, "a", header, default="light", max_age=max_age) == "light"
    assert await site.read(kind, "a", header) == "x", "no limit said, none kept"


@both
async def test_a_cookie_of_tomorrow_is_bad(site: Site, clock: Clock, kind: Any) -> None:
    clock.now += 86400
    header = "a=" + await site.write(kind, "a", "x")
    clock.now -= 86400
    with pytest.raises(BadSignature):
        await site.read(kind, "a", header)


@both
async def test_p49_of_several_cookies_of_one_name_the_first_good_one_counts(
    site: Site, clock: Clock, kind: Any
) -> None:
    old = "a=" + await site.write(kind, "a", "old")
    clock.now += 100
    one, two = [f"a={await site.write(kind, 'a', value)}" for value in ("one", "two")]
    planted = "a=planted"
    for headers, value in (
        ([f"{planted}; {one}"], "one"),
        ([planted, one], "one"),
        ([f"{one}; {planted}"], "one"),
        ([f"{one}; {two}"], "one"),
        ([f"{two}; {one}"], "two"),
        ([f"{old}; {planted}; {two}"], "two"),
        ([planted, old, f"b=c; {one[:-1]}; {one}"], "one"),
    ):
        assert await site.read(kind, "a", *headers, max_age=50) == value
    for headers in ([planted, old], [old, planted]):
        with pytest.raises(SignatureExpired):
            await site.read(kind, "a", *headers, max_age=50)


@both
async def test_a_handler_that_is_not_wrapped_is_told_so(kind: Any) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        for do in (lambda: kind.set(web.Response(), "a", "x"), lambda: kind.get(request, "a", "default")):
            with pytest.raises(RuntimeError, match="with_signed_cookies") as caught:
                do()
            seen.append(str(caught.value))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session, session.get(server.make_url("/")) as response:
        assert response.status == 200
    assert len(seen) == 2


async def test_two_sites_in_one_process_sign_with_their_own_keys(make_site: MakeSite) -> None:
    one, other = await make_site(NEW), await make_site(OLD)
    by_one, by_other = await one.write(SIGNED, "a", "x"), await other.write(SIGNED, "a", "x")
    assert (from_b64url(by_one) or b"")[:4] == NEW.id
    assert (from_b64url(by_other) or b"")[:4] == OLD.id


async def test_a_value_signed_elsewhere_for_the_same_name_is_read(site: Site, clock: Clock) -> None:
    """A script with the key ring can make them: the functions add nothing but the name."""
    ring = KeyRing([NEW])
    signed = Signer(ring).sign("x", "s", clock(), name="a")
    encrypted = Encrypter(ring, lambda size: bytes(size)).encrypt("y", "s", clock(), name="a")
    assert await site.read(SIGNED, "a", f"a={signed}", salt="s") == "x"
    assert await site.read(ENCRYPTED, "a", f"a={encrypted}", salt="s") == "y"


async def test_the_example_of_the_page_runs() -> None:
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(code) == 1
    example: dict[str, Any] = {}
    exec(compile(code[0], str(PAGE), "exec"), example)
    cookies = signed_cookies(KeyRing([NEW]), secure=False)
    app = web.Application()
    app.router.add_get("/choose", with_signed_cookies(cookies, example["choose_theme"]))
    app.router.add_get("/", with_signed_cookies(cookies, example["page"]))
    async with TestServer(app) as server, ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:

        async def ask(path: str) -> str:
            async with browser.get(server.make_url(path)) as response:
                assert response.status == 200
                return await response.text()

        assert await ask("/") == "the theme is light"
        assert await ask("/choose?name=深色") == "noted"
        assert await ask("/") == "the theme is 深色"
        stored = {cookie.key: cookie.value for cookie in browser.cookie_jar}
        browser.cookie_jar.update_cookies({"theme": stored["theme"][:-1]}, server.make_url("/"))
        assert await ask("/") == "the theme is light"
