"""What the browser holds: only what we signed opens, and only for what it was signed for (P49, P54, P58, P59)."""

from __future__ import annotations

import base64
import string
from http.cookies import SimpleCookie
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keys import KeyRing, MasterKey, b64url, from_b64url
from gateway.core.tickets import NONCE_BYTES, SESSION_ID_BYTES, FormTickets, Tickets, cookies_named, session_tickets
from tests.core.tables import table

NEW, OLD, FOREIGN = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
TICKETS = session_tickets(KeyRing([NEW]))
ID = bytes(range(SESSION_ID_BYTES))
GOOD = TICKETS.sign(ID)
NAME = "gw_session"


@given(st.binary(min_size=SESSION_ID_BYTES, max_size=SESSION_ID_BYTES))
def test_what_was_signed_opens(session_id: bytes) -> None:
    assert TICKETS.open(TICKETS.sign(session_id)) == session_id


def test_a_ticket_is_safe_in_a_cookie_and_does_not_depend_on_anything_but_key_and_content() -> None:
    assert {*GOOD} <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert session_tickets(KeyRing([MasterKey(bytes([1]) * 32)])).sign(ID) == GOOD
    assert len(from_b64url(GOOD) or b"") == 4 + 32 + 16


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_p59_no_prefix_and_no_suffix_of_a_ticket_opens(length: int) -> None:
    assert TICKETS.open(GOOD[:length]) is None
    assert TICKETS.open(GOOD[len(GOOD) - length :]) is None


def test_p59_no_ticket_of_fewer_or_more_bytes_opens() -> None:
    data = from_b64url(GOOD) or b""
    for size in range(len(data)):
        assert TICKETS.open(b64url(data[:size])) is None
    assert TICKETS.open(b64url(data + b"\0")) is None


def test_no_ticket_with_one_bit_flipped_opens() -> None:
    data = from_b64url(GOOD) or b""
    assert len(data) == 52
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert TICKETS.open(b64url(bytes(flipped))) is None, f"bit {bit}"


def test_no_ticket_with_one_character_changed_opens() -> None:
    others = string.ascii_letters + string.digits + "-_+/= \"';,%é\0"
    for at, right in enumerate(GOOD):
        for other in others:
            if other != right:
                assert TICKETS.open(GOOD[:at] + other + GOOD[at + 1 :]) is None


def broken_shapes() -> list[str]:
    """200 values that are no ticket (P54, P58)."""
    zeros, ones = b64url(bytes(52)), b64url(b"\xff" * 52)
    foreign = session_tickets(KeyRing([FOREIGN])).sign(ID)
    shapes = ["", "0", "null", "None", "true", "[]", "{}", "undefined", "deleted", zeros, ones, foreign, GOOD + GOOD]
    shapes += [GOOD + tail for tail in ("=", "==", "A", "\n", " ", "\0", ".", "%", "%3D", ";", ",x")]
    shapes += [lead + GOOD for lead in (" ", "\t", "=", '"', "A", "\ufeff", "s:", "j:", "v1.", "|")]
    shapes += [f'"{GOOD}"', f"'{GOOD}'", f"b'{GOOD}'", f"{GOOD}.{GOOD}", GOOD[::-1], GOOD.lower(), GOOD.upper()]
    shapes += [
        "99999999",
        "chunks:99999999",
        "gw_session",
        "a" * 4096,
        "A" * len(GOOD),
        "=" * len(GOOD),
        "é" * len(GOOD),
    ]
    shapes += [
        "\udcff" * len(GOOD),
        "\0" * len(GOOD),
        "-" * len(GOOD),
        "_" * len(GOOD),
        "%" * len(GOOD),
        " " * len(GOOD),
    ]
    shapes += ["😀" * len(GOOD), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "gASVAAAAAAAAAA==", 'O:8:"stdClass":0:{}']
    shapes += [
        encoded(GOOD.encode())
        for encoded in (b64url, lambda data: data.hex(), lambda data: base64.b64encode(data).decode())
    ]
    raw = from_b64url(GOOD) or b""
    shapes += [raw.hex(), raw.decode("latin-1"), base64.b64encode(raw).decode(), base64.b85encode(raw).decode()]
    moved = (raw[shift:] + raw[:shift] for shift in range(1, 52))  # P79: bytes moved between the fields
    shapes += [b64url(data) for data in moved]
    replaced = (raw[:at] + bytes(size) + raw[at + size :] for at in (0, 4, 36) for size in range(1, 17))
    shapes += [b64url(data) for data in replaced if data != raw]
    shapes += [GOOD[:at] + "." + GOOD[at + 1 :] for at in range(len(GOOD))]
    return list(islice(dict.fromkeys(shape for shape in shapes if shape != GOOD), 200))


BROKEN = broken_shapes()


def test_there_are_200_broken_shapes() -> None:
    assert len(BROKEN) == 200


@pytest.mark.parametrize("value", BROKEN, ids=range(len(BROKEN)))
def test_p54_a_broken_cookie_is_no_session_and_no_error(value: str) -> None:
    assert TICKETS.open(value) is None
    assert TICKETS.first([value]) is None
    found = TICKETS.first(cookies_named([f"{NAME}={value}"], NAME))
    assert found == (ID if value.partition(";")[0].strip(" \t") == GOOD else None), "blanks around it are no part of it"
    assert FormTickets(KeyRing([NEW])).open(value) is None


@given(st.text())
def test_no_text_whatsoever_opens_or_raises(value: str) -> None:
    assert TICKETS.open(value) is None


@given(st.binary(min_size=52, max_size=52))
def test_no_bytes_of_the_right_size_open(data: bytes) -> None:
    assert TICKETS.open(b64url(data)) is None
    assert TICKETS.open(b64url(NEW.id + data[4:])) is None


def test_a_ticket_of_one_purpose_is_no_ticket_of_another() -> None:
    ring = KeyRing([NEW])
    for size in (NONCE_BYTES, SESSION_ID_BYTES):
        one, other = Tickets(ring, b"session ticket", size), Tickets(ring, b"form ticket", size)
        assert one.open(one.sign(bytes(size))) == bytes(size)
        assert one.open(other.sign(bytes(size))) is None
        assert other.open(one.sign(bytes(size))) is None


@pytest.mark.parametrize("size", [0, 1, NONCE_BYTES, SESSION_ID_BYTES - 1, SESSION_ID_BYTES + 1])
def test_a_ticket_of_another_size_is_none_though_it_is_signed(size: int) -> None:
    other = Tickets(KeyRing([NEW]), b"session ticket", size)
    assert other.open(other.sign(bytes(size))) == bytes(size)
    assert TICKETS.open(other.sign(bytes(size))) is None


def test_a_form_ticket_is_no_session_ticket_and_its_field_is_neither() -> None:
    forms = FormTickets(KeyRing([NEW]))
    nonce = bytes(NONCE_BYTES)
    assert forms.open(forms.sign(nonce)) == nonce
    assert TICKETS.open(forms.sign(nonce)) is None
    assert forms.open(GOOD) is None
    assert forms.open(forms.field(nonce)) is None
    assert not forms.field_fits(nonce, forms.sign(nonce))


def test_after_a_rotation_tickets_of_the_old_key_open_and_new_ones_are_of_the_new_key() -> None:
    old, rotated = session_tickets(KeyRing([OLD])), session_tickets(KeyRing([NEW, OLD]))
    distributed, removed = session_tickets(KeyRing([OLD, NEW])), session_tickets(KeyRing([NEW]))
    assert rotated.open(old.sign(ID)) == ID
    assert rotated.sign(ID) == GOOD != old.sign(ID)
    assert distributed.sign(ID) == old.sign(ID), "a distributed key only opens"
    assert distributed.open(GOOD) == ID
    assert removed.open(old.sign(ID)) is None


def test_the_key_id_of_another_key_of_the_ring_does_not_open() -> None:
    ring = session_tickets(KeyRing([NEW, OLD]))
    data = from_b64url(GOOD) or b""
    assert ring.open(b64url(OLD.id + data[4:])) is None


def test_the_hidden_field_belongs_to_one_cookie_and_outlives_a_rotation() -> None:
    nonce, other = bytes(NONCE_BYTES), b"x" * NONCE_BYTES
    old, rotated = FormTickets(KeyRing([OLD])), FormTickets(KeyRing([NEW, OLD]))
    assert rotated.field_fits(nonce, rotated.field(nonce))
    assert rotated.field_fits(nonce, old.field(nonce))
    assert not rotated.field_fits(other, rotated.field(nonce))
    assert not FormTickets(KeyRing([NEW])).field_fits(nonce, old.field(nonce))
    field = rotated.field(nonce)
    for wrong in ("", field[:-1], field + "=", field.swapcase(), " " + field, "é", "\udcff", "\0"):
        assert not rotated.field_fits(nonce, wrong)


OTHER = session_tickets(KeyRing([NEW])).sign(bytes(32))
FIRST = {
    "none": ([], None),
    "one": ([GOOD], ID),
    "P49 behind one of a sibling site": (["planted", GOOD], ID),
    "before one of a sibling site": ([GOOD, "planted"], ID),
    "behind a cut one": ([GOOD[:-1], GOOD], ID),
    "the first of two that authenticate": ([GOOD, OTHER], ID),
    "the other way round": ([OTHER, GOOD], bytes(32)),
    "none that authenticates": (["planted", GOOD[:-1]], None),
}


@pytest.mark.parametrize(("values", "content"), table(FIRST))
def test_of_several_cookies_the_first_that_authenticates_counts(values: list[str], content: bytes | None) -> None:
    assert TICKETS.first(values) == content


COOKIES = {
    "no header": ([], []),
    "empty header": ([""], []),
    "alone": (["gw_session=a"], ["a"]),
    "among others": (["a=b; gw_session=c; d=e"], ["c"]),
    "without blanks": (["a=b;gw_session=c;d=e"], ["c"]),
    "with more blanks": (["a=b;   gw_session = c ;\td=e"], ["c"]),
    "twice": (["gw_session=a; gw_session=b"], ["a", "b"]),
    "in two headers": (["gw_session=a", "x=y; gw_session=b"], ["a", "b"]),
    "empty value": (["gw_session="], [""]),
    "without a value": (["gw_session"], []),
    "an equals sign in the value": (["gw_session=a=b=="], ["a=b=="]),
    "quoted": (['gw_session="a"'], ['"a"']),
    "case counts": (["GW_SESSION=a; Gw_Session=b"], []),
    "another name that ends alike": (["xgw_session=a; __Host-gw_session=b"], []),
    "another name that begins alike": (["gw_sessionx=a; gw_session.x=b"], []),
    "the name in a value": (["a=gw_session=b"], []),
    "in quotes of another": (['a="x; gw_session=b; y"'], ["b"]),
    "semicolons only": ([";;;"], []),
    "behind semicolons": ([";; gw_session=a;;"], ["a"]),
    "nameless": (["=gw_session=a"], []),
    "comma is no separator": (["a=b, gw_session=c"], []),
    "no-break space is part of the name": (["\u00a0gw_session=a"], []),
    "next line is part of the name": (["\x85gw_session=a"], []),
    "no-break space is part of the value": (["gw_session=a\u00a0"], ["a\u00a0"]),
    "escaped name": (["gw%5fsession=a"], []),
    "bytes that are no text": (["\udcff=a; gw_session=\udcff"], ["\udcff"]),
}


@pytest.mark.parametrize(("headers", "values"), table(COOKIES))
def test_cookies_of_exactly_our_name_are_found_in_order(headers: list[str], values: list[str]) -> None:
    assert list(cookies_named(headers, NAME)) == values


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_]{1,8}", fullmatch=True), st.from_regex(r"[A-Za-z0-9=_-]*", fullmatch=True))
)
def test_cookies_are_read_as_the_standard_library_reads_them(cookies: dict[str, str]) -> None:
    header = "; ".join(f"{name}={value}" for name, value in {**cookies, NAME: GOOD}.items())
    assert list(cookies_named([header], NAME)) == [SimpleCookie(header)[NAME].value] == [GOOD]
