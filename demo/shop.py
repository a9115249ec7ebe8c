"""A shop with a visit counter and a cart. Both live in the gateway's session (:mod:`demo.session_data`), so they are the
user's own, on every gateway, until the session ends; restarting this application loses nothing."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from demo.identity import preferred_username
from demo.query import refuse
from demo.session_data import session_data, update
from demo.views import render

MAX_OF_ONE = 99
GOODS: Mapping[str, tuple[str, int]] = {
    "pen": ("Fountain pen", 2450),
    "ink": ("Bottle of ink", 890),
    "paper": ("Ream of paper", 410),
}
"""Name to words and pence."""


def _cart(data: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in data.get("cart", {}).items() if name in GOODS}


async def shop(request: web.Request) -> web.Response:
    """Show the shelf and the cart, and count the visit."""
    data = session_data(request.headers)
    if data is None:
        return render("shop.html", user=preferred_username(request.headers), visits=None, goods=[], lines=[], total="")
    visits, cart = data.get("visits", 0) + 1, _cart(data)
    goods = [{"name": name, "words": words, "price": _pounds(pence)} for name, (words, pence) in GOODS.items()]
    lines = [
        {"name": name, "words": GOODS[name][0], "count": count, "price": _pounds(count * GOODS[name][1])}
        for name, count in cart.items()
    ]
    total = _pounds(sum(count * GOODS[name][1] for name, count in cart.items()))
    response = render(
        "shop.html", user=preferred_username(request.headers), visits=visits, goods=goods, lines=lines, total=total
    )
    response.headers.update(update(visits=visits))
    return response


async def change_cart(request: web.Request) -> web.Response:
    """Put one into the cart (``add``), take all of a kind out (``remove``), or empty it; then show the shop again."""
    data, form = session_data(request.headers), await request.post()
    changes: dict[str, Any] = {}
    if "empty" in form:
        changes = {"cart": None}
    else:
        action = "add" if "add" in form else "remove"
        name = str(form.get(action))
        if name not in GOODS:
            refuse("add, remove or empty, and what")
        count = _cart(data or {}).get(name, 0) + 1
        changes = {"cart": {name: min(count, MAX_OF_ONE) if action == "add" else None}}
    headers = {"Location": "/shop", "Cache-Control": "no-store", **({} if data is None else update(**changes))}
    return web.Response(status=303, headers=headers)


def _pounds(pence: int) -> str:
    return f"£{pence // 100}.{pence % 100:02}"


ROUTES = [web.get("/shop", shop), web.post("/shop/cart", change_cart)]
