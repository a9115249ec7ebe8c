"""What may be a new password, around each boundary (NIST SP 800-63B), and the lists of common ones."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Identity
from gateway.core.passwords import MAX_LENGTH, MIN_LENGTH, PasswordPolicy, folded, names_of
from gateway.errors import REASONS, SettingsError
from gateway.identity.common_passwords import make_policy
from tests.core.tables import table
from tests.harness import make_settings

ALICE = Identity("7", "alice.archer", "Alice Archer", "alice@example.org")
LONGER = PasswordPolicy(12, frozenset({"correct horse", "zusammenkunft", "straße der liebe".casefold()}))
LENGTH, COMMON, NAME, CONTROL = "must have", "tried first", "your own name", "control characters"

PASSWORDS: dict[str, tuple[str, str | None]] = {
    "good": ("blue whales sing", None),
    "as short as allowed": ("x1y2z3a4b5c6", None),
    "one too short": ("x1y2z3a4b5c", LENGTH),
    "empty": ("", LENGTH),
    "as long as allowed": ("ab" * (MAX_LENGTH // 2), None),
    "one too long": ("ab" * (MAX_LENGTH // 2) + "c", LENGTH),
    "characters count, not bytes": ("密码密码密码密码密码密码", None),
    "characters count, though bytes would do": ("密码密码密码密码密码密", LENGTH),
    "no digits, no capitals: nobody asks for them": ("whaleswhaleswhale", None),
    "blanks": ("a b c d e f g", None),
    "an emoji of several code points": ("family 👨‍👩‍👧‍👦 of four", None),
    "a blank of another script": ("蓝色的鲸鱼　在唱歌很好听呢", None),
    "tab": ("tab\tinside it", CONTROL),
    "NUL": ("zero\x00inside it", CONTROL),
    "a control character of Latin-1": ("next\x85line in it", CONTROL),
    "half a character": ("lone \ud800 surrogate", CONTROL),
    "common": ("correct horse", COMMON),
    "common in capitals": ("Correct HORSE", COMMON),
    "common in wide letters": ("ｃｏｒｒｅｃｔ ｈｏｒｓｅ", COMMON),
    "common with blanks around it": (" correct horse ", COMMON),
    "common, folded": ("STRASSE DER LIEBE", COMMON),
    "a common one with more behind it": ("correct horse battery", None),
    "one character again and again": ("aaaaaaaaaaaaaaa", COMMON),
    "one letter in two cases": ("AaAaAaAaAaAaAa", COMMON),
    "his username": ("alice.archer", NAME),
    "his username in capitals": ("ALICE.ARCHER", NAME),
    "his name": ("Alice Archer", NAME),
    "his e-mail address": ("alice@example.org", NAME),
    "his e-mail address in capitals": ("Alice@Example.ORG", NAME),
    "his name and more": ("alice.archer sings", None),
}


@pytest.mark.parametrize(("password", "wrong"), table(PASSWORDS))
def test_a_new_password_is_long_enough_and_nothing_that_is_tried_first(password: str, wrong: str | None) -> None:
    found = LONGER.what_is_wrong_with(password, names_of(ALICE))
    assert found is None if wrong is None else found is not None and wrong in found


def test_of_an_address_what_stands_before_its_at_is_a_name_too() -> None:
    assert PasswordPolicy().what_is_wrong_with("longlocal", names_of(Identity("1", "u", email="longlocal@x.org")))
    assert PasswordPolicy().what_is_wrong_with("longlocal", names_of(Identity("1", "u"))) is None


@given(st.text(min_size=MIN_LENGTH, max_size=40), st.sampled_from(["", " ", "\t"]))
def test_who_knows_his_names_refuses_them_however_they_are_written(name: str, blank: str) -> None:
    assert PasswordPolicy().what_is_wrong_with(f"{blank}{name.upper()}{blank}", [name.upper()]) is not None or (
        folded(name.upper()) == ""
    )


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("policy", [LONGER, PasswordPolicy(), PasswordPolicy(MAX_LENGTH)])
def test_what_is_wrong_is_said_in_chinese_with_the_numbers_of_the_policy(policy: PasswordPolicy) -> None:
    policy = PasswordPolicy(policy.min_length, frozenset({"correct horse"}))
    passwords = ["", "correct horse", "alice.archer", "zero\x00inside it"]
    for password in passwords:
        what = policy.what_is_wrong_with(password, names_of(ALICE))
        assert what is not None
        words = REASONS["bad_field"].words("zh", field="new_password", what=what)
        assert what not in words
        assert "#" not in words
    assert f"{policy.min_length} 至 1024" in REASONS["bad_field"].words(
        "zh", field="new_password", what=str(policy.what_is_wrong_with(""))
    )


def test_the_rules_on_the_page_are_those_of_the_policy() -> None:
    for language in ("en", "zh"):
        assert "12" in LONGER.rules("zh" if language == "zh" else "en")[0]
    assert len(LONGER.rules("en")) == len(PasswordPolicy().rules("en")) + 1, "nothing is common where all is allowed"


def test_the_list_is_not_shown() -> None:
    assert "horse" not in repr(LONGER)


# -- the lists
@pytest.mark.parametrize(
    "password", ["password", "Password1", "12345678", "QWERTYUIOP", "iloveyou", "trustno1", "letmein1"]
)
def test_the_passwords_of_real_leaks_are_refused_unless_they_are_allowed(password: str) -> None:
    assert COMMON in str(make_policy().what_is_wrong_with(password))
    assert make_policy(refuse=False).what_is_wrong_with(password) is None


def test_a_passphrase_is_not_common() -> None:
    for password in ("correct horse battery staple", "蓝色的鲸鱼在唱歌", "xkQ8#vTz", "alice-demo", "mgr-demo"):
        assert make_policy().what_is_wrong_with(password) is None


def test_the_list_costs_no_more_than_its_words() -> None:
    make_policy()
    gc.collect()
    assert not [name for name in sys.modules if name.startswith("zxcvbn")], "its other tables are large"


def test_a_list_of_the_operators_own_comes_on_top(tmp_path: Path) -> None:
    file = tmp_path / "ours.txt"
    file.write_text("\ufeffAcme-2026\r\nshort\n\n蓝色的鲸鱼在唱歌\n", encoding="utf-8")
    policy = make_policy(10, file=file)
    for password in ("acme-2026!", "Acme-2026 and more"):
        assert policy.what_is_wrong_with(password) is None
    assert COMMON in str(make_policy(file=file).what_is_wrong_with("ACME-2026"))
    assert COMMON in str(make_policy(file=file).what_is_wrong_with("蓝色的鲸鱼在唱歌"))
    assert COMMON in str(make_policy(file=file).what_is_wrong_with("password"))


@pytest.mark.parametrize("content", [None, b"caf\xe9 au lait\n"])
def test_a_list_that_cannot_be_read_is_a_problem_of_its_setting(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ours.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        make_policy(file=file)
    assert "passwords.common_file" in str(raised.value)
    assert str(file) in str(raised.value)


# -- the settings
def settings(**passwords: Any) -> Any:
    return make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", passwords=passwords)


def test_the_defaults_are_eight_characters_and_no_common_ones() -> None:
    given = settings().passwords
    assert (given.min_length, given.common, given.common_file) == (8, "refuse", None)
    assert settings(min_length=1024).passwords.min_length == 1024


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shorter than NIST allows": ({"min_length": 7}, "passwords.min_length"),
    "longer than any password": ({"min_length": 1025}, "passwords.min_length"),
    "no number": ({"min_length": True}, "passwords.min_length"),
    "another word": ({"common": "forbid"}, "passwords.common"),
    "a rule that nobody should have": ({"digits": 1}, "passwords.digits"),
    "a list that would not be looked at": ({"common": "allow", "common_file": __file__}, "passwords.common_file"),
    "a list that is not there": ({"common_file": "/nowhere/at/all"}, "passwords.common_file"),
}


@pytest.mark.parametrize(("given", "named"), table(WRONG))
def test_a_wrong_setting_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(**given)
    assert named in str(raised.value)
