"""Refresh tokens without a store: what a secret is worth to a family, as a table."""

from __future__ import annotations

import pytest

from gateway.core.keys import parse_ring
from gateway.core.refresh_tokens import (
    FAMILY,
    PREFIX,
    Again,
    Fresh,
    NoFamily,
    RefreshTickets,
    RefreshToken,
    Reused,
    is_present,
    judge,
    new_family,
    successor,
)
from gateway.core.tickets import session_tickets
from tests.harness import MASTER, OTHER_MASTER

SEED, SECRET = bytes(range(32)), bytes(range(32, 64))
GRACE, NOW = 10.0, 1_000_000.0


def after(data: dict[str, object], secret: bytes, now: float) -> tuple[dict[str, object], bytes]:
    found = judge(data, secret, now, GRACE)
    assert isinstance(found, Fresh)
    return {FAMILY: found.family}, found.secret


def test_the_present_one_gives_the_next_and_is_used_then() -> None:
    first: dict[str, object] = {FAMILY: new_family(SEED, SECRET)}
    second, secret = after(first, SECRET, NOW)
    assert (is_present(first, SECRET), is_present(second, SECRET), is_present(second, secret)) == (True, False, True)


@pytest.mark.parametrize(("seconds", "kind"), [(0, Again), (10, Again), (10.1, Reused), (-10.1, Reused), (1e6, Reused)])
def test_a_used_one_is_good_again_for_the_grace_alone(seconds: float, kind: type) -> None:
    data, secret = after({FAMILY: new_family(SEED, SECRET)}, SECRET, NOW)
    found = judge(data, SECRET, NOW + seconds, GRACE)
    assert isinstance(found, kind)
    assert not isinstance(found, Again) or found.secret == secret


def test_within_the_grace_the_way_leads_over_several_to_the_present_one() -> None:
    data: dict[str, object] = {FAMILY: new_family(SEED, SECRET)}
    secret, used = SECRET, []
    for step in range(12):
        used.append(secret)
        data, secret = after(data, secret, NOW + step / 10)
    found = [judge(data, one, NOW + 2, GRACE) for one in used]
    assert found == [Reused()] * 4 + [Again(secret)] * 8


def test_what_was_never_given_out_is_taken_for_used() -> None:
    data: dict[str, object] = {FAMILY: new_family(SEED, SECRET)}
    for other in (b"", bytes(32), successor(SEED, SECRET), SEED):
        assert judge(data, other, NOW, GRACE) == Reused()


@pytest.mark.parametrize(
    "data",
    [{}, {FAMILY: None}, {FAMILY: []}, {FAMILY: {}}, {FAMILY: {"now": "x", "seed": "x"}}, {FAMILY: {"seed": 1}}],
    ids=str,
)
def test_a_session_without_a_family_refreshes_nobody(data: dict[str, object]) -> None:
    assert judge(data, SECRET, NOW, GRACE) == NoFamily()
    assert not is_present(data, SECRET)


def test_a_text_is_read_as_it_was_written_and_any_change_makes_it_none() -> None:
    tickets = RefreshTickets(parse_ring(MASTER))
    token = RefreshToken(bytes(32), SECRET)
    text = tickets.write(token)
    assert tickets.read(text) == token
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        assert tickets.read(text[:at] + other + text[at + 1 :]) is None
    for bad in ("", PREFIX, text + "=", text + "A", text[:-1], text.upper(), "é" + text, f"{text}\n", text * 2):
        assert tickets.read(bad) is None


def test_a_text_under_another_ring_is_none_and_its_key_can_be_told() -> None:
    text = RefreshTickets(parse_ring(MASTER)).write(RefreshToken(bytes(32), SECRET))
    other = RefreshTickets(parse_ring(OTHER_MASTER))
    assert other.read(text) is None
    assert other.key_of(text) == parse_ring(MASTER).active.id
    assert RefreshTickets(parse_ring(f"{OTHER_MASTER}\n{MASTER}")).read(text) is not None
    assert [other.key_of(bad) for bad in ("", "x", PREFIX + "x", text[4:], text + "é")] == [None] * 5


def test_a_session_cookie_is_no_refresh_token() -> None:
    ring = parse_ring(MASTER)
    assert RefreshTickets(ring).read(PREFIX + session_tickets(ring).sign(bytes(32))) is None


def test_nothing_of_it_shows_in_a_repr() -> None:
    found = judge({FAMILY: new_family(SEED, SECRET)}, SECRET, NOW, GRACE)
    assert repr(found) == "Fresh()"
    assert repr(RefreshToken(bytes(32), SECRET)) == "RefreshToken()"
