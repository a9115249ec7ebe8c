"""Logo, colour and help of the operator, as a browser gets them (docs/pages.md)."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import ClientResponse

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway, run_gateway
from tests.quick import make_gateway

__all__ = ["make_gateway"]

HOSTILE = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><rect width="9" height="9"/></svg>'
PAGE = {"Accept": "text/html"}


async def loaded(gateway: Gateway, html: str) -> dict[str, ClientResponse]:
    """Everything the page asks for, by its name."""
    paths = re.findall(r'(?:src|href)="(/auth/static/[^"]+)"', html)
    return {re.split(r"[/?]", path)[3]: await gateway.get(path) for path in paths}


async def test_the_page_loads_the_logo_and_the_style_sheet_of_the_brand(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    (tmp_path / "logo.svg").write_bytes(HOSTILE)
    site = {"logo": str(tmp_path / "logo.svg"), "colour": "#1d4ed8", "support": "mailto:help@example.org"}
    gateway = await make_gateway(backend.url, site=site)
    response = await gateway.get("/auth/login", headers=PAGE)
    html = await response.text()
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert 'href="mailto:help@example.org"' in html
    files = await loaded(gateway, html)
    assert set(files) == {"logo.svg", "gateway.css", "brand.css", "gate.svg"}
    for one in files.values():
        assert (one.status, one.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert one.headers["X-Content-Type-Options"] == "nosniff"
    assert await files["logo.svg"].read() == HOSTILE
    assert "#1d4ed8" in await files["brand.css"].text()


async def test_an_svg_that_is_opened_by_its_address_runs_no_script(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    (tmp_path / "logo.svg").write_bytes(HOSTILE)
    gateway = await make_gateway(backend.url, site={"logo": str(tmp_path / "logo.svg")})
    for name in ("logo.svg", "gate.svg", "mark.svg"):
        policy = (await gateway.get(f"/auth/static/{name}")).headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "sandbox" in policy


async def test_without_a_brand_there_is_no_file_of_one(gateway: Gateway) -> None:
    for name in ("brand.css", "logo.svg", "logo.png", "", "x/y"):
        response = await gateway.get(f"/auth/static/{name}")
        assert response.status in (302, 400, 404), name
        assert "static" not in response.headers.get("Location", "")


async def test_refusals_as_pages_wear_the_brand_too(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, site={"colour": "#1d4ed8", "support": "Room 4"})
    html = await (await gateway.get("/auth/nothing", headers=PAGE)).text()
    assert "brand.css" in html
    assert "Room 4" in html


def test_a_bad_logo_and_a_pale_colour_stop_the_start_with_words(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"not a picture")
    (tmp_path / "gateway.yaml").write_text('site: {logo: logo.png, colour: "#ffcc00"}\n')
    done = run_gateway("check", "--config", str(tmp_path / "gateway.yaml"))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "is neither an SVG nor a PNG file" in said
    assert re.search(r"site\.colour: has a contrast of 1\.\d+ on the light page; 4\.5 is needed", said)
