"""The settings of tokens: what is wrong is said at once, and no message shows a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.settings import Settings
from tests.harness import make_settings

SECRET = "hunter2-do-not-show"
CLIENT = {"id": "orders", "secret": SECRET}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a lifetime of no time": ({"lifetime": 0}, "tokens.lifetime: must be at least 10"),
    "a lifetime of a week": ({"lifetime": 604800}, "tokens.lifetime: must be at most 86400"),
    "an hour of leeway": ({"leeway": 3600}, "tokens.leeway: must be at most 120"),
    "a long grace": ({"refresh_grace": 3600}, "tokens.refresh_grace: must be at most 60"),
    "an issuer of two words": ({"issuer": "a b"}, "tokens.issuer: must be printable ASCII without blanks"),
    "no audience": ({"audience": ""}, "tokens.audience: must be printable ASCII without blanks"),
    "the cookie header": ({"header": "Cookie"}, "tokens.header: is no header that can carry a token"),
    "the host header": ({"header": "HOST"}, "tokens.header: is no header that can carry a token"),
    "the header that is read anyway": ({"header": "Authorization"}, "tokens.header: is no header"),
    "another spelling of framing": ({"header": "Content_Length"}, "tokens.header: is no header"),
    "no name of a header": ({"header": "X Token"}, "tokens.header: is no header"),
    "the answer's cookies": ({"response_header": "Set-Cookie"}, "tokens.response_header: is no header"),
    "the answer's place": ({"response_header": "location"}, "tokens.response_header: is no header"),
    "no name of a cookie": ({"cookie": "a;b"}, "tokens.cookie: must be the name of a cookie"),
    "the session's cookie": ({"cookie": "gw_session"}, "tokens.cookie: is a cookie of the gateway's own"),
    "the session's cookie on https": (
        {"cookie": "__Host-gw_session"},
        "tokens.cookie: is a cookie of the gateway's own",
    ),
    "the cookie of our forms": ({"cookie": "gw_form"}, "tokens.cookie: is a cookie of the gateway's own"),
    "the cookie of known browsers": ({"cookie": "__Host-gw_device"}, "tokens.cookie: is a cookie of the gateway's own"),
    "a client without a secret": ({"clients": [{"id": "orders"}]}, "tokens.clients.0: needs a secret or a secret_file"),
    "a short secret": ({"clients": [{"id": "orders", "secret": "do-not-show"}]}, "tokens.clients.0.secret: must be 16"),
    "a secret with a blank": (
        {"clients": [{"id": "a", "secret": "do not show do not show"}]},
        "tokens.clients.0.secret",
    ),
    "a client with a colon": ({"clients": [{**CLIENT, "id": "a:b"}]}, "tokens.clients.0.id: must be of letters"),
    "a client twice": ({"clients": [CLIENT, CLIENT]}, "tokens.clients.1.id: given twice"),
    "a secret and its file": (
        {"clients": [{**CLIENT, "secret_file": "x"}]},
        "tokens.clients.0.secret_file: give either",
    ),
    "a secret in no file": (
        {"clients": [{"id": "a", "secret_file": "/nope"}]},
        "tokens.clients.0.secret_file: /nope cannot",
    ),
}


def made(tokens: dict[str, Any], **over: Any) -> Settings:
    return make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", tokens=tokens, **over)


@pytest.mark.parametrize(("tokens", "told"), list(WRONG.values()), ids=list(WRONG))
def test_what_is_wrong_is_said_without_showing_it(tokens: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        made(tokens)
    (problem,) = map(str, caught.value.problems)
    assert told in problem
    assert "do-not-show" not in problem


@pytest.mark.parametrize(
    ("engine", "is_possible"), [("redis", True), ("memory", True), ("sql", False), ("file", False)]
)
def test_tokens_need_an_engine_that_tells_every_process_what_was_revoked(
    engine: str, is_possible: bool, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.touch(0o600)
    if is_possible:
        assert made({"keys_file": str(keys)}, session={"engine": engine}).tokens.keys_file == keys
        return
    with pytest.raises(SettingsError, match=r"session\.engine is"):
        made({"keys_file": str(keys)}, session={"engine": engine})


def test_the_engine_cookie_keeps_no_session_for_a_script() -> None:
    with pytest.raises(SettingsError, match=r"tokens\.password_grant"):
        made({"password_grant": True}, session={"engine": "cookie"})


def test_a_relative_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    settings = made({"keys_file": "config/users.yaml"})  # any file that is there
    assert settings.tokens.keys_file is not None
    assert settings.tokens.keys_file.is_absolute()


def test_secrets_of_clients_do_not_show() -> None:
    assert SECRET not in repr(made({"clients": [CLIENT]}))
