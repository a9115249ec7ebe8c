"""What stands in a store: sealed records, pointers to a session's new id, and cards. Bytes in and out; no store here.

A value is ``kind ‖ key id ‖ nonce ‖ rest`` (1 + 4 + 12 bytes and the rest), so that its beginning is different in every
write. A record is AES-256-GCM under a key derived from the master key *and* the session's id; a pointer's rest is the
store's name of the new session in clear (whoever revokes must be able to follow it without knowing any id) and the new id,
sealed under the old one. A card is sealed under the master key alone: a user's list is shown without his cookies. The
store's name is associated data throughout, so what is put under another name does not open (founding decision 3).
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.identity import Identity
from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url, from_b64url
from gateway.core.sessions import Card, SessionRecord
from gateway.core.tickets import SESSION_ID_BYTES
from gateway.store.serializers import Serializer, dumps_mapping

_NONCE_BYTES = 12
_KEY_ID = slice(1, 1 + ID_BYTES)
_HEAD_BYTES = 1 + ID_BYTES + _NONCE_BYTES
_RECORD, _POINTER, _REPLACED, _CARD, _DATA = b"R", b"P", b"X", b"C", b"D"
_NAME_HASH_BYTES = 16
NAME_BYTES = len(b64url(bytes(_NAME_HASH_BYTES)))


class SealBroken(Exception):
    """The bytes are cut, changed, put under another's name, or no record."""


class UnknownKey(Exception):
    """Sealed under a key that is not in this process's ring; ``key_id`` is its id."""

    def __init__(self, key_id: bytes) -> None:
        super().__init__(key_id.hex())
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Pointer:
    """The session has another id now."""

    id: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Replaced:
    """The session was given another id for good: this one opens nothing any more. ``id``: the new one, for whoever watches
    over what the old one opened; None: there is none of the same user's."""

    id: bytes | None = field(default=None, repr=False)


_NOBODY = b"." * NAME_BYTES


def name_of(session_id: bytes) -> bytes:
    """What stores call a session: a hash of the id (128 of its bits), which they never see itself."""
    return b64url(sha256(session_id).digest()[:_NAME_HASH_BYTES]).encode()


def pointed_name(value: bytes) -> bytes | None:
    """The name that a pointer, or what was replaced, leads to; None for all else. Needs no key."""
    name = value[_HEAD_BYTES : _HEAD_BYTES + NAME_BYTES]
    is_name = len(name) == NAME_BYTES and from_b64url(name.decode("latin-1")) is not None
    return name if value[:1] in (_POINTER, _REPLACED) and is_name else None


def handle_without_card(name: bytes) -> str:
    """A session's handle when its card is lost: not the one it had."""
    return sha256(b"handle" + name).hexdigest()[:12]


class Values:
    """Seals and opens with a key ring; records are written by ``serializer``."""

    def __init__(self, ring: KeyRing, serializer: Serializer) -> None:
        self._ring = ring
        self._serializer = serializer

    def record(self, session_id: bytes, name: bytes, record: SessionRecord) -> bytes:
        """The value of a session.

        :raises gateway.store.serializers.UnwritableValue: naming the key of the session's data.
        """
        plain = self.plain(record)
        key, head = self._head(_RECORD)
        return head + _session_cipher(key, session_id).encrypt(head[-_NONCE_BYTES:], plain, _RECORD + name)

    def pointer(self, session_id: bytes, name: bytes, new_id: bytes) -> bytes:
        """The value that leads from an old id to the new one."""
        new_name = name_of(new_id)
        key, head = self._head(_POINTER)
        sealed = _session_cipher(key, session_id).encrypt(head[-_NONCE_BYTES:], new_id, _POINTER + name + new_name)
        return head + new_name + sealed

    def replaced(self, session_id: bytes, name: bytes, new_id: bytes | None) -> bytes:
        """The value of an id that was replaced: whoever still has to end the session finds its successor by it, whoever has
        the old cookie finds nothing. None: there is no successor that is the same user's."""
        key, head = self._head(_REPLACED)
        after = name_of(new_id) if new_id else _NOBODY
        cipher = _session_cipher(key, session_id)
        return head + after + cipher.encrypt(head[-_NONCE_BYTES:], new_id or b"", _REPLACED + name + after)

    def open(self, session_id: bytes, name: bytes, value: bytes) -> SessionRecord | Pointer | Replaced:
        """:raises SealBroken, UnknownKey: never says which part was wrong."""
        kind, rest = value[:1], value[_HEAD_BYTES:]
        key = self._key(value)
        if kind not in (_RECORD, _POINTER, _REPLACED) or len(rest) < NAME_BYTES:
            raise SealBroken
        aad = kind + name
        if kind != _RECORD:
            aad, rest = aad + rest[:NAME_BYTES], rest[NAME_BYTES:]
        plain = _opened(_session_cipher(key, session_id), value, rest, aad)
        if kind != _RECORD:
            return Pointer(plain) if kind == _POINTER else Replaced(plain or None)
        try:
            return self.read(plain)
        except (ValueError, RecursionError) as error:
            raise SealBroken from error

    def plain(self, record: SessionRecord) -> bytes:
        """``length ‖ frame ‖ data``: the frame is ours and always JSON, the data are the serializer's."""
        frame = _json(record.dump())
        data = dumps_mapping(self._serializer, record.data) if record.data else b""
        return len(frame).to_bytes(4, "big") + frame + data

    def read(self, plain: bytes) -> SessionRecord:
        """What :meth:`plain` made.

        :raises ValueError: when it is something else.
        """
        split = 4 + int.from_bytes(plain[:4], "big")
        data = self._serializer.loads(plain[split:]) if plain[split:] else {}
        return SessionRecord.load(json.loads(plain[4:split]), data)

    def card(self, name: bytes, card: Card) -> bytes:
        """What a user's list shows of a session."""
        key, head = self._head(_CARD)
        return head + _card_cipher(key, name).encrypt(head[-_NONCE_BYTES:], self.plain_card(card), _CARD + name)

    def open_card(self, name: bytes, seen: bytes | None) -> Card | None:
        """None when it is gone, changed, or sealed under a key that is not here: it says nothing about the session."""
        if not seen or seen[:1] != _CARD:
            return None
        try:
            plain = _opened(_card_cipher(self._key(seen), name), seen, seen[_HEAD_BYTES:], _CARD + name)
            return self.read_card(plain)
        except (SealBroken, UnknownKey, ValueError):
            return None

    @staticmethod
    def plain_card(card: Card) -> bytes:
        """Not sealed."""
        return _json(card.dump())

    @staticmethod
    def read_card(plain: bytes) -> Card:
        """:raises ValueError: when it is no card."""
        return Card.load(json.loads(plain))

    def encode(self, data: dict[str, Any]) -> bytes:
        """Data alone, sealed for nobody in particular (Django's ``encode``)."""
        key, head = self._head(_DATA)
        plain = dumps_mapping(self._serializer, data)
        return head + AESGCM(key.derived(b"session data")).encrypt(head[-_NONCE_BYTES:], plain, _DATA)

    def decode(self, text: str) -> dict[str, Any]:
        """What :meth:`encode` made, as base64url; empty for anything else."""
        value = from_b64url(text) or b""
        try:
            cipher = AESGCM(self._key(value).derived(b"session data"))
            found = self._serializer.loads(_opened(cipher, value, value[_HEAD_BYTES:], _DATA))
        except (SealBroken, UnknownKey, ValueError):
            return {}
        return dict(found) if isinstance(found, dict) else {}

    def owners(self, user: Identity) -> list[bytes]:
        """What the directory calls a user, under the active key first, then under the others of the ring."""
        source, user_id = user.source.encode("utf-8", "surrogatepass"), user.id.encode("utf-8", "surrogatepass")
        message = len(source).to_bytes(4, "big") + source + user_id
        keys = [self._ring.active, *(key for key in self._ring if key is not self._ring.active)]
        return [_owner(key, message) for key in keys]

    def is_under_active_key(self, value: bytes) -> bool:
        """Was it sealed by the key that seals today? ``value`` or its version."""
        return value[_KEY_ID] == self._ring.active.id

    def _head(self, kind: bytes) -> tuple[MasterKey, bytes]:
        key = self._ring.active
        return key, kind + key.id + os.urandom(_NONCE_BYTES)

    def _key(self, value: bytes) -> MasterKey:
        if len(value) <= _HEAD_BYTES:
            raise SealBroken
        key = self._ring.get(value[_KEY_ID])
        if key is None:
            raise UnknownKey(value[_KEY_ID])
        return key


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _session_cipher(key: MasterKey, session_id: bytes) -> AESGCM:
    assert len(session_id) == SESSION_ID_BYTES
    return AESGCM(key.derived_for(b"session record", session_id))


def _card_cipher(key: MasterKey, name: bytes) -> AESGCM:
    """One key for each session: under one for all, random nonces would run short after 2^32 touches."""
    return AESGCM(key.derived_for(b"session card", name))


def _opened(cipher: AESGCM, value: bytes, rest: bytes, aad: bytes) -> bytes:
    try:
        return cipher.decrypt(value[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES], rest, aad)
    except InvalidTag as error:
        raise SealBroken from error


def _owner(key: MasterKey, message: bytes) -> bytes:
    mac = hmac.digest(key.derived(b"directory owner"), message, "sha256")
    return b64url(mac[:_NAME_HASH_BYTES]).encode()
