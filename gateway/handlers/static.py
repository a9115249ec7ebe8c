"""The style sheet and pictures of our own pages, under names that change with their content."""

from __future__ import annotations

from aiohttp import web

from gateway.core.refusals import Site
from gateway.errors import RequestError
from gateway.pages import STATIC
from gateway.web.answers import harden
from gateway.web.endpoint import by_method


class Static:
    """``GET /auth/static/NAME``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"GET": self.get})

    async def get(self, request: web.Request) -> web.Response:
        """The file; for ever cacheable when asked for by its hash."""
        file = STATIC.get(request.path.rpartition("/")[2])
        if file is None:
            raise RequestError("no_route")
        tag = f'"{file.etag}"'
        fresh = request.headers.get("If-None-Match") == tag
        response = web.Response(status=304) if fresh else web.Response(body=file.body)
        if not fresh:
            response.headers["Content-Type"] = file.content_type
        by_hash = request.query.get("v") == file.etag
        response.headers["Cache-Control"] = f"public, max-age={31536000 if by_hash else 300}" + (
            ", immutable" * by_hash
        )
        response.headers["ETag"] = tag
        harden(response, self._site)
        return response
