"""The cookie of a browser that has signed in before: it tells the owner of an account from those who guess at it.

A ticket (:mod:`gateway.core.tickets`): a device id of 16 random bytes, and a tag of 8 bytes for each of the last five accounts
that signed in with this browser. It signs nobody in and says nobody's name; what it does stands in
:mod:`gateway.core.throttling`. A tag is an HMAC over device and account, so that no tag is worth anything in another cookie.

After a rotation it opens under the older key as long as that is in the ring, and so do its tags.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.keys import KeyRing, MasterKey
from gateway.core.tickets import Tickets

COOKIE_NAME = "gw_device"
COOKIE_SECONDS = 365 * 86400
ID_BYTES = 16
_TAG_BYTES = 8
_MOST = 5
_NO_TAG = bytes(_TAG_BYTES)


@dataclass(frozen=True, slots=True)
class Device:
    """A browser: its id, and a tag for each account that signed in with it, the last one first."""

    id: bytes
    tags: tuple[bytes, ...] = ()


class DeviceTickets:
    """Makes and opens device cookies."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._tickets = Tickets(ring, b"device ticket", ID_BYTES + _MOST * _TAG_BYTES)

    def open(self, candidates: Iterable[str]) -> Device | None:
        """The first that is authentic: a sibling site may have set one of our name (P49)."""
        content = self._tickets.first(candidates)
        if content is None:
            return None
        rest = content[ID_BYTES:]
        tags = (rest[start : start + _TAG_BYTES] for start in range(0, len(rest), _TAG_BYTES))
        return Device(content[:ID_BYTES], tuple(tag for tag in tags if tag != _NO_TAG))

    def knows(self, device: Device | None, account: str) -> bool:
        """Has this account signed in with this browser?"""
        if device is None:
            return False
        wanted = self._tags(device.id, account)
        return any(hmac.compare_digest(tag, one) for tag in device.tags for one in wanted)

    def signed_in(self, device: Device | None, account: str, new_id: bytes) -> str:
        """The cookie's value after a sign-in; ``new_id``: 16 random bytes, for a browser that has none yet."""
        known = device or Device(new_id)
        own = self._tags(known.id, account)
        tags = [own[0], *(tag for tag in known.tags if tag not in own)][:_MOST]
        return self._tickets.sign(known.id + b"".join(tags).ljust(_MOST * _TAG_BYTES, b"\0"))

    def _tags(self, device: bytes, account: str) -> list[bytes]:
        """Under every key, the active one's first."""
        message = device + account.encode("utf-8", "surrogatepass")
        return [_tag(key, message) for key in self._ring]


def _tag(key: MasterKey, message: bytes) -> bytes:
    return hmac.digest(key.derived(b"device account"), message, "sha256")[:_TAG_BYTES]
