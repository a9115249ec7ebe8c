"""What is told of sources that are away (gateway/identity/outages.py), and when they count as back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from gateway.core.identity import Identity
from gateway.errors import Busy, SourceUnavailable
from gateway.identity.outages import Outages
from gateway.identity.source import Found, NotChanged
from tests.core.tables import table

ALICE = Identity("a1", "alice", source="sql")


async def says(what: Any) -> Any:
    await asyncio.sleep(0)
    return what


async def fails(error: Exception | None = None) -> Any:
    await asyncio.sleep(0)
    raise error or SourceUnavailable("it does not answer")


async def try_at(outages: Outages, name: str, answer: Awaitable[Any]) -> None:
    with pytest.raises(SourceUnavailable):
        await outages.noted(name, answer)


class Told(logging.Handler):
    """What was told: a warning for a source that is away, less for one that is back."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, str]]:
        return [vars(record)["fields"] for record in self.records]

    @property
    def levels(self) -> list[tuple[str, int]]:
        return [(fields["source"], record.levelno) for fields, record in zip(self.fields, self.records, strict=True)]


@pytest.fixture
def told() -> Iterator[Told]:
    log, handler = logging.getLogger("gateway.identity"), Told()
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    log.setLevel(before)


AWAY, BACK = logging.WARNING, logging.INFO


async def test_an_outage_is_told_once_and_its_end_once(told: Told) -> None:
    outages = Outages()
    for _ in range(5):
        await try_at(outages, "sql", fails())
    assert outages.is_away("sql")
    for _ in range(5):
        assert await outages.noted("sql", says(ALICE)) is ALICE
    assert not outages.is_away("sql")
    assert told.levels == [("sql", AWAY), ("sql", BACK)]


async def test_a_source_that_answers_is_never_told(told: Told) -> None:
    outages = Outages()
    for answer in (ALICE, None, Found(ALICE), NotChanged.WRONG):
        await outages.noted("sql", says(answer))
        await outages.noted("sql", says(answer), is_asked=True)
    assert not outages.is_away("sql")
    assert told.records == []


@pytest.mark.parametrize("answer", table({"nobody": None, "not changed": NotChanged.IMPOSSIBLE, "no": False}))
async def test_an_answer_that_needs_no_asking_does_not_say_that_the_source_is_back(answer: object, told: Told) -> None:
    """A login that nobody can have is not asked for."""
    outages = Outages()
    await try_at(outages, "sql", fails())
    await outages.noted("sql", says(answer))
    assert outages.is_away("sql")
    assert told.levels == [("sql", AWAY)]
    await outages.noted("sql", says(answer), is_asked=True)
    assert not outages.is_away("sql")
    assert told.levels == [("sql", AWAY), ("sql", BACK)]


@pytest.mark.parametrize("answer", table({"found": Found(ALICE), "a user": ALICE, "a hash": "$argon2id$…"}))
async def test_who_tells_of_somebody_is_back(answer: object) -> None:
    outages = Outages()
    await try_at(outages, "sql", fails())
    await outages.noted("sql", says(answer))
    assert not outages.is_away("sql")


async def test_one_that_comes_and_goes_does_not_fill_the_log(told: Told) -> None:
    outages = Outages()
    for _ in range(50):
        await try_at(outages, "sql", fails())
        assert outages.is_away("sql")
        await outages.noted("sql", says(ALICE))
        assert not outages.is_away("sql")
    assert told.levels == [("sql", AWAY), ("sql", BACK)], "the end of what was not told is not told either"


async def test_each_source_has_outages_of_its_own(told: Told) -> None:
    outages = Outages()
    await asyncio.gather(*(try_at(outages, name, fails()) for name in ("sql", "ldap") for _ in range(3)))
    await outages.noted("ldap", says(ALICE))
    assert (outages.is_away("sql"), outages.is_away("ldap"), outages.is_away("http")) == (True, False, False)
    assert sorted(told.levels) == [("ldap", BACK), ("ldap", AWAY), ("sql", AWAY)]


async def test_what_is_no_outage_is_none(told: Told) -> None:
    outages = Outages()
    for error in (Busy(), ValueError("a mistake")):
        with pytest.raises(type(error)):
            await outages.noted("sql", fails(error))
    asking = asyncio.create_task(outages.noted("sql", asyncio.Event().wait()))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not outages.is_away("sql")
    assert told.records == []


async def test_a_long_cause_is_cut(told: Told) -> None:
    await try_at(Outages(), "sql", fails(SourceUnavailable("x" * 100_000)))
    [fields] = told.fields
    assert len(fields["cause"]) < 1000
