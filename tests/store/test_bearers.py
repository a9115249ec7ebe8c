"""Who brings a token: what may be said without asking anybody, and what must be asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core.access_tokens import AccessTokens
from gateway.core.head import RequestHead
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.signing_keys import SigningKeys, new_signing_key
from gateway.errors import StoreUnavailable
from gateway.store.bearers import Bearer, Bearers, Places
from gateway.store.denylist import MemoryDenylist, session_key, token_key
from tests.core.tables import table

ALICE = Identity("7", "alice", usertype="user", groups=("staff",), source="file")
KEYS = SigningKeys([new_signing_key("EdDSA", "active", "2026-01-01T00:00:00Z")])
LASTS = 3600


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Unproven(MemoryDenylist):
    """A link that is not proven alive; ``is_away``: nobody answers either."""

    is_away = False

    def known(self, ids: Sequence[str]) -> bool | None:
        return super().known(ids) or None

    async def ask(self, ids: Sequence[str]) -> bool:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().ask(ids)


class Keys:
    """A source that knows none."""

    def takes(self, text: str) -> bool:
        return text.startswith("gwk_")

    def known(self, text: str) -> Bearer | BadToken | None:
        return BadToken("api_key_unknown")

    async def find(self, text: str) -> Bearer | BadToken:
        return BadToken("api_key_unknown")


class Lab:
    """Bearers with a clock to turn; ``users``: who is what by now."""

    def __init__(self, denylist: MemoryDenylist | None = None, places: Places | None = None) -> None:
        self.clock = Clock()
        self.users: dict[str, Identity | None] = {"7": ALICE}
        self.tokens = AccessTokens(lambda: KEYS, "us", "us", clock=self.clock, entropy=os.urandom)
        self.denylist = denylist or MemoryDenylist(self.clock)
        self.bearers = Bearers(self.tokens, self.denylist, self.as_now, places=places, lasts=LASTS, clock=self.clock)

    def as_now(self, user: Identity) -> Identity | None:
        now = self.users[user.id]
        return user if now == user else now

    def token(self, sid: str = "handle") -> str:
        return self.tokens.issue(ALICE, sid, client_id="session", ends_at=float("inf"))[0]

    def good(self, token: str) -> Bearer:
        found = self.bearers.known(token)
        assert isinstance(found, Bearer)
        return found


def head(*fields: tuple[str, str], target: str = "/") -> RequestHead:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (("Host", "x"), *fields)]
    return RequestHead("GET", target, (1, 1), raw, "127.0.0.1")


JWT = "eyJh.eyJi.c"
BROUGHT = {
    "nothing": (head(), None),
    "a bearer": (head(("Authorization", f"Bearer {JWT}")), JWT),
    "in other letters": (head(("authorization", f"bEARER   {JWT} ")), JWT),
    "an empty one": (head(("Authorization", "Bearer")), ""),
    "Basic": (head(("Authorization", "Basic YTpi")), None),
    "two": (head(("Authorization", f"Bearer {JWT}"), ("Authorization", f"Bearer {JWT}")), "token_repeated"),
    "two schemes": (head(("Authorization", "Basic YTpi"), ("Authorization", f"Bearer {JWT}")), "token_repeated"),
    "two that are not ours": (head(("Authorization", "Basic YTpi"), ("Authorization", "Digest x")), None),
    "in the address": (head(target=f"/x?a=1&access_token={JWT}"), "token_in_url"),
    "in the address, first": (head(target=f"/x?access_token={JWT}"), "token_in_url"),
    "in the address and in the header": (
        head(("Authorization", f"Bearer {JWT}"), target=f"/x?access_token={JWT}"),
        "token_in_url",
    ),
    "in the address and in the cookie": (
        head(("Cookie", f"token={JWT}"), target="/x?refresh_token=gwr_a"),
        "token_in_url",
    ),
    "in the address, beside Basic": (
        head(("Authorization", "Basic YTpi"), target="/x?api_key=gwk_a"),
        "token_in_url",
    ),
    "in the address, of somebody else": (head(target="/x?access_token=theirs"), None),
    "in a path": (head(target=f"/access_token={JWT}"), None),
    "in the header of its own": (head(("X-Token", JWT)), JWT),
    "in both, the same": (head(("X-Token", JWT), ("Authorization", f"Bearer {JWT}")), JWT),
    "in both, another": (head(("X-Token", "x.y.z"), ("Authorization", f"Bearer {JWT}")), "token_repeated"),
    "in the header twice": (head(("X-Token", "x.y.z"), ("X-Token", JWT)), "token_repeated"),
    "in the cookie": (head(("Cookie", f"a=b; token={JWT}")), JWT),
    "in a cookie of another name": (head(("Cookie", f"Token={JWT}")), None),
    "in the cookie, beside a header": (head(("Cookie", "token=x.y.z"), ("Authorization", f"Bearer {JWT}")), JWT),
}


@pytest.mark.parametrize(("brought", "found"), table(BROUGHT))
def test_one_token_of_a_request_counts_and_two_are_none(brought: RequestHead, found: str | None) -> None:
    got = Lab(places=Places("X-Token", "token")).bearers.presented(brought)
    assert (got.event if isinstance(got, BadToken) else got) == found


def test_without_places_of_their_own_only_the_standard_one_is_looked_at() -> None:
    bearers = Lab().bearers
    assert bearers.presented(head(("X-Token", JWT))) is None
    assert bearers.presented(head(("Cookie", f"token={JWT}"))) is None
    assert bearers.presented(head(("Authorization", f"Bearer {JWT}"))) == JWT


def test_with_api_keys_alone_other_tokens_are_nothing_to_us() -> None:
    lab = Lab()
    bearers = Bearers(None, lab.denylist, lab.as_now, sources=[Keys()], leaves_others=True)
    assert bearers.presented(head(("Authorization", f"Bearer {JWT}"))) is None
    assert bearers.presented(head(("Authorization", "Bearer gwk_x"))) == "gwk_x"
    assert isinstance(bearers.known("gwk_x"), BadToken)
    assert bearers.presented(head(target=f"/x?access_token={JWT}")) is None
    assert isinstance(bearers.presented(head(target="/x?access_token=gwk_a")), BadToken)


def test_a_good_token_is_its_user_and_the_same_object_each_time() -> None:
    lab = Lab()
    token = lab.token()
    assert lab.good(token).user == ALICE
    assert lab.good(token) is lab.good(token)
    assert lab.good(token).user is lab.good(token).user


@pytest.mark.parametrize("which", ["session", "token"])
async def test_what_was_revoked_is_refused_at_once(which: str) -> None:
    lab = Lab()
    token = lab.token()
    claims = lab.tokens.verify(token)
    await lab.denylist.revoke([session_key(claims.sid) if which == "session" else token_key(claims.jti)], 60)
    found = lab.bearers.known(token)
    assert isinstance(found, BadToken)
    assert found.event == "token_revoked"
    assert isinstance(await lab.bearers.find(token), BadToken)
    assert isinstance(lab.bearers.known(lab.token("another")), Bearer)


async def test_while_the_link_is_not_proven_alive_somebody_is_asked() -> None:
    denylist = Unproven()
    lab = Lab(denylist)
    token = lab.token()
    assert lab.bearers.known(token) is None
    assert isinstance(await lab.bearers.find(token), Bearer)
    denylist.is_away = True
    with pytest.raises(StoreUnavailable):
        await lab.bearers.find(token)
    assert isinstance(lab.bearers.known("nonsense"), BadToken)  # nobody has to be asked for that


def test_its_user_is_what_he_is_now() -> None:
    lab = Lab()
    token = lab.token()
    lab.users["7"] = replace(ALICE, usertype="mgr")
    assert lab.good(token).user.usertype == "mgr"
    lab.users["7"] = None
    found = lab.bearers.known(token)
    assert isinstance(found, BadToken)
    assert found.event == "token_user_gone"


def test_a_tokens_end_is_not_the_end_of_what_it_opened() -> None:
    lab = Lab()
    token = lab.token()
    opened = lab.good(token)
    lab.clock.now += 1000
    assert isinstance(lab.bearers.known(token), BadToken)
    assert isinstance(lab.bearers.still_good(opened), Bearer)
    lab.clock.now += LASTS
    assert isinstance(lab.bearers.still_good(opened), BadToken)


async def test_what_it_opened_ends_with_its_session_or_its_user() -> None:
    lab = Lab()
    opened, other = lab.good(lab.token()), lab.good(lab.token("other"))
    await lab.denylist.revoke([session_key("handle")], 60)
    assert isinstance(lab.bearers.still_good(opened), BadToken)
    assert isinstance(lab.bearers.still_good(other), Bearer)
    lab.users["7"] = None
    assert isinstance(lab.bearers.still_good(other), BadToken)


async def test_of_what_is_open_somebody_is_asked_while_the_link_is_not_proven_alive() -> None:
    lab = Lab(Unproven())
    opened = await lab.bearers.find(lab.token())
    assert isinstance(opened, Bearer)
    assert lab.bearers.still_good(opened) is None
    assert isinstance(await lab.bearers.ask_still_good(opened), Bearer)
    await lab.denylist.revoke([session_key("handle")], 60)
    assert isinstance(await lab.bearers.ask_still_good(opened), BadToken)


def test_a_token_is_not_shown() -> None:
    lab = Lab()
    token = lab.token()
    assert token not in repr(lab.good(token))
