"""Every way in which a token can be bad has an event of its own, and operators can look up what it means."""

from __future__ import annotations

import ast
import re

from tests.harness import ROOT

PAGE = (ROOT / "docs/http-api.md").read_text(encoding="utf-8")


def raised() -> set[str]:
    """The events of all ``BadToken("…")`` in our code."""
    found: set[str] = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BadToken":
                events = {one.value for part in node.args for one in ast.walk(part) if isinstance(one, ast.Constant)}
                assert events, f"{path}:{node.lineno}: an event that cannot be looked up"
                found |= {str(event) for event in events}
    return found


def test_every_event_of_a_bad_token_is_explained_and_no_other() -> None:
    table = PAGE.partition("## What was wrong with a token")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+) \|", table, flags=re.M)
    explained = [event for cell in first_cells for event in re.findall(r"`([a-z_]+)`", cell)]
    assert len(explained) == len(set(explained))
    assert set(explained) == raised()


def test_the_events_are_words_for_programs() -> None:
    assert {"token_expired", "token_signature", "token_forever"} <= raised()
    assert [event for event in raised() if not re.fullmatch(r"(token|api_key)_[a-z_]+", event)] == []
