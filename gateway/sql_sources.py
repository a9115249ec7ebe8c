"""What sources of users in databases are made of, from their slice; also for ``gateway users``."""

from __future__ import annotations

from gateway.errors import Problem, SettingsError
from gateway.identity.sql_asking import Asking, LegacyTable, OwnTable, Queries
from gateway.settings.users_sql import OWN_TABLE, SqlUsersSettings
from gateway.store.sql import Database


def asking_of(given: SqlUsersSettings) -> Asking:
    """The one of the three ways that the operator chose."""
    if given.query is not None and given.query_by_id is not None:
        return Queries(given.query, given.query_by_id)
    if given.columns is not None and given.table is not None:
        return LegacyTable(given.table, given.columns.model_dump(exclude_none=True))
    return OwnTable(given.table or OWN_TABLE)


def database_of(given: SqlUsersSettings, asking: Asking, *, create: bool = False) -> Database:
    """Connects to nothing yet. ``create``: also where the slice does not say so.

    :raises SettingsError: the URL is none of a database.
    """
    makes = asking.create if isinstance(asking, OwnTable) and (given.create or create) else None
    assert given.url is not None
    try:
        url = given.url.get_secret_value()
        return Database(url, timeout=given.timeout, pool_size=given.pool_size, create=makes)
    except ValueError as error:
        raise SettingsError([Problem("users", "url", str(error))]) from error
