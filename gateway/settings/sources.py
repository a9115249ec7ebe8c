"""Where settings come from: one YAML file, then the environment over it; each value remembers its place.

``GATEWAY__REDIS__URL`` is ``redis.url``; values are read as YAML scalars or lists. Lists (routes, users) are set as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.errors import Problem, SettingsError

PREFIX = "GATEWAY__"
# Read by the command line itself, not settings.
NOT_SETTINGS = frozenset({"GATEWAY_REDIS_SERVER"})
Path_ = tuple[str | int, ...]


class Places:
    """Which file and line, or which variable, each value was written at."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._at: dict[Path_, str] = {}

    def note(self, path: Path_, where: str) -> None:
        """Remembers a place."""
        self._at[path] = where

    def of(self, path: Path_) -> str:
        """The place of the value, or of the nearest thing around it."""
        for length in range(len(path), 0, -1):
            found = self._at.get(path[:length])
            if found is not None:
                return found
        return self._default


def read_yaml(file: Path, places: Places) -> dict[str, Any]:
    """The file as plain data.

    :raises SettingsError: no file, not UTF-8, no YAML, a key given twice, or not a mapping.
    """
    try:
        document = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Problem(str(file), "", "is not UTF-8")]) from error
    except YAMLError as error:
        raise SettingsError([_yaml_problem(file, error)]) from error
    if document is None:
        return {}
    if not isinstance(document, CommentedMap):
        raise SettingsError([Problem(str(file), "", "must be a mapping of settings")])
    plain = _plain(document, (), file, places)
    assert isinstance(plain, dict)
    return plain


def _yaml_problem(file: Path, error: YAMLError) -> Problem:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = f"{file}:{mark.line + 1}" if mark else str(file)
    words = (getattr(error, "problem", None) or str(error)).splitlines()[0]
    return Problem(where, "", f"not valid YAML: {words}")


def _plain(node: Any, path: Path_, file: Path, places: Places) -> Any:
    if isinstance(node, CommentedMap):
        for key in node:
            places.note((*path, str(key)), f"{file}:{node.lc.key(key)[0] + 1}")
        return {str(key): _plain(value, (*path, str(key)), file, places) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            places.note((*path, index), f"{file}:{node.lc.item(index)[0] + 1}")
        return [_plain(value, (*path, index), file, places) for index, value in enumerate(node)]
    return node


def overlay_environment(data: dict[str, Any], environment: Mapping[str, str], places: Places) -> list[Problem]:
    """Puts ``GATEWAY__…`` variables over the data; says which cannot be."""
    problems = []
    for name in sorted(environment):
        if not name.startswith(PREFIX):
            continue
        path = tuple(part.lower() for part in name[len(PREFIX) :].split("__"))
        try:
            value = YAML(typ="safe", pure=True).load(environment[name])
        except YAMLError:
            value = environment[name]
        if isinstance(value, Mapping):
            value = environment[name]  # a URL with a colon and a space is still a text
        if all(path) and _put(data, path, environment[name] if _is_secret(path) else value):
            places.note(path, name)
        else:
            problems.append(Problem(name, ".".join(path), "no such setting can be set by a variable"))
    return problems


def _is_secret(path: Path_) -> bool:
    """A password of digits is still a text."""
    return path[-1] in ("password", "master", "username", "url", "prefix")


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    here: Any = data
    for part in path[:-1]:
        if not isinstance(here, dict):
            return False
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
    if not isinstance(here, dict):
        return False
    here[path[-1]] = value
    return True
