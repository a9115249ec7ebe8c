"""Cross-site requests to anything that changes state (docs/http-api.md).

Judged by ``Sec-Fetch-Site``, else by ``Origin``, else by ``Referer``. With none of the three it is no browser that could
be abused: JSON or no body passes, a form needs the token from our page.
"""

from __future__ import annotations

import logging

from gateway.core.head import RequestHead
from gateway.core.redirects import same_origin
from gateway.core.refusals import Site
from gateway.errors import RequestError

log = logging.getLogger("gateway.web")


def require_same_site(head: RequestHead, site: Site) -> bool:
    """False: the request does not say where it comes from, so a form needs its token.

    :raises RequestError: 403 ``cross_site``: it says that it comes from elsewhere.
    """
    fetch_site = head.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        allowed = fetch_site in ("same-origin", "none")
    elif (said := head.headers.get("Origin") or head.headers.get("Referer")) is not None:
        allowed = same_origin(said, site.origin(head))
        if not allowed:
            log.warning("a request came from another origin than site.url", extra={"fields": {"origin": said[:200]}})
    else:
        return False
    if not allowed:
        raise RequestError("cross_site")
    return True
