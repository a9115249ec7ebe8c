"""Request ids: they sort by time, and hold nothing that a header, a log or a person would trip over."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.request_ids import request_id
from tests.core.tables import table

MOMENTS = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


@given(MOMENTS, ENTROPY)
def test_an_id_is_26_characters_of_crockfords_alphabet(milliseconds: int, entropy: bytes) -> None:
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", request_id(milliseconds / 1000, entropy))


@given(MOMENTS.map(lambda number: number // 4 * 4 / 4000), st.integers(1, 10**9), ENTROPY, ENTROPY)
def test_ids_sort_by_time_whatever_the_entropy(now: float, later: int, first: bytes, second: bytes) -> None:
    assert request_id(now, first) < request_id(now + later / 100, second)


KNOWN = {
    "the beginning": (0.0, bytes(10), "0" * 26),
    "the first millisecond": (0.001, bytes(10), "0000000001" + "0" * 16),
    "all the entropy": (0.0, b"\xff" * 10, "0000000000" + "Z" * 16),
    "the specification's example": (1469918176.385, bytes(10), "01ARYZ6S41" + "0" * 16),
    "entropy in order": (0.0, bytes(range(10)), "0000000000" + "000G40R40M30E209"),
}


@pytest.mark.parametrize(("now", "entropy", "known"), table(KNOWN))
def test_an_id_is_a_ulid(now: float, entropy: bytes, known: str) -> None:
    assert request_id(now, entropy) == known


@given(ENTROPY, ENTROPY)
def test_all_the_entropy_is_in_the_id(first: bytes, second: bytes) -> None:
    assert (request_id(1.0, first) == request_id(1.0, second)) is (first == second)
