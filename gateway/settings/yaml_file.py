"""Reads the YAML file as plain data: every key's line is noted, every trap of YAML is a problem of its own.

Read as YAML 1.2: ``yes`` and ``no`` are words there, and what a setting of true or false makes of them is its own affair.
What would be read differently elsewhere (``010``) is refused. No message shows a value: it may be a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from gateway.errors import Problem, SettingsError
from gateway.settings.sources import Loc, Places

_MERGE = "tag:yaml.org,2002:merge"
_INT = "tag:yaml.org,2002:int"
_NULL = "tag:yaml.org,2002:null"
_HINTS = (
    ("found character '\\t'", "a tab stands where spaces are needed; indent with spaces"),
    ("mapping values are not allowed here", "a wrong indentation, or a text with a colon that needs quotes"),
    ("but found another document", "a second document begins here (---); a configuration is one"),
    ("could not find expected ':'", "a line without a colon, or a text over two lines that needs quotes"),
    ("found undefined alias", "an alias (*name) whose anchor (&name) was not given before it"),
)


def read_yaml(file: Path, places: Places) -> tuple[dict[str, Any], list[Problem]]:
    """The file as plain data (an empty one has no settings), and what is wrong with single keys and values.

    :raises SettingsError: no file, not UTF-8, no YAML, or not a mapping.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        text = file.read_text(encoding="utf-8-sig")
        node = yaml.compose(text)
        return _Reader(file, places, yaml).document(node)
    except OSError as error:
        raise SettingsError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Problem(str(file), "", "is not UTF-8")]) from error
    except ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise SettingsError([Problem(f"{file}:{line}", "", "not valid YAML: a control character")]) from error
    except YAMLError as error:
        raise SettingsError([_yaml_problem(file, error)]) from error
    except RecursionError as error:
        raise SettingsError([Problem(str(file), "", "is nested too deeply")]) from error


def _yaml_problem(file: Path, error: YAMLError) -> Problem:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = f"{file}:{mark.line + 1}" if mark else str(file)
    said = str(getattr(error, "problem", None) or "cannot be read").splitlines()[0]
    words = next((hint for start, hint in _HINTS if said.startswith(start)), said)
    return Problem(where, "", f"not valid YAML: {words}")


class _Reader:
    """Turns nodes into plain data and gathers what is wrong on the way."""

    def __init__(self, file: Path, places: Places, yaml: YAML) -> None:
        self._file = file
        self._places = places
        self._yaml = yaml
        self._problems: list[Problem] = []

    def document(self, node: Any) -> tuple[dict[str, Any], list[Problem]]:
        """:raises SettingsError: it is no mapping."""
        if node is None or (isinstance(node, ScalarNode) and node.tag == _NULL):
            return {}, []
        if not isinstance(node, MappingNode):
            raise SettingsError([Problem(self._at(node), "", "must be a mapping of settings, like  server:")])
        return self._mapping(node, ()), self._problems

    def _at(self, node: Any) -> str:
        return f"{self._file}:{node.start_mark.line + 1}"

    def _problem(self, node: Any, path: Loc, what: str) -> None:
        self._problems.append(Problem(self._at(node), ".".join(map(str, path)), what))

    def _value(self, node: Any, path: Loc) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                self._places.note((*path, index), self._at(item))
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Loc) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = {**self._merged(value, path), **merged}
            elif not isinstance(key, ScalarNode) or not key.value:
                self._problem(key, path, "a key must be a word")
            elif key.value in own:
                self._problem(key, (*path, key.value), f"given twice, first in line {lines[key.value]}")
            else:
                lines[key.value] = key.start_mark.line + 1
                self._places.note((*path, key.value), self._at(key))
                own[key.value] = self._value(value, (*path, key.value))
        return {**merged, **own}

    def _merged(self, node: Any, path: Loc) -> dict[str, Any]:
        """``<<: *anchor`` or ``<<: [*one, *two]``: the first that has a key wins, what stands beside it wins over both."""
        parts = node.value if isinstance(node, SequenceNode) else [node]
        found: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, MappingNode):
                found = {**self._mapping(part, path), **found}
            else:
                self._problem(part, path, "<< needs an alias of a mapping")
        return found

    def _scalar(self, node: ScalarNode, path: Loc) -> Any:
        digits = node.value.lstrip("+-").replace("_", "")
        if node.tag == _INT and len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            self._problem(node, path, "begins with 0: write a number without it, or a text in quotes")
            return None
        try:
            return self._yaml.constructor.construct_object(node)
        except (ConstructorError, ValueError):
            self._problem(node, path, "has a tag (!…) or a form that is not known here")
            return None
