"""Filters with holes: what is typed is a value and nothing else, whatever it looks like."""

from __future__ import annotations

import pytest

from gateway.identity.ldap_filters import Template, both, none_of

BY_NAME = Template("(&(objectClass=person)(|(uid={login})(mail={login})))", "login")
HOSTILE = {
    "a star": ("*", r"\2a"),
    "another filter": ("*)(uid=*", r"\2a\29\28uid=\2a"),
    "a written NUL": ("\\00", r"\5c00"),
    "a NUL": ("a\0b", r"a\00b"),
    "another hole": ("{login}{dn}", "{login}{dn}"),
    "Chinese": ("猫", r"\e7\8c\ab"),
}


@pytest.mark.parametrize(("typed", "written"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_typed_is_one_value(typed: str, written: str) -> None:
    found = f"(&(objectClass=person)(|(uid={written})(mail={written})))"
    assert str(BY_NAME.filled(login=typed)) == found


def test_it_says_which_attributes_are_compared() -> None:
    assert BY_NAME.attributes("login") == ("uid", "mail")


def test_opened_it_finds_all_whom_it_could_find_and_nobody_else() -> None:
    assert str(BY_NAME.opened("login")) == "(&(objectClass=person)(|(uid=*)(mail=*)))"


def test_a_value_may_stand_within_a_larger_one() -> None:
    upn = Template("(|(userPrincipalName={login}@corp.example)(cn={login}*x))", "login")
    assert str(upn.filled(login="a*")) == r"(|(userPrincipalName=a\2a@corp.example)(cn=a\2a*x))"
    assert str(upn.opened("login")) == "(|(userPrincipalName=*)(cn=*))"


def test_rules_of_active_directory_are_understood() -> None:
    disabled = Template("(userAccountControl:1.2.840.113556.1.4.803:=2)")
    nested = Template("(member:1.2.840.113556.1.4.1941:={dn})", "dn", "username")
    assert str(disabled.filled()) == "(userAccountControl:1.2.840.113556.1.4.803:=2)"
    assert str(nested.filled(dn="cn=a(b),dc=x", username="a")) == r"(member:1.2.840.113556.1.4.1941:=cn=a\28b\29,dc=x)"


def test_not_and_and_are_put_around_it() -> None:
    assert str(both(Template("(a=b)").filled(), none_of(Template("(c=*)").filled()))) == "(&(a=b)(!(c=*)))"


@pytest.mark.parametrize(
    "text",
    ["uid={login}", "(uid={login}", "(uid={login})(mail={login})", "()", "(&)", "(uid={user})", r"(uid=\zz)", "(=a)"],
)
def test_what_is_no_filter_is_found_at_once(text: str) -> None:
    with pytest.raises(ValueError):
        Template(text, "login")
