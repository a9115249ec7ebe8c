"""Password hashes: what other programs wrote fits here, what is broken or absurd is told, and what is weak is found weak."""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode

import bcrypt
import pytest
from argon2 import PasswordHasher
from django.contrib.auth import hashers
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.identity.hashes import (
    BrokenHash,
    hash_password,
    is_known_hash,
    is_weak,
    verify_password,
    what_is_wrong_with_hash,
)
from tests.core.written_hashes import ASCII, MODERN, OLD, UNICODE, WRITTEN


class _QuickBCrypt(hashers.BCryptPasswordHasher):
    rounds = 4


class _QuickBCryptSHA256(hashers.BCryptSHA256PasswordHasher):
    rounds = 4


class _QuickScrypt(hashers.ScryptPasswordHasher):
    work_factor = 16
    parallelism = 2


class _QuickArgon2(hashers.Argon2PasswordHasher):
    memory_cost = 1024


DJANGO = {
    "argon2": _QuickArgon2(),
    "bcrypt": _QuickBCrypt(),
    "bcrypt_sha256": _QuickBCryptSHA256(),
    "scrypt": _QuickScrypt(),
    "pbkdf2_sha256": hashers.PBKDF2PasswordHasher(),
    "pbkdf2_sha1": hashers.PBKDF2SHA1PasswordHasher(),
}


def written_by_django(name: str, password: str) -> str:
    hasher = DJANGO[name]
    rounds = {"iterations": 100} if name.startswith("pbkdf2") else {}
    return str(hasher.encode(password, hasher.salt(), **rounds))


def bcrypt_of(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


WRONG = ["", f"{ASCII} ", "Correct horse", ASCII[:-1], "\ud800", "密码", "\0", f"{ASCII}\0", "x" * 1024, "密" * 1024]


# -- who wrote it
@pytest.mark.parametrize("stored", WRITTEN.values(), ids=WRITTEN)
def test_what_another_program_wrote_fits_its_password_and_no_other(stored: tuple[str, str]) -> None:
    for one, password in zip(stored, (ASCII, UNICODE), strict=True):
        assert is_known_hash(one, legacy=True)
        assert verify_password(one, password)
        assert is_weak(one, password)
    assert not any(verify_password(stored[0], wrong) for wrong in [*WRONG, UNICODE])


@pytest.mark.parametrize("name", DJANGO)
def test_what_django_wrote_fits_its_password_and_no_other(name: str) -> None:
    for password in (ASCII, UNICODE, "x" * 72):
        assert verify_password(written_by_django(name, password), password)
    stored = written_by_django(name, ASCII)
    assert stored.startswith(f"{name}$")
    assert is_known_hash(stored)
    assert not any(verify_password(stored, wrong) for wrong in WRONG)


def test_django_s_own_parameters_are_within_bounds() -> None:
    salt, hashed = "a" * 22, b64encode(b"x" * 32).decode()
    assert is_known_hash(f"pbkdf2_sha256${hashers.PBKDF2PasswordHasher.iterations * 4}${salt}${hashed}")
    assert is_known_hash(hashers.ScryptPasswordHasher().encode(ASCII, salt))
    assert not is_weak(hashers.Argon2PasswordHasher().encode(ASCII, salt), ASCII)


@pytest.mark.parametrize("stored", OLD.values(), ids=OLD)
def test_old_kinds_are_known_only_where_they_are_asked_for(stored: tuple[str, str]) -> None:
    assert not is_known_hash(stored[0])
    assert "legacy_hashes" in str(what_is_wrong_with_hash(stored[0]))


@pytest.mark.parametrize("stored", MODERN.values(), ids=MODERN)
def test_other_kinds_are_known_anyway(stored: tuple[str, str]) -> None:
    assert is_known_hash(stored[0])


# -- new ones
PASSWORDS = {
    "empty": "",
    "ASCII": ASCII,
    "two scripts": UNICODE,
    "a NUL": "a\0b",
    "a lone surrogate": "lone \ud800",
    "right to left": "\u202egro",
    "long": "x" * 1024,
    "long, of four bytes each": "𝒳" * 1024,
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_a_new_hash_is_argon2id_salted_and_fits_as_typed(password: str) -> None:
    stored = hash_password(password)
    assert stored.startswith("$argon2id$v=19$")
    assert verify_password(stored, password)
    assert not verify_password(stored, password + "x")
    assert not is_weak(stored, password)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password(ASCII) != hash_password(ASCII)


def test_a_password_is_not_normalised() -> None:
    """Other programs hash what they get: an é of two code points is another password than that of one."""
    stored = bcrypt_of("caf\u00e9".encode())
    assert verify_password(stored, "caf\u00e9")
    assert not verify_password(stored, "cafe\u0301")


# -- bcrypt reads 72 bytes, and ends at a NUL
@pytest.mark.parametrize(
    "password", ["x" * 72, "密" * 24, "x" * 71 + "é"], ids=["ascii", "72 bytes", "cut in a character"]
)
def test_a_long_password_is_cut_where_the_writer_of_a_bcrypt_hash_cut_it(password: str) -> None:
    stored = bcrypt_of(password.encode()[:72])
    assert verify_password(stored, password + "anything")
    assert not verify_password(stored, password[:-2])


def test_a_long_password_is_never_a_reason_to_replace_a_bcrypt_hash() -> None:
    """Its tail was not checked: a slip in it would count from now on, and the user would be locked out."""
    stored = bcrypt_of(b"x" * 72)
    assert is_weak(stored, "x" * 72)
    assert not is_weak(stored, "x" * 73)
    assert not is_weak(f"bcrypt${stored}", "x" * 70 + "é!")
    assert is_weak(written_by_django("bcrypt_sha256", "x" * 100), "x" * 100)


def test_django_s_digest_before_bcrypt_makes_every_character_count() -> None:
    stored = written_by_django("bcrypt_sha256", "x" * 100)
    assert verify_password(stored, "x" * 100)
    assert not verify_password(stored, "x" * 99)


@pytest.mark.parametrize("password", ["abc\0abc", "abc\0", "\0abc", "abc\0x"])
@pytest.mark.parametrize(
    "stored",
    [bcrypt_of(b"abc"), bcrypt_of(b""), "$1$saltsalt$2vnaRpHa6Jxjz5n83ok8Z0", OLD["openssl passwd -6"][0]],
    ids=["bcrypt", "bcrypt of nothing", "MD5-crypt", "SHA-crypt"],
)
def test_a_nul_fits_no_hash_whose_writers_end_there(stored: str, password: str) -> None:
    """bcrypt repeats the password with its NUL: "abc", NUL, "abc" would be the same as "abc"."""
    assert not verify_password(stored, password)


def test_where_a_nul_is_a_character_it_counts() -> None:
    for stored in (
        hash_password("a\0b"),
        written_by_django("pbkdf2_sha256", "a\0b"),
        written_by_django("bcrypt_sha256", "a\0b"),
    ):
        assert verify_password(stored, "a\0b")
        assert not any(verify_password(stored, wrong) for wrong in ("a", "a\0", "a\0c", "a\0b\0"))


# -- stronger, weaker
def argon2(**parameters: int) -> str:
    return PasswordHasher(**parameters).hash(ASCII)


@pytest.mark.parametrize(
    "stored",
    [argon2(memory_cost=65536 * 2, time_cost=2), argon2(time_cost=4), argon2(parallelism=1), argon2(hash_len=48)],
    ids=["more memory", "more passes", "fewer lanes", "longer"],
)
def test_an_argon2_hash_as_strong_as_a_new_one_is_left_alone(stored: str) -> None:
    assert not is_weak(stored, ASCII)
    assert not is_weak(f"argon2{stored}", ASCII)


@pytest.mark.parametrize(
    "stored",
    [argon2(memory_cost=32768), argon2(time_cost=2), argon2(salt_len=8), argon2(hash_len=16)],
    ids=["less memory", "fewer passes", "short salt", "short"],
)
def test_a_weaker_argon2_hash_is_to_be_replaced(stored: str) -> None:
    assert verify_password(stored, ASCII)
    assert is_weak(stored, ASCII)


# -- absurd and broken ones
def argon2_head(parameters: str) -> str:
    return f"$argon2id$v=19${parameters}$c2FsdHNhbHRzYWx0c2FsdA${'A' * 43}"


ABSURD = {
    "argon2, 8 GiB": argon2_head("m=8388608,t=3,p=4"),
    "argon2, all there is": argon2_head("m=4294967295,t=4294967295,p=1"),
    "argon2, a million passes": argon2_head("m=65536,t=1000000,p=4"),
    "argon2, a hundred thousand threads": argon2_head("m=1048576,t=1,p=131072"),
    "argon2, in a Django table": "argon2" + argon2_head("m=8388608,t=3,p=4"),
    "PBKDF2, 10^12 rounds": f"pbkdf2_sha256$1000000000000$salt${'A' * 43}=",
    "PBKDF2, 10^9 rounds": f"pbkdf2_sha1$1000000000$salt${'A' * 27}=",
    "scrypt, N = 2^30": f"scrypt$1073741824$salt$8$1${'A' * 86}==",
    "scrypt, p": f"scrypt$16384$salt$8$1000000${'A' * 86}==",
    "scrypt, r": f"scrypt$2$salt$10000000$1${'A' * 86}==",
    "scrypt, ln=30": f"$scrypt$ln=30,r=8,p=1$c2FsdA${'A' * 43}",
    "scrypt, ln=99": f"$scrypt$ln=99,r=8,p=1$c2FsdA${'A' * 43}",
    "bcrypt, 2^31": f"$2b$31${'a' * 53}",
    "bcrypt, 2^99": f"bcrypt_sha256$$2b$99${'a' * 53}",
    "SHA-crypt": f"$6$rounds=999999999$salt${'a' * 86}",
    "phpass": f"$P$S{'a' * 30}",
}


@pytest.mark.parametrize("stored", ABSURD.values(), ids=ABSURD)
def test_a_hash_with_absurd_parameters_is_refused_before_any_work(stored: str) -> None:
    started = time.process_time()
    assert not is_known_hash(stored, legacy=True)
    for ask in (verify_password, is_weak):
        with pytest.raises(BrokenHash):
            ask(stored, ASCII)
    assert time.process_time() - started < 0.1


BROKEN = {
    "nothing": "",
    "plain text": "correct horse",
    "Django's mark for no password": "!WZvzCwrMhDHU4lPMGSUuDjEzOhEXyeqSkGhVZHsB",
    "locked in /etc/shadow": "!$6$abcdefgh$" + "a" * 86,
    "traditional crypt": "xIKXuGD7iePhQ",
    "a hex digest": hashlib.sha256(b"x").hexdigest(),
    "a plain MD5 of Django": "md5$salt$" + "a" * 32,
    "argon2d": argon2().replace("$argon2id$", "$argon2d$"),
    "argon2 of another version": argon2().replace("v=19", "v=20"),
    "argon2, of too little memory for its lanes": argon2_head("m=8,t=1,p=4"),
    "argon2, base64 with a rest": argon2()[:-1] + "/",
    "argon2, without memory": argon2_head("m=0,t=1,p=1"),
    "bcrypt that is none": f"$2x$04${'a' * 53}",
    "bcrypt, too cheap": f"$2b$03${'a' * 53}",
    "bcrypt, bits in the salt that nobody reads": "$2b$04$" + "a" * 22 + "a" * 31,
    "bcrypt, short": bcrypt_of(b"x")[:-1],
    "scrypt, N no power of two": f"scrypt$1000$salt$8$1${'A' * 86}==",
    "scrypt, base64 with a rest": f"$scrypt$ln=4,r=8,p=1$abcde${'A' * 43}",
    "PBKDF2 with a salt that is no text": f"pbkdf2_sha256$1$\ud800${'A' * 43}=",
    "PBKDF2 with the hash of another digest": f"pbkdf2_sha256$1$salt${'A' * 27}=",
    "PBKDF2, no rounds": f"pbkdf2_sha256$0$salt${'A' * 43}=",
    "a line end": bcrypt_of(b"x") + "\n",
    "a blank before": " " + bcrypt_of(b"x"),
    "digits of another script": "$2b$٠٤$" + "a" * 53,
    "{SSHA} without a salt": "{SSHA}" + b64encode(b"x" * 20).decode() + "AAAA",
    "long": "$2b$04$" + "a" * 1_000_000,
}


@pytest.mark.parametrize("stored", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_broken_and_its_text_is_not_shown(stored: str) -> None:
    with pytest.raises(BrokenHash) as error:
        verify_password(stored, ASCII)
    assert stored == "" or stored not in str(error.value)


NO_DIGITS = st.characters(blacklist_categories=["Nd"], blacklist_characters="0123456789") | st.sampled_from(
    "$=,{}./+a\0\n\ud800"
)
"""More digits could ask for seconds of honest work."""


DJANGO_WRITTEN = [written_by_django(name, ASCII) for name in DJANGO]


@st.composite
def mangled(draw: st.DrawFn) -> str:
    stored = draw(
        st.sampled_from([one for pair in WRITTEN.values() for one in pair] + [*DJANGO_WRITTEN, *ABSURD.values()])
    )
    begin = draw(st.integers(0, len(stored)))
    end = draw(st.integers(begin, min(len(stored), begin + 8)))
    return stored[:begin] + draw(st.text(NO_DIGITS, max_size=4)) + stored[end:]


@given(mangled(), st.text(max_size=8))
@settings(max_examples=400, deadline=None)
def test_a_mangled_hash_is_read_or_broken_and_nothing_else(stored: str, password: str) -> None:
    known = is_known_hash(stored, legacy=True)
    assert known or not is_known_hash(stored)
    try:
        fits = verify_password(stored, password)
        is_weak(stored, password)
    except BrokenHash:
        return
    assert known
    assert fits in (True, False)


@given(st.text(), st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_broken_and_nothing_else(stored: str, password: str) -> None:
    assert not is_known_hash(stored, legacy=True)
    for ask in (verify_password, is_weak):
        with pytest.raises(BrokenHash):
            ask(stored, password)
