"""WebSockets in Chromium: pages of the site open them, pages of others do not, and the page is told why one ended."""

from __future__ import annotations

import http
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from gateway.store.redis_server import RedisServer
from tests.browser.site import OtherSite, Site
from tests.browser.sites import gateway_before

PAGE = b"""<!doctype html><title>Chat</title><ul id=log></ul><script>
const log = text => document.querySelector("#log").append(Object.assign(document.createElement("li"), {textContent: text}));
const socket = new WebSocket(location.href.replace("http", "ws") + "ws");
socket.onopen = () => { log("open"); socket.send("hello from the page"); };
socket.onmessage = event => log("got " + event.data);
socket.onclose = event => log(`closed ${event.code} ${event.reason}`);
</script>"""
OPEN = """url => new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve("open");
    socket.onclose = event => resolve(event.code);
})"""


def page_or_socket(_: ServerConnection, request: Request) -> Response | None:
    if "Upgrade" in request.headers:
        return None
    headers = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE)), "Connection": "close"})
    return Response(http.HTTPStatus.OK, "OK", headers, PAGE)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture(scope="module")
def chat(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page and its WebSocket behind a gateway."""
    with serve(echo, "127.0.0.1", 0, process_request=page_or_socket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        backend = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        with gateway_before(backend, shared_redis, tmp_path_factory.mktemp("chat")) as site:
            yield site
        server.shutdown()
        thread.join()


def test_a_page_s_websocket_works_and_says_why_it_ended(chat: Site, page: Page) -> None:
    chat.sign_in(page.context)
    page.goto(chat("/"))
    log = page.locator("#log li")
    expect(log).to_have_text(["open", "got hello from the page"])
    chat.end_session(chat.cookie(page.context))
    expect(log).to_have_text(["open", "got hello from the page", "closed 4401 revoked"])


def test_a_page_of_another_origin_cannot_open_one_with_the_user_s_cookies(
    chat: Site, page: Page, elsewhere: OtherSite
) -> None:
    chat.sign_in(page.context)
    socket = chat("/ws").replace("http:", "ws:")
    page.goto(chat("/"))
    assert page.evaluate(OPEN, socket) == "open"
    elsewhere.pages["/"] = "<!doctype html><title>Elsewhere</title>"
    page.goto(f"{elsewhere.other_origin}/")  # the same host: the cookie is sent all the same
    assert page.evaluate(OPEN, socket) == 1006
