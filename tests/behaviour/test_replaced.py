"""An id that was replaced is dead at once, and takes nothing along: the browser has the new cookie by now."""

from __future__ import annotations

import pytest

from tests.harness import ALICE, MANAGER, Gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]


async def sign_in_again(gateway: Gateway, cookie: str, user: dict[str, str] = ALICE) -> str:
    answer = await gateway.post("/auth/login", json=user, cookie=cookie)
    assert answer.status == 200
    return session_cookie(answer)


@pytest.mark.parametrize("path", ["/orders", "/auth/session", "/auth/sessions"])
async def test_a_request_that_still_brings_the_old_id_does_not_delete_the_new_cookie(
    gateway: Gateway, path: str
) -> None:
    old = await gateway.sign_in()
    new = await sign_in_again(gateway, old)
    late = await gateway.get(path, cookie=old)
    assert (late.status, (await late.json())["reason"]) == (302, "replaced")
    assert "Set-Cookie" not in late.headers
    assert (await gateway.get(path, cookie=new)).status == 200


async def test_signing_out_with_the_old_id_signs_out(gateway: Gateway) -> None:
    old = await gateway.sign_in()
    new = await sign_in_again(gateway, old)
    assert (await gateway.post("/auth/logout", cookie=old)).status == 200
    assert (await (await gateway.get("/orders", cookie=new)).json())["reason"] == "revoked"


async def test_signing_out_with_the_id_of_somebody_else_does_not(gateway: Gateway) -> None:
    alices = await gateway.sign_in()
    mgrs = await sign_in_again(gateway, alices, MANAGER)
    await gateway.post("/auth/logout", cookie=alices)
    assert (await gateway.get("/orders", cookie=mgrs)).status == 200


async def test_an_empty_handle_is_nobody_s(gateway: Gateway) -> None:
    first, second = await gateway.sign_in(), await gateway.sign_in()
    answer = await gateway.request("DELETE", "/auth/sessions/", cookie=first)
    assert (answer.status, (await answer.json())["reason"]) == (404, "no_such_session")
    assert (await gateway.get("/orders", cookie=second)).status == 200


async def test_every_form_of_a_target_names_the_same_session(gateway: Gateway) -> None:
    first, second = await gateway.sign_in(), await gateway.sign_in()
    listed = (await (await gateway.get("/auth/sessions", cookie=first)).json())["sessions"]
    handle = next(row["handle"] for row in listed if not row["this"])
    host = f"127.0.0.1:{gateway.port}"
    head = f"DELETE http://{host}/auth/%73essions/{handle} HTTP/1.1\r\nHost: {host}\r\nCookie: {first}\r\n"
    received = await gateway.raw(f"{head}Connection: close\r\n\r\n".encode())
    assert b" 200 " in received.partition(b"\r\n")[0]
    assert (await gateway.get("/orders", cookie=second)).status == 302
