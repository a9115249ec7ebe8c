"""The accounts in the gateway's own table, for ``gateway users``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Executable, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import StartError, StoreUnavailable
from gateway.identity.source import canonical
from gateway.identity.sql_asking import OwnTable
from gateway.identity.sql_rows import Unreadable, groups_of
from gateway.identity.users_yaml import UserEntry
from gateway.store.sql import Database

_TEXTS = ("id", "username", "email", "name", "usertype", "password")


class SqlAccounts:
    """Adds, lists and changes users. Every method raises StartError, with words for the person at the terminal.

    A password that is set moves the generation: the user's sessions end.
    """

    def __init__(self, database: Database, own: OwnTable) -> None:
        self._database = database
        self._own = own

    async def entries(self) -> list[UserEntry]:
        """By username."""
        there = self._own.made.c

        async def read(connection: AsyncConnection) -> list[dict[str, Any]]:
            found = await connection.execute(select(self._own.made).order_by(there.canonical_username))
            return [dict(row) for row in found.mappings()]

        try:
            rows = await self._database.read(read)
        except StoreUnavailable as error:
            raise _away(error) from error
        return [_entry(row) for row in rows]

    async def add(self, row: Mapping[str, Any]) -> None:
        """``row`` as a users file has it: username, password (the hash), id, and what else there is."""
        entry = _checked(row)
        name, address = canonical(entry.username), canonical(entry.email)
        values = {field: getattr(entry, field) for field in _TEXTS} | {
            "canonical_username": name,
            "canonical_email": address or None,
            "groups": json.dumps(entry.groups, ensure_ascii=False),
            "disabled": entry.disabled,
            "generation": entry.generation,
        }
        there, logins = self._own.made.c, [name, *([address] if address else [])]
        taken = or_(there.canonical_username.in_(logins), there.canonical_email.in_(logins))

        async def insert_it(connection: AsyncConnection) -> bool:
            if (await connection.execute(select(there.id).where(taken))).first() is not None:
                return False
            await connection.execute(insert(self._own.made).values(values))
            return True

        try:
            is_new = await self._database.transact(insert_it)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise _away(error) from error
            is_new = False  # somebody else was faster
        if not is_new:
            raise StartError(f"there is already a user who signs in as {' or '.join(logins)}")

    async def remove(self, username: str) -> bool:
        """False when there is no such user, as with all of these."""
        return await self._change(delete(self._own.made).where(self._is(username)))

    async def set_password(self, username: str, password_hash: str) -> bool:
        """Sessions end."""
        made = self._own.made
        values = {"password": password_hash, "generation": made.c.generation + 1}
        return await self._change(update(made).where(self._is(username)).values(values))

    async def set_disabled(self, username: str, disabled: bool) -> bool:
        """His sessions end within the source's ``recheck``."""
        return await self._change(update(self._own.made).where(self._is(username)).values(disabled=disabled))

    async def close(self) -> None:
        """Closes the connections."""
        await self._database.close()

    def _is(self, username: str) -> Any:
        return self._own.made.c.canonical_username == canonical(username)

    async def _change(self, change: Executable) -> bool:
        async def write(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(change)).rowcount)

        try:
            return await self._database.write(write)
        except StoreUnavailable as error:
            raise _away(error) from error


def _away(error: StoreUnavailable) -> StartError:
    return StartError(f"the table of users cannot be used: {error.cause.rstrip('. ') or 'no answer'}")


def _checked(row: Mapping[str, Any]) -> UserEntry:
    try:
        entry = UserEntry.model_validate(dict(row))
    except ValidationError as error:
        one = error.errors()[0]
        words = str(one["msg"]).removeprefix("Value error, ")
        raise StartError(f"{'.'.join(map(str, one['loc']))}: {words}") from error
    for field in ("username", "email"):
        if len(canonical(getattr(entry, field))) > 254:
            raise StartError(f"{field}: longer than 254 characters when compared")
    if not canonical(entry.username):
        raise StartError("username: must not be empty")
    return entry


def _entry(row: Mapping[str, Any]) -> UserEntry:
    """As it is: what somebody else wrote into the table is shown, even if nobody could sign in with it."""
    try:
        groups = groups_of(row["groups"])
    except Unreadable:
        groups = ("?",)
    return UserEntry.model_construct(
        **{field: str(row[field] or "") for field in _TEXTS},  # type: ignore[arg-type]
        groups=groups,
        disabled=bool(row["disabled"]),
        generation=int(row["generation"] or 0),
    )
