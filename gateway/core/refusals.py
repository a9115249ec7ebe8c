"""What a refusal looks like (docs/http-api.md): decided here as data, put on the wire by ``web.answers``.

The same body, whoever asks. A 302 has a ``Location`` only for a page load: without it ``fetch()`` and XHR get the answer
as it is and read the body; with it they would silently follow to a sign-in page that no script can parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.head import RequestHead
from gateway.core.negotiation import PAGE_LOAD_DEPENDS_ON, LanguageSetting, is_page_load, pick_language
from gateway.core.redirects import path_of_same_origin, safe_next, with_next
from gateway.core.routes import RefusalRules
from gateway.errors import REASONS, Busy, GatewayError, Language, Reason

RETRY_AFTER = 5
"""Seconds a client is asked to wait in an outage: about what a restart or a failover of Redis takes."""
CHALLENGE = 'Session realm="gateway"'
"""For every 401 (RFC 9110 §15.5.2): a scheme no browser opens a dialog for."""
ANY_METHOD = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
"""What 405 allows where every method but CONNECT passes."""
_ALSO_READ = {
    "cross_site": ("Origin", "Referer", "Sec-Fetch-Site"),
    "bad_token": ("Authorization", "Referer"),
    "insufficient_scope": ("Authorization", "Referer"),
}
_TOKEN_CHALLENGES = {
    "bad_token": 'Bearer error="invalid_token"',
    "insufficient_scope": 'Bearer error="insufficient_scope"',
}
"""RFC 6750 §3."""
_DEFAULT_RULES = RefusalRules()
_CLOSES = frozenset({"bad_request", "bad_version", "too_large", "slow_request", "method_not_allowed", "unknown_coding"})


@dataclass(frozen=True, slots=True)
class Site:
    """Where the site is and how it speaks: ``url`` (``scheme://host[:port]``) or None for "as the request says, http", or
    https when our listeners speak TLS (``tls``)."""

    url: str | None = None
    prefix: str = "/auth"
    language: LanguageSetting = "auto"
    tls: bool = False

    @property
    def is_https(self) -> bool:
        """Does the site's own URL say https, or do our listeners speak TLS? Never what a client says."""
        return self.tls if self.url is None else self.url.startswith("https:")

    @property
    def login_url(self) -> str:
        """The gateway's own sign-in page."""
        return f"{self.prefix}/login"

    def origin(self, head: RequestHead) -> str:
        """Our own origin. Without ``url`` it is what the browser itself calls it: the Host it sent."""
        scheme = head.scheme or ("https" if self.tls else "http")
        return self.url or f"{scheme}://{head.headers.get('Host', 'site.invalid')}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not the backend's. ``location`` is set for a redirected page load only."""

    reason: Reason
    status: int
    language: Language
    page_load: bool
    message: str
    redirect: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_cookie: bool = False
    close: bool = False

    @property
    def location(self) -> str | None:
        """Where a page load is sent (302 only)."""
        return self.redirect if self.page_load and self.status == 302 else None

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body."""
        to = {"redirect": self.redirect} if self.redirect is not None else {}
        return {"ret": self.status, "msg": self.message, **to, "reason": self.reason.code, "request_id": request_id}


def refuse(
    head: RequestHead,
    site: Site,
    code: str,
    *,
    rules: RefusalRules = _DEFAULT_RULES,
    drop_cookie: bool = False,
    **parts: str,
) -> Refusal:
    """The refusal of this request for the reason with this code; ``parts`` fill its words."""
    reason = REASONS[code]
    language = pick_language(site.language, head.headers)
    page_load = is_page_load(head)
    return Refusal(
        reason,
        status := _status(reason, rules),
        language,
        page_load,
        reason.words(language, **parts),
        _redirect(head, site, rules, page_load) if reason.sign_in_helps else None,
        _headers(status, reason, site),
        drop_cookie and code != "replaced",  # the browser has another one by now, of the same name
        code in _CLOSES,
    )


def refuse_for(head: RequestHead, site: Site, error: GatewayError, rules: RefusalRules = _DEFAULT_RULES) -> Refusal:
    """The refusal that an error of ours stands for."""
    made = refuse(head, site, error.reason.code, rules=rules, drop_cookie=False, **error.parts)
    if isinstance(error, Busy):
        return replace(made, headers={**made.headers, "Retry-After": str(error.retry_after)})
    return made


def _status(reason: Reason, rules: RefusalRules) -> int:
    if not reason.sign_in_helps or reason.status != 302:
        return reason.status
    return rules.forbidden if reason.code.startswith(("wrong_", "rights_")) else rules.status


def _redirect(head: RequestHead, site: Site, rules: RefusalRules, page_load: bool) -> str:
    if rules.redirect is None:
        return with_next(site.login_url, next_page(head, site, page_load))
    if "{next}" not in rules.redirect:
        return rules.redirect
    _, _, encoded = with_next("", next_page(head, site, page_load)).partition("=")
    return rules.redirect.replace("{next}", encoded)


def next_page(head: RequestHead, site: Site, page_load: bool) -> str:
    """The page to come back to: a page load's own target; for a script or a POST the page it stands on; else ``/``."""
    if page_load and head.method in ("GET", "HEAD"):
        wanted: str | None = head.target
    else:
        wanted = path_of_same_origin(head.headers.get("Referer", ""), site.origin(head))
    return (wanted and safe_next(wanted, site.prefix)) or "/"


def vary_on(site: Site, *read: str) -> str:
    """``Vary`` for an answer of ours: the cookie, the language where it is negotiated, and what else was read."""
    language = ("Accept-Language",) if site.language == "auto" else ()
    return ", ".join(sorted({*read, *language, "Cookie"}))


def _headers(status: int, reason: Reason, site: Site) -> dict[str, str]:
    read = (*PAGE_LOAD_DEPENDS_ON, *_ALSO_READ.get(reason.code, ("Referer",) if reason.sign_in_helps else ()))
    headers = {"Cache-Control": "no-store", "Vary": vary_on(site, *read)}
    if status == 401 or reason.code in _TOKEN_CHALLENGES:
        headers["WWW-Authenticate"] = _TOKEN_CHALLENGES.get(reason.code, CHALLENGE)
    if status == 405:
        headers["Allow"] = ANY_METHOD
    if status == 426:  # RFC 6455 §4.4, RFC 9110 §15.5.22
        headers.update({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return headers
