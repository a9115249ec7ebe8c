"""What the SQL source does with a NULL generation, with crowds of like addresses, and after a write that was refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from gateway.core.identity import Identity
from tests.identity.sql_lab import CHEAP, HASH, PASSWORD, Lab, enter, sql_lab
from tests.store.databases import KINDS

WORD = "VARCHAR(200)"
COLUMNS = {"id": "INTEGER", "username": WORD, "email": WORD, "password": WORD}
NEW = "another password of theirs"
MOMENT = {"sqlite": "TIMESTAMP", "postgresql": "TIMESTAMP WITH TIME ZONE", "mariadb": "DATETIME"}


@pytest.fixture(params=KINDS)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with sql_lab(request.param, tmp_path) as made:
        yield made


@pytest.mark.parametrize("kind", ["INTEGER", "moment", "TIMESTAMP NULL", "DATE", WORD])
async def test_a_password_is_changed_where_the_generation_is_null(lab: Lab, kind: str) -> None:
    column = MOMENT[lab.kind] if kind == "moment" else kind
    row = {"id": 1, "username": "alice", "email": "", "password": HASH, "generation": None}
    name = await lab.table({**COLUMNS, "generation": column}, row)
    source = lab.legacy(name, " ".join(row), writable=True)
    changed = await source.change_password("1", PASSWORD, NEW)
    assert isinstance(changed, Identity)
    assert changed.generation > 0
    assert await source.get("1") == changed
    assert await enter(source, "alice", NEW) == changed
    (stored,) = await lab.run(f"SELECT generation FROM {lab.quoted(name)}")
    counts = kind in ("INTEGER", WORD)
    assert (str(stored["generation"]) == "1") == counts
    if not counts:
        assert datetime.fromisoformat(str(stored["generation"])).year > 2000


async def test_many_addresses_like_a_username_do_not_hide_its_owner(lab: Lab) -> None:
    name = await lab.table(COLUMNS)
    for number in range(60):
        await lab.insert(name, {"id": number, "username": f"u{number}", "email": "alice", "password": HASH})
    await lab.insert(name, {"id": 99, "username": "alice", "email": "", "password": HASH})
    found = await lab.legacy(name, " ".join(COLUMNS)).find("alice")
    assert found is not None
    assert found.identity.id == "99"


async def test_a_refused_password_change_does_not_keep_the_hashes_of_others_weak(lab: Lab) -> None:
    """The generation of the one is full: a number more is out of range."""
    columns = {**COLUMNS, "generation": "SMALLINT CHECK (generation <= 32767)"}
    name = await lab.table(columns)
    for number, who, generation in ((1, "alice", 32767), (2, "bob", 0)):
        row = {"id": number, "username": who, "email": "", "password": CHEAP.hash(PASSWORD), "generation": generation}
        await lab.insert(name, row)
    source = lab.legacy(name, " ".join(columns), writable=True)
    assert not isinstance(await source.change_password("1", PASSWORD, NEW), Identity)
    weak = await source.stored_hash("2")
    assert await enter(source, "bob")
    assert await source.stored_hash("2") != weak
