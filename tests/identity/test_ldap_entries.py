"""What entries say: ids, names, and groups by their distinguished names."""

from __future__ import annotations

import uuid

import pytest

from gateway.identity.ldap_entries import Names, group_names, id_of, id_value, identity_of, is_below, is_called
from gateway.identity.ldap_link import Entry

NAMES = Names()


def entry(dn: str = "uid=a,dc=x", **attributes: bytes | list[bytes]) -> Entry:
    listed = {name.lower(): tuple([value] if isinstance(value, bytes) else value) for name, value in attributes.items()}
    return Entry(dn, {"entryuuid": (b"1-2",), **listed})


def test_an_entry_is_a_user() -> None:
    found = entry(uid=[b"a", b"alias"], mail=b"a@x", cn="张三".encode())
    user = identity_of(found, NAMES, "ldap:x")
    assert user is not None
    assert (user.id, user.username, user.email, user.name, user.source) == ("1-2", "a", "a@x", "张三", "ldap:x")


@pytest.mark.parametrize("broken", [b"", b"\xff\xfe", b"a\x00b", b"a\r\nX-Forwarded-User: root"])
def test_bytes_that_are_no_text_name_nobody(broken: bytes) -> None:
    assert identity_of(entry(uid=broken), NAMES, "ldap:x") is None


def test_the_root_of_the_directory_is_no_user() -> None:
    """A bind with an empty name is anonymous, and succeeds with any password."""
    assert identity_of(entry("", uid=b"a"), NAMES, "ldap:x") is None


def test_an_id_of_active_directory_goes_both_ways() -> None:
    made = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
    found = entry(objectGUID=made.bytes_le)
    assert id_of(found, "objectGUID") == str(made)
    assert id_value(str(made), "objectGUID") == made.bytes_le
    assert id_of(entry(objectGUID=b"short"), "objectGUID") == ""
    assert id_value("no uuid", "objectGUID") is None


def test_a_name_is_compared_in_full_though_the_directory_is_laxer() -> None:
    found = entry(uid=b"Al Ice", mail=[b"a@x", b"b@x"])
    assert is_called(found, ("uid", "mail"), "al ice")
    assert is_called(found, ("uid", "mail"), "b@x")
    assert not is_called(found, ("uid", "mail"), "al  ice")
    assert not is_called(found, ("uid",), "b@x")


def test_groups_are_called_by_their_own_name_or_by_all_of_it() -> None:
    dns = [
        r"CN=sales\, east,ou=g,dc=x",
        r"cn=\e7\8c\ab+ou=b,ou=g,dc=x",
        "ou=c,ou=g,dc=x",
        "cn=a,ou=g,dc=x",
        "CN=a, OU=G, dc=x",
    ]
    assert group_names(dns, "cn", "") == ("sales, east", "猫", "ou=c,ou=g,dc=x", "a")


def test_groups_of_another_branch_do_not_count() -> None:
    dns = ["cn=mgr,ou=Groups, dc=x", "cn=mgr2,ou=self-service,dc=x", r"cn=mgr3,ou=x\,ou=groups,dc=x", "cn=mgr4,dc=x"]
    assert group_names(dns, "cn", "ou=groups,dc=x") == ("mgr",)
    assert is_below("OU=Groups,DC=X", "ou=groups, dc=x")
    assert not is_below("dc=x", "ou=groups,dc=x")


@pytest.mark.parametrize(
    ("older", "newer"), [(b"20261120191459Z", b"20261120191500.5Z"), (b"133", b"134"), (b"0", b"1"), (b"x", b"1")]
)
def test_a_later_password_is_a_higher_generation(older: bytes, newer: bytes) -> None:
    names = Names(generation="pwdLastSet")
    one, two = (identity_of(entry(uid=b"a", pwdLastSet=moment), names, "ldap:x") for moment in (older, newer))
    assert one is not None
    assert two is not None
    assert one.generation < two.generation
