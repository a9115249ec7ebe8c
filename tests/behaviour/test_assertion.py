"""``X-Gateway-Assertion``: who is asking, signed, for this backend and the next minute (docs/backends.md)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.core.signing_keys import new_signing_key, parse_signing_keys
from gateway.errors import SettingsError
from tests.behaviour.token_lab import AT, bearer, new_token, with_tokens, write_keys
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import MANAGER, Gateway, make_settings
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]
HEADER, SHOP, BLOG = "X-Gateway-Assertion", "https://shop.internal", "blog"
SITE = "https://intranet.example.org"
ROUTES: list[dict[str, Any]] = [
    {"path": "/", "assertion": {"audience": SHOP}},
    {"path": "/blog/", "assertion": {"audience": BLOG}},
    {"path": "/without/"},
    {"path": "/public/", "access": "public"},
    {"path": "/shown/", "access": "public", "identity": "optional", "assertion": {"audience": SHOP}},
]


@pytest.fixture
async def site(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> Gateway:
    url = {"issuer": SITE}
    return await make_gateway(backend.url, routes=ROUTES, tokens=with_tokens(tmp_path, **url))


async def assertion(gateway: Gateway, backend: RecordingBackend, path: str = "/", **given: Any) -> str | None:
    assert (await gateway.get(path, **given)).status == 200
    return backend.last.value(HEADER)


def public_keys(folder: Path) -> dict[str, Any]:
    jwks = parse_signing_keys((folder / "signing_keys.json").read_text()).jwks()
    return {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(jwks).keys}


def claims_of(token: str | None, folder: Path, audience: str = SHOP) -> dict[str, Any]:
    """As a backend reads it: by another library than ours, with the public keys alone."""
    assert token is not None
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("gateway-assertion+jwt", "EdDSA")
    required = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
    key = public_keys(folder)[header["kid"]]
    found: dict[str, Any] = jwt.decode(
        token, key, algorithms=["EdDSA"], audience=audience, issuer=SITE, options={"require": required}
    )
    return found


# -- what it says
async def test_it_says_who_is_asking_for_a_minute_and_a_backend_can_verify_it(
    site: Gateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    cookie, before = await site.sign_in(), int(time.time())
    claims = claims_of(await assertion(site, backend, cookie=cookie), tmp_path)
    assert claims["sub"] == backend.last.value("X-Forwarded-User")
    assert [claims[name] for name in ("aud", "preferred_username", "name", "email", "usertype", "groups")] == [
        SHOP,
        "alice",
        "Alice Archer",
        "alice@example.org",
        "user",
        ["sales"],
    ]
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 60


async def test_its_sid_is_the_handle_of_the_session_in_the_users_list(
    site: Gateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    cookie = await site.sign_in()
    claims = claims_of(await assertion(site, backend, cookie=cookie), tmp_path)
    listed = (await (await site.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    assert [session["handle"] for session in listed] == [claims["sid"]]


async def test_each_route_names_its_own_audience(site: Gateway, backend: RecordingBackend, tmp_path: Path) -> None:
    cookie = await site.sign_in()
    claims_of(await assertion(site, backend, cookie=cookie), tmp_path)
    claims_of(await assertion(site, backend, "/blog/", cookie=cookie), tmp_path, BLOG)


# -- how often it is made
async def test_a_session_has_one_on_a_route_for_many_requests_and_another_session_another(
    site: Gateway, backend: RecordingBackend
) -> None:
    cookie, other, mgr = await site.sign_in(), await site.sign_in(), await site.sign_in(MANAGER)
    made = [await assertion(site, backend, f"/{n}", cookie=cookie) for n in range(5)]
    assert len(set(made)) == 1
    assert len({made[0], *[await assertion(site, backend, cookie=one) for one in (other, mgr)]}) == 3


async def test_rights_that_changed_are_in_the_very_next_one(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    path = cheap_users(tmp_path / "changing.yaml")
    users = [{"source": "file", "path": str(path)}]
    site = await make_gateway(backend.url, routes=ROUTES, users=users, tokens=with_tokens(tmp_path, issuer=SITE))
    cookie = await site.sign_in()
    assert claims_of(await assertion(site, backend, cookie=cookie), tmp_path)["groups"] == ["sales"]
    path.write_text(path.read_text().replace("  - sales\n", "  - sales\n  - finance\n"))
    deadline = time.monotonic() + 20
    while backend.last.value("X-Forwarded-Groups") != "sales,finance":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
        token = await assertion(site, backend, cookie=cookie)
    assert claims_of(token, tmp_path)["groups"] == ["sales", "finance"]


async def test_a_key_that_signs_no_more_is_used_no_more(
    site: Gateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    cookie = await site.sign_in()
    old = jwt.get_unverified_header(await assertion(site, backend, cookie=cookie) or "")["kid"]
    new = new_signing_key("EdDSA", "active", AT)
    write_keys(tmp_path, new)
    deadline = time.monotonic() + 20
    while (token := await assertion(site, backend, cookie=cookie)) is not None:
        if (kid := jwt.get_unverified_header(token)["kid"]) != old:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert kid == new.kid


# -- who has none
@pytest.mark.parametrize("path", ["/without/", "/public/"])
async def test_a_route_without_an_audience_gets_none(site: Gateway, backend: RecordingBackend, path: str) -> None:
    assert await assertion(site, backend, path, cookie=await site.sign_in()) is None


async def test_where_identity_is_optional_a_stranger_has_none(
    site: Gateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    assert await assertion(site, backend, "/shown/") is None
    assert claims_of(await assertion(site, backend, "/shown/", cookie=await site.sign_in()), tmp_path)


@pytest.mark.parametrize("path", [route["path"] for route in ROUTES])
async def test_what_a_client_says_under_its_name_reaches_no_backend(
    site: Gateway, backend: RecordingBackend, path: str
) -> None:
    cookie = await site.sign_in()
    good = await assertion(site, backend, cookie=cookie)
    mgr = await site.sign_in(MANAGER)
    names = (HEADER, HEADER.lower(), HEADER.upper(), HEADER.replace("-", "_"), HEADER.replace("-", "."))
    await site.get(path, cookie=mgr, headers=[(name, good) for name in names])
    sent = [value for name, value in backend.last.headers if "assertion" in name.lower()]
    assert good not in sent
    assert len(sent) == (1 if path in ("/", "/blog/", "/shown/") else 0)


# -- what it is not
async def test_nobody_can_come_with_it_as_an_access_token(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    """Even where a backend was given the audience of our own access tokens."""
    routes = [{"path": "/", "assertion": {"audience": SITE}}]
    site = await make_gateway(backend.url, routes=routes, tokens=with_tokens(tmp_path, issuer=SITE))
    token = await assertion(site, backend, cookie=await site.sign_in())
    assert token is not None
    response = await site.get("/", headers=bearer(token))
    assert (response.status, (await response.json())["reason"]) == (401, "bad_token")


# -- with a token
async def test_who_comes_with_a_token_is_asserted_with_the_tokens_session(
    site: Gateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    cookie, token = await new_token(site)
    claims = [
        claims_of(await assertion(site, backend, **given), tmp_path)
        for given in ({"cookie": cookie}, {"headers": bearer(token)})
    ]
    assert claims[0]["sid"] == claims[1]["sid"]
    assert claims[0]["sub"] == claims[1]["sub"]


# -- the settings
@pytest.mark.parametrize(
    ("route", "with_keys", "key"),
    table(
        {
            "no keys that sign": ({"assertion": {"audience": SHOP}}, False, "assertion.audience"),
            "a public route": ({"access": "public", "assertion": {"audience": SHOP}}, True, "assertion.audience"),
            "a blank": ({"assertion": {"audience": "my shop"}}, True, "assertion.audience"),
        }
    ),
)
def test_settings_that_make_no_sense_are_refused(
    route: dict[str, Any], with_keys: bool, key: str, tmp_path: Path
) -> None:
    tokens = with_tokens(tmp_path) if with_keys else {}
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", routes=[{"path": "/", **route}], tokens=tokens)
    assert [problem.key for problem in caught.value.problems] == [f"routes.0.{key}"]
