"""The pages for people, and the public files they load.

Pages carry the user's name and are never stored; what lies under /public/ is the same for everybody.
"""

from pathlib import Path

import jinja2
from aiohttp import web
from aiohttp.typedefs import Handler

from demo.identity import preferred_username

PAGES = Path(__file__).parent / "pages"

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

ORDERS = (
    {"number": "2041", "customer": "Harbour Books", "what": "40 reams of paper", "total": "£164.00"},
    {"number": "2042", "customer": "Café Müller & Söhne", "what": "12 till rolls", "total": "£18.60"},
    {"number": "2043", "customer": "O'Neill Plumbing", "what": "3 order books", "total": "£11.25"},
)

# autoescape: the user's name comes from outside and may hold any character.
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES), autoescape=True, undefined=jinja2.StrictUndefined, auto_reload=False
)


def routes() -> list[web.RouteDef]:
    """Return the routes of all pages and of every stylesheet, script and picture in the pages folder."""
    files = [path for path in sorted(PAGES.iterdir()) if path.suffix in CONTENT_TYPES]
    return [
        web.get("/", _page("home.html")),
        web.get("/mgr/index.html", _page("customers.html")),
        web.get("/mgr/sign.html", _page("sign.html")),
        web.get("/orders", _page("orders.html", orders=ORDERS)),
        web.get("/public/about.html", _page("about.html")),
        *(web.get(f"/public/{path.name}", _public_file(path)) for path in files),
    ]


def _page(template: str, **values: object) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return render(template, user=preferred_username(request.headers), **values)

    return page


def render(template: str, **values: object) -> web.Response:
    """Return a page that nobody stores."""
    html = _templates.get_template(template).render(**values)
    return web.Response(text=html, content_type="text/html", headers={"Cache-Control": "no-store"})


def _public_file(path: Path) -> Handler:
    headers = {"Content-Type": CONTENT_TYPES[path.suffix], "Cache-Control": "no-cache"}

    async def public_file(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=headers)

    return public_file
