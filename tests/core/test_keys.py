"""The ring of master keys: how it is read, what it never shows, and that every purpose has a key of its own."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keys import ID_BYTES, KEY_BYTES, KeyRing, MasterKey, b64url, format_key, from_b64url, parse_ring
from tests.core.tables import table

NEW, OLD = bytes(range(32)), bytes(range(100, 132))
NEW_LINE, OLD_LINE = b64url(NEW), b64url(OLD)
NEW_ID, OLD_ID = MasterKey(NEW).id, MasterKey(OLD).id

RINGS = {
    "one key": (NEW_LINE, [NEW_ID]),
    "two keys": (f"{NEW_LINE}\n{OLD_LINE}\n", [NEW_ID, OLD_ID]),
    "the other way round": (f"{OLD_LINE}\n{NEW_LINE}\n", [OLD_ID, NEW_ID]),
    "comments and blank lines": (f"# made today\n\n  {NEW_LINE}  # active\n\t\n{OLD_LINE}#old\n#", [NEW_ID, OLD_ID]),
    "Windows lines": (f"{NEW_LINE}\r\n{OLD_LINE}\r\n", [NEW_ID, OLD_ID]),
    "as it was formatted": (format_key(NEW) + format_key(OLD), [NEW_ID, OLD_ID]),
    "a commented key is none": (f"#{OLD_LINE}\n{NEW_LINE}", [NEW_ID]),
}


@pytest.mark.parametrize(("text", "ids"), table(RINGS))
def test_a_ring_is_one_key_a_line_the_first_is_active(text: str, ids: list[bytes]) -> None:
    ring = parse_ring(text)
    assert [key.id for key in ring] == ids
    assert ring.active.id == ids[0]


BAD_LINES = {
    "31 bytes": b64url(NEW[:31]),
    "33 bytes": b64url(NEW + b"x"),
    "padded": NEW_LINE + "=",
    "standard alphabet": base64.b64encode(b"\xfb\xff" * 16).decode().rstrip("="),
    "not canonical": NEW_LINE[:-1] + "9",
    "a blank inside": NEW_LINE[:20] + " " + NEW_LINE[20:],
    "two on a line": f"{NEW_LINE} {OLD_LINE}",
    "hex": NEW.hex(),
    "with a name": f"key={NEW_LINE}",
    "not ASCII": NEW_LINE[:-1] + "é",
    "one character": "Z",
    "a passphrase": "correct horse battery staple",
}


@pytest.mark.parametrize("line", table(BAD_LINES))
def test_a_bad_line_is_named_by_its_number_and_never_echoed(line: str) -> None:
    with pytest.raises(ValueError, match="line 3 ") as caught:
        parse_ring(f"# ring\n{OLD_LINE}\n{line}\n")
    error: BaseException | None = caught.value
    while error is not None:
        told = str(error) + repr(error.args)
        assert line not in told
        assert OLD_LINE not in told
        assert all(word not in told for word in line.split() if len(word) > 7)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_a_ring_without_a_key_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        parse_ring(text)


def test_a_key_that_stands_twice_is_an_error_that_does_not_echo_it() -> None:
    with pytest.raises(ValueError, match="twice") as caught:
        parse_ring(f"{NEW_LINE}\n{OLD_LINE}\n{NEW_LINE}")
    assert NEW_LINE not in str(caught.value)


@pytest.mark.parametrize("secret", [b"", NEW[:31], NEW + b"x"])
def test_a_key_of_another_size_is_an_error_that_does_not_echo_it(secret: bytes) -> None:
    with pytest.raises(ValueError, match=f"{KEY_BYTES} bytes") as caught:
        MasterKey(secret)
    assert not secret or repr(secret) not in str(caught.value)


def test_no_secret_and_no_derived_key_is_seen_in_a_repr() -> None:
    ring = KeyRing([MasterKey(NEW), MasterKey(OLD)])
    shown = repr(ring) + str(ring) + "".join(repr(key) + str(key) for key in ring) + repr([*ring]) + f"{ring.active}"
    derived = ring.active.derived(b"session ticket")
    for secret in (NEW, OLD, derived):
        for form in (secret.hex(), b64url(secret), repr(secret), base64.b64encode(secret).decode(), secret.hex()[:16]):
            assert form not in shown
    assert NEW_ID.hex() in shown
    assert OLD_ID.hex() in shown


def test_a_key_is_found_by_its_id_and_by_no_other() -> None:
    ring = KeyRing([MasterKey(NEW), MasterKey(OLD)])
    assert ring.get(OLD_ID) is [*ring][1]
    assert ring.get(NEW_ID) is ring.active
    for key_id in (b"", OLD_ID[:-1], OLD_ID + b"x", bytes(ID_BYTES), OLD):
        assert ring.get(key_id) is None


def test_a_keys_id_comes_from_the_key_alone_and_is_no_part_of_it() -> None:
    assert MasterKey(NEW).id == NEW_ID != OLD_ID
    assert len(NEW_ID) == ID_BYTES
    assert NEW_ID not in NEW


def test_every_purpose_every_salt_and_every_master_key_gives_another_key() -> None:
    keys = [MasterKey(NEW), MasterKey(OLD)]
    made = [key.derived(purpose) for key in keys for purpose in (b"a", b"b", b"", b"id")]
    made += [key.derived_for(purpose, salt) for key in keys for purpose in (b"a", b"b") for salt in (b"1", b"2")]
    assert len({*made}) == len(made) == 16
    assert {len(key) for key in made} == {KEY_BYTES}
    assert not {NEW, OLD} & {*made}
    assert not any(key.id in made for key in keys)


def test_a_derived_key_is_the_same_tomorrow_and_on_another_machine() -> None:
    assert MasterKey(NEW).derived(b"a") == MasterKey(NEW).derived(b"a")
    assert MasterKey(NEW).derived_for(b"a", b"s") == MasterKey(NEW).derived_for(b"a", b"s")
    # HKDF-SHA256 (RFC 5869), info "auth-gateway/1 " + purpose: sessions of today must open under tomorrow's release.
    assert NEW_ID.hex() == KNOWN_ID
    assert MasterKey(NEW).derived(b"session ticket").hex() == KNOWN_DERIVED


KNOWN_ID = "12823e92"
KNOWN_DERIVED = "23f8af44f51c3eba782051454ef051103f3d5ee1fc6ec99198729d56caa90534"


@given(st.binary(max_size=80))
def test_base64url_comes_back_and_has_no_padding(data: bytes) -> None:
    text = b64url(data)
    assert from_b64url(text) == data
    assert not {*"+/="} & {*text}


@given(st.text(st.sampled_from("ABCDwxyz0189-_+/= \n\té\udcff"), max_size=12))
def test_only_the_canonical_spelling_of_a_value_is_read(text: str) -> None:
    data = from_b64url(text)
    assert data is None or b64url(data) == text


TEXTS = {
    "padding": "AA==",
    "length that no bytes have": "A",
    "spare bits": "AB",
    "standard alphabet": "+/+/",
    "line feed": "AAAA\n",
    "blank": "AA AA",
    "not ASCII": "AAAé",
    "a surrogate": "AAA\udcff",
    "NUL": "AAA\0",
}


@pytest.mark.parametrize("text", table(TEXTS))
def test_another_spelling_is_no_value(text: str) -> None:
    assert from_b64url(text) is None
