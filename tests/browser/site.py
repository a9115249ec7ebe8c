"""The site under test as its visitors have it: signing in without the page, ending a session from elsewhere."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page

from tests.harness import ALICE, MANAGER

__all__ = ["ALICE", "MANAGER", "Answer", "OtherSite", "Site", "fill_in", "other_site", "submit"]
SESSION_COOKIE = "gw_session"
NAME, PASSWORD, REMEMBER, SIGN_IN = "#username", "#password", "#remember", "form button[type=submit]"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of one request that no browser made."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway at ``url`` (``http://127.0.0.1:PORT``), and the backend behind it."""

    url: str
    backend: str = ""

    def __call__(self, path: str) -> str:
        """The whole address of a path."""
        return self.url + path

    def ask(self, method: str, path: str, cookie: str = "", **headers: str) -> Answer:
        """One request without a browser, following nothing; ``cookie`` is a session cookie's value."""
        if cookie:
            headers["Cookie"] = f"{SESSION_COOKIE}={cookie}"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def is_alive(self, cookie: str) -> bool:
        """Is this the cookie of a living session?"""
        return self.who(cookie) is not None

    def who(self, cookie: str) -> str | None:
        """Whose session it is."""
        answer = json.loads(self.ask("GET", "/auth/session", cookie).body)
        return str(answer["user"]["username"]) if answer["ret"] == 0 else None

    def end_session(self, cookie: str) -> None:
        """Signs out as another tab or program of the same user would: this browser is not told."""
        assert self.ask("POST", "/auth/logout", cookie).status == 200
        assert not self.is_alive(cookie)

    def sign_in(self, context: BrowserContext, user: dict[str, Any] = ALICE) -> str:
        """Signs the browser in without the page; the session cookie's value."""
        answer = context.request.post(self("/auth/login"), data=user)
        assert answer.status == 200, answer.text()
        return self.cookie(context)

    def cookie(self, context: BrowserContext) -> str:
        """The value of the browser's session cookie; ``""`` when there is none."""
        return next((c["value"] for c in context.cookies(self.url) if c["name"] == SESSION_COOKIE), "")

    def set_cookie(self, context: BrowserContext, value: str) -> None:
        """Puts another value under the session cookie's name."""
        context.add_cookies([{"name": SESSION_COOKIE, "value": value, "url": self.url, "httpOnly": True}])


def fill_in(page: Page, user: dict[str, Any] = ALICE) -> None:
    """Name and password into a sign-in page, the gateway's or the legacy one."""
    page.fill(NAME, user["username"])
    page.fill(PASSWORD, user["password"])


def submit(page: Page, user: dict[str, Any] = ALICE) -> None:
    """Signs in on the sign-in page that is open."""
    fill_in(page, user)
    page.click(SIGN_IN)


@dataclass
class OtherSite:
    """A web server that is not ours. ``pages``: path to HTML. A port is another origin, ``localhost`` another site."""

    port: int
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def other_origin(self) -> str:
        """Same site (cookies are sent), other origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_site(self) -> str:
        """Another site altogether."""
        return f"http://localhost:{self.port}"


@contextmanager
def other_site() -> Iterator[OtherSite]:
    """Such a server on a free port."""
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((body or "nothing").encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield OtherSite(server.server_port, pages)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
