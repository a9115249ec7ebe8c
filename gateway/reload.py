"""SIGHUP: the configuration is read again. What can change while requests are under way does: the servers of upstreams. A
wrong file changes nothing, and what needs a restart is named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.backends import make_servers
from gateway.errors import SettingsError
from gateway.settings import Settings
from gateway.settings.upstreams import UpstreamSettings
from gateway.upstream.tls import TlsError
from gateway.upstream.upstream import Upstream

log = logging.getLogger("gateway.reload")
Read = Callable[[], Settings]
_SERVERS = ("url", "servers")


class Reload:
    """For one process. ``settings``: those it began with; ``read``: the configuration as it is now."""

    def __init__(self, settings: Settings, read: Read, upstreams: Mapping[str, Upstream]) -> None:
        self._begun = settings
        self._read = read
        self._upstreams = upstreams
        self._serving = dict(settings.upstreams)

    def __call__(self) -> None:
        """Reads and takes over."""
        try:
            found = self._read()
        except (SettingsError, OSError) as error:
            for problem in error.problems if isinstance(error, SettingsError) else (error,):
                log.error("the configuration was read again and is wrong; nothing changes: %s", problem)
            return
        changed = [name for name in self._upstreams if self._take_over(name, found.upstreams.get(name))]
        left = [f"upstreams.{name}.servers" for name, given in found.upstreams.items() if self._is_left(name, given)]
        rest = sorted({*left, *_differences(_plain(self._begun), _plain(found))})
        log.info("the configuration was read again", extra={"fields": {"upstreams": ", ".join(changed)}})
        if rest:
            log.warning("these changes need a restart: %s", ", ".join(rest))

    def _is_left(self, name: str, given: UpstreamSettings) -> bool:
        before = self._serving.get(name)
        return before is not None and any(getattr(given, key) != getattr(before, key) for key in _SERVERS)

    def _take_over(self, name: str, given: UpstreamSettings | None) -> bool:
        """Did the servers of this upstream change, and nothing else of it?"""
        before = self._serving[name]
        if given is None or given == before or _without_servers(given) != _without_servers(self._begun.upstreams[name]):
            return False
        try:
            self._upstreams[name].update(make_servers(given))
        except (TlsError, OSError) as error:
            log.error("upstream %s stays as it is: %s", name, error)
            return False
        self._serving[name] = given
        return True


def _without_servers(given: UpstreamSettings) -> dict[str, Any]:
    return given.model_dump(exclude=set(_SERVERS))


def _plain(settings: Settings) -> dict[str, Any]:
    """Without what is taken over."""
    plain = settings.model_dump(exclude={"upstreams"})
    return {**plain, "upstreams": {name: _without_servers(given) for name, given in settings.upstreams.items()}}


def _differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """The names of settings that differ; a list is one setting."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from _differences(one.get(key), other.get(key), f"{where}.{key}" if where else str(key))
    elif one != other:
        yield where
