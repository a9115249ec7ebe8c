"""What no single setting can know: checked on the plain data, so that it is said beside everything else that is wrong."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from gateway.settings.api_keys import check_api_keys
from gateway.settings.backend import check_told
from gateway.settings.listening import check_listening
from gateway.settings.model import ServerSettings
from gateway.settings.site import SiteSettings
from gateway.settings.sources import Loc
from gateway.settings.stores import SessionSettings
from gateway.settings.token_issuers import check_token_issuers
from gateway.settings.tokens import check_tokens

Add = Callable[[Loc, str], None]
_WITH_DIRECTORY = ("redis", "sql", "cached_sql")
_OTHERS = "redis, sql and cached_sql"


def check_whole(data: dict[str, Any], add: Add) -> None:
    """Calls ``add`` for each problem; values of a wrong type are somebody else's problem."""
    if data.get("users") in (None, []):
        add(("users",), "no source of users: nobody could sign in")
    if data.get("routes") in (None, []):
        add(("routes",), "no routes: everything would be 404")
    if data.get("upstreams") in (None, {}):
        add(("upstreams",), "no upstream: there is nothing to stand in front of")
    check_listening(data, add)
    _check_addresses(data, add)
    _check_routes(data, add)
    _check_aliases(data, add)
    _check_session(data, add)
    _check_rotation(data, add)
    _check_remember(data, add)
    _check_redis(data, add)
    check_tokens(data, add)
    check_token_issuers(data, add)
    check_api_keys(data, add)


def _check_session(data: dict[str, Any], add: Add) -> None:
    session, cookie = _at(data, "session"), _at(data, "session", "cookie")
    tls, url = _at(data, "server", "tls"), _at(data, "site").get("url")
    https = str(url).startswith("https:") if url else bool(tls.get("cert_file") or tls.get("certificates"))
    if cookie.get("samesite") == "None" and not https:
        add(("session", "cookie", "samesite"), "None works on https sites only (site.url)")
    if cookie.get("secure") is True and not https:
        add(("session", "cookie", "secure"), "browsers would not send the cookie: site.url is not https")
    engine = str(session.get("engine", "redis"))
    if engine == "memory" and _at(data, "server").get("workers") not in (None, 1, "1"):
        add(("session", "engine"), "memory is for one process: server.workers must be 1")
    if session.get("max_per_user") is not None and engine not in _WITH_DIRECTORY:
        add(("session", "max_per_user"), f"the engine {engine} cannot count a user's sessions; {_OTHERS} can")


def _check_rotation(data: dict[str, Any], add: Add) -> None:
    """With a longer grace an id would still work when its successor is replaced already."""
    session, default = _at(data, "session"), SessionSettings()
    interval = _number(session.get("rotate_interval", default.rotate_interval))
    grace = _number(session.get("rotate_grace", default.rotate_grace))
    if not 0 < interval < grace:
        return
    if "rotate_grace" in session:
        add(("session", "rotate_grace"), f"must not be longer than rotate_interval, which is {interval:.0f} s")
    else:
        add(("session", "rotate_interval"), f"must be 0 or at least rotate_grace, which is {grace:.0f} s")


def _check_remember(data: dict[str, Any], add: Add) -> None:
    """What is left out is never shorter; what is given must not be."""
    session, default = _at(data, "session"), SessionSettings()
    for key in ("idle_timeout", "absolute_timeout"):
        usual = _number(session.get(key, getattr(default, key)))
        if _number(_at(session, "remember").get(key, usual)) < usual:
            add(("session", "remember", key), f"must not be shorter than session.{key}, which is {usual:.0f} s")


def _number(value: object) -> float:
    """NaN for what is none: that is said elsewhere."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _check_redis(data: dict[str, Any], add: Add) -> None:
    redis = _at(data, "redis")
    if redis.get("cluster") and redis.get("sentinels"):
        add(("redis", "cluster"), "a Cluster needs no Sentinels: give one of the two")
    if redis.get("cluster") and re.search(r"://[^/]*/0*[1-9]|[?&]db=0*[1-9]", str(redis.get("url") or "")):
        add(("redis", "url"), "a Cluster has no databases but 0")
    if redis.get("nodes") and not redis.get("cluster"):
        add(("redis", "nodes"), "nodes are those of a Cluster: set cluster: true")
    if bool(redis.get("cert_file")) != bool(redis.get("key_file")):
        add(("redis", "cert_file"), "cert_file and key_file go together")


def _at(data: dict[str, Any], *path: str) -> dict[str, Any]:
    """The mapping at a place, or an empty one."""
    here: Any = data
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}


def _rows(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """The mappings of a list, with their numbers."""
    for index, row in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(row, dict):
            yield index, row


def _prefix(data: dict[str, Any]) -> str:
    return str(_at(data, "site").get("prefix") or SiteSettings().prefix)


def _is_below(path: str, prefix: str) -> bool:
    return (path + "/").startswith(prefix + "/")


def _check_routes(data: dict[str, Any], add: Add) -> None:
    upstreams, prefix = [str(name) for name in _at(data, "upstreams")], _prefix(data)
    seen: dict[str, int] = {}
    for index, route in _rows(data.get("routes")):
        loc: Loc = ("routes", index)
        _check_upstream(route.get("upstream"), upstreams, loc, add)
        if route.get("identity") == "optional" and route.get("access") != "public":
            add((*loc, "identity"), "optional is for public routes; on others the identity is always told")
        _check_limits(_at(route, "limits"), _at(data, "server"), loc, add)
        check_told(data, route, loc, add)
        path = route.get("path")
        if not isinstance(path, str):
            continue
        if path in seen:
            add((*loc, "path"), f"the same path as routes.{seen[path]}")
        seen.setdefault(path, index)
        if _is_below(path, prefix):
            add((*loc, "path"), f"lies below {prefix}, which is the gateway's own")


def _check_limits(limits: dict[str, Any], server: dict[str, Any], loc: Loc, add: Add) -> None:
    line = _number(server.get("max_header_bytes", ServerSettings().max_header_bytes))
    if _number(limits.get("target", 0)) > line:
        add((*loc, "limits", "target"), f"no line is longer than server.max_header_bytes, which is {line:.0f}")


def _check_addresses(data: dict[str, Any], add: Add) -> None:
    for name, upstream in _at(data, "upstreams").items():
        if isinstance(upstream, dict) and upstream.get("url") is None and not upstream.get("servers"):
            add(("upstreams", name, "url"), "is needed")


def _check_upstream(name: object, upstreams: list[str], loc: Loc, add: Add) -> None:
    if name is None and len(upstreams) > 1:
        add((*loc, "upstream"), f"is needed, as there are several: {', '.join(upstreams)}")
    elif isinstance(name, str) and name not in upstreams and upstreams:
        near = difflib.get_close_matches(name, upstreams, 1)
        add((*loc, "upstream"), "no such upstream" + (f"; did you mean {near[0]}?" if near else ""))


def _check_aliases(data: dict[str, Any], add: Add) -> None:
    """An alias is a path of our own, like a route's: two meanings for one path would be one too many."""
    exact = {str(row.get("path")) for _, row in _rows(data.get("routes"))}
    seen: set[str] = set()
    for loc, path in _alias_paths(data):
        if _is_below(path, _prefix(data)):
            add(loc, f"lies below {_prefix(data)}, where the gateway's own endpoints are already")
        elif path in exact:
            add(loc, "is the path of a route, too")
        elif path in seen:
            add(loc, "given twice")
        seen.add(path)


def _alias_paths(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    for index, row in _rows(_at(data, "login").get("aliases")):
        if isinstance(row.get("path"), str):
            yield ("login", "aliases", index, "path"), row["path"]
    given = _at(data, "logout").get("aliases")
    for index, path in enumerate([given] if isinstance(given, str) else given if isinstance(given, list) else []):
        if isinstance(path, str):
            yield ("logout", "aliases", index), path
