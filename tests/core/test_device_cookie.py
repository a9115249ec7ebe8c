"""The device cookie (gateway/core/device_cookie.py)."""

from __future__ import annotations

import pytest

from gateway.core.device_cookie import Device, DeviceTickets
from gateway.core.keys import KeyRing, MasterKey, b64url, from_b64url
from gateway.core.tickets import Tickets, session_tickets
from tests.core.tables import table

OLD, NEW, FOREIGN = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
RING = KeyRing([OLD])
DEVICES = DeviceTickets(RING)
ID, OTHER_ID = b"i" * 16, b"o" * 16
ALICE, BOB = "file:users.yaml\0a1", "file:users.yaml\0b2"


def opened(text: str, devices: DeviceTickets = DEVICES) -> Device:
    device = devices.open([text])
    assert device is not None
    return device


def test_after_a_sign_in_the_browser_is_known_for_that_account_and_no_other() -> None:
    device = opened(DEVICES.signed_in(None, ALICE, ID))
    assert device.id == ID
    assert DEVICES.knows(device, ALICE)
    assert not DEVICES.knows(device, BOB)
    assert not DEVICES.knows(None, ALICE)


def test_the_id_stays_and_five_accounts_are_known_the_last_first() -> None:
    device, names = None, [f"file\0{number}" for number in range(7)]
    for name in names:
        device = opened(DEVICES.signed_in(device, name, OTHER_ID if device else ID))
    assert device is not None
    assert device.id == ID
    assert [DEVICES.knows(device, name) for name in names] == [False, False, True, True, True, True, True]


def test_signing_in_again_pushes_nobody_out() -> None:
    device = None
    for name in [*"abcde", *"eeeee"]:
        device = opened(DEVICES.signed_in(device, name, ID))
    assert all(DEVICES.knows(device, name) for name in "abcde")
    assert device is not None
    assert len(device.tags) == 5


def test_a_tag_is_worth_nothing_in_another_browsers_cookie() -> None:
    mine = opened(DEVICES.signed_in(None, ALICE, ID))
    assert not DEVICES.knows(Device(OTHER_ID, mine.tags), ALICE)


def test_the_cookie_says_no_name_and_has_one_size() -> None:
    one, five = DEVICES.signed_in(None, ALICE, ID), DEVICES.signed_in(Device(ID, (b"t" * 8,) * 4), BOB, ID)
    assert len(one) == len(five) < 120
    content = from_b64url(one)
    assert content is not None
    assert b"a1" not in content
    assert b"users" not in content


@pytest.mark.parametrize(
    "text",
    table(
        {
            "nothing": "",
            "no base64": "%%%",
            "cut": DEVICES.signed_in(None, ALICE, ID)[:-1],
            "cut by four": DEVICES.signed_in(None, ALICE, ID)[:-4],
            "longer": DEVICES.signed_in(None, ALICE, ID) + "AAAA",
            "oversized": "A" * 100_000,
            "of another site": DeviceTickets(KeyRing([FOREIGN])).signed_in(None, ALICE, ID),
            "a session's ticket": session_tickets(RING).sign(b"s" * 32),
            "signed for another purpose": Tickets(RING, b"other", 56).sign(b"s" * 56),
            "zeros": b64url(bytes(76)),
            "surrogates": "\udcff" * 102,
        }
    ),
)
def test_what_we_did_not_make_is_no_device(text: str) -> None:
    assert DEVICES.open([text]) is None


def test_every_bit_counts() -> None:
    data = from_b64url(DEVICES.signed_in(None, ALICE, ID))
    assert data is not None
    for place in range(len(data)):
        changed = bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]])
        assert DEVICES.open([b64url(changed)]) is None


def test_ours_is_found_among_planted_ones() -> None:
    ours = DEVICES.signed_in(None, ALICE, ID)
    assert DEVICES.open(["planted", DeviceTickets(KeyRing([FOREIGN])).signed_in(None, BOB, ID), ours]) is not None


def test_keys_rotate_and_browsers_stay_known_as_long_as_the_old_key_is_there() -> None:
    cookie = DEVICES.signed_in(None, ALICE, ID)
    rotated = DeviceTickets(KeyRing([NEW, OLD]))
    assert rotated.knows(opened(cookie, rotated), ALICE)
    renewed = rotated.signed_in(opened(cookie, rotated), BOB, OTHER_ID)
    assert rotated.knows(opened(renewed, rotated), ALICE)
    again = rotated.signed_in(opened(renewed, rotated), ALICE, OTHER_ID)
    assert len(opened(again, rotated).tags) == 2, "the tag under the older key is replaced"
    retired = DeviceTickets(KeyRing([NEW]))
    assert retired.open([cookie]) is None
    assert retired.knows(opened(renewed, retired), BOB)
    assert not retired.knows(opened(renewed, retired), ALICE)
