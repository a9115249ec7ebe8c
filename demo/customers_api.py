"""``/api/mgr/customers``: the customer list as JSON, in the legacy app's own shape.

Every answer has ``ret``: 0 is done, 1 is refused and then ``msg`` says why.
"""

import functools
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from demo.customers import BodyTooLargeError, Customer, CustomerError, Customers, UnknownCustomerError, parse_customer

CUSTOMERS = web.AppKey("CUSTOMERS", Customers)

Handler = Callable[[web.Request], Awaitable[web.Response]]


def _answering_refusals(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def answering(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except CustomerError as refusal:
            return web.json_response({"ret": 1, "msg": str(refusal)}, status=refusal.status)

    return answering


async def _read_customer(request: web.Request) -> Customer:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as problem:
        raise BodyTooLargeError("the body is too large") from problem
    return parse_customer(body)


def _require_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise UnknownCustomerError("there is no such customer")
    return int(text)


@_answering_refusals
async def list_customers(request: web.Request) -> web.Response:
    """Answer all customers, oldest first."""
    return web.json_response({"ret": 0, "retlist": request.app[CUSTOMERS].rows()})


@_answering_refusals
async def create_customer(request: web.Request) -> web.Response:
    """Add the customer in the body and answer its id."""
    customer = await _read_customer(request)
    return web.json_response({"ret": 0, "id": request.app[CUSTOMERS].add(customer)})


@_answering_refusals
async def replace_customer(request: web.Request) -> web.Response:
    """Overwrite one customer with the one in the body."""
    key = _require_id(request)
    request.app[CUSTOMERS].require_known(key)
    request.app[CUSTOMERS].replace(key, await _read_customer(request))
    return web.json_response({"ret": 0})


@_answering_refusals
async def delete_customer(request: web.Request) -> web.Response:
    """Remove one customer."""
    request.app[CUSTOMERS].delete(_require_id(request))
    return web.json_response({"ret": 0})


ROUTES = [
    web.get("/api/mgr/customers", list_customers),
    web.post("/api/mgr/customers", create_customer),
    web.put("/api/mgr/customers/{id}", replace_customer),
    web.delete("/api/mgr/customers/{id}", delete_customer),
]
