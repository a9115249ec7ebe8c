"""The passwords that are tried first: the list of zxcvbn, counted in real leaks, and one of the operator's own."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from gateway.core.passwords import MIN_LENGTH, PasswordPolicy, folded
from gateway.errors import Problem, SettingsError

_FILE_BYTES = 64 << 20
"""Of an operator's own list: it is kept in each process."""


def make_policy(min_length: int = MIN_LENGTH, *, refuse: bool = True, file: Path | None = None) -> PasswordPolicy:
    """``refuse``: common passwords, those in ``file`` (one in each line) included.

    :raises SettingsError: the file cannot be read.
    """
    if not refuse:
        return PasswordPolicy(min_length)
    return PasswordPolicy(min_length, _known() | (_listed_in(file) if file else frozenset()))


@cache
def _known() -> frozenset[str]:
    """From the one module with the lists: the package beside it would build tables of a hundred thousand words, in every
    process, that nobody asks for."""
    package = importlib.util.find_spec("zxcvbn")
    spec = package and PathFinder.find_spec("frequency_lists", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("zxcvbn has no frequency_lists")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return _long_enough(module.FREQUENCY_LISTS["passwords"])


def _listed_in(file: Path) -> frozenset[str]:
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_BYTES + 1)
        if len(text) > _FILE_BYTES:
            raise SettingsError([_problem(f"{file} is larger than {_FILE_BYTES >> 20} MiB")])
        return _long_enough(text.decode().removeprefix("\ufeff").splitlines())
    except OSError as error:
        raise SettingsError([_problem(f"{file}: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([_problem(f"{file} is not UTF-8")]) from error


def _problem(what: str) -> Problem:
    return Problem("passwords.common_file", "", what)


def _long_enough(words: list[str]) -> frozenset[str]:
    """The others are too short for everybody."""
    return frozenset(word for word in map(folded, words) if len(word) >= MIN_LENGTH)
