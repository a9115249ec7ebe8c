"""``GET /auth/jwks.json``: the public keys, for everybody and for any cache, and nothing that is private."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import jwt
import pytest

from gateway.core.signing_keys import new_signing_key
from gateway.handlers.jwks import Jwks
from gateway.signing_key_files import read_signing_keys
from tests.behaviour.token_lab import AT, bearer, token_of, with_tokens, write_keys
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway
from tests.test_key_commands import keys as commands

PATH = "/auth/jwks.json"
PRIVATE = {"d", "k", "p", "q", "dp", "dq", "qi", "oth"}


@pytest.fixture
async def site(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> Gateway:
    """A gateway with a key of each kind; ES256 signs."""
    write_keys(
        tmp_path,
        new_signing_key("ES256", "active", AT),
        new_signing_key("EdDSA", "next", AT),
        new_signing_key("RS256", "old", AT),
        new_signing_key("HS256", "old", AT),
    )
    return await make_gateway(backend.url, tokens=with_tokens(tmp_path))


def key_file(site: Gateway) -> Path:
    assert site.settings.tokens.keys_file is not None
    return site.settings.tokens.keys_file


async def test_every_public_key_is_there_whatever_its_state_and_no_shared_secret(site: Gateway) -> None:
    response = await site.get(PATH)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    body = await response.json()
    known = read_signing_keys(key_file(site))
    assert [(key["kid"], key["alg"], key["use"]) for key in body["keys"]] == [
        (key.kid, key.algorithm, "sig") for key in known if key.algorithm != "HS256"
    ]
    assert [key["kty"] for key in body["keys"]] == ["EC", "OKP", "RSA"]


async def test_nothing_private_is_in_it(site: Gateway) -> None:
    text = await (await site.get(PATH)).text()
    kept = json.loads(key_file(site).read_text())["keys"]
    hidden = [key[name] for key in kept for name in PRIVATE & key.keys()]
    assert len(hidden) > 8
    assert [value for value in hidden if value in text] == []
    shown = {name for key in json.loads(text)["keys"] for name in key}
    assert shown & PRIVATE == set()
    assert shown & {"state", "at"} == set()


async def test_clients_ignore_the_member_that_is_ours(site: Gateway) -> None:
    """RFC 7517 §5: members that are not understood are ignored."""
    body = await (await site.get(PATH)).json()
    assert body["ret"] == 0
    assert len(jwt.PyJWKSet.from_dict(body).keys) == 3


async def test_any_cache_may_keep_it_and_any_page_may_read_it(site: Gateway) -> None:
    cookie = await site.sign_in()
    for sent in (None, cookie, "gw_session=nonsense"):
        response = await site.get(PATH, cookie=sent, headers={"Origin": "https://elsewhere.example"})
        assert response.status == 200
        assert response.headers["Cache-Control"] == f"public, max-age={Jwks.MAX_AGE}"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Set-Cookie" not in response.headers
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert "Vary" not in response.headers
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"another", {tag}', 304),
        ("*", 304),
        ('"another"', 200),
        ("", 200),
        ("nonsense", 200),
    ],
)
async def test_who_has_it_already_is_told_so(site: Gateway, sent: str, status: int) -> None:
    first = await site.get(PATH)
    tag = first.headers["ETag"]
    response = await site.get(PATH, headers={"If-None-Match": sent.format(tag=tag)})
    assert response.status == status
    assert response.headers["ETag"] == tag
    assert response.headers["Cache-Control"] == first.headers["Cache-Control"], "RFC 9110 §15.4.5"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert bool(await response.read()) == (status == 200)


async def test_head_is_answered_as_get_without_the_body(site: Gateway) -> None:
    get, head = await site.get(PATH), await site.request("HEAD", PATH)
    assert head.status == 200
    assert await head.read() == b""
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_can_only_be_read(site: Gateway, method: str) -> None:
    response = await site.request(method, PATH)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


async def test_without_tokens_there_is_no_such_place(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url)
    cookie = await gateway.sign_in()
    assert (await gateway.get(PATH, cookie=cookie)).status == 404


async def test_a_new_key_is_there_without_a_restart_and_the_answer_is_another(site: Gateway) -> None:
    before = await site.get(PATH)
    new = await command("new", site)
    await until(lambda: published(site, new))
    after = await site.get(PATH, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status == 200
    assert after.headers["ETag"] != before.headers["ETag"]


# -- a rotation while two gateways are at work
async def command(name: str, site: Gateway, *more: str) -> str:
    """Gives the command; the id of the last key of the file then."""
    done = await asyncio.to_thread(commands, name, "--signing", "--file", key_file(site), *more)
    assert done.code == 0, done.err
    return [key.kid for key in read_signing_keys(key_file(site))][-1]


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.05)


async def published(site: Gateway, kid: str) -> bool:
    return kid in {key["kid"] for key in (await (await site.get(PATH)).json())["keys"]}


class Client:
    """Asks one gateway for a token, shows it to the other, and verifies it with the public keys alone.

    PyJWT keeps them for ``lifespan`` seconds, and does not ask again for an unknown key that comes soon after the last time.
    """

    def __init__(self, one: Gateway, other: Gateway, cookie: str) -> None:
        self._one, self._other, self._cookie = one, other, cookie
        self._keys = jwt.PyJWKClient(other.url + PATH, lifespan=0.5)
        self.known: set[str | None] = set()
        self.verified = 0
        self.kid = ""

    async def run(self) -> None:
        while True:
            token = await token_of(self._one, self._cookie)
            response = await self._other.get("/", headers=bearer(token))
            assert response.status == 200, await response.text()
            self.kid = await asyncio.to_thread(self._verify, token)
            self.verified += 1

    def _verify(self, token: str) -> str:
        key = self._keys.get_signing_key_from_jwt(token)
        self.known = {one.key_id for one in self._keys.get_signing_keys()}
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="gateway", leeway=10)
        assert claims["exp"] > time.time()
        return str(key.key_id)


async def test_a_rotation_under_load_fails_no_verification(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    tokens = with_tokens(tmp_path)
    one, other = [await make_gateway(backend.url, tokens=tokens) for _ in range(2)]
    cookie = await one.sign_in()
    clients = [Client(one, other, cookie), Client(other, one, cookie), Client(one, one, cookie)]
    old = read_signing_keys(key_file(one)).active.kid
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in clients]
        await until(lambda: all_have(clients, old))
        new = await command("new", one)
        await until(lambda: both(published(one, new), published(other, new)))
        await until(lambda: all_know(clients, new))
        await command("rotate", one, "--force")  # that the command waits for that: tests/test_signing_key_files.py
        await until(lambda: all_have(clients, new))
        await command("retire", one, old, "--force")
        await until(lambda: none_of(published(one, old), published(other, old)))
        before = [client.verified for client in clients]
        await until(lambda: all_went_on(clients, before))
        for task in tasks:
            task.cancel()


async def both(*answers: Awaitable[bool]) -> bool:
    return all([await one for one in answers])


async def none_of(*answers: Awaitable[bool]) -> bool:
    return not any([await one for one in answers])


async def all_know(clients: list[Client], kid: str) -> bool:
    return all(kid in client.known for client in clients)


async def all_have(clients: list[Client], kid: str) -> bool:
    return all(client.kid == kid for client in clients)


async def all_went_on(clients: list[Client], before: list[int]) -> bool:
    return all(client.verified > count + 3 for client, count in zip(clients, before, strict=True))
