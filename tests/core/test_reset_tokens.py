"""The token of a reset link: what opens, what does not, and what spends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Identity
from gateway.core.keys import b64url, from_b64url, parse_ring
from gateway.core.reset_tokens import MAX_TEXT, open_reset, sign_reset
from gateway.core.tickets import session_tickets
from tests.harness import MASTER, OTHER_MASTER

RING, OTHER, BOTH = parse_ring(MASTER), parse_ring(OTHER_MASTER), parse_ring(f"{OTHER_MASTER}\n{MASTER}")
ALICE = Identity("7", "alice", source="file:users.yaml", generation=3)
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"
NOW = 1_000_000
TOKEN = sign_reset(RING, ALICE, HASH, NOW + 60)


@given(st.text(max_size=254), st.text(max_size=254), st.text(max_size=200), st.integers(NOW + 1, 2**50))
def test_a_token_says_whose_it_is_and_fits_what_was_stored(source: str, user_id: str, stored: str, end: int) -> None:
    user = Identity(user_id, "name", source=source)
    text = sign_reset(RING, user, stored, end)
    opened = open_reset(RING, text, NOW)
    assert opened is not None
    assert (opened.source, opened.user_id, opened.end) == (source, user_id, end)
    assert opened.fits(user, stored)
    assert len(text) <= MAX_TEXT


@pytest.mark.parametrize(
    ("user", "stored"),
    [
        pytest.param(ALICE, HASH + "x", id="another hash"),
        pytest.param(ALICE, "", id="none"),
        pytest.param(replace(ALICE, generation=4), HASH, id="a newer generation"),
        pytest.param(replace(ALICE, id="8"), HASH, id="somebody else with the same hash"),
        pytest.param(replace(ALICE, source="ldap"), HASH, id="another source"),
    ],
)
def test_what_is_not_as_it_was_spends_it(user: Identity, stored: str) -> None:
    opened = open_reset(RING, TOKEN, NOW)
    assert opened is not None
    assert opened.fits(ALICE, HASH)
    assert not opened.fits(user, stored)


def test_another_name_or_other_groups_do_not_spend_it() -> None:
    opened = open_reset(RING, TOKEN, NOW)
    assert opened is not None
    assert opened.fits(replace(ALICE, username="alicia", groups=("sales",)), HASH)


def test_it_opens_until_its_end_and_not_at_it() -> None:
    assert open_reset(RING, TOKEN, NOW + 59.9) is not None
    assert open_reset(RING, TOKEN, NOW + 60) is None
    assert open_reset(RING, TOKEN, 1e300) is None


def test_every_key_of_the_ring_opens_and_no_other() -> None:
    assert open_reset(BOTH, TOKEN, NOW) is not None
    assert open_reset(OTHER, TOKEN, NOW) is None
    assert open_reset(RING, sign_reset(BOTH, ALICE, HASH, NOW + 60), NOW) is None, "the first one signs"


def test_no_part_of_a_token_and_no_changed_one_opens() -> None:
    """P59, P79: cut anywhere, longer, or with one character changed."""
    data = from_b64url(TOKEN)
    assert data is not None
    changed = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    cut = [data[:at] for at in range(len(data))] + [data + b"\0", b"\0" + data]
    for broken in [*changed, *cut]:
        assert open_reset(RING, b64url(broken), NOW) is None
    for at in range(len(TOKEN)):
        assert open_reset(RING, TOKEN[:at], NOW) is None


NONE = [
    "",
    "A",
    "=",
    TOKEN + "=",
    TOKEN + "A",
    " " + TOKEN,
    TOKEN + "\n",
    TOKEN + "\0",
    "\ud800",
    "é" * 200,
    TOKEN * 30,
]
TICKET = session_tickets(RING).sign(bytes(32))


@pytest.mark.parametrize("text", [*NONE, TICKET, "A" * 10_000, TOKEN.replace("_", "/").replace("-", "+") + "/"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert open_reset(RING, text, NOW) is None


@given(st.text(max_size=5000))
def test_nothing_that_is_typed_is_an_error(text: str) -> None:
    assert open_reset(RING, text, NOW) is None


def test_it_shows_neither_its_key_nor_the_state() -> None:
    opened = open_reset(RING, TOKEN, NOW)
    assert "state" not in repr(opened)
    assert HASH not in TOKEN
