"""What somebody else keeps for us: only what we signed opens, for what it was signed, as long as it may (P59, P79)."""

from __future__ import annotations

import hmac
import string
from collections.abc import Callable
from itertools import count

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keys import KeyRing, MasterKey, b64url, from_b64url
from gateway.core.signing import LEEWAY, BadSignature, Encrypter, SignatureExpired, Signer
from gateway.core.tickets import NONCE_BYTES, SESSION_ID_BYTES, FormTickets, Tickets, session_tickets
from tests.core.tables import table

NEW, OLD, FOREIGN = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
NOW = 1_700_000_000.0
VALUE = "dark, 深色, 😀"
ALPHABET = {*string.ascii_letters, *string.digits, "-", "_"}
_numbers = count()


def entropy(size: int) -> bytes:
    """Never the same twice."""
    return next(_numbers).to_bytes(size, "big")


class Signed:
    """One face for both, so that one table asks both."""

    def __init__(self, *keys: MasterKey) -> None:
        ring = KeyRing(list(keys))
        self.write: Callable[..., str] = Signer(ring).sign
        self.read: Callable[..., str] = Signer(ring).unsign


class Encrypted(Signed):
    def __init__(self, *keys: MasterKey) -> None:
        encrypter = Encrypter(KeyRing(list(keys)), entropy)
        self.write = encrypter.encrypt
        self.read = encrypter.decrypt


KINDS = {"signed": Signed, "encrypted": Encrypted}
both = pytest.mark.parametrize("kind", table(KINDS))
texts = st.text(st.characters(exclude_categories=()))  # lone surrogates, too


def is_bad(kind: Signed, text: str, salt: str = "s", name: str = "n", now: float = NOW) -> bool:
    """Refused, and not merely as too old."""
    try:
        kind.read(text, salt, None, now, name=name)
    except BadSignature as error:
        return type(error) is BadSignature
    return False


@both
@given(value=texts, salt=texts, name=texts)
def test_what_was_written_is_read(kind: type[Signed], value: str, salt: str, name: str) -> None:
    codec = kind(NEW)
    text = codec.write(value, salt, NOW, name=name)
    assert codec.read(text, salt, None, NOW, name=name) == value
    assert {*text} <= ALPHABET


BOUND = b"\0\0\0\1n\0\0\0\2" + "é".encode()
MOMENT = int(NOW * 1000).to_bytes(6, "big")


@pytest.mark.parametrize(
    "purpose", [b"signed value", b"session ticket", b"form ticket", b"form field", b"encrypted value"]
)
def test_a_signed_value_is_what_the_format_says_under_the_key_of_its_own_purpose(purpose: bytes) -> None:
    """Put together here anew: cookies outlive an update of the gateway."""
    message = NEW.id + MOMENT + VALUE.encode()
    text = b64url(message + hmac.digest(NEW.derived(purpose), BOUND + message, "sha256")[:16])
    signer = Signed(NEW)
    if purpose == b"signed value":
        assert signer.write(VALUE, "é", NOW, name="n") == text
        assert signer.read(text, "é", None, NOW, name="n") == VALUE
    else:
        assert is_bad(signer, text, "é")


@pytest.mark.parametrize("purpose", [b"encrypted value", b"session record", b"signed value"])
def test_an_encrypted_value_is_what_the_format_says_under_a_key_of_its_own(purpose: bytes) -> None:
    seed, nonce = b"s" * 12, b"n" * 12
    cipher = AESGCM(NEW.derived_for(purpose, seed))
    text = b64url(NEW.id + seed + nonce + cipher.encrypt(nonce, MOMENT + VALUE.encode(), NEW.id + BOUND))
    codec = Encrypted(NEW)
    if purpose == b"encrypted value":
        assert codec.read(text, "é", None, NOW, name="n") == VALUE
        pieces = iter([seed, nonce])
        assert Encrypter(KeyRing([NEW]), lambda size: next(pieces)).encrypt(VALUE, "é", NOW, name="n") == text
    else:
        assert is_bad(codec, text, "é")


def test_an_encrypted_value_shows_neither_value_nor_time_and_is_another_each_time() -> None:
    codec = Encrypted(NEW)
    one, other = codec.write("secret" * 10, "s", NOW), codec.write("secret" * 10, "s", NOW)
    assert one != other
    data = from_b64url(one) or b""
    assert len(data) == 4 + 24 + 6 + 60 + 16
    assert b"secret" not in data
    assert int(NOW * 1000).to_bytes(6, "big") not in data
    twin = from_b64url(other) or b""
    assert bytes(a ^ b for a, b in zip(data[28:88], twin[28:88], strict=True)) != bytes(60), "no key stream twice"


@both
@pytest.mark.parametrize("value", ["", "x", VALUE])
def test_p59_no_prefix_no_suffix_and_no_cut_bytes_are_read(kind: type[Signed], value: str) -> None:
    codec = kind(NEW)
    text = codec.write(value, "s", NOW, name="n")
    data = from_b64url(text) or b""
    for length in range(len(text)):
        assert is_bad(codec, text[:length])
        assert is_bad(codec, text[len(text) - length :])
    for size in range(len(data)):
        assert is_bad(codec, b64url(data[:size]))
        assert is_bad(codec, b64url(data[len(data) - size :]))
    for begin in range(len(data)):
        assert is_bad(codec, b64url(data[:begin] + data[begin + 1 :])), f"without byte {begin}"


@both
def test_nothing_with_one_bit_flipped_is_read(kind: type[Signed]) -> None:
    codec = kind(NEW, OLD)
    data = from_b64url(codec.write(VALUE, "s", NOW, name="n")) or b""
    assert codec.read(b64url(data), "s", None, NOW, name="n") == VALUE
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert is_bad(codec, b64url(bytes(flipped))), f"bit {bit}"


@both
def test_nothing_with_one_character_changed_is_read(kind: type[Signed]) -> None:
    codec = kind(NEW)
    text = codec.write("x", "s", NOW, name="n")
    for at, right in enumerate(text):
        for other in string.ascii_letters + string.digits + "-_+/= \"';,%é\0":
            if other != right:
                assert is_bad(codec, text[:at] + other + text[at + 1 :])


@both
def test_no_other_spelling_of_the_same_bytes_is_read(kind: type[Signed]) -> None:
    codec = kind(NEW)
    for value in ("", "x", "xy", "xyz"):  # every length of the last group
        text = codec.write(value, "s", NOW, name="n")
        spellings = [text + "=" * number for number in (1, 2, 3)]
        spellings += [text + blank for blank in ("\n", " ", "\0", "\r\n", "A", ".")]
        spellings += [f" {text}", f'"{text}"', f"{text[:8]}\n{text[8:]}", text + text, "\ufeff" + text]
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        spellings += [text[:-1] + other for other in last if other != text[-1]]  # the unused bits of the last character
        assert [spelling for spelling in spellings if not is_bad(codec, spelling)] == []


@both
def test_the_alphabet_of_plain_base64_is_not_read(kind: type[Signed]) -> None:
    codec, plain = kind(NEW), str.maketrans("-_", "+/")
    texts = (codec.write(f"{number}ÿ", "s", NOW, name="n") for number in count())
    text = next(text for text in texts if {"-", "_"} & {*text})
    assert not is_bad(codec, text)
    assert is_bad(codec, text.translate(plain))


GARBAGE = {
    "empty": "",
    "blank": " ",
    "padding": "====",
    "words": "null",
    "zeros": b64url(bytes(60)),
    "ones": b64url(b"\xff" * 60),
    "a key id": b64url(NEW.id),
    "a key id and zeros": b64url(NEW.id + bytes(60)),
    "huge": "A" * 1_000_000,
    "huge under our key id": b64url(NEW.id + bytes(1_000_000)),
    "huge and no base64": "%" * 1_000_000,
    "not ASCII": "é" * 60,
    "lone surrogates": "\udcff" * 60,
    "NUL": "\0" * 60,
    "Django's": "dark:1jqPNY:Yy7aQpHpGGYMpbxRyXNOGqRbCbNMCRRoGJRPWhXZMxk",
    "a JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
}


@both
@pytest.mark.parametrize("text", table(GARBAGE))
def test_garbage_is_bad_and_no_other_error(kind: type[Signed], text: str) -> None:
    assert is_bad(kind(NEW), text)


@both
@given(text=st.text())
def test_no_text_whatsoever_is_read_or_crashes(kind: type[Signed], text: str) -> None:
    assert is_bad(kind(NEW), text)


@both
@given(data=st.binary(max_size=200))
def test_no_bytes_behind_our_key_id_are_read(kind: type[Signed], data: bytes) -> None:
    assert is_bad(kind(NEW), b64url(NEW.id + data))


# name, salt → as what it is read
ELSEWHERE = {
    "another name": ("theme", "s", "role", "s"),
    "another salt": ("theme", "s", "theme", "t"),
    "no salt": ("theme", "s", "theme", ""),
    "no name": ("theme", "s", "", "s"),
    "salt and name exchanged": ("theme", "s", "s", "theme"),
    "P79 a byte moved from the salt into the name": ("a", "bc", "ab", "c"),
    "P79 a byte moved from the name into the salt": ("ab", "c", "a", "bc"),
    "P79 joined in the name": ("a", "b", "ab", ""),
    "P79 joined in the salt": ("a", "b", "", "ab"),
    "P79 the length in the name": ("a", "b", "a\0\0\0\1b", ""),
    "upper case": ("theme", "s", "Theme", "s"),
    "a blank": ("theme", "s", "theme ", "s"),
    "another normal form": ("é", "s", "e\u0301", "s"),
}


@both
@pytest.mark.parametrize(("name", "salt", "other_name", "other_salt"), table(ELSEWHERE))
def test_what_was_written_for_one_place_is_bad_in_another(
    kind: type[Signed], name: str, salt: str, other_name: str, other_salt: str
) -> None:
    codec = kind(NEW)
    text = codec.write("admin", salt, NOW, name=name)
    assert codec.read(text, salt, None, NOW, name=name) == "admin"
    assert is_bad(codec, text, other_salt, other_name)


@given(texts, texts, texts, texts)
def test_p79_no_two_pairs_of_name_and_salt_are_one(name: str, salt: str, other_name: str, other_salt: str) -> None:
    signer = Signed(NEW)
    text = signer.write("x", salt, NOW, name=name)
    assert is_bad(signer, text, other_salt, other_name) == ((name, salt) != (other_name, other_salt))


@both
def test_p79_no_byte_moves_between_the_fields(kind: type[Signed]) -> None:
    codec = kind(NEW)
    data = from_b64url(codec.write(VALUE, "s", NOW, name="n")) or b""
    turned = [data[shift:] + data[:shift] for shift in range(1, len(data))]
    rest = data[4:]
    turned += [NEW.id + rest[shift:] + rest[:shift] for shift in range(1, len(rest))]  # the key id in its place
    assert all(is_bad(codec, b64url(each)) for each in turned)


@both
def test_p79_parts_of_two_values_make_no_third(kind: type[Signed]) -> None:
    codec = kind(NEW)
    one, other = (from_b64url(codec.write(value, "s", now, name="n")) or b"" for value, now in (("a", NOW), ("b", 1e9)))
    assert len(one) == len(other)
    joined = {one[:at] + other[at:] for at in range(len(one) + 1)} - {one, other}
    assert len(joined) > 10
    assert all(is_bad(codec, b64url(data)) for data in joined)


def test_p79_time_and_value_of_a_signed_value_cannot_be_shifted() -> None:
    """The last bytes of a time read as the first of a value, and the other way round."""
    signer = Signed(NEW)
    data = from_b64url(signer.write("0123456789", "s", NOW, name="n")) or b""
    head, moment, value, mac = data[:4], data[4:10], data[10:-16], data[-16:]
    for at in range(1, 6):
        assert is_bad(signer, b64url(head + moment[at:] + value + mac))
        assert is_bad(signer, b64url(head + value[:at] + moment + value[at:] + mac))


def test_the_two_kinds_and_the_tickets_are_nothing_to_each_other() -> None:
    ring, signed, encrypted = KeyRing([NEW]), Signed(NEW), Encrypted(NEW)
    assert is_bad(signed, encrypted.write("x", "s", NOW, name="n"))
    assert is_bad(encrypted, signed.write("x" * 60, "s", NOW, name="n"))
    for size in range(64):
        for purpose in (b"session ticket", b"form ticket", b"form field", b"encrypted value", b""):
            ticket = Tickets(ring, purpose, size).sign(bytes(size))
            assert is_bad(signed, ticket, "", "")
            assert is_bad(encrypted, ticket, "", "")
    for length in range(SESSION_ID_BYTES):
        for text in (signed.write("\0" * length, "", NOW), encrypted.write("\0" * length, "", NOW)):
            assert session_tickets(ring).open(text) is None
            assert Tickets(ring, b"session ticket", length + 6).open(text) is None
            assert Tickets(ring, b"form ticket", NONCE_BYTES).open(text) is None
            assert FormTickets(ring).open(text) is None


@both
def test_a_rotation_of_keys_is_survived_until_the_old_key_leaves_the_ring(kind: type[Signed]) -> None:
    by_old = kind(OLD).write(VALUE, "s", NOW, name="n")
    assert kind(NEW, OLD).read(by_old, "s", None, NOW, name="n") == VALUE
    assert is_bad(kind(NEW), by_old), "retired"
    assert is_bad(kind(FOREIGN), by_old)
    by_new = kind(NEW, OLD).write(VALUE, "s", NOW, name="n")
    assert (from_b64url(by_new) or b"")[:4] == NEW.id, "the active key signs"
    assert kind(OLD, NEW).read(by_new, "s", None, NOW, name="n") == VALUE, "a distributed key only opens"
    data = from_b64url(by_new) or b""
    assert is_bad(kind(NEW, OLD), b64url(OLD.id + data[4:])), "the id of another key of the ring"


AGES = {  # signed at NOW; seconds later, max_age → is it read?
    "at once": (0, 60, True),
    "in time": (59.9, 60, True),
    "on the second": (60, 60, True),
    "a millisecond late": (60.001, 60, False),
    "late": (61, 60, False),
    "years late": (1e9, 60, False),
    "years later without a limit": (1e9, None, True),
    "years later with an endless one": (1e9, float("inf"), True),
    "no age at once": (0, 0, True),
    "no age a millisecond later": (0.001, 0, False),
    "negative": (0, -1, False),
    "fractions in time": (0.25, 0.25, True),
    "fractions late": (0.251, 0.25, False),
    "a limit that is no number": (0, float("nan"), False),
    "clocks that differ": (-1, 60, True),
    "clocks that differ, without a limit": (-1, None, True),
    "clocks that differ a minute": (-LEEWAY, 60, True),
}


@both
@pytest.mark.parametrize(("later", "max_age", "is_good"), table(AGES))
def test_a_value_is_good_up_to_its_age(kind: type[Signed], later: float, max_age: float | None, is_good: bool) -> None:
    codec = kind(NEW)
    text = codec.write(VALUE, "s", NOW, name="n")
    if is_good:
        assert codec.read(text, "s", max_age, NOW + later, name="n") == VALUE
    else:
        with pytest.raises(SignatureExpired) as caught:
            codec.read(text, "s", max_age, NOW + later, name="n")
        assert caught.value.age == pytest.approx(later)


@both
@pytest.mark.parametrize("ahead", [LEEWAY + 0.001, LEEWAY + 1, 3600, 1e9])
@pytest.mark.parametrize("max_age", [None, 60, float("inf")])
def test_a_date_in_the_future_is_bad_and_not_fresh_for_ever(
    kind: type[Signed], ahead: float, max_age: float | None
) -> None:
    codec = kind(NEW)
    text = codec.write(VALUE, "s", NOW + ahead, name="n")
    with pytest.raises(BadSignature) as caught:
        codec.read(text, "s", max_age, NOW, name="n")
    assert not isinstance(caught.value, SignatureExpired)


@both
def test_who_tampers_with_an_old_value_does_not_learn_that_it_was_old(kind: type[Signed]) -> None:
    codec = kind(NEW)
    text = codec.write(VALUE, "s", NOW, name="n")
    with pytest.raises(BadSignature) as caught:
        codec.read(text, "other", 1, NOW + 3600, name="n")
    assert type(caught.value) is BadSignature


@both
def test_an_error_does_not_show_the_value(kind: type[Signed]) -> None:
    codec = kind(NEW)
    text = codec.write("hush-hush", "s", NOW)
    for salt in ("s", "t"):
        with pytest.raises(BadSignature) as caught:
            codec.read(text, salt, 1, NOW + 3600)
        assert "hush" not in repr(caught.value)
        assert text not in repr(caught.value)


@both
@pytest.mark.parametrize("now", [-1.0, 2.0**48, float("inf"), float("nan")])
def test_a_time_that_no_clock_shows_is_not_written(kind: type[Signed], now: float) -> None:
    with pytest.raises((OverflowError, ValueError)):
        kind(NEW).write(VALUE, "s", now)
