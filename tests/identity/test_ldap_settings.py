"""The settings of a directory: secure unless told otherwise, and what is wrong is said at start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from gateway.errors import SettingsError
from gateway.identity.passwords import PasswordChecker
from gateway.settings import load_settings, settings_from
from gateway.settings.users_ldap import LdapUsersSettings
from gateway.user_sources import make_sources
from tests.harness import MASTER, ROOT
from tests.redis_lab import make_ca

USUAL = {"url": "ldaps://ldap.example.org", "base": "dc=example,dc=org"}


def settings(**over: Any) -> LdapUsersSettings:
    return LdapUsersSettings.model_validate({**USUAL, **over})


@pytest.mark.parametrize(
    ("over", "found"),
    [
        ({"url": "ldaps://a.example"}, [("a.example", 636, "all")]),
        ({"url": "ldap://a.example"}, [("a.example", 389, "start")]),
        ({"url": "LDAP://A.example:1389/"}, [("a.example", 1389, "start")]),
        ({"url": "ldap://127.0.0.1"}, [("127.0.0.1", 389, "none")]),
        ({"url": "ldap://localhost", "start_tls": True}, [("localhost", 389, "start")]),
        ({"url": "ldap://[::1]:1389"}, [("::1", 1389, "none")]),
        ({"url": "ldap://a.example", "start_tls": False, "allow_plain": True}, [("a.example", 389, "none")]),
        ({"url": ["ldap://a.example", "ldaps://b.example"]}, [("a.example", 389, "start"), ("b.example", 636, "all")]),
    ],
)
def test_passwords_go_to_other_hosts_in_tls(over: dict[str, Any], found: list[tuple[str, int, str]]) -> None:
    assert settings(**over).addresses == found


@pytest.mark.parametrize(
    "over",
    [
        {"url": "ldap://a.example", "start_tls": False},
        {"url": ["ldap://127.0.0.1", "LDAP://a.example"], "start_tls": False},
        {"url": "ldap://127.0.0.1.example", "start_tls": False},
        {"url": "http://a.example"},
        {"url": "ldap://user:secret@a.example"},
        {"url": "ldaps://a.example/dc=x?uid"},
        {"url": "ldaps://"},
        {"url": []},
        {"bind_dn": "cn=gateway"},
        {"bind_password": "secret"},
        {"bind_dn": "cn=gateway", "bind_password": ""},
        {"bind_dn": ""},
        {"base": ""},
        {"filter": "uid={login}"},
        {"base": "foo"},
        {"base": "dc=example,"},
        {"base": "dc=example,org"},
        {"groups": {"base": "groups"}},
        {"bind_dn": "gateway", "bind_password": "secret"},
        {"bind_dn": "cn=gateway,example", "bind_password": "secret"},
        {"filter": "(uid=alice)"},
        {"filter": "(&(uid={login})(cn={name}))"},
        {"disabled_filter": "(cn={login})"},
        {"groups": {"filter": "(member={dnn})"}},
        {"attributes": {"id": "entry UUID"}},
        {"attributes": {"username": ""}},
        {"timeout": 0},
        {"usertype_by_group": {"managers": "mgr"}},
    ],
)
def test_what_is_wrong_or_unsafe_is_refused_and_no_secret_is_shown(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**over)
    assert "secret" not in str([error["msg"] for error in caught.value.errors()])


@pytest.mark.parametrize(
    "dn",
    [
        "dc=org",
        "cn=gateway, ou=services, dc=example, dc=org",
        r"CN=Gateway\, the\2b one,DC=corp",
        "cn=a+uid=b,dc=x",
        "2.5.4.3=猫,O=A = B",
        "gateway@corp.example",
        "CORP\\gateway",
    ],
)
def test_what_a_directory_may_call_the_gateway_is_taken(dn: str) -> None:
    assert settings(bind_dn=dn, bind_password="secret").bind_dn == dn


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    lines = [
        f"keys: {{master: {MASTER}}}",
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}",
        "routes: [{path: /}]",
        "users:",
        "- source: ldap",
        "  url: ldaps://ldap.example.org",
        "  base: foo",
        "  bind_dn: gateway",
        "  filter: (cn={logn}{login})",
        "  groups:",
        "    filter: (member={dnn})",
    ]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "c.yaml", {})
    told = {(problem.where.rpartition("/")[2], problem.key) for problem in caught.value.problems}
    assert {("c.yaml:7", "users.0.base"), ("c.yaml:8", "users.0.bind_dn")} <= told
    assert {("c.yaml:9", "users.0.filter"), ("c.yaml:11", "users.0.groups.filter")} <= told


def test_without_a_filter_users_are_found_by_name_and_by_mail() -> None:
    assert settings().search_filter == "(|(uid={login})(mail={login}))"
    assert settings(attributes={"username": "cn", "email": None}).search_filter == "(|(cn={login}))"


def test_the_examples_of_the_docs_are_right(tmp_path: Path) -> None:
    make_ca(tmp_path, "ca").cert.rename(tmp_path / "ca.pem")
    (tmp_path / "ldap_password").write_text("hunter2\n")
    section = (ROOT / "docs/users.md").read_text().partition("\n## LDAP\n")[2].partition("\n## ")[0]
    examples = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    assert len(examples) == 2
    checker = PasswordChecker(1)
    for example in examples:
        users = YAML(typ="safe").load(example)["users"]
        rest = {
            "keys": {"master": MASTER},
            "upstreams": {"app": {"url": "http://127.0.0.1:1"}},
            "routes": [{"path": "/"}],
        }
        settings = settings_from({**rest, "users": users}, {}, "the docs", tmp_path)
        assert make_sources(settings, checker)[0].name.startswith("ldap:")
        (source,) = settings.users
        assert isinstance(source, LdapUsersSettings)
        assert source.bind_password is not None
        assert source.bind_password.get_secret_value() == "hunter2"
    checker.close()


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(settings(bind_dn="cn=gateway", bind_password="hunter2"))
