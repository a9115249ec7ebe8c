"""The configuration: what is wrong is said at once, with file, line, key and a way out, and never with a secret."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway import app, engines
from gateway.errors import SettingsError
from gateway.pages import STATIC
from gateway.settings import Settings, load_settings
from gateway.settings.schema import schema_text
from gateway.settings.stores import _FORM_COOKIE
from gateway.settings.words import all_settings
from tests.harness import MASTER, OTHER_MASTER, ROOT, make_settings, run_gateway
from tests.test_docs import setting

KEYS = f"keys: {{master: {MASTER}}}"
USERS = "users: [{source: file, path: users.yaml}]"
UPSTREAMS = "upstreams: {app: {url: 'http://127.0.0.1:9000'}}"
ROUTES = "routes: [{path: /}]"
BASE = "\n".join([KEYS, USERS, UPSTREAMS, ROUTES, ""])
NO_ROUTES = "\n".join([KEYS, USERS, UPSTREAMS, ""])
SECRET = "hunter2-do-not-show"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.yaml").write_text("users: []\n")
    return tmp_path


def load(folder: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> Settings:
    file = folder / "c.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(file, environment or {})


def problems(folder: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong, with the folder cut off."""
    with pytest.raises(SettingsError) as caught:
        load(folder, text, environment)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


# -- single values: each after BASE, so that its line is 5 or later
WRONG_VALUES = {
    "a misspelt section": ("sesion: {}", "c.yaml:5: sesion: there is no such setting; did you mean session?"),
    "a misspelt setting": (
        "server:\n  prot: 1",
        "c.yaml:6: server.prot: there is no such setting; did you mean port?",
    ),
    "a setting in capitals": (
        "server: {PORT: 1}",
        "c.yaml:5: server.PORT: there is no such setting; did you mean port?",
    ),
    "a setting in the wrong place": (
        "idle_timeout: 60",
        "c.yaml:5: idle_timeout: there is no such setting; did you mean session.idle_timeout or session.remember.idle_timeout?",
    ),
    "a setting nobody can guess": ("session: {xyz: 1}", "c.yaml:5: session.xyz: there is no such setting"),
    "a word for a number": ("server: {port: abc}", "c.yaml:5: server.port: must be a whole number"),
    "a flag for a number": ("server: {port: true}", "c.yaml:5: server.port: must be a number, not true or false"),
    "half a port": ("server: {port: 80.5}", "c.yaml:5: server.port: must be a whole number"),
    "a port too high": ("server: {port: 65536}", "c.yaml:5: server.port: must be at most 65535"),
    "no workers": ("server: {workers: 0}", "c.yaml:5: server.workers: must be at least 1"),
    "no time": ("server: {drain_timeout: 0}", "c.yaml:5: server.drain_timeout: must be more than 0"),
    "endless time": ("server: {drain_timeout: .inf}", "c.yaml:5: server.drain_timeout: must be a number"),
    "a number with a leading zero": (
        "server: {port: 010}",
        "c.yaml:5: server.port: begins with 0: write a number without it, or a text in quotes",
    ),
    "a time with a unit": (
        "session: {idle_timeout: 30m}",
        "c.yaml:5: session.idle_timeout: must be a whole number of seconds, without a unit",
    ),
    "a time with a colon": (
        "session: {idle_timeout: 0:30}",
        "c.yaml:5: session.idle_timeout: must be a whole number of seconds, without a unit",
    ),
    "a number for a text": ("site: {title: 2024}", "c.yaml:5: site.title: must be a text; put a number in quotes"),
    "a date for a text": ("site: {title: 2024-01-02}", "c.yaml:5: site.title: must be a text; put a number in quotes"),
    "a text too long": (
        f"site: {{title: {'x' * 101}}}",
        "c.yaml:5: site.title: must not be longer than 100 characters",
    ),
    "an empty address": ("server: {host: ''}", "c.yaml:5: server.host: must not be empty"),
    "perhaps": ("headers: {via: perhaps}", "c.yaml:5: headers.via: must be true or false"),
    "a word of another list": (
        "log: {level: loud}",
        "c.yaml:5: log.level: must be debug, info, warning or error",
    ),
    "a text for a section": (
        "server: 8080",
        "c.yaml:5: server: must be a mapping: settings below it, indented, like  name: value",
    ),
    "a list for a section": (
        "server:\n  - port: 8080",
        "c.yaml:5: server: must be a mapping: settings below it, indented, like  name: value",
    ),
    "a site with a path": (
        "site: {url: 'https://x/y'}",
        "c.yaml:5: site.url: must be http://HOST[:PORT] or https://HOST[:PORT], without a path",
    ),
    "a prefix with a slash": (
        "site: {prefix: /auth/}",
        "c.yaml:5: site.prefix: must be a path like /auth, without a slash at its end",
    ),
    "a cookie with a prefix": (
        "session: {cookie: {name: __Host-x}}",
        "c.yaml:5: session.cookie.name: must be a cookie name of letters, digits, _ or -, without a prefix (it gets its own)",
    ),
    "the cookie of known browsers": (
        "session: {cookie: {name: gw_device}}",
        "c.yaml:5: session.cookie.name: gw_device is the cookie that knows a browser again; take another name",
    ),
    "pauses that shrink": (
        "login: {throttle: {account: {first_delay: 9, longest_delay: 3}}}",
        "c.yaml:5: login.throttle.account.longest_delay: must not be less than first_delay",
    ),
    "no attempt at all": (
        "login: {throttle: {address: {burst: 0}}}",
        "c.yaml:5: login.throttle.address.burst: must be at least 1",
    ),
    "everybody is one address": (
        "login: {throttle: {address: {ipv4_prefix: 0}}}",
        "c.yaml:5: login.throttle.address.ipv4_prefix: must be at least 8",
    ),
    "the cookie of our own forms": (
        f"session: {{cookie: {{name: {_FORM_COOKIE}}}}}",
        "c.yaml:5: session.cookie.name: gw_form is the cookie of the gateway's own forms; take another name",
    ),
    "a cookie for a relative path": (
        "session: {cookie: {path: app}}",
        "c.yaml:5: session.cookie.path: must begin with / and hold letters, digits, . _ ~ - only",
    ),
    "a cookie for an address": (
        "session: {cookie: {domain: 'http://x'}}",
        "c.yaml:5: session.cookie.domain: must be a host name like example.org",
    ),
    "SameSite=None on http": (
        "session: {cookie: {samesite: None}}",
        "c.yaml:5: session.cookie.samesite: None works on https sites only (site.url)",
    ),
    "a grace longer than the interval": (
        "session: {rotate_interval: 60, rotate_grace: 61}",
        "c.yaml:5: session.rotate_grace: must not be longer than rotate_interval, which is 60 s",
    ),
    "a grace longer than the default interval": (
        "session:\n  rotate_grace: '901'",
        "c.yaml:6: session.rotate_grace: must not be longer than rotate_interval, which is 900 s",
    ),
    "an interval shorter than the default grace": (
        "session: {rotate_interval: 9.0}",
        "c.yaml:5: session.rotate_interval: must be 0 or at least rotate_grace, which is 10 s",
    ),
    "another kind of store": (
        "redis: {url: 'http://x'}",
        "c.yaml:5: redis.url: must begin with redis://, rediss:// or unix://",
    ),
    "a redis port that is none": (
        "redis: {url: 'redis://x:99999'}",
        "c.yaml:5: redis.url: must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH",
    ),
    "a redis database that is none": (
        "redis: {url: 'redis://x/abc'}",
        "c.yaml:5: redis.url: must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH",
    ),
    "a socket without a path": (
        "redis: {url: 'unix://'}",
        "c.yaml:5: redis.url: must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH",
    ),
    "an unknown option of redis": (
        "redis: {url: 'redis://x?retry=1'}",
        "c.yaml:5: redis.url: options behind ? can be db, ssl_ca_certs, ssl_cert_reqs, ssl_certfile, ssl_check_hostname, "
        "ssl_keyfile",
    ),
    "an unknown identity field": (
        "identity: {headers: {nam: X}}",
        "c.yaml:5: identity.headers.nam: must be user, username, email, groups or usertype",
    ),
    "no header name": (
        "identity: {headers: {user: X User}}",
        "c.yaml:5: identity.headers: 'X User' is no header that can name a user",
    ),
    "a header that frames the request": (
        "identity: {headers: {user: Content_Length}}",
        "c.yaml:5: identity.headers: 'Content_Length' is no header that can name a user",
    ),
    "two fields in one header": (
        "identity: {headers: {user: X-U, email: x_u}}",
        "c.yaml:5: identity.headers: two fields in one header",
    ),
    "a way out to another site": (
        "logout: {redirect: '//evil.example'}",
        "c.yaml:5: logout.redirect: must be a path on this site, like /",
    ),
    "an alias that is a path only": (
        "login: {aliases: [/a]}",
        "c.yaml:5: login.aliases.0: must be a mapping: settings below it, indented, like  name: value",
    ),
    "an alias below our own": (
        "login: {aliases: [{path: /auth/x}]}",
        "c.yaml:5: login.aliases.0.path: lies below /auth, where the gateway's own endpoints are already",
    ),
    "an alias that is a route": ("logout: {aliases: /}", "c.yaml:5: logout.aliases.0: is the path of a route, too"),
    "two listeners on one port": (
        "management: {port: 8080}",
        "c.yaml:5: management.port: the same address and port as server",
    ),
    "a tag": (
        "site: {title: !!python/object:os.system x}",
        "c.yaml:5: site.title: has a tag (!…) or a form that is not known here",
    ),
    "a key that is a list": ("? [a, b]\n: 1", "c.yaml:5: a key must be a word"),
    "an empty key": ("? \n: 1", "c.yaml:5: a key must be a word"),
    "a key given twice": ("site: {title: a}\nsite: {title: b}", "c.yaml:6: site: given twice, first in line 5"),
}


@pytest.mark.parametrize(("text", "said"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_a_wrong_value_is_named_with_its_line_and_what_it_must_be(text: str, said: str, folder: Path) -> None:
    assert problems(folder, BASE + text + "\n") == [said]


WRONG_ROUTES = {
    "no path": ("{}", "path: is needed"),
    "a relative path": ("{path: a}", None),
    "a path with an escape": ("{path: /%41}", None),
    "a path with two slashes": ("{path: /a//b}", None),
    "a path with a query": ("{path: '/a?b'}", None),
    "a path with a parameter": ("{path: '/a;b'}", None),
    "a path with a dot segment": ("{path: /a/../b}", None),
    "a path of our own": ("{path: /auth/login}", "path: lies below /auth, which is the gateway's own"),
    "our own prefix": ("{path: /auth}", "path: lies below /auth, which is the gateway's own"),
    "no such upstream": ("{path: /, upstream: ap}", "upstream: no such upstream; did you mean app?"),
    "a misspelt access": ("{path: /, access: pubic}", "access: must be public or authenticated"),
    "a list as access": (
        "{path: /, access: [mgr]}",
        "access: must be public, authenticated, or {usertype: …, groups: …}",
    ),
    "nothing as access": (
        "{path: /, access: }",
        "access: must be public, authenticated, or {usertype: …, groups: …}",
    ),
    "an access that names nobody": (
        "{path: /, access: {}}",
        "access: names nobody: use public, authenticated, or usertype/groups",
    ),
    "a misspelt access rule": (
        "{path: /, access: {usertyp: mgr}}",
        "access.usertyp: there is no such setting; did you mean usertype?",
    ),
    "a usertype that is a number": (
        "{path: /, access: {usertype: 1}}",
        "access.usertype.0: must be a text; put a number in quotes",
    ),
    "an identity for strangers": (
        "{path: /, identity: optional}",
        "identity: optional is for public routes; on others the identity is always told",
    ),
    "another status": ("{path: /, refuse: {status: 403}}", "refuse.status: must be 302 or 401"),
    "a redirect without a scheme": (
        "{path: /, refuse: {redirect: //evil}}",
        "refuse.redirect: must be a path on this site or an http(s) address, in ASCII without spaces",
    ),
    "no patience": (
        "{path: /, timeouts: {connect: 5s}}",
        "timeouts.connect: must be a number of seconds, without a unit",
    ),
}
NOT_A_PATH = "path: must begin with / and be written decoded: no %, ?, #, ;, space, backslash, // or dot segments"


@pytest.mark.parametrize(("text", "said"), WRONG_ROUTES.values(), ids=WRONG_ROUTES.keys())
def test_a_wrong_route_is_named_with_its_number(text: str, said: str | None, folder: Path) -> None:
    assert problems(folder, f"{NO_ROUTES}routes:\n  - {text}\n") == [f"c.yaml:5: routes.0.{said or NOT_A_PATH}"]


def test_a_route_that_is_no_mapping_is_named(folder: Path) -> None:
    said = "must be a mapping: settings below it, indented, like  name: value"
    text = f"{NO_ROUTES}routes:\n  - /a/\n  -\n"
    assert problems(folder, text) == [f"c.yaml:5: routes.0: {said}", f"c.yaml:6: routes.1: {said}"]


def test_of_several_upstreams_a_route_must_name_one_and_no_path_may_come_twice(folder: Path) -> None:
    upstreams = "upstreams: {shop: {url: 'http://a'}, stock: {url: 'http://b'}}"
    text = f"{KEYS}\n{USERS}\n{upstreams}\nroutes:\n  - path: /\n  - path: /\n    upstream: stok\n"
    assert problems(folder, text) == [
        "c.yaml:5: routes.0.upstream: is needed, as there are several: shop, stock",
        "c.yaml:6: routes.1.path: the same path as routes.0",
        "c.yaml:7: routes.1.upstream: no such upstream; did you mean stock?",
    ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:9000", "must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH"),
        ("http://a/app", "must be without a path: requests keep their own"),
        ("http://u:p@a", "must be without a user name: requests bring their own Authorization"),
        ("http://a:99999", "the port is not a number from 1 to 65535"),
        ("http://a:0", "the port is not a number from 1 to 65535"),
        ("http://a:b", "the port is not a number from 1 to 65535"),
        ("http://a..b", "the host is no host name or address (write international names in their xn-- form)"),
        ("http://..", "the host is no host name or address (write international names in their xn-- form)"),
        ("http://:80", "the host is no host name or address (write international names in their xn-- form)"),
        ("http://例え.jp", "the host is no host name or address (write international names in their xn-- form)"),
        (
            "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "the host is no host name or address (write international names in their xn-- form)",
        ),
    ],
)
def test_an_upstream_that_is_no_address_is_named(url: str, said: str, folder: Path) -> None:
    text = f"{KEYS}\n{USERS}\nupstreams:\n  app:\n    url: {url}\n{ROUTES}\n"
    assert problems(folder, text) == [f"c.yaml:5: upstreams.app.url: {said}"]


# -- the file as a whole
WRONG_FILES: dict[str, tuple[str | bytes, str]] = {
    "a list": ("- a\n", "c.yaml:1: must be a mapping of settings, like  server:"),
    "a text": ("hello\n", "c.yaml:1: must be a mapping of settings, like  server:"),
    "a tab": (
        "server:\n\tport: 1\n",
        "c.yaml:2: not valid YAML: a tab stands where spaces are needed; indent with spaces",
    ),
    "a wrong indentation": (
        "server:\n  port: 1\n   host: x\n",
        "c.yaml:3: not valid YAML: a wrong indentation, or a text with a colon that needs quotes",
    ),
    "an open bracket": (
        "server: [1,\nport: }\n",
        "c.yaml:2: not valid YAML: expected the node content, but found '}'",
    ),
    "a second document": (
        "site: {}\n---\nsite: {}\n",
        "c.yaml:2: not valid YAML: a second document begins here (---); a configuration is one",
    ),
    "an alias of nothing": (
        "site: *nothing\n",
        "c.yaml:1: not valid YAML: an alias (*name) whose anchor (&name) was not given before it",
    ),
    "not UTF-8": (b"site: {title: \xff}\n", "c.yaml: is not UTF-8"),
    "UTF-16": (BASE.encode("utf-16"), "c.yaml: is not UTF-8"),
    "a control character": ("site:\n  title: a\x00b\n", "c.yaml:2: not valid YAML: a control character"),
    "too deep": ("a: " + "[" * 1000, "c.yaml: is nested too deeply"),
    "an alias in itself": ("site: &a [*a]\n", "c.yaml: is nested too deeply"),
}


@pytest.mark.parametrize(("text", "said"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_file_that_cannot_be_read_is_named_with_its_line(text: str | bytes, said: str, folder: Path) -> None:
    assert problems(folder, text) == [said]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null\n", "site:\nserver:\n", "users:\nroutes:\nupstreams:\n"]
)
def test_a_file_with_nothing_in_it_lacks_four_things(text: str, folder: Path) -> None:
    said = problems(folder, text)
    assert {problem.split(": ", 1)[1] for problem in said} == {
        "keys: a master key is needed: gateway secrets makes one; then keys.master_file names it",
        "users: no source of users: nobody could sign in",
        "upstreams: no upstream: there is nothing to stand in front of",
        "routes: no routes: everything would be 404",
    }


def test_a_missing_file_and_a_folder_are_named(folder: Path) -> None:
    for path, why in ((folder / "nope.yaml", "No such file or directory"), (folder, "Is a directory")):
        with pytest.raises(SettingsError, match=f"^{re.escape(str(path))}: cannot be read: {why}$"):
            load_settings(path, {})


def test_every_problem_is_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = f"""
server:
  prot: 80
  port: 010
session:
  idle_timeout: 30m
  cookie: {{samesite: None}}
keys: {{master_file: nowhere}}
users:
  - {{source: nis, path: nobody.yaml}}
{UPSTREAMS}
routes:
  - path: /
    upstream: ap
  - path: /
site: {{title: a, title: b}}
"""
    assert problems(folder, text, {"GATEWAY__SERVER__WORKERS": "many"}) == [
        "c.yaml:3: server.prot: there is no such setting; did you mean port?",
        "c.yaml:4: server.port: begins with 0: write a number without it, or a text in quotes",
        "c.yaml:6: session.idle_timeout: must be a whole number of seconds, without a unit",
        "c.yaml:7: session.cookie.samesite: None works on https sites only (site.url)",
        "c.yaml:8: keys.master_file: nowhere cannot be read: No such file or directory",
        "c.yaml:10: users.0.source: must be file, htpasswd, http, ldap or sql",
        "c.yaml:10: users.0.path: nobody.yaml cannot be read: No such file or directory",
        "c.yaml:14: routes.0.upstream: no such upstream; did you mean app?",
        "c.yaml:15: routes.1.path: the same path as routes.0",
        "c.yaml:16: site.title: given twice, first in line 16",
        "GATEWAY__SERVER__WORKERS: server.workers: must be a whole number",
    ]


# -- what YAML makes of things
def test_sections_lists_and_values_with_nothing_behind_them_have_their_defaults(folder: Path) -> None:
    empty = "site:\n  url:\nserver:\n  port:\nsession:\n  cookie:\nlogin:\n  aliases:\nlogout:\nidentity:\n  headers:\n"
    assert load(folder, BASE + empty) == load(folder, BASE)


GOOD_ROTATIONS = [
    "rotate_interval: 0",
    "rotate_interval: 0, rotate_grace: 99",
    "rotate_interval: 10",
    "rotate_grace: 900",
]


@pytest.mark.parametrize("given", GOOD_ROTATIONS)
def test_a_grace_as_long_as_the_interval_is_fine_and_without_rotation_any_is(given: str, folder: Path) -> None:
    assert load(folder, f"{BASE}session: {{{given}}}").session.engine == "redis"


@pytest.mark.parametrize("wrong", ["true", "[1]", "nan", "-5", "x"])
def test_a_grace_that_is_no_number_of_seconds_is_one_problem(wrong: str, folder: Path) -> None:
    (said,) = problems(folder, f"{BASE}session: {{rotate_interval: 5, rotate_grace: {wrong}}}")
    assert said.startswith("c.yaml:5: session.rotate_grace: must be ")


def test_yes_and_no_are_flags_where_a_flag_is_wanted_and_words_elsewhere(folder: Path) -> None:
    text = f"{NO_ROUTES}routes:\n  - {{path: /, access: {{groups: [no, yes, on]}}}}\n"
    settings = load(folder, text + "headers: {via: no, forwarded: yes}\nsite: {title: no}\n")
    assert (settings.headers.via, settings.headers.forwarded, settings.site.title) == (False, True, "no")
    access = settings.routes[0].access
    assert not isinstance(access, str)
    assert access.groups == ("no", "yes", "on")


def test_a_number_in_quotes_is_a_number_where_one_is_wanted(folder: Path) -> None:
    assert load(folder, BASE + 'server: {port: "8081", workers: "2"}\nmanagement: {port: 0}\n').server.port == 8081


def test_a_byte_order_mark_is_no_part_of_the_first_key(folder: Path) -> None:
    assert load(folder, b"\xef\xbb\xbf" + BASE.encode()).routes[0].path == "/"


def test_anchors_aliases_and_merges_save_writing(folder: Path) -> None:
    routes = """routes:
  - &mgr
    path: /mgr/
    access: {usertype: mgr}
    refuse: {status: 401}
  - <<: *mgr
    path: /api/mgr/
    name: api
"""
    first, second = load(folder, NO_ROUTES + routes).routes
    assert (second.path, second.name, second.access, second.refuse) == ("/api/mgr/", "api", first.access, first.refuse)


def test_one_word_may_stand_for_a_list_of_one(folder: Path) -> None:
    settings = load(folder, f"{NO_ROUTES}logout: {{aliases: /out}}\nroutes: [{{path: /, access: {{usertype: mgr}}}}]\n")
    assert settings.logout.aliases == ("/out",)
    assert app.build(settings) is not None


# -- the environment
def test_the_environment_wins_over_the_file(folder: Path) -> None:
    environment = {
        "GATEWAY__SERVER__WORKERS": "4",
        "GATEWAY__SITE__TITLE": "2024",
        "GATEWAY__HEADERS__VIA": "no",
        "GATEWAY__REDIS__TIMEOUT": "0.5",
        "GATEWAY__REDIS__PASSWORD": "0123",
        "GATEWAY__UPSTREAMS__APP__URL": "http://10.0.0.1:80",
        "GATEWAY__LOGOUT__ALIASES": "[/a, /b]",
        "GATEWAY__SITE__LANGUAGE": "",
    }
    settings = load(folder, BASE + "server: {workers: 2}\nsite: {title: file, language: zh}\n", environment)
    assert (settings.server.workers, settings.site.title, settings.headers.via) == (4, "2024", False)
    assert settings.redis.timeout == 0.5
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "0123"
    assert settings.upstreams["app"].url == "http://10.0.0.1:80"
    assert settings.logout.aliases == ("/a", "/b")
    assert settings.site.language == "zh"


def test_whole_lists_can_be_set_by_a_variable(folder: Path) -> None:
    settings = load(folder, BASE, {"GATEWAY__ROUTES": "[{path: /a/}, {path: /b, refuse: {status: 401}}]"})
    assert [(route.path, route.refuse.status) for route in settings.routes] == [("/a/", 302), ("/b", 401)]


def test_an_upstream_with_capitals_is_the_one_of_the_file(folder: Path) -> None:
    text = BASE.replace("app:", "App:")
    settings = load(folder, text, {"GATEWAY__UPSTREAMS__APP__URL": "http://10.0.0.1"})
    assert {name: one.url for name, one in settings.upstreams.items()} == {"App": "http://10.0.0.1"}


WRONG_VARIABLES = {
    "GATEWAY__SERVR__PORT": ("1", "servr: there is no such setting; did you mean server?"),
    "GATEWAY__SERVER__PROT": ("1", "server.prot: there is no such setting; did you mean port?"),
    "GATEWAY__SERVER__PORT": ("http", "server.port: must be a whole number"),
    "GATEWAY__SERVER__WORKERS": ("0", "server.workers: must be at least 1"),
    "GATEWAY__SERVER": ("1", "server: must be a mapping: settings below it, indented, like  name: value"),
    "GATEWAY__KEYS__MASTER__X": ("1", "keys.master.x: no such setting can be set by a variable"),
    "GATEWAY__ROUTES__0__PATH": ("/x", "routes.0.path: no such setting can be set by a variable"),
    "GATEWAY__SERVER__": ("1", "server: no such setting can be set by a variable"),
    "GATEWAY__REDIS__PASSWORD_FILE": ("nope", "redis.password_file: nope cannot be read: No such file or directory"),
    "GATEWAY__ROUTES": ("[{path: /", "routes: must be a list: lines that begin with a dash, or [one, two]"),
}


@pytest.mark.parametrize("name", WRONG_VARIABLES)
def test_a_wrong_variable_is_named(name: str, folder: Path) -> None:
    value, said = WRONG_VARIABLES[name]
    assert problems(folder, BASE, {name: value}) == [f"{name}: {said}"]


def test_other_programs_variables_are_left_alone(folder: Path) -> None:
    assert load(folder, BASE, {"GATEWAY_SERVICE_HOST": "x", "GATEWAY_PORT": "tcp://x", "PATH": "/bin"})


# -- secrets
def test_a_secret_can_come_from_a_file_beside_the_configuration_and_its_white_space_is_dropped(folder: Path) -> None:
    (folder / "key").write_text(f"# made by hand\n{MASTER}\n\n")
    (folder / "word").write_text("  s3cret \n")
    text = BASE.replace(f"master: {MASTER}", "master_file: key") + "redis: {password_file: word}\n"
    settings = load(folder, text)
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "s3cret"
    assert app.build(settings)


@pytest.mark.parametrize("in_environment", ["GATEWAY__KEYS__MASTER", "GATEWAY__KEYS__MASTER_FILE"])
@pytest.mark.parametrize("in_file", ["master", "master_file"])
def test_the_environments_secret_replaces_the_files_whichever_way_each_is_given(
    in_file: str, in_environment: str, folder: Path
) -> None:
    (folder / "key").write_text(OTHER_MASTER)
    (folder / "old").write_text(MASTER)
    text = BASE.replace(KEYS, f"keys: {{master: {MASTER}}}" if in_file == "master" else "keys: {master_file: old}")
    settings = load(folder, text, {in_environment: "key" if in_environment.endswith("FILE") else OTHER_MASTER})
    assert settings.keys.master is not None
    assert settings.keys.master.get_secret_value() == OTHER_MASTER


def test_a_secret_given_twice_in_one_place_is_a_problem(folder: Path) -> None:
    text = BASE.replace(KEYS, f"keys: {{master: {MASTER}, master_file: key}}")
    assert problems(folder, text) == ["c.yaml:1: keys.master_file: give either master or master_file"]
    both = {"GATEWAY__REDIS__PASSWORD": "a", "GATEWAY__REDIS__PASSWORD_FILE": "b"}
    said = "GATEWAY__REDIS__PASSWORD_FILE: redis.password_file: give either password or password_file"
    assert problems(folder, BASE, both) == [said]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "keys.master_file: the file is empty"),
        (b"\xff", "keys.master_file: the file is not UTF-8"),
        (b"# a comment only\n", "keys.master: the key ring holds no key"),
        (MASTER.encode() + b"\nabc\n", "keys.master: line 2 is not base64url of 32 bytes"),
        (MASTER.encode() + b"\n" + MASTER.encode(), "keys.master: the key ring holds a key twice"),
    ],
)
def test_a_key_file_that_holds_no_ring_is_named(content: bytes, said: str, folder: Path) -> None:
    (folder / "key").write_bytes(content)
    text = BASE.replace(f"master: {MASTER}", "master_file: key")
    assert problems(folder, text) == [f"c.yaml:1: {said}"]


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace(MASTER, SECRET),
        BASE.replace(MASTER, f"[{SECRET}]"),
        BASE + f"redis: {{password: a, password: {SECRET}}}\n",
        BASE + f"redis: {{password: {SECRET}, password: a}}\n",
        BASE + f"redis: {{password: [{SECRET}]}}\n",
        BASE + f"redis: {{password: !vault {SECRET}}}\n",
        BASE + f"redis: {{password: {SECRET}, url: 'http://x'}}\n",
        BASE + f"redis: {{url: 'redis://:{SECRET}@x:port/0'}}\n",
        BASE + f"redis: {{url: 'redis://:{SECRET}@[::1/0'}}\n",
        BASE + f"redis: {{url: '{SECRET}'}}\n",
        BASE + f"redis: {SECRET}\n",
        BASE + f"redis:\n  password: {SECRET}\n   url: x\n",
        BASE + f"redis: {{passwort: {SECRET}}}\n",
    ],
)
def test_no_message_shows_a_secret(text: str, folder: Path) -> None:
    said = problems(folder, text)
    assert said
    assert SECRET not in str(said)


def test_nothing_that_check_prints_shows_a_secret(folder: Path) -> None:
    (folder / "c.yaml").write_text(BASE + f"redis: {{password: [{SECRET}], password: {SECRET}, url: '{SECRET}'}}\n")
    done = run_gateway("check", "--config", "c.yaml", cwd=folder)
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert "c.yaml:5: redis.url: " in done.stderr


def test_no_message_shows_a_secret_of_the_environment(folder: Path) -> None:
    environment = {"GATEWAY__KEYS__MASTER": SECRET, "GATEWAY__REDIS__URL": f"redis://:{SECRET}@x:y"}
    said = problems(folder, BASE, environment)
    assert len(said) == 2
    assert SECRET not in str(said)


def test_the_settings_hide_their_secrets_in_repr(folder: Path) -> None:
    settings = load(folder, BASE + f"redis: {{password: {SECRET}, url: 'redis://:{SECRET}@x'}}\n")
    assert SECRET not in repr(settings) + str(settings)
    assert MASTER not in repr(settings) + str(settings)
    assert SECRET not in repr(engines.redis_options(settings))


# -- files that the configuration names
def test_relative_paths_start_at_the_folder_of_the_file_wherever_the_command_is_called(folder: Path) -> None:
    (folder / "key").write_text(MASTER)
    (folder / "c.yaml").write_text(BASE.replace(f"master: {MASTER}", "master_file: key"))
    done = run_gateway("check", "--config", "../c.yaml", cwd=_made(folder / "elsewhere"))
    assert (done.returncode, done.stdout) == (0, "../c.yaml: fine (routes: 1, upstreams: 1)\n")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# -- gateway check
def test_check_says_fine_and_exits_with_0(folder: Path) -> None:
    (folder / "c.yaml").write_text(BASE)
    done = run_gateway("check", "--config", "c.yaml", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "c.yaml: fine (routes: 1, upstreams: 1)\n", "")


def test_check_lists_every_problem_without_a_traceback_and_exits_with_1(folder: Path) -> None:
    (folder / "c.yaml").write_text(BASE + "server:\n  port: x\n  prot: 1\n")
    done = run_gateway("check", "--config", "c.yaml", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "2 problems:\n"
        "  c.yaml:6: server.port: must be a whole number\n"
        "  c.yaml:7: server.prot: there is no such setting; did you mean port?\n"
    )


def test_check_reads_all_users_files(folder: Path) -> None:
    (folder / "c.yaml").write_text(BASE.replace("path: users.yaml}", "path: one.yaml}, {path: two.yaml}"))
    (folder / "one.yaml").write_text("users:\n  - username: a\n    password: plain\n")
    (folder / "two.yaml").write_text("people: []\n")
    done = run_gateway("check", "--config", "c.yaml", cwd=folder)
    assert done.returncode == 1
    assert re.search(r"one\.yaml:2: users\.0\.password: ", done.stderr)
    assert re.search(r"two\.yaml: users: ", done.stderr)
    assert "plain" not in done.stderr.replace("explain", "")


def test_check_shows_no_traceback_for_what_is_no_yaml(folder: Path) -> None:
    (folder / "c.yaml").write_text("a: " + "[" * 1000)
    done = run_gateway("check", "--config", "c.yaml", cwd=folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("1 problem:\n")


def test_serve_refuses_the_same_before_it_listens(folder: Path) -> None:
    (folder / "c.yaml").write_text(BASE + "server: {prot: 1}\n")
    done = run_gateway("serve", "--config", "c.yaml", cwd=folder)
    assert done.returncode == 1
    assert "did you mean port?" in done.stderr


# -- config/gateway.yaml and the schema
def shipped(name: str) -> str:
    return (ROOT / "config" / name).read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """``config/`` as it is shipped, after ``make secrets``."""
    config = _made(tmp_path / "config")
    for path in (ROOT / "config").glob("*.yaml"):
        (config / path.name).write_bytes(path.read_bytes())
    done = run_gateway("secrets", "--dir", "secrets", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "secrets/redis-ca.crt").touch()  # as an operator with TLS has put it there
    (config / "logo.svg").write_bytes(STATIC["mark.svg"].body)
    done = run_gateway("users", "add", "me", "--file", "secrets/users.yaml", "--generate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_shipped_configuration_is_valid_after_make_secrets(clone: Path) -> None:
    done = run_gateway("check", "--config", "config/gateway.yaml", cwd=clone)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shipped_configuration_shows_the_defaults(clone: Path) -> None:
    found = load_settings(clone / "config/gateway.yaml", {}).model_dump(
        exclude={"keys", "users", "upstreams", "routes"}
    )
    assert found == Settings().model_dump(exclude={"keys", "users", "upstreams", "routes"})
    (route,) = load_settings(clone / "config/gateway.yaml", {}).routes
    assert route == type(route)(path="/", upstream="app")


@pytest.mark.parametrize("name", list(all_settings()))
def test_the_shipped_configuration_explains_every_setting(name: str) -> None:
    lines = [line.strip() for line in shipped("gateway.yaml").splitlines()]
    leaf, told = name.rpartition(".")[2], setting(name).description
    explained = [number for number, line in enumerate(lines) if line.startswith("#") and line.endswith(told)]
    assert explained, f"add to config/gateway.yaml: # {told}"
    near = " ".join(lines[explained[0] : explained[0] + 4])
    assert re.search(rf"\b{leaf}:", near), f"{name} does not follow its explanation"


def test_each_commented_out_example_of_the_shipped_configuration_is_valid(clone: Path) -> None:
    file = clone / "config/gateway.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    known = {name.rpartition(".")[2] for name in all_settings()} | {"aliases"}
    tried = 0
    for number, line in enumerate(lines):
        match = re.fullmatch(r"( *)# (\w+): .*", line)
        if match is None or match[2] not in known or match[2] == "master" or "given" in line:
            continue
        same = rf"{match[1]}{match[2]}: .*"  # the default that the example replaces stands beside it
        kept = [
            other
            for at, other in enumerate(lines)
            if not (abs(at - number) == 1 and re.fullmatch(same, other)) and at != number
        ]
        kept.insert(min(number, len(kept)), line.replace("# ", "", 1))
        file.write_text("\n".join(kept) + "\n", encoding="utf-8")
        load_settings(file, {})
        tried += 1
    assert tried > 8


def test_the_shipped_configuration_names_its_schema_for_editors() -> None:
    assert shipped("gateway.yaml").startswith("# yaml-language-server: $schema=gateway.schema.json\n")


def test_the_schema_file_is_what_the_command_prints(tmp_path: Path) -> None:
    assert run_gateway("schema").stdout == shipped("gateway.schema.json"), "run: make schema"
    run_gateway("schema", "--output", str(tmp_path / "s.json"))
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == schema_text()


SCHEMA = json.loads(schema_text())
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_NOTES = {"$schema", "definitions", "title", "description", "default", "format", "writeOnly"}


def violations(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """As much of JSON Schema as ours uses; an unknown keyword is an error, so that nothing passes unseen."""
    found: list[str] = []
    for keyword, wanted in schema.items():
        found += _violations_of(keyword, wanted, value, schema, where)
    return found


def _violations_of(keyword: str, wanted: Any, value: Any, schema: dict[str, Any], where: str) -> list[str]:
    match keyword:
        case "$ref":
            return violations(value, SCHEMA["definitions"][wanted.rpartition("/")[2]], where)
        case "anyOf" | "oneOf":
            fitting = sum(not violations(value, one, where) for one in wanted)
            return [] if fitting == 1 or (fitting and keyword == "anyOf") else [f"{where}: {keyword}"]
        case "properties" if isinstance(value, dict):
            return [v for k, one in wanted.items() if k in value for v in violations(value[k], one, f"{where}.{k}")]
        case "additionalProperties" if isinstance(value, dict):
            others = [key for key in value if key not in schema.get("properties", {})]
            if wanted is False:
                return [f"{where}.{key}: unknown" for key in others]
            return [text for key in others for text in violations(value[key], wanted, f"{where}.{key}")]
        case "propertyNames" if isinstance(value, dict):
            return [text for key in value for text in violations(key, wanted, f"{where}.{key}")]
        case "items" if isinstance(value, list):
            return [text for n, one in enumerate(value) for text in violations(one, wanted, f"{where}.{n}")]
        case "required" if isinstance(value, dict):
            return [f"{where}.{key}: needed" for key in wanted if key not in value]
    return [] if _holds(keyword, wanted, value) else [f"{where}: {keyword} {wanted}"]


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "type" if wanted in ("integer", "number"):
            return is_number and (wanted == "number" or isinstance(value, int))
        case "type":
            return isinstance(value, _TYPES[wanted])
        case "enum" | "const":
            return any(value == one and type(value) is type(one) for one in (wanted if keyword == "enum" else [wanted]))
        case "minimum" | "maximum" | "exclusiveMinimum":
            compare = {"minimum": operator.ge, "maximum": operator.le, "exclusiveMinimum": operator.gt}[keyword]
            return not is_number or bool(compare(value, wanted))
        case "maxLength" | "minLength":
            compare = operator.le if keyword == "maxLength" else operator.ge
            return not isinstance(value, str) or bool(compare(len(value), wanted))
        case "properties" | "additionalProperties" | "propertyNames" | "items" | "required":
            return True  # of another type: said by "type"
    assert keyword in _NOTES, f"the schema uses {keyword}: teach this test"
    return True


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_configurations_fit_the_schema(path: Path) -> None:
    data = YAML(typ="safe", pure=True).load(path)
    if not data.keys() <= {"users"}:  # a users file is none
        assert violations(data, SCHEMA) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {prot: 1}", [".server: anyOf"]),
        ("server: {port: x}", [".server: anyOf"]),
        ("redis: {password: 1}", [".redis: anyOf"]),
        ("routes: [{access: public}]", [".routes: anyOf"]),
        ("routes: [{path: /, access: pubic}]", [".routes: anyOf"]),
        ("nothing: 1", [".nothing: unknown"]),
        ("server:", []),
        ("redis: {password: a, password_file: b}", []),
        ("logout: {aliases: /a}", []),
        ("logout: {aliases: [/a]}", []),
        ("routes: [{path: /, access: {usertype: mgr, groups: [a, b]}}]", []),
        ("users: [{path: a}]", []),
    ],
)
def test_the_schema_takes_what_yaml_users_write_and_refuses_what_the_gateway_does(text: str, said: list[str]) -> None:
    assert violations(YAML(typ="safe", pure=True).load(text), SCHEMA) == said


def test_the_schema_describes_everything_an_editor_can_show() -> None:
    for name, one in {"Settings": SCHEMA, **SCHEMA["definitions"]}.items():
        for key, part in one["properties"].items():
            assert part.get("description"), f"{name}.{key}"


def test_the_reserved_cookie_is_the_one_of_the_forms() -> None:
    assert _FORM_COOKIE == app.FORM_COOKIE


def test_a_target_longer_than_any_line_is_a_problem() -> None:
    routes = [{"path": "/", "limits": {"target": 20000}}]
    with pytest.raises(SettingsError, match=r"routes\.0\.limits\.target: no line is longer than .* 16384"):
        make_settings("redis://127.0.0.1", "http://127.0.0.1:1", routes=routes)
    make_settings("redis://127.0.0.1", "http://127.0.0.1:1", routes=routes, server={"max_header_bytes": 20000})
