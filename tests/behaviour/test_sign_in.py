"""Signing in over HTTP (contract, section 2)."""

from __future__ import annotations

from tests.harness import ALICE, Gateway


async def test_a_right_password_signs_in_and_the_cookie_opens_the_backend(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.get("/orders", cookie=cookie)
    assert response.status == 200
    assert await response.text() == "ok"
