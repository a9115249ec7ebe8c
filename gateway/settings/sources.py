"""Where settings come from besides the file: the environment over it; each value remembers its place.

``GATEWAY__REDIS__URL`` is ``redis.url``. Values are taken as they stand; where a list is wanted they may be YAML
(``[/a, /b]``). Lists of several parts (routes, users) are set as a whole. An empty variable is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.errors import Problem

PREFIX = "GATEWAY__"
Loc = tuple[str | int, ...]


class Places:
    """Which file and line, or which variable, each value was written at."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._at: dict[Loc, str] = {}

    def note(self, path: Loc, where: str) -> None:
        """Remembers a place."""
        self._at[path] = where

    def of(self, path: Loc) -> str:
        """The place of the value, of the first thing in it, or of the nearest thing around it."""
        if path in self._at:
            return self._at[path]
        inside = next((where for known, where in self._at.items() if path and known[: len(path)] == path), None)
        if inside is not None:
            return inside
        return next((self._at[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._at), self._default)


def overlay_environment(
    data: dict[str, Any], environment: Mapping[str, str], places: Places, is_listed: Callable[[Loc], bool]
) -> list[Problem]:
    """Puts ``GATEWAY__…`` variables over the data; says which cannot be. ``is_listed``: may a list stand there?"""
    problems = []
    for name in sorted(environment):
        text = environment[name]
        if not name.startswith(PREFIX) or not text:
            continue
        path = tuple(part.lower() for part in name[len(PREFIX) :].split("__"))
        if all(path) and _put(data, path, _listed(text) if is_listed(path) else text):
            places.note(path, name)
            _replace_twin(data, path, environment)
        else:
            problems.append(Problem(name, ".".join(path).strip("."), "no such setting can be set by a variable"))
    return problems


def _listed(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return text
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text


def _replace_twin(data: dict[str, Any], path: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """The environment's ``password`` replaces the file's ``password_file``, and the other way round."""
    last = path[-1]
    twin = last.removesuffix("_file") if last.endswith("_file") else f"{last}_file"
    if not environment.get(PREFIX + "__".join([*path[:-1], twin]).upper()):
        here = data
        for part in path[:-1]:
            here = here[_spelled(here, part)]
        here.pop(twin, None)


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    here: Any = data
    for part in path[:-1]:
        if not isinstance(here, dict):
            return False
        part = _spelled(here, part)
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
    if not isinstance(here, dict):
        return False
    here[_spelled(here, path[-1])] = value
    return True


def _spelled(here: dict[str, Any], part: str) -> str:
    """The key as the file writes it: names of upstreams may have capitals."""
    return next((key for key in here if key.lower() == part), part)
