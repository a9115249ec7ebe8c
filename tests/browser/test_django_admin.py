"""A real Django admin, whose own sign-in, forms and files work behind the gateway as without it."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from gateway.store.redis_server import RedisServer
from tests.browser.chromium import TIMEOUT
from tests.browser.conftest import Complaints
from tests.browser.site import ALICE, Site, submit
from tests.harness import MASTER, ROOT, GatewayProcess

UPLOAD = random.Random(3).randbytes(3 * 1024 * 1024)  # more than Django keeps in memory
PICTURES = (
    "/static/admin/img/"  # named by style sheets: which of them are asked for depends on how soon the page is left
)
SHEETS = "[...document.styleSheets].map(sheet => sheet.cssRules.length)"
DIGEST = """async path => {
    const data = await (await fetch(path, {cache: "no-store"})).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    return [...digest].map(byte => byte.toString(16).padStart(2, "0")).join("");
}"""


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    pytest.importorskip("django", reason="no Django; pip install -r requirements/test.txt; its admin was not tested")
    folder = tmp_path_factory.mktemp("django")
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "tests.browser.django_site.serve", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, (folder / "log").read_text()
        yield url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module", params=[True, False], ids=["host-kept", "host-replaced"])
def behind(
    request: pytest.FixtureRequest, django: str, shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A gateway in front of it; with ``preserve_host: false`` it is X-Forwarded-Host alone that tells where the site is."""
    config: dict[str, Any] = {
        "server": {"port": 0},
        "management": {"port": 0},
        "redis": {"url": shared_redis.url, "prefix": f"gw-django-{request.param}:"},
        "keys": {"master": MASTER},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"django": {"url": django}},
        "routes": [{"path": "/", "preserve_host": request.param}],
    }
    file = tmp_path_factory.mktemp("gateway") / "gateway.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    with GatewayProcess("serve", "--config", str(file)) as process:
        yield Site(process.url, django)


class Visit:
    """A browser at the admin. ``trail``: what was asked for and answered, whoever the visitor is and however Django counts."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page, self.url, self.name = page, url, name
        self.trail: set[tuple[str, str, int]] = set()
        self.cookies: set[tuple[str, str, bool, str]] = set()
        self.complaints = Complaints()
        self.complaints.watch(page)
        page.on("response", self._note)

    def _note(self, response: Response) -> None:
        path = re.sub(r"\d+", "N", response.url.removeprefix(self.url).replace(self.name, "NAME"))
        if not path.startswith("/auth/"):
            status = 200 if response.status == 304 else response.status  # that depends on how old Django's files are
            self.trail.add((response.request.method, path, status))

    def leave_by(self, selector: str) -> None:
        """Click on what leads to another page, once this one is there whole."""
        self.page.wait_for_load_state()
        self.page.click(selector)

    @property
    def pages(self) -> set[tuple[str, str, int]]:
        """The trail without pictures, each of which has to have come."""
        pictures = {entry for entry in self.trail if entry[1].startswith(PICTURES)}
        assert {status for *_, status in pictures} == {200}
        return self.trail - pictures

    def sign_in(self) -> None:
        page = self.page
        page.fill("#id_username", "root")
        page.fill("#id_password", "root-demo")
        self.leave_by("input[type=submit]")
        expect(page).to_have_url(f"{self.url}/admin/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Site administration")
        assert all(rules > 0 for rules in page.evaluate(SHEETS)), "a style sheet is not there"

    def add_user(self) -> None:
        page = self.page
        page.goto(f"{self.url}/admin/auth/user/add/")
        page.fill("#id_username", self.name)
        for field in ("#id_password1", "#id_password2"):
            page.fill(field, "correct horse battery")
        self.leave_by("input[name=_save]")
        expect(page.locator(".messagelist .success")).to_contain_text("was added successfully")
        page.fill("#id_first_name", "Zoë 世界")
        self.leave_by("input[name=_save]")
        expect(page).to_have_url(f"{self.url}/admin/auth/user/")
        page.wait_for_load_state()
        page.fill("#searchbar", self.name)
        page.keyboard.press("Enter")
        expect(page.locator("#result_list tbody tr")).to_have_count(1)
        expect(page.locator("#result_list .field-first_name")).to_have_text("Zoë 世界")

    def upload(self) -> None:
        page = self.page
        page.goto(f"{self.url}/admin/django_site/document/add/")
        page.fill("#id_name", "Grüße")
        file = f"grüße {self.name}.bin"
        page.set_input_files("#id_file", {"name": file, "mimeType": "application/octet-stream", "buffer": UPLOAD})
        self.leave_by("input[name=_continue]")
        expect(page.locator(".messagelist .success")).to_contain_text("was added successfully")
        link = page.locator(".file-upload a").get_attribute("href")
        assert page.evaluate(DIGEST, link) == hashlib.sha256(UPLOAD).hexdigest()

    def sign_out(self) -> None:
        self.leave_by("#logout-form button")
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Logged out")

    def note_cookies(self) -> None:
        """Those of Django."""
        kept = self.page.context.cookies(self.url)
        self.cookies = {(c["name"], c["path"], c["httpOnly"], c["sameSite"]) for c in kept if "gw_" not in c["name"]}

    def use_everything(self) -> Visit:
        self.sign_in()
        self.add_user()
        self.upload()
        self.note_cookies()
        self.sign_out()
        self.page.goto(f"{self.url}/admin/")
        expect(self.page).to_have_url(f"{self.url}/admin/login/?next=/admin/")
        return self


@pytest.fixture(scope="module")
def without(browser: Browser, django: str) -> Iterator[Visit]:
    """How all of it goes when there is no gateway."""
    with browser.new_context(locale="en-GB") as context:
        context.set_default_timeout(TIMEOUT)
        visit = Visit(context.new_page(), django, "direct")
        visit.page.goto(f"{django}/admin/")
        yield visit.use_everything()


def test_the_admin_works_behind_the_gateway_as_without_it(behind: Site, page: Page, without: Visit) -> None:
    visit = Visit(page, behind.url, f"visitor-{behind.url.rpartition(':')[2]}")
    page.goto(behind("/admin/"))
    expect(page).to_have_url(behind("/auth/login?next=%2Fadmin%2F"))
    submit(page, ALICE)
    expect(page).to_have_url(behind("/admin/login/?next=/admin/"))
    visit.use_everything()
    assert visit.pages == without.pages
    assert visit.cookies == without.cookies
    assert {name for name, *_ in visit.cookies} == {"csrftoken", "sessionid"}
    assert (visit.complaints, without.complaints) == ([], [])
    assert behind.who(behind.cookie(page.context)) == "alice", "signed out of Django, not of the gateway"


def test_django_knows_where_it_is(behind: Site, page: Page, request: pytest.FixtureRequest) -> None:
    behind.sign_in(page.context)
    page.goto(behind("/where?a=1"))
    told = json.loads(page.inner_text("body"))
    host, port = behind.url.removeprefix("http://"), behind.url.rpartition(":")[2]
    is_kept = request.node.callspec.params["behind"]
    assert told == {
        "Host": host if is_kept else behind.backend.removeprefix("http://"),
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Port": port,
        "X-Forwarded-Proto": "http",
        "here": behind("/where?a=1"),
    }
