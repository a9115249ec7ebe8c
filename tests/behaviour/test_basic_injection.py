"""``Authorization: Basic`` for backends that know nothing else: a fixed account, or the user's own (docs/backends.md)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.errors import SettingsError
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, make_settings, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]
SECRET = "pâss:wörd"
OWN = {"backend_auth": {"basic": "user"}}
NEW = "a much longer one than before"


def account(folder: Path) -> dict[str, Any]:
    file = folder / "backend_password"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    return {"backend_auth": {"basic": "account", "username": "gateway", "password_file": str(file)}}


@pytest.fixture
async def site(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> Gateway:
    routes = [
        {"path": "/", **OWN},
        {"path": "/fixed/", **account(tmp_path)},
        {"path": "/fixed/public/", "access": "public", **account(tmp_path)},
        {"path": "/shown/", "access": "public", "identity": "optional", **OWN},
        {"path": "/data/", "session_data": {"enabled": True}},
    ]
    return await make_gateway(backend.url, routes=routes)


async def given(gateway: Gateway, backend: RecordingBackend, path: str = "/", **asked: Any) -> str | None:
    """Name and password that the backend got; None: none."""
    assert (await gateway.get(path, **asked)).status == 200
    value = backend.last.value("Authorization")
    if value is None:
        return None
    assert value.startswith("Basic ")
    return base64.b64decode(value[6:]).decode()


@pytest.mark.parametrize("user", [ALICE, MANAGER])
async def test_a_backend_gets_what_the_user_signed_in_with(
    site: Gateway, backend: RecordingBackend, user: dict[str, str]
) -> None:
    cookie = await site.sign_in(user)
    assert await given(site, backend, cookie=cookie) == f"{user['username']}:{user['password']}"


async def test_who_signed_in_by_e_mail_is_given_by_username(site: Gateway, backend: RecordingBackend) -> None:
    cookie = await site.sign_in({"email": "alice@example.org", "password": ALICE["password"]})
    assert await given(site, backend, cookie=cookie) == f"alice:{ALICE['password']}"


async def test_everybody_comes_by_a_fixed_account(site: Gateway, backend: RecordingBackend) -> None:
    assert await given(site, backend, "/fixed/", cookie=await site.sign_in()) == f"gateway:{SECRET}"
    assert await given(site, backend, "/fixed/public/") == f"gateway:{SECRET}"


@pytest.mark.parametrize("path", ["/", "/fixed/", "/fixed/public/", "/shown/"])
async def test_the_clients_own_does_not_pass_on_such_routes(
    site: Gateway, backend: RecordingBackend, path: str
) -> None:
    cookie = await site.sign_in()
    assert (await site.get(path, cookie=cookie, headers={"Authorization": "Basic eDp5"})).status == 200
    sent = backend.last.values("Authorization")
    assert len(sent) == 1
    assert sent != ["Basic eDp5"]


async def test_a_stranger_is_given_nobodys(site: Gateway, backend: RecordingBackend) -> None:
    assert await given(site, backend, "/shown/", headers={"Authorization": "Basic eDp5"}) is None


async def test_a_changed_password_is_the_one_that_backends_get(site: Gateway, backend: RecordingBackend) -> None:
    cookie = await site.sign_in()
    body = {"old_password": ALICE["password"], "new_password": NEW}
    response = await site.post("/auth/password", json=body, cookie=cookie)
    assert response.status == 200, await response.text()
    assert await given(site, backend, cookie=session_cookie(response)) == f"alice:{NEW}"


async def test_a_session_from_before_the_setting_has_none_until_its_owner_signs_in_again(
    make_gateway: MakeGateway, backend: RecordingBackend, site: Gateway
) -> None:
    before = await make_gateway(backend.url, routes=[{"path": "/"}])
    cookie = await before.sign_in()
    assert await given(site, backend, cookie=cookie) is None
    again = session_cookie(await site.post("/auth/login", json=ALICE, cookie=cookie))
    assert await given(site, backend, cookie=again) == f"alice:{ALICE['password']}"


async def test_signing_in_again_without_the_setting_forgets_it(
    make_gateway: MakeGateway, backend: RecordingBackend, site: Gateway
) -> None:
    after = await make_gateway(backend.url, routes=[{"path": "/"}])
    again = session_cookie(await after.post("/auth/login", json=ALICE, cookie=await site.sign_in()))
    assert await given(site, backend, cookie=again) is None


async def test_neither_clients_nor_other_backends_nor_redis_see_the_password(
    site: Gateway, backend: RecordingBackend, redis: Redis
) -> None:
    cookie = await site.sign_in()
    password = ALICE["password"].encode()
    encoded = base64.b64encode(f"alice:{ALICE['password']}".encode())
    await site.get("/data/", cookie=cookie)
    data = backend.last.value("X-Session-Data") or ""
    assert json.loads(base64.urlsafe_b64decode(data + "==")) == {}
    seen = [repr(backend.last).encode()]
    for path in ("/auth/session", "/auth/sessions", "/auth/account"):
        seen.append(await (await site.get(path, cookie=cookie)).read())
    keys = redis.keys()
    assert isinstance(keys, list)
    assert keys
    seen += [redis.dump(key) or b"" for key in keys]
    assert not [one for one in seen if password in one or encoded in one]


@pytest.mark.parametrize(
    ("route", "session", "key"),
    table(
        {
            "a header of the client's": ({**OWN, "authorization": "backend"}, {}, "backend_auth.basic"),
            "a public route": ({**OWN, "access": "public"}, {}, "backend_auth.basic"),
            "passwords in cookies": (OWN, {"engine": "cookie"}, "backend_auth.basic"),
            "no account": ({"backend_auth": {"basic": "account", "username": "a"}}, {}, "backend_auth"),
            "an account for nothing": ({"backend_auth": {"username": "a"}}, {}, "backend_auth"),
            "a colon": (
                {"backend_auth": {"basic": "account", "username": "a:b", "password": "p"}},
                {},
                "backend_auth.username",
            ),
            "no such file": (
                {"backend_auth": {"basic": "account", "username": "a", "password_file": "nowhere"}},
                {},
                "backend_auth.password_file",
            ),
        }
    ),
)
def test_settings_that_make_no_sense_are_refused(route: dict[str, Any], session: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", routes=[{"path": "/", **route}], session=session)
    assert [problem.key for problem in caught.value.problems] == [f"routes.0.{key}"]


def test_the_settings_hide_the_password_in_repr(tmp_path: Path) -> None:
    routes = [{"path": "/", **account(tmp_path)}]
    settings = make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", routes=routes)
    assert SECRET not in repr(settings)
    assert settings.routes[0].backend_auth.password is not None
