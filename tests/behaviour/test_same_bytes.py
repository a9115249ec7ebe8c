"""curl, requests, httpx and Chromium get the same from a backend with the gateway in between as without it, and it from them."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import requests
from playwright.async_api import Page, async_playwright

from tests.behaviour.same_bytes import ASKS, FORM_FIELD, FORM_FILE, LARGE, Ask, backend_app, pieces
from tests.browser.chromium import ARGUMENTS, MISSING, TIMEOUT, find_chromium
from tests.conftest import MakeGateway
from tests.harness import ALICE, Gateway
from tests.quick import make_gateway

__all__ = ["make_gateway"]  # signing in costs next to nothing
_OF_ONE_CONNECTION = (b"connection:", b"keep-alive:", b"transfer-encoding:")


def digest(body: bytes) -> str:
    return f"{len(body)} bytes {hashlib.sha256(body).hexdigest()}"


def seen(head: Iterable[bytes], body: bytes, site: str) -> list[str]:
    """For a readable difference: status lines and headers, and the body when it is short, or its digest."""
    lines = [line.replace(site.encode(), b"SITE") for line in head if not line.lower().startswith(_OF_ONE_CONNECTION)]
    told = [line.decode("latin-1") for line in lines]
    return [*told, repr(body) if len(body) < 2000 else "", digest(body)]


class Client(Protocol):
    """Keeps its cookies from one request to the next, and follows redirects."""

    def ask(self, ask: Ask) -> list[str]:
        """What it got."""

    def close(self) -> None:
        """Ends its connections."""


class Curl:
    """The program."""

    def __init__(self, url: str, cookie: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        name, _, value = cookie.partition("=")
        line = f"127.0.0.1\tFALSE\t/\tFALSE\t0\t{name}\t{value}\n" if cookie else ""
        (folder / "jar").write_text("# Netscape HTTP Cookie File\n" + line)

    def ask(self, ask: Ask) -> list[str]:
        body = self._folder / FORM_FILE
        body.write_bytes(ask.body)
        command: list[str | bytes] = [
            "curl",
            "-sS",
            "--http1.1",
            "--noproxy",
            "*",
            "-L",
            "-b",
            "jar",
            "-c",
            "jar",
            "-D",
            "head",
            "-o",
            "body",
        ]
        command += [
            "--expect100-timeout",
            "60",
        ]  # it gives up waiting after a second otherwise, and nothing would be seen
        for name, value in ask.headers:
            command += ["-H", name.encode() + (b": " + value if value else b";")]
        command += self._way(ask, f"@{body}")
        (self._folder / "body").write_bytes(b"")
        subprocess.run([*command, self._url + ask.path], cwd=self._folder, check=True, timeout=60)
        head = (self._folder / "head").read_bytes().split(b"\r\n")
        return seen(head, (self._folder / "body").read_bytes(), self._url)

    def close(self) -> None:
        """There are none."""

    @staticmethod
    def _way(ask: Ask, file: str) -> list[str]:
        if ask.sends == "form":
            return ["-F", f"name={FORM_FIELD}", "-F", f"file={file}"]
        if ask.method == "HEAD":
            return ["-I"]
        way = ["--data-binary", file] if ask.body or ask.method == "POST" else []
        way += ["-H", "Transfer-Encoding: chunked"] if ask.sends == "chunks" else []
        return way if ask.method in ("GET", "POST") else [*way, "-X", ask.method]


class Requests:
    """The package."""

    def __init__(self, url: str, cookie: str, _: Path) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        if cookie:
            self._session.cookies.set(*cookie.split("=", 1))

    def ask(self, ask: Ask) -> list[str]:
        data: Any = pieces(ask.body) if ask.sends == "chunks" else ask.body
        files = {"file": (FORM_FILE, ask.body)} if ask.sends == "form" else None
        answer = self._session.request(
            ask.method,
            self._url + ask.path,
            headers=dict(ask.headers),
            data={"name": FORM_FIELD} if files else data,
            files=files,
            allow_redirects=True,
            timeout=60,
        )
        head: list[bytes] = []
        for one in [*answer.history, answer]:
            head.append(f"HTTP/{one.raw.version} {one.status_code} {one.reason}".encode("latin-1"))
            head += [f"{name}: {value}".encode("latin-1") for name, value in one.raw.headers.iteritems()]
        return seen(head, answer.content, self._url)

    def close(self) -> None:
        self._session.close()


class Httpx:
    """The package."""

    def __init__(self, url: str, cookie: str, _: Path) -> None:
        self._url = url
        cookies = dict([cookie.split("=", 1)]) if cookie else {}
        self._client = httpx.Client(follow_redirects=True, trust_env=False, timeout=60, cookies=cookies)

    def ask(self, ask: Ask) -> list[str]:
        sends: dict[str, Any] = {"content": pieces(ask.body) if ask.sends == "chunks" else ask.body}
        if ask.sends == "form":
            sends = {"data": {"name": FORM_FIELD}, "files": {"file": (FORM_FILE, ask.body)}}
        headers = [(name.encode(), value) for name, value in ask.headers]
        answer = self._client.request(ask.method, self._url + ask.path, headers=headers, **sends)
        head: list[bytes] = []
        for one in [*answer.history, answer]:
            head.append(f"{one.http_version} {one.status_code} {one.reason_phrase}".encode())
            head += [name + b": " + value for name, value in one.headers.raw]
        return seen(head, answer.content, self._url)

    def close(self) -> None:
        self._client.close()


def assert_same(direct: dict[str, list[str]], seen: dict[str, list[str]]) -> None:
    """Line by line."""
    told = [
        "\n".join(difflib.unified_diff(lines, seen[name], f"{name}: without", "with the gateway", n=0, lineterm=""))
        for name, lines in direct.items()
    ]
    assert not any(told), "\n".join(filter(None, told))


CLIENTS: list[Callable[[str, str, Path], Client]] = [Curl, Requests, Httpx]


@pytest.fixture
async def backend_url(aiohttp_server: Any, tmp_path: Path) -> str:
    return str((await aiohttp_server(backend_app(tmp_path))).make_url("")).rstrip("/")


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend_url: str) -> Gateway:
    """Behind the sign-in."""
    return await make_gateway(backend_url, routes=[{"path": "/", "access": "authenticated"}])


def assert_as_expected(answers: dict[str, list[str]]) -> None:
    """Not the same mistake twice: each answer has the status that it should, the known ones their bytes."""
    starts = {name: [line for line in lines if line.startswith("HTTP")][-1] for name, lines in answers.items()}
    assert {name: int(start.split()[1]) for name, start in starts.items()} == {
        name: ASKS[name].status for name in answers
    }
    for name, body in (("5 MiB", LARGE), ("chunks", LARGE[:500_000]), ("a range", LARGE[1000:70_001])):
        assert answers[name][-1] == digest(body)


@pytest.mark.parametrize("client", CLIENTS, ids=["curl", "requests", "httpx"])
async def test_a_client_gets_and_sends_the_same_with_the_gateway_as_without(
    client: Callable[[str, str, Path], Client], gateway: Gateway, backend_url: str, tmp_path: Path
) -> None:
    if client is Curl and shutil.which("curl") is None:
        pytest.skip("no curl on the PATH; Debian: apt-get install curl; what it gets was not tested")
    cookie = await gateway.sign_in(ALICE)

    def ask_all(url: str, cookie: str) -> dict[str, list[str]]:
        (folder := tmp_path / url.rpartition(":")[2]).mkdir()
        with contextlib.closing(client(url, cookie, folder)) as asking:
            return {name: asking.ask(ask) for name, ask in ASKS.items()}

    direct = await asyncio.to_thread(ask_all, backend_url, "")
    assert_as_expected(direct)
    assert_same(direct, await asyncio.to_thread(ask_all, gateway.url, cookie))
    if client is Curl:
        assert any("100 Continue" in line for line in direct["an upload that waits"])


# -- Chromium
FETCH = """async ([path, method, headers, body, sends]) => {
    if (body === null) body = await (await fetch("/large", {cache: "no-store"})).blob();
    if (sends === "form") {
        const form = new FormData();
        form.append("name", "Zoë");
        form.append("file", body, "grüße.bin");
        body = form;
    }
    const options = {method, headers, cache: "no-store", ...(body === "" ? {} : {body})};
    const answer = await fetch(path, options);
    const data = await answer.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const sum = [...digest].map(byte => byte.toString(16).padStart(2, "0")).join("");
    const start = `HTTP ${answer.status} ${answer.statusText} ${answer.redirected} ${answer.url}`;
    const text = data.byteLength < 2000 ? new TextDecoder().decode(data) : "";
    return [start, ...[...answer.headers].map(pair => pair.join(": ")), text, `${data.byteLength} bytes ${sum}`];
}"""
# HTTP/1.1 has no streamed uploads in browsers, and a script cannot ask them to wait
NOT_IN_A_BROWSER = {"an upload in chunks", "an upload that waits"}


async def fetch_all(page: Page, url: str) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = {}
    await page.goto(f"{url}/small")
    for name, ask in ASKS.items():
        if name not in NOT_IN_A_BROWSER:
            headers = {key: value.decode("latin-1") for key, value in ask.headers}
            body = None if ask.body is LARGE else ask.body.decode()
            lines = await page.evaluate(FETCH, [ask.path, ask.method, headers, body, ask.sends])
            answers[name] = [line.replace(url, "SITE") for line in lines]
    return answers


@pytest.mark.browser
async def test_chromium_gets_and_sends_the_same_with_the_gateway_as_without(gateway: Gateway, backend_url: str) -> None:
    if (path := find_chromium()) is None:
        pytest.skip(MISSING)
    name, _, value = (await gateway.sign_in(ALICE)).partition("=")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=TIMEOUT)
        found = []
        for url in (backend_url, gateway.url):
            context = await browser.new_context()
            await context.add_cookies(
                [{"name": name, "value": value, "url": gateway.url}] if url == gateway.url else []
            )
            found.append(await fetch_all(await context.new_page(), url))
        await browser.close()
    direct, through_the_gateway = found
    assert_as_expected(direct)
    assert_same(direct, through_the_gateway)
