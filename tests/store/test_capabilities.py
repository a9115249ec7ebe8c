"""The table of docs/sessions.md says of every ``session.engine`` what is so."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from gateway.core.keys import parse_ring
from gateway.engines import session_parts
from gateway.settings.stores import SessionSettings
from tests.harness import MASTER, make_settings
from tests.store.engines import declared, documented

TABLE = documented((Path(__file__).parents[2] / "docs/sessions.md").read_text(encoding="utf-8"))
ENGINES = get_args(SessionSettings.model_fields["engine"].annotation)


def test_every_engine_stands_in_the_table_and_nothing_else() -> None:
    assert list(TABLE) == list(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_table_says_what_the_configured_engine_declares(engine: str, tmp_path: Path) -> None:
    settings = make_settings(
        "redis://127.0.0.1:1/0",
        "http://127.0.0.1:1",
        session={"engine": engine, "file": {"path": str(tmp_path / "sessions")}},
        sql={"url": f"sqlite:///{tmp_path / 'sessions.db'}"},
    )
    parts = session_parts(settings, parse_ring(MASTER))
    assert TABLE[engine] == declared(parts.sessions.capabilities)
    assert (TABLE[engine]["directory and cap"] == "yes") is (parts.sessions.users is not None)
    await parts.close()
