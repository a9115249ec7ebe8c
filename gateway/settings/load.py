"""Reads the configuration and checks it: every problem at once, each with its line and key."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from gateway.core.keys import parse_ring
from gateway.errors import Problem, SettingsError
from gateway.listeners.pairs import Pair, load
from gateway.settings.listening import ListenerSettings, TlsSettings
from gateway.settings.model import Settings
from gateway.settings.rules import ACCESS_BRANCHES
from gateway.settings.sources import PREFIX, Loc, Places, overlay_environment
from gateway.settings.upstreams import UpstreamSettings
from gateway.settings.whole import check_whole
from gateway.settings.words import is_listed, words
from gateway.settings.yaml_file import read_yaml
from gateway.upstream.tls import TlsError, client_context

_SECRETS = (("redis", "password"), ("redis", "sentinel_password"), ("sql", "url"), ("keys", "master"))

_REDIS_FILES = ("ca_file", "cert_file", "key_file")


@dataclass(slots=True)
class _Checks:
    """What is gathered while checking. ``folder``: what relative paths are relative to."""

    places: Places
    folder: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, loc: Loc, what: str) -> None:
        """Notes a problem; a second one at the same place says nothing new."""
        key = ".".join(str(part) for part in loc)
        if not any(problem.key == key for problem in self.problems):
            self.problems.append(Problem(self.places.of(loc), key, what))


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """The checked settings of a file, with the environment over it.

    :raises SettingsError: with everything that is wrong.
    """
    checks = _Checks(Places(str(file)), file.absolute().parent)
    data, checks.problems = read_yaml(file, checks.places)
    return _settings(data, environment, checks)


def settings_from(data: Mapping[str, Any], environment: Mapping[str, str], name: str, folder: Path) -> Settings:
    """The same for settings that are in no file (``serve --upstream``); ``name`` stands for it in messages."""
    return _settings(copy.deepcopy(dict(data)), environment, _Checks(Places(name), folder))


def _settings(data: dict[str, Any], environment: Mapping[str, str], checks: _Checks) -> Settings:
    checks.problems += overlay_environment(data, environment, checks.places, is_listed)
    data = _without_nothing(data)
    _read_secret_files(data, checks)
    settings = _validate(data, checks)
    check_whole(data, checks.add)
    _check_named_files(data, checks)
    _check_backend_tls(data, checks)
    _check_listener_tls(data, checks)
    if checks.problems or settings is None:
        raise SettingsError(sorted(checks.problems, key=lambda problem: _line_order(problem.where)))
    return _with_absolute_paths(settings, checks.folder)


def _line_order(where: str) -> tuple[bool, str, int]:
    """The file in its order, then the environment."""
    name, _, line = where.rpartition(":")
    return (where.startswith(PREFIX), *((name, int(line)) if line.isdigit() else (where, 0)))


def _without_nothing(value: Any) -> Any:
    """A key with nothing behind it (``site:`` with everything below commented out) means its default.

    Not so ``access:``: its commented-out lines must not open a route to everybody who is signed in.
    """
    if isinstance(value, dict):
        return {key: _without_nothing(part) for key, part in value.items() if part is not None or key == "access"}
    return [_without_nothing(part) for part in value] if isinstance(value, list) else value


def _read_secret_files(data: dict[str, Any], checks: _Checks) -> None:
    """``password_file: x`` gives ``password``; in the environment too (``GATEWAY__REDIS__PASSWORD_FILE``)."""
    for section, name in _SECRETS:
        part = data.get(section, {})
        file = part.get(f"{name}_file") if isinstance(part, dict) else None
        if file is None:
            continue
        loc = (section, f"{name}_file")
        if name in part:
            checks.add(loc, f"give either {name} or {name}_file")
        elif isinstance(file, str):
            _read_secret_file(part, name, file, loc, checks)
    keys = data.get("keys", {})
    if isinstance(keys, dict) and not {"master", "master_file"} & keys.keys():
        checks.add(("keys",), "a master key is needed: gateway secrets makes one; then keys.master_file names it")


def _read_secret_file(part: dict[str, Any], name: str, file: str, loc: Loc, checks: _Checks) -> None:
    try:
        text = (checks.folder / file).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        checks.add(loc, "the file is not UTF-8")
    except (OSError, ValueError) as error:
        checks.add(loc, f"{checks.folder / file} cannot be read: {getattr(error, 'strerror', None) or 'not a path'}")
    else:
        if text:
            part[name] = SecretStr(text)
        else:
            checks.add(loc, "the file is empty")


def _check_named_files(data: dict[str, Any], checks: _Checks) -> None:
    users, redis = data.get("users"), data.get("redis")
    named: list[tuple[Loc, Any]] = []
    for index, source in enumerate(users if isinstance(users, list) else ()):
        named.append((("users", index, "path"), source.get("path") if isinstance(source, dict) else None))
    if isinstance(redis, dict):
        named += [(("redis", name), redis.get(name)) for name in _REDIS_FILES]
    for loc, path in named:
        if not isinstance(path, str):
            continue
        try:
            (checks.folder / path).open("rb").close()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            checks.add(loc, f"{checks.folder / path} cannot be read: {why}")


def _check_backend_tls(data: dict[str, Any], checks: _Checks) -> None:
    """Not only that the files are there: a key that does not fit must not wait for the first request to be found."""
    upstreams = data.get("upstreams")
    for name, upstream in upstreams.items() if isinstance(upstreams, dict) else ():
        tls = upstream.get("tls") if isinstance(upstream, dict) else None
        given = tls if isinstance(tls, dict) else {}
        files = {file: checks.folder / path for file in _REDIS_FILES if isinstance(path := given.get(file), str)}
        trusted = (files.get("ca_file"), None, None)
        presented = (None, files.get("cert_file"), files.get("key_file"))
        for ca, cert, key in filter(any, (trusted, presented)):
            try:
                client_context(ca_file=ca, cert_file=cert, key_file=key)
            except TlsError as error:
                checks.add(("upstreams", name, "tls", error.setting), str(error))


def _check_listener_tls(data: dict[str, Any], checks: _Checks) -> None:
    server = data.get("server")
    tls = server.get("tls") if isinstance(server, dict) else None
    given = tls if isinstance(tls, dict) else {}
    more = given.get("certificates")
    listed = [
        (("server", "tls", "certificates", n), row) for n, row in enumerate(more if isinstance(more, list) else ())
    ]
    pairs: list[tuple[Loc, Any]] = [(("server", "tls"), given), *listed]
    for loc, pair in pairs:
        files = [pair.get(name) for name in ("cert_file", "key_file")] if isinstance(pair, dict) else []
        if len(files) == 2 and all(isinstance(file, str) for file in files):
            try:
                load(Pair(*(checks.folder / str(file) for file in files)))
            except TlsError as error:
                checks.add((*loc, error.setting), str(error))


def _validate(data: Mapping[str, Any], checks: _Checks) -> Settings | None:
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            loc = tuple(part for part in one["loc"] if part not in ACCESS_BRANCHES)
            if loc[-1] == "[key]":  # a mapping whose keys are fixed: the key is wrong
                loc = loc[:-1]
            checks.add(loc, words(one, loc))
    return None


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    users = tuple(source.model_copy(update={"path": folder / source.path}) for source in settings.users)
    files = {name: folder / path for name in _REDIS_FILES if (path := getattr(settings.redis, name)) is not None}
    session, path = settings.session, settings.session.file.path
    if path is not None:
        session = session.model_copy(update={"file": session.file.model_copy(update={"path": folder / path})})
    sql = settings.sql.model_copy(update={"url": _absolute_sqlite(settings.sql.url, folder)})
    redis = settings.redis.model_copy(update=files)
    upstreams = {name: _with_absolute_tls(upstream, folder) for name, upstream in settings.upstreams.items()}
    more = tuple(_with_absolute_socket(one, folder) for one in settings.server.more_listeners)
    tls = _with_absolute_certificates(settings.server.tls, folder)
    server = settings.server.model_copy(update={"tls": tls, "more_listeners": more})
    update = {"users": users, "redis": redis, "session": session, "sql": sql, "upstreams": upstreams, "server": server}
    return settings.model_copy(update=update)


def _with_absolute_tls(upstream: UpstreamSettings, folder: Path) -> UpstreamSettings:
    tls = upstream.tls
    files = {name: folder / path for name in _REDIS_FILES if (path := getattr(tls, name)) is not None}
    return upstream.model_copy(update={"tls": tls.model_copy(update=files)})


def _with_absolute_certificates(tls: TlsSettings, folder: Path) -> TlsSettings:
    def absolute(one: Any) -> dict[str, Any]:
        found = {name: getattr(one, name) for name in ("cert_file", "key_file")}
        return {name: folder / path for name, path in found.items() if path is not None}

    more = tuple(one.model_copy(update=absolute(one)) for one in tls.certificates)
    return tls.model_copy(update={**absolute(tls), "certificates": more})


def _with_absolute_socket(one: ListenerSettings, folder: Path) -> ListenerSettings:
    return one if one.unix is None else one.model_copy(update={"unix": folder / one.unix})


def _absolute_sqlite(url: SecretStr | None, folder: Path) -> SecretStr | None:
    """``sqlite:///x.db`` is a path like any other here: every process and command means the same file."""
    scheme, found, path = url.get_secret_value().partition(":///") if url else ("", "", "")
    if not found or not scheme.startswith("sqlite") or path.startswith(("/", ":memory:")) or not path:
        return url
    return SecretStr(f"{scheme}:///{folder / path}")


def ring_of(settings: Settings) -> str:
    """The text of the key ring (checked before)."""
    assert settings.keys.master is not None
    text = settings.keys.master.get_secret_value()
    parse_ring(text)
    return text
