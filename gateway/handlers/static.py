"""The style sheets and pictures of our own pages, under names that change with their content."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.core.refusals import Site
from gateway.errors import RequestError
from gateway.pages import StaticFile
from gateway.web.answers import harden
from gateway.web.endpoint import by_method

_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""For an SVG that is opened by its address: the operator's logo may come from anywhere. Inside a page none runs scripts."""


class Static:
    """``GET /auth/static/NAME``; ``files`` by name."""

    def __init__(self, site: Site, files: Mapping[str, StaticFile]) -> None:
        self._site = site
        self._files = files

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"GET": self.get})

    async def get(self, request: web.Request) -> web.Response:
        """The file; for ever cacheable when asked for by its hash."""
        file = self._files.get(request.path.rpartition("/")[2])
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
        if file.content_type.startswith("image/svg"):
            response.headers["Content-Security-Policy"] = _NO_SCRIPTS
        harden(response, self._site)
        return response
