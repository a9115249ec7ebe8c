"""``tests/hazards.toml`` maps every known hazard to the tests that cover it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAP = tomllib.loads((ROOT / "tests/hazards.toml").read_text(encoding="utf-8"))
COVERED: dict[str, list[str]] = MAP["covered"]
LATER: dict[str, str] = MAP["later"]
KNOWN = [
    *(f"A{number}" for number in range(1, 13)),
    *(f"R{number}" for number in range(1, 12)),
    *(f"D{number}" for number in range(1, 23)),
    *(f"P{number}" for number in range(1, 92)),
]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_hazard_is_covered_or_named_as_not_yet() -> None:
    assert sorted([*COVERED, *LATER]) == sorted(KNOWN)


@pytest.mark.parametrize("hazard", COVERED)
def test_the_tests_that_cover_a_hazard_exist(hazard: str) -> None:
    assert COVERED[hazard]
    for name in COVERED[hazard]:
        file, _, test = name.partition("::")
        assert test in names_in(ROOT / file), name
