"""A real JupyterLab behind the gateway: its kernels speak over WebSockets, and end with the session."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from gateway.store.redis_server import RedisServer
from tests.browser.site import ALICE, Site, submit
from tests.browser.sites import gateway_before

SECONDS = 90.0
CODE = "print(6 * 7, '订单')"
OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ServerApp.token=",
    "--ServerApp.password=",
    "--ServerApp.disable_check_xsrf=False",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--ServerApp.open_browser=False",
)


@pytest.fixture(scope="module")
def jupyter() -> Iterator[str]:
    """Its address: a unix socket."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab; pip install -r requirements/test.txt; it was not tested")
    folder = Path(tempfile.mkdtemp(prefix="gwt-"))  # a short path: it holds a unix socket
    places = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    environment = {**os.environ, **places, "HOME": str(folder)}
    (folder / "work").mkdir()
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--ServerApp.sock={folder / 'sock'}"]
        process = subprocess.Popen(
            command, cwd=folder / "work", env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _wait(folder / "sock", process, folder / "log")
        yield f"unix:{folder / 'sock'}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            connection = http.client.HTTPConnection("localhost")
            connection.sock = sock
            connection.request("GET", "/api")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def lab(jupyter: str, shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway_before(jupyter, shared_redis, tmp_path_factory.mktemp("lab")) as site:
        yield site


def run(page: Page) -> None:
    """Writes a cell and runs it. While the notebook is being set up its editor is made anew, and forgets what was typed."""
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    for _ in range(20):
        cell.click()
        page.keyboard.press("Control+A")
        page.keyboard.type(CODE)
        page.wait_for_timeout(1000)
        if cell.inner_text().strip() == CODE:
            page.keyboard.press("Shift+Enter")
            return
    raise AssertionError("nothing could be written into a cell")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_notebook_is_used_behind_the_gateway_and_its_kernel_s_sockets_end_with_the_session(
    lab: Site, page: Page
) -> None:
    page.set_default_timeout(60_000)
    closes: list[str] = []
    page.on("websocket", lambda socket: socket.on("close", lambda _: closes.append(socket.url)))
    page.goto(lab("/lab"))
    submit(page, ALICE)
    page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    indicator = page.locator(".jp-Notebook-ExecutionIndicator").first
    expect(indicator).to_have_attribute("data-status", "idle", timeout=60_000)
    run(page)
    expect(page.locator(".jp-OutputArea-output").first).to_have_text("42 订单", timeout=60_000)
    lab.end_session(lab.cookie(page.context))
    deadline = time.monotonic() + 10
    while not any("/channels" in url for url in closes):
        assert time.monotonic() < deadline, "the kernel's socket is still open"
        page.wait_for_timeout(50)
