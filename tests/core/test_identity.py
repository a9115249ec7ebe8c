"""Who somebody is: what is shown, what is kept, and that nothing else is ever read as a user."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Identity
from tests.core.tables import table

ALICE = Identity("7", "alice", "Alice 爱丽丝", "alice@example.org", "mgr", ("sales", "a,b"), "file", 3)
FIELDS = ("id", "username", "name", "email", "usertype", "groups", "source")

IDENTITIES = st.builds(
    Identity,
    st.text(),
    st.text(),
    st.text(),
    st.text(),
    st.text(),
    st.lists(st.text()).map(tuple),
    st.text(),
    st.integers(),
)


@given(IDENTITIES)
def test_what_was_dumped_is_loaded_the_same_through_json(user: Identity) -> None:
    assert Identity.load(json.loads(json.dumps(user.dump()))) == user


def test_what_is_shown_names_everything_but_the_source_and_the_generation() -> None:
    assert ALICE.public() == {
        "id": "7",
        "username": "alice",
        "name": "Alice 爱丽丝",
        "email": "alice@example.org",
        "usertype": "mgr",
        "groups": ["sales", "a,b"],
    }


@pytest.mark.parametrize("field", FIELDS)
def test_a_record_that_lacks_a_field_is_nobody(field: str) -> None:
    record = ALICE.dump()
    del record[field]
    with pytest.raises(KeyError):
        Identity.load(record)


def test_a_record_from_before_there_were_generations_is_of_the_first() -> None:
    record = ALICE.dump()
    del record["generation"]
    assert Identity.load(record) == replace(ALICE, generation=0)


@pytest.mark.parametrize("value", [None, "3", 3.0, True, [3], {}], ids=repr)
def test_a_generation_of_another_type_is_not_made_to_fit(value: Any) -> None:
    with pytest.raises(TypeError):
        Identity.load({**ALICE.dump(), "generation": value})


def test_the_same_person_with_another_password_is_the_same_person() -> None:
    assert ALICE.is_same(replace(ALICE, generation=4, name="Alice A."))
    assert not ALICE.is_same(replace(ALICE, source="other"))
    assert not ALICE.is_same(None)


WRONG = {"nothing": None, "a number": 7, "true": True, "a list": ["x"], "a mapping": {"x": "y"}, "bytes": b"x"}


@pytest.mark.parametrize("value", table(WRONG))
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_another_type_is_not_made_to_fit(field: str, value: Any) -> None:
    if field == "groups" and isinstance(value, list):
        value = "sales"  # a text is a sequence of letters, and no letter is a group
    with pytest.raises(TypeError):
        Identity.load({**ALICE.dump(), field: value})


@pytest.mark.parametrize("group", [None, 7, ["sales"]])
def test_a_group_of_another_type_is_not_made_to_fit(group: Any) -> None:
    with pytest.raises(TypeError):
        Identity.load({**ALICE.dump(), "groups": ["sales", group]})


@pytest.mark.parametrize("record", [None, 7, "x", [], ["id"], b"x"], ids=repr)
def test_what_is_no_record_is_nobody(record: Any) -> None:
    with pytest.raises((KeyError, TypeError)):
        Identity.load(record)
