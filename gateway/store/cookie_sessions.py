"""The engine ``cookie``: the session itself, sealed, in the browser (Django's ``signed_cookies``, but unreadable).

``key id ‖ seed ‖ AES-256-GCM(session id ‖ length ‖ record ‖ card)`` as base64url. Nothing is stored but a note for each id
that was ended early, until it would have been over anyway; a note is looked for at each request. Writers are not merged,
the last answer wins. With Redis away nobody is signed out, and nobody can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url, from_b64url
from gateway.core.sessions import Card, Session, SessionRecord, Visitor, absolute_end, needs_touch, why_over
from gateway.core.tickets import SESSION_ID_BYTES, session_tickets
from gateway.errors import SessionInterrupted, SessionTooLarge, StoreUnavailable
from gateway.store.announcements import Announcements
from gateway.store.cache import Lost
from gateway.store.engine import Capabilities, Gone, SessionEngine
from gateway.store.reader import NOTES, Presented
from gateway.store.sessions import Sessions
from gateway.store.values import Values, name_of
from gateway.store.writer import handle_of_user

MAX_VALUE_BYTES = 3800
"""Browsers drop a cookie of more than 4096 bytes without a word (RFC 6265 §6.1): name and attributes need the rest."""
RENEWAL_RESERVE = 32
"""Characters that a new or saved session leaves free: a renewal says a later moment, perhaps with more digits."""
_AWAY_SECONDS = 1.0
"""A Redis that did not answer is not asked for so long: each question would take its whole time-out."""
_SEED_BYTES = 24
_NONCE_BYTES = 12
_HEAD_BYTES = ID_BYTES + _SEED_BYTES
_PURPOSE = b"session cookie"
_CAPABILITIES = Capabilities(
    directory=False,
    revocation_within_a_second=True,
    merge=False,
    survives_loss_of_redis=True,
    several_processes=True,
)


class CookieSessions(Sessions):
    """``engine`` keeps the notes of ended ids and the announced key ids, nothing else."""

    def __init__(
        self,
        engine: SessionEngine,
        values: Values,
        ring: KeyRing,
        announcements: Announcements,
        *rest: Any,
        **options: Any,
    ) -> None:
        super().__init__(engine, values, session_tickets(ring), announcements, *rest, **options)
        self._ring = ring
        self._away_until = 0.0

    @property
    def capabilities(self) -> Capabilities:
        """Not those of the engine with the notes."""
        return _CAPABILITIES

    # -- text and session
    def cookie_value(self, session: Session) -> str:
        """The text that :meth:`_sealed` made."""
        return session.version.decode("ascii")

    def _sealed(self, session: Session, reserve: int = 0) -> Session:
        """The session with the cookie's text as its version; ``reserve``: characters that have to stay free.

        :raises SessionTooLarge: naming the limit.
        """
        key, seed = self._ring.active, self._entropy(_SEED_BYTES)
        record = self._values.plain(session.record)
        plain = b"".join((session.id, len(record).to_bytes(4, "big"), record, self._values.plain_card(session.card)))
        text = b64url(key.id + seed + _cipher(key, seed).encrypt(seed[-_NONCE_BYTES:], plain, _PURPOSE))
        size = len(text) + reserve
        if size > MAX_VALUE_BYTES:
            raise SessionTooLarge(size, MAX_VALUE_BYTES)
        return replace(session, version=text.encode())

    def _unsealed(self, text: str) -> Session | None:
        """None for what is not ours.

        :raises StoreUnavailable: it may be, but under a key that this process does not have (yet).
        """
        data = from_b64url(text) if len(text) <= MAX_VALUE_BYTES else None
        if data is None or len(data) <= _HEAD_BYTES + SESSION_ID_BYTES:
            return None
        key = self._ring.get(data[:ID_BYTES])
        if key is None:
            if self._announcements.may_be_ours(data[:ID_BYTES]):
                raise StoreUnavailable(f"a cookie is under key {data[:ID_BYTES].hex()}, not in this ring")
            return None
        seed = data[ID_BYTES:_HEAD_BYTES]
        try:
            plain = _cipher(key, seed).decrypt(seed[-_NONCE_BYTES:], data[_HEAD_BYTES:], _PURPOSE)
            split = SESSION_ID_BYTES + 4
            end = split + int.from_bytes(plain[SESSION_ID_BYTES:split], "big")
            record, card = self._values.read(plain[split:end]), self._values.read_card(plain[end:])
        except (InvalidTag, ValueError):
            return None
        last_seen = max(card.last_seen, record.modified)
        return Session(plain[:SESSION_ID_BYTES], record, last_seen, card, text.encode())

    # -- finding
    def presented(self, texts: Iterable[str]) -> Presented | None:
        """The first text that opens."""
        unavailable: StoreUnavailable | None = None
        for text in texts:
            try:
                session = self._unsealed(text)
            except StoreUnavailable as error:
                unavailable = unavailable or error
                continue
            if session is not None:
                return Presented(text, session.id)
        if unavailable is not None:
            raise unavailable
        return None

    def known(self, presented: Presented) -> Session | Lost | None:
        """Never: whether it was ended early is a question."""
        return None

    async def find(self, presented: Presented) -> Session | Lost:
        """The session in the cookie, unless it was ended early. With Redis away it counts."""
        session = self._unsealed(presented.text)
        return Lost("unknown_session") if session is None else await self.reload(session)

    async def reload(self, session: Session) -> Session | Lost:
        """The same one, unless it was ended early: nobody else can have changed it."""
        judged = self._judged(session)
        if isinstance(judged, Lost):
            return judged
        if self._clock() < self._away_until:
            return judged
        try:
            note = await self._note(session.id)
        except StoreUnavailable as error:
            self._away_until = self._clock() + _AWAY_SECONDS
            self._warn("who was signed out cannot be told just now", error)
            return judged
        return Lost(note) if note else judged

    async def watch(self, session: Session) -> Session | Lost:
        """Its cookie is not here to say when it was last seen, so being idle does not end what is open."""
        return await self.reload(replace(session, last_seen=self._clock()))

    async def find_id(self, session_id: bytes) -> Session | Lost:
        """Nothing is kept here that could be found."""
        return Lost("unknown_session")

    async def _note(self, session_id: bytes) -> str:
        found = await self._lookups.get(name_of(session_id))
        return found.note if isinstance(found, Gone) and found.note in NOTES else ""

    # -- writing
    async def _create(self, record: SessionRecord, card: Card) -> Session:
        session = Session(self._entropy(SESSION_ID_BYTES), record, card.last_seen, card)
        return self._sealed(session, RENEWAL_RESERVE)

    async def _undo(self, session: Session) -> None:
        """Nobody was given its cookie."""

    async def save(self, session: Session, record: SessionRecord) -> Session:
        """:raises SessionInterrupted: it was ended meanwhile.
        :raises SessionTooLarge: naming the limit.
        """
        if await self._note(session.id):
            raise SessionInterrupted
        saved = replace(session.seen_at(self._clock()), record=record, came_from=None)
        return self._sealed(saved, RENEWAL_RESERVE)

    def note_activity(self, session: Session) -> None:
        """The cookie says it: :meth:`renew`."""

    async def touch(self, session: Session) -> Session:
        """The session with a cookie that says it is in use now."""
        return self._sealed(session.seen_at(self._clock()))

    async def delete(self, session: Session, reason: str = "revoked") -> bool:
        """Leaves a note for as long as any cookie of the session could still be good.

        :raises StoreUnavailable: the note could not be left, so the cookie is still good.
        """
        handle = handle_of_user(session)
        try:
            was_living = await self._bury(session, reason)
        except StoreUnavailable:
            self._endings.tell_later(handle)
            raise
        await self._endings.tell(handle)
        return was_living

    async def _bury(self, session: Session, reason: str) -> bool:
        now = self._clock()
        if why_over(session.record, session.last_seen, self.policy, now) is not None:
            return False
        left = max(absolute_end(session.record, self.policy) - now, 0) + self.policy.touch_interval
        name = name_of(session.id)
        await self.engine.bury(name, reason, left)
        self.changed([name])
        return True

    async def replace(self, session: Session, record: SessionRecord, visitor: Visitor | None = None) -> Session:
        """:raises SessionInterrupted: the same user's session was ended meanwhile."""
        user, old_user = record.user, session.record.user
        is_same = old_user is None or (user is not None and user.is_same(old_user))
        if is_same and await self._note(session.id):
            raise SessionInterrupted
        new = await self.create(record, visitor or Visitor(session.card.address, session.card.device))
        if user is not None and user.is_same(old_user):  # one session under a new id
            new = self._sealed(replace(new, card=replace(new.card, handle=session.card.handle)), RENEWAL_RESERVE)
            await self._bury(session, "replaced")
        else:
            await self.delete(session, "replaced")
        return new

    def renewal_is_due(self, session: Session) -> bool:
        """Is the activity in the cookie old, or is it under an old key?"""
        return needs_touch(session, self.policy, self._clock())

    def renewal_is_urgent(self, session: Session) -> bool:
        """Without it an active user would be idle."""
        return True

    async def renew(self, session: Session) -> Session:
        """A new cookie for the same session."""
        return await self.touch(session)


def _cipher(key: MasterKey, seed: bytes) -> AESGCM:
    """A key for each cookie: under one for all, random nonces are good for 2**32 cookies only (NIST SP 800-38D §8.3)."""
    return AESGCM(key.derived_for(_PURPOSE, seed))
