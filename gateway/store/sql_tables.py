"""The tables of the SQL session engine. Django's column names are kept where Django has the column.

Moments are epoch seconds of the process's clock in the code, and readable UTC times in the tables.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Dialect

_EPOCH = datetime(1970, 1, 1)  # naive, as the columns are; UTC by agreement
_LAST = (datetime(9999, 1, 1) - _EPOCH).total_seconds()


class _Moment(TypeDecorator[float]):
    """Epoch seconds here, a readable UTC time with microseconds in the table."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | None:
        """Into the table."""
        return None if value is None else _EPOCH + timedelta(seconds=max(0.0, min(value, _LAST)))

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> float | None:
        """Out of the table."""
        return None if value is None else value.replace(tzinfo=UTC).timestamp()


class _Hexed(TypeDecorator[bytes]):
    """Bytes for MySQL, sent as text: aiomysql 0.3.2 cannot send bytes with PyMySQL 1.2.3 or newer (its issue 1080)."""

    impl = mysql.LONGBLOB
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Into the statement."""
        return None if value is None else value.hex()

    def bind_processor(self, dialect: Dialect) -> Any:
        """As text: the processor of a BLOB is for bytes."""
        return lambda value: self.process_bind_param(value, dialect)

    def bind_expression(self, bindparam: BindParameter[bytes]) -> ColumnElement[bytes]:
        """Around the text in the statement."""
        return func.unhex(bindparam)


# MySQL's usual collations take "a" and "A" for one name. And its plain BLOB ends at 64 KiB.
_NAME = String(255).with_variant(mysql.VARCHAR(255, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
_BYTES = LargeBinary().with_variant(_Hexed(), "mysql", "mariadb")
_COUNTER = BigInteger().with_variant(Integer(), "sqlite")
METADATA = MetaData()
_INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}

# session_key, session_data and expire_date as in Django's table. A row is kept until kept_until and over at expire_date.
SESSION = Table(
    "session",
    METADATA,
    Column("session_key", _NAME, primary_key=True),
    Column("session_data", _BYTES, nullable=False),
    Column("version", _BYTES, nullable=False),
    Column("seen", _BYTES, nullable=True),  # NULL: it was shortened; empty: it is a pointer
    Column("expire_date", _Moment, nullable=False),
    Column("kept_until", _Moment, nullable=False, index=True),
    **_INNODB,
)
NOTE = Table(
    "session_note",
    METADATA,
    Column("session_key", _NAME, primary_key=True),
    Column("note", _BYTES, nullable=False),
    Column("expire_date", _Moment, nullable=False, index=True),
    **_INNODB,
)
KEY_ID = Table("session_key_id", METADATA, Column("key_id", _NAME, primary_key=True), **_INNODB)
DIRECTORY = Table(
    "session_directory",
    METADATA,
    Column("id", _COUNTER, primary_key=True, autoincrement=True),
    Column("owner", _NAME, nullable=False),
    Column("session_key", _NAME, nullable=False, index=True),
    Column("noted", _Moment, nullable=False),
    Column("expire_date", _Moment, nullable=False, index=True),
    UniqueConstraint("owner", "session_key"),
    **_INNODB,
)
# Rows to lock, one for many owners: see gateway.store.sql_directory.
LOCK_SLOTS = 64
LOCK = Table("session_lock", METADATA, Column("slot", Integer, primary_key=True, autoincrement=False), **_INNODB)
# One row: which copies of sessions count, see gateway.store.cached_sql.
COPIES = Table(
    "session_copies",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("trusted", Integer, nullable=False),
    Column("incarnation", String(255), nullable=False),
    Column("bumped", _Moment, nullable=False),
    **_INNODB,
)


def create_missing(connection: Connection) -> None:
    """Tables, indexes and the rows that are always there."""
    METADATA.create_all(connection)
    for table in METADATA.sorted_tables:
        for index in table.indexes:
            index.create(
                connection, checkfirst=True
            )  # MySQL has no transaction around it: a kill may have come between
    slots = set(connection.scalars(select(LOCK.c.slot)))
    if missing := [{"slot": slot} for slot in range(LOCK_SLOTS) if slot not in slots]:
        connection.execute(insert(LOCK), missing)
    if connection.scalar(select(COPIES.c.id)) is None:
        # Generations count from the time: those of tables that were dropped were smaller.
        row = {"id": 1, "generation": time.time_ns() // 1_000_000, "trusted": 1, "incarnation": "", "bumped": 0.0}
        connection.execute(insert(COPIES).values(row))
