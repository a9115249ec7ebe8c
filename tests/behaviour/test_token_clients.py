"""Backends that verify our tokens with a library and the key set of a running gateway, while its keys change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.signing_key_files import change_signing_keys, first_keys, fresh_key, with_active
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway
from tests.token_verifiers import SITE, Verifier, command_for

LIBRARIES = ("python", "js")
LIFE = 1.0
"""Seconds for which the verifiers keep the key set here; 300 outside of tests. That an unknown key makes them ask again helps
nobody here: they wait 30 seconds before they do. What helps is that keys are published before they sign."""
QUICK = {
    "python": {"lifespan=300": f"lifespan={LIFE}"},
    "js": {"cacheMaxAge: 300_000": f"cacheMaxAge: {LIFE * 1000}"},
}
AUDIENCE = "https://shop.internal"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "signing_keys"
    path.write_text(first_keys("EdDSA", now()))
    path.chmod(0o600)
    return path


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, keys_file: Path) -> Gateway:
    return await make_gateway(
        backend.url,
        tokens={"keys_file": str(keys_file), "issuer": SITE},
        routes=[{"path": "/", "assertion": {"audience": AUDIENCE}}],
    )


class Verifiers:
    """The examples with a library, each with its cache; asked in threads, as the gateway runs in this loop."""

    def __init__(self) -> None:
        self.running: dict[str, Verifier] = {}

    def start(self, gateway: Gateway, folder: Path, changes: dict[str, dict[str, str]]) -> None:
        for language in LIBRARIES:
            place = folder / language
            place.mkdir()
            keys = {f"{SITE}/auth/jwks.json": f"{gateway.url}/auth/jwks.json"}
            command = command_for(language, SITE, place, {**keys, **changes.get(language, {})})
            self.running[language] = Verifier(command, place)

    async def ask(self, token: str) -> dict[str, str]:
        """By language: what each says of a token."""
        verdicts = await asyncio.gather(*(asyncio.to_thread(one.ask, token) for one in self.running.values()))
        return dict(zip(self.running, verdicts, strict=True))


@pytest.fixture
def verifiers() -> Iterator[Verifiers]:
    made = Verifiers()
    yield made
    for one in made.running.values():
        one.stop()


async def new_token(gateway: Gateway, cookie: str) -> str:
    response = await gateway.post("/auth/token", cookie=cookie, json={})
    assert response.status == 200, await response.text()
    return str((await response.json())["access_token"])


async def user_id(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/auth/session", cookie=cookie)
    return str((await response.json())["user"]["id"])


async def test_access_tokens_verify_with_two_libraries(gateway: Gateway, verifiers: Verifiers, tmp_path: Path) -> None:
    verifiers.start(gateway, tmp_path, {})
    cookie = await gateway.sign_in()
    good = f"good {await user_id(gateway, cookie)}"
    token = await new_token(gateway, cookie)
    assert await verifiers.ask(token) == dict.fromkeys(LIBRARIES, good)
    head, body, signature = token.split(".")
    assert await verifiers.ask(f"{head}.{body}.{signature[::-1]}") == dict.fromkeys(LIBRARIES, "bad")


async def test_assertions_verify_with_two_libraries_and_are_no_access_tokens(
    gateway: Gateway, verifiers: Verifiers, tmp_path: Path, backend: RecordingBackend
) -> None:
    for_assertions = {
        "python": {'"at+jwt"': '"gateway-assertion+jwt"', f'AUDIENCE = "{SITE}"': f'AUDIENCE = "{AUDIENCE}"'},
        "js": {'"at+jwt"': '"gateway-assertion+jwt"', f'AUDIENCE = "{SITE}"': f'AUDIENCE = "{AUDIENCE}"'},
    }
    verifiers.start(gateway, tmp_path, for_assertions)
    cookie = await gateway.sign_in()
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assertion = backend.last.value("X-Gateway-Assertion")
    assert assertion is not None
    good = f"good {await user_id(gateway, cookie)}"
    assert await verifiers.ask(assertion) == dict.fromkeys(LIBRARIES, good)
    assert await verifiers.ask(await new_token(gateway, cookie)) == dict.fromkeys(LIBRARIES, "bad")
    response = await gateway.get("/", headers={"Authorization": f"Bearer {assertion}"})
    assert (response.status, (await response.json())["reason"]) == (401, "bad_token")


# -- rotation
class Load:
    """Tokens are issued, verified by both libraries and used at the gateway, without a pause."""

    def __init__(self, gateway: Gateway, verifiers: Verifiers, cookie: str) -> None:
        self.rounds = 0
        self.wrong: list[Any] = []
        self.kids: set[str] = set()
        self._gateway = gateway
        self._verifiers = verifiers
        self._cookie = cookie

    async def run(self) -> None:
        while True:
            token = await new_token(self._gateway, self._cookie)
            said = await self._verifiers.ask(token)
            used = await self._gateway.get("/", headers={"Authorization": f"Bearer {token}"})
            if used.status != 200 or not all(verdict.startswith("good ") for verdict in said.values()):
                self.wrong.append((used.status, said))
            self.kids.add(kid_of(token))
            self.rounds += 1


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


@contextlib.asynccontextmanager
async def under(load: Load) -> AsyncIterator[None]:
    task = asyncio.create_task(load.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_rotation_under_load_produces_not_one_failed_verification(
    gateway: Gateway, verifiers: Verifiers, keys_file: Path, tmp_path: Path
) -> None:
    verifiers.start(gateway, tmp_path, QUICK)
    load = Load(gateway, verifiers, await gateway.sign_in())

    async def published() -> set[str]:
        answer = await (await gateway.get("/auth/jwks.json")).json()
        return {jwk["kid"] for jwk in answer["keys"]}

    async def older_than_any_cache(since: float) -> None:
        """What ``gateway keys rotate`` waits for."""

        async def is_so() -> bool:
            return time.monotonic() - since > LIFE + 1.5

        await until(is_so)

    async def rotated() -> tuple[str, str]:
        """A key is added, signs, and the one before is taken out, as the commands do it. Who it was, and who it is."""
        coming = fresh_key("EdDSA", "next", now())
        before = change_signing_keys(keys_file, lambda keys: [*keys, coming]).active.kid

        async def is_published() -> bool:
            return coming.kid in await published()

        await until(is_published)
        await older_than_any_cache(time.monotonic())
        change_signing_keys(keys_file, lambda keys: with_active(keys, coming, now()))

        async def signs() -> bool:
            return coming.kid in load.kids

        await until(signs)
        rounds = load.rounds

        async def its_last_token_was_used() -> bool:
            return load.rounds > rounds + 1

        await until(its_last_token_was_used)
        change_signing_keys(keys_file, lambda keys: [key for key in keys if key.kid != before])

        async def is_gone() -> bool:
            return before not in await published()

        await until(is_gone)
        return before, coming.kid

    async with under(load):
        first, second = await rotated()
        again, third = await rotated()
    assert again == second
    assert load.kids == {first, second, third}
    assert load.wrong == []
    assert load.rounds > 20
