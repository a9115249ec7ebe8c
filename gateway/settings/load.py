"""Reads the configuration and checks it: every problem at once, each with its line and key."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.core.keys import parse_ring
from gateway.errors import SettingsError
from gateway.listeners.pairs import Pair, load
from gateway.settings.files import TLS_FILES, Checks, check_named_files, read_secret_files, with_absolute_paths
from gateway.settings.model import Settings
from gateway.settings.rules import ACCESS_BRANCHES
from gateway.settings.site import check_logo
from gateway.settings.sources import PREFIX, Loc, Places, overlay_environment
from gateway.settings.users import KIND
from gateway.settings.whole import check_whole
from gateway.settings.words import is_listed, words
from gateway.settings.yaml_file import read_yaml
from gateway.upstream.tls import TlsError, client_context


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """The checked settings of a file, with the environment over it.

    :raises SettingsError: with everything that is wrong.
    """
    checks = Checks(Places(str(file)), file.absolute().parent)
    data, checks.problems = read_yaml(file, checks.places)
    return _settings(data, environment, checks)


def settings_from(data: Mapping[str, Any], environment: Mapping[str, str], name: str, folder: Path) -> Settings:
    """The same for settings that are in no file (``serve --upstream``); ``name`` stands for it in messages."""
    return _settings(copy.deepcopy(dict(data)), environment, Checks(Places(name), folder))


def _settings(data: dict[str, Any], environment: Mapping[str, str], checks: Checks) -> Settings:
    checks.problems += overlay_environment(data, environment, checks.places, is_listed)
    data = _without_nothing(data)
    read_secret_files(data, checks)
    settings = _validate(data, checks)
    check_whole(data, checks.add)
    check_named_files(data, checks)
    check_logo(checks.folder, data.get("site"), checks.add)
    _check_backend_tls(data, checks)
    _check_listener_tls(data, checks)
    if checks.problems or settings is None:
        raise SettingsError(sorted(checks.problems, key=lambda problem: _line_order(problem.where)))
    return with_absolute_paths(settings, checks.folder)


def _line_order(where: str) -> tuple[bool, str, int]:
    """The file in its order, then the environment."""
    name, _, line = where.rpartition(":")
    return (where.startswith(PREFIX), *((name, int(line)) if line.isdigit() else (where, 0)))


def _without_nothing(value: Any) -> Any:
    """A key with nothing behind it (``site:`` with everything below commented out) means its default.

    Not so ``access:``: its commented-out lines must not open a route to everybody who is signed in. Nor a JSON pointer: that
    nothing stands there is what has to be.
    """
    if isinstance(value, dict):
        return {key: _without_nothing(part) for key, part in value.items() if part is not None or _may_be_nothing(key)}
    return [_without_nothing(part) for part in value] if isinstance(value, list) else value


def _check_backend_tls(data: dict[str, Any], checks: Checks) -> None:
    """Not only that the files are there: a key that does not fit must not wait for the first request to be found."""
    upstreams = data.get("upstreams")
    for name, upstream in upstreams.items() if isinstance(upstreams, dict) else ():
        tls = upstream.get("tls") if isinstance(upstream, dict) else None
        given = tls if isinstance(tls, dict) else {}
        files = {file: checks.folder / path for file in TLS_FILES if isinstance(path := given.get(file), str)}
        trusted = (files.get("ca_file"), None, None)
        presented = (None, files.get("cert_file"), files.get("key_file"))
        for ca, cert, key in filter(any, (trusted, presented)):
            try:
                client_context(ca_file=ca, cert_file=cert, key_file=key)
            except TlsError as error:
                checks.add(("upstreams", name, "tls", error.setting), str(error))


def _check_listener_tls(data: dict[str, Any], checks: Checks) -> None:
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


def _may_be_nothing(key: object) -> bool:
    return key == "access" or str(key).startswith("/")


def _validate(data: Mapping[str, Any], checks: Checks) -> Settings | None:
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            loc = tuple(part for part in one["loc"] if part not in ACCESS_BRANCHES and KIND not in str(part))
            if one["type"] == "union_tag_invalid":
                loc = (*loc, "source")
            if loc[-1] == "[key]":  # a mapping whose keys are fixed: the key is wrong
                loc = loc[:-1]
            checks.add(loc, words(one, loc))
    return None


def ring_of(settings: Settings) -> str:
    """The text of the key ring (checked before)."""
    assert settings.keys.master is not None
    text = settings.keys.master.get_secret_value()
    parse_ring(text)
    return text
