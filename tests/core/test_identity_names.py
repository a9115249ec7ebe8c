"""How usernames and e-mail addresses are compared (P66): one person has one name, two persons never share one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.source import canonical
from tests.core.tables import table

ONE_PERSON = {
    "as it is": ("admin", "admin"),
    "capitals": ("Admin", "admin"),
    "all capitals": ("ADMIN", "admin"),
    "blank behind": ("admin ", "admin"),
    "blank before": (" admin", "admin"),
    "tab and line feed": ("\tadmin\n", "admin"),
    "no-break space behind": ("admin\u00a0", "admin"),
    "ideographic space behind": ("admin\u3000", "admin"),
    "full-width": ("ａｄｍｉｎ", "admin"),
    "full-width capitals": ("ＡＤＭＩＮ", "admin"),
    "mathematical bold": ("𝐚𝐝𝐦𝐢𝐧", "admin"),
    "circled": ("ⓐdmin", "admin"),
    "ligature": ("oﬃce", "office"),
    "sharp s": ("Straße", "STRASSE"),
    "capital sharp s": ("STRAẞE", "strasse"),
    "final sigma": ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    "Kelvin sign": ("\u212aelvin", "kelvin"),
    "long s": ("ſales", "sales"),
    "composed and decomposed": ("Zoë", "zoe\u0308"),
    "Turkish capital I with a dot, composed and decomposed": ("\u0130", "I\u0307"),
    "e-mail address": ("Alice@Example.ORG", "alice@example.org"),
    "full-width at sign": ("alice＠example.org", "alice@example.org"),
}


@pytest.mark.parametrize(("typed", "known"), table(ONE_PERSON))
def test_spellings_of_one_name_are_one_name(typed: str, known: str) -> None:
    assert canonical(typed) == canonical(known)


TWO_PERSONS = {
    "Turkish dotless i": ("adm\u0131n", "admin"),
    "Turkish capital I with a dot": ("ADM\u0130N", "admin"),
    "accent": ("admín", "admin"),
    "Cyrillic a": ("\u0430dmin", "admin"),
    "blank inside": ("ad min", "admin"),
    "zero width space": ("ad\u200bmin", "admin"),
    "dot": ("a.dmin", "admin"),
    "P67 two at signs": ("a@evil.com@corp.com", "a@corp.com"),
    "plus address": ("alice+x@example.org", "alice@example.org"),
}


@pytest.mark.parametrize(("typed", "known"), table(TWO_PERSONS))
def test_names_that_only_look_alike_stay_two(typed: str, known: str) -> None:
    assert canonical(typed) != canonical(known)


def test_the_canonical_form_is_the_lower_case_one_without_blanks() -> None:
    assert canonical("  Alice Archer ") == "alice archer"


@given(st.text())
def test_the_canonical_form_of_a_canonical_form_is_itself(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


@given(st.text())
def test_normal_forms_blanks_and_case_never_make_another_name(name: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert canonical(unicodedata.normalize(form, name)) == canonical(name)
    assert canonical(f" {name}\u3000") == canonical(name)
    assert canonical(unicodedata.normalize("NFC", name).casefold()) == canonical(name)
