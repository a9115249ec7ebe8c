"""The legacy backend as one aiohttp application: the company's pages, its customer API and what tries a proxy out."""

from aiohttp import web
from aiohttp.typedefs import Handler

from demo import customers_api, probes, shop, streams, views
from demo.customers import Customers


@web.middleware
async def let_clients_leave(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End a request quietly when its client is gone; leaving early is part of a proxy's trial and no server error."""
    try:
        return await handler(request)
    except ConnectionError:
        # This backend has no connection but the client's. Nobody reads the answer; 499 is nginx's word for it.
        return web.Response(status=499)


def create_app() -> web.Application:
    """Return a fresh backend: its own seeded customer list in memory, no login code, no limit on streamed bodies."""
    app = web.Application(middlewares=[let_clients_leave])
    app[customers_api.CUSTOMERS] = Customers.seeded()
    app.add_routes([*views.routes(), *customers_api.ROUTES, *shop.ROUTES, *probes.ROUTES, *streams.ROUTES])
    return app
