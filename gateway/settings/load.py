"""Reads the configuration and checks it: every problem at once, each with its line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from gateway.core.keys import parse_ring
from gateway.errors import Problem, SettingsError
from gateway.settings.model import Settings
from gateway.settings.sources import Places, overlay_environment, read_yaml

Loc = tuple[str | int, ...]
# pydantic names the branch of a union in the location; no key of ours is called so
_BRANCHES = frozenset({"AccessSettings", "literal['public','authenticated']"})
_SECRETS = (("redis", "password"), ("keys", "master"))


@dataclass(slots=True)
class _Checks:
    """What is gathered while checking."""

    places: Places
    folder: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, loc: Loc, what: str) -> None:
        key = ".".join(str(part) for part in loc)
        self.problems.append(Problem(self.places.of(loc), key, what))


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """The checked settings of a file, with the environment over it.

    :raises SettingsError: with everything that is wrong.
    """
    places = Places(str(file))
    return _settings(read_yaml(file, places), environment, places, file.parent)


def settings_from(data: Mapping[str, Any], environment: Mapping[str, str], name: str, folder: Path) -> Settings:
    """The same for settings that are in no file (``serve --upstream``); ``name`` stands for it in messages."""
    return _settings(dict(data), environment, Places(name), folder)


def _settings(data: dict[str, Any], environment: Mapping[str, str], places: Places, folder: Path) -> Settings:
    checks = _Checks(places, folder)
    checks.problems += overlay_environment(data, environment, places)
    _read_secret_files(data, checks)
    settings = _validate(data, checks)
    if settings is not None:
        _check_whole(settings, checks)
    if checks.problems or settings is None:
        raise SettingsError(sorted(checks.problems, key=lambda problem: _line_order(problem.where)))
    return _with_absolute_paths(settings, folder)


def _line_order(where: str) -> tuple[str, int]:
    name, _, line = where.rpartition(":")
    return (name, int(line)) if line.isdigit() else (where, 0)


def _read_secret_files(data: dict[str, Any], checks: _Checks) -> None:
    """``password_file: x`` gives ``password``; in the environment too (``GATEWAY__REDIS__PASSWORD_FILE``)."""
    for section, name in _SECRETS:
        part = data.get(section)
        if not isinstance(part, dict) or not isinstance(part.get(f"{name}_file"), str):
            continue
        loc = (section, f"{name}_file")
        try:
            text = (checks.folder / part[f"{name}_file"]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            checks.add(loc, f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}")
            continue
        if not text:
            checks.add(loc, "the file is empty")
        else:
            part[name] = SecretStr(text)


def _validate(data: Mapping[str, Any], checks: _Checks) -> Settings | None:
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False):
            loc = tuple(part for part in one["loc"] if part not in _BRANCHES)
            checks.add(loc, _words(one["type"], one["msg"], loc))
    return None


def _words(kind: str, message: str, loc: Loc) -> str:
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), list(_keys_at(loc[:-1])), 1, 0.5)
        return "there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return "is needed"
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _keys_at(loc: Loc) -> Iterator[str]:
    """The names of the settings at a place of the model."""
    model: Any = Settings
    for part in loc:
        model = _model_in(model.model_fields[part].annotation) if isinstance(part, str) and _has(model, part) else model
    if isinstance(model, type) and issubclass(model, BaseModel):
        yield from model.model_fields


def _has(model: Any, part: str) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields


def _model_in(annotation: Any) -> Any:
    """The settings class inside ``tuple[X, ...]``, ``dict[str, X]`` or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)


def _check_whole(settings: Settings, checks: _Checks) -> None:
    """What no single setting can know."""
    if settings.keys.master is None:
        checks.add(("keys",), "a master key is needed: make secrets, then keys.master_file")
    if not settings.users:
        checks.add(("users",), "no source of users: nobody could sign in")
    _check_routes(settings, checks)
    if settings.session.cookie.samesite == "None" and not (settings.site.url or "").startswith("https:"):
        checks.add(("session", "cookie", "samesite"), "None works on https sites only (site.url)")
    for index, alias in enumerate(settings.login.aliases):
        if not alias.path.startswith("/"):
            checks.add(("login", "aliases", index, "path"), "must begin with /")
    for index, path in enumerate(settings.logout.aliases):
        if not path.startswith("/"):
            checks.add(("logout", "aliases", index), "must begin with /")


def _check_routes(settings: Settings, checks: _Checks) -> None:
    if not settings.routes:
        checks.add(("routes",), "no routes: everything would be 404")
    seen: dict[str, int] = {}
    for index, route in enumerate(settings.routes):
        loc: Loc = ("routes", index)
        if route.path in seen:
            checks.add((*loc, "path"), f"the same path as routes.{seen[route.path]}")
        seen.setdefault(route.path, index)
        if route.upstream is None and len(settings.upstreams) != 1:
            checks.add((*loc, "upstream"), "is needed, as there is not exactly one upstream")
        elif route.upstream is not None and route.upstream not in settings.upstreams:
            near = difflib.get_close_matches(route.upstream, list(settings.upstreams), 1)
            checks.add((*loc, "upstream"), "no such upstream" + (f"; did you mean {near[0]}?" if near else ""))
        if route.identity == "optional" and route.access != "public":
            checks.add((*loc, "identity"), "optional is for public routes; on others the identity is always told")
        if (route.path + "/").startswith(settings.site.prefix + "/"):
            checks.add((*loc, "path"), f"lies below {settings.site.prefix}, which is the gateway's own")


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    users = tuple(source.model_copy(update={"path": folder / source.path}) for source in settings.users)
    return settings.model_copy(update={"users": users})


def ring_of(settings: Settings) -> str:
    """The text of the key ring (checked before)."""
    assert settings.keys.master is not None
    text = settings.keys.master.get_secret_value()
    parse_ring(text)
    return text
