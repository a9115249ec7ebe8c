"""How many requests may be repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.budget import RetryBudget


def spent(budget: RetryBudget, now: float, wanted: int) -> int:
    return sum(budget.spend(now) for _ in range(wanted))


@pytest.mark.parametrize(
    ("share", "least", "requests", "allowed"),
    [(0.2, 0, 100, 20), (0.2, 10, 100, 120), (0.0, 0, 100, 0), (1.0, 0, 7, 7), (0.0, 0.5, 0, 5), (0.2, 10, 0, 100)],
)
def test_a_share_of_the_requests_and_some_a_second(share: float, least: float, requests: int, allowed: int) -> None:
    budget = RetryBudget(share, least)
    for number in range(requests):
        budget.note_request(100 + number / requests)
    assert spent(budget, 101, 1000) == allowed


def test_after_ten_seconds_everything_is_forgotten() -> None:
    budget = RetryBudget(0.2, 0)
    for _ in range(100):
        budget.note_request(50.5)
    assert spent(budget, 59.9, 5) == 5
    assert spent(budget, 60.5, 5) == 0
    budget = RetryBudget(0, 1)
    assert spent(budget, 50, 99) == 10
    assert spent(budget, 59, 99) == 0
    assert spent(budget, 60, 99) == 10
    assert spent(budget, 1000, 99) == 10


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200))
def test_in_no_ten_seconds_more_is_repeated_than_may_be(steps: list[tuple[bool, float]]) -> None:
    """Counted by whole seconds, as the budget does."""
    budget, now = RetryBudget(0.5, 0.2), 1000.0
    requests, retries = list[int](), list[int]()
    for is_request, seconds in steps:
        now += seconds
        if is_request:
            budget.note_request(now)
            requests.append(int(now))
        elif budget.spend(now):
            retries.append(int(now))
            recent = [sum(int(now) - second < 10 for second in kind) for kind in (retries, requests)]
            assert recent[0] <= 0.5 * recent[1] + 2


def test_what_is_under_way_counts_however_long_ago_it_began() -> None:
    """A server that dies under slow requests: they began before the window of the budget."""
    budget = RetryBudget(0.2, 0)
    assert [budget.spend(100, under_way=10) for _ in range(4)] == [True, True, False, False]
