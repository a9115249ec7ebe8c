"""The settings of sessions and of the stores they live in; part of the list in ``model.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from gateway.settings.values import (
    Addresses,
    SecondsOrNone,
    ShortSeconds,
    Slice,
    Whole,
    WholeSeconds,
    Words,
    check_redis_url,
    is_token,
)

_FORM_COOKIE = "gw_form"
_DEVICE_COOKIE = "gw_device"


class RedisSettings(Slice):
    """Where sessions live."""

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="redis://HOST:PORT/DB, rediss:// (TLS) or unix:///PATH; a password in it is better in password_file.",
    )
    username: str | None = Field(None, description="User of Redis (ACL); none: the default user.")
    password: SecretStr | None = Field(None, description="Password of Redis; better in a file.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    prefix: str = Field(
        "gw:", max_length=64, description="Start of every key, so that several sites can share one Redis."
    )
    sentinels: Addresses = Field(
        (), description="HOST:PORT of the Sentinels that know the master; url's host is not used."
    )
    sentinel_master: str = Field("mymaster", min_length=1, description="What the Sentinels call the master.")
    sentinel_username: str | None = Field(None, description="User of the Sentinels (ACL).")
    sentinel_password: SecretStr | None = Field(None, description="Password of the Sentinels; better in a file.")
    sentinel_password_file: Path | None = Field(None, description="File that holds the password of the Sentinels.")
    cluster: bool = Field(False, description="true: a Redis Cluster; its nodes are in nodes, or one of them in url.")
    nodes: Addresses = Field((), description="HOST:PORT of nodes of the Cluster to ask for the others.")
    tls: bool = Field(
        False, description="true: TLS to Sentinels and to what they or the Cluster name; rediss:// means it, too."
    )
    ca_file: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    cert_file: Path | None = Field(None, description="The gateway's own certificate for Redis.")
    key_file: Path | None = Field(None, description="The key of cert_file.")
    check_hostname: bool = Field(True, description="false: any host name in Redis's certificate will do.")
    timeout: ShortSeconds = Field(
        1.0, description="Seconds for one command in all, 30 at most; then the answer is 503."
    )
    pool_size: Whole = Field(32, ge=1, le=10000, description="Connections per process.")

    retries: Whole = Field(
        1, ge=0, le=10, description="How often a command is sent again within timeout when its connection had died."
    )
    wait_replicas: Whole = Field(
        0, ge=0, le=16, description="Replicas that must have a sign-in, sign-out or revocation before it counts (WAIT)."
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_redis_url(value)


class CookieSettings(Slice):
    """The session's cookie (Django: SESSION_COOKIE_*)."""

    name: str = Field(
        "gw_session", description="Name of the cookie; prefixed __Host- or __Secure- when the site is https."
    )
    age: WholeSeconds = Field(
        14 * 86400, description="Seconds a session lives after it was last written, and the most that the cookie says."
    )
    domain: str | None = Field(None, description="Domain of the cookie; set it only to share sessions with subdomains.")
    path: str = Field("/", description="Path below which the browser sends the cookie.")
    secure: bool | None = Field(
        None, description="true or false: only over https; left out: as the scheme of site.url says."
    )
    httponly: bool = Field(True, description="true: scripts of a page cannot read the cookie.")
    samesite: Literal["Lax", "Strict", "None"] = Field(
        "Lax", description="Lax, Strict or None: when requests from other sites carry the cookie; None needs https."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not is_token(value) or value.startswith("__"):
            raise ValueError("must be a cookie name of letters, digits, _ or -, without a prefix (it gets its own)")
        if value == _FORM_COOKIE:
            raise ValueError(f"{_FORM_COOKIE} is the cookie of the gateway's own forms; take another name")
        if value == _DEVICE_COOKIE:
            raise ValueError(f"{_DEVICE_COOKIE} is the cookie that knows a browser again; take another name")
        return value

    @field_validator("domain")
    @classmethod
    def _check_domain(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", value):
            raise ValueError("must be a host name like example.org")
        return value

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", value):
            raise ValueError("must begin with / and hold letters, digits, . _ ~ - only")
        return value


class SqlSettings(Slice):
    """The database of the engines sql and cached_sql."""

    url: SecretStr | None = Field(
        None,
        description="sqlite:////PATH, postgresql://USER:PASSWORD@HOST/DB or mysql://…; left out: a SQLite file in the state folder.",
    )
    url_file: Path | None = Field(None, description="File that holds url, when there is a password in it.")
    timeout: ShortSeconds = Field(
        2.0, description="Seconds for one operation in all, 30 at most; then the answer is 503."
    )
    pool_size: Whole = Field(8, ge=1, le=1000, description="Connections per process.")


class SessionFileSettings(Slice):
    """The folder of the engine file (Django: SESSION_FILE_PATH)."""

    path: Path | None = Field(
        None, description="Folder for the engine file; left out: sessions in the state folder. Made with mode 0700."
    )


class RememberSettings(Slice):
    """How long a session lasts whose owner asked to be kept signed in."""

    enabled: bool = Field(
        True,
        description="false: nobody can ask to be kept signed in; the box is not on the page, the field is not read.",
    )
    idle_timeout: WholeSeconds = Field(
        14 * 86400, description="Seconds without a request after which such a session is over."
    )
    absolute_timeout: WholeSeconds = Field(
        90 * 86400, description="Seconds after signing in when such a session is over, come what may."
    )


class SessionSettings(Slice):
    """Where sessions live and how long."""

    engine: Literal["redis", "sql", "cached_sql", "file", "memory", "cookie"] = Field(
        "redis", description="redis, sql, cached_sql, file, memory (one process) or cookie (Django: SESSION_ENGINE)."
    )
    serializer: str = Field(
        "json", description="json, msgpack, or the dotted path of an object with dumps and loads (SESSION_SERIALIZER)."
    )
    file: SessionFileSettings = SessionFileSettings()
    cookie: CookieSettings = CookieSettings()
    idle_timeout: WholeSeconds = Field(30 * 60, description="Seconds without a request after which a session is over.")
    absolute_timeout: WholeSeconds = Field(
        12 * 3600, description="Seconds after signing in when a session is over, come what may."
    )
    remember: RememberSettings = RememberSettings()
    touch_interval: WholeSeconds = Field(
        60, description="Seconds: activity is written to the store at most this often."
    )
    expire_at_browser_close: bool = Field(
        False, description="true: who does not say whether to be remembered gets a cookie without an age."
    )
    save_every_request: bool = Field(
        False,
        description="true: the gateway's own endpoints write a session they only read, too (SESSION_SAVE_EVERY_REQUEST).",
    )
    rotate_interval: SecondsOrNone = Field(
        15 * 60,
        description="Seconds after which a session gets a new id; 0: only at signing in and when rights change.",
    )
    rotate_grace: WholeSeconds = Field(
        10,
        description="Seconds that the old id still works after the new one was presented; not longer than rotate_interval.",
    )
    max_per_user: Whole | None = Field(
        None, ge=1, le=100000, description="Sessions a user may have at once; left out: any number."
    )
    on_limit: Literal["evict_oldest", "refuse"] = Field(
        "evict_oldest", description="One session too many: evict_oldest ends the oldest, refuse refuses the sign-in."
    )
    keep_at_sign_in: Words = Field(
        (), description="Keys of a session before sign-in that survive the sign-in, like a cart."
    )
    cache_size: Whole = Field(
        10000, ge=0, le=10_000_000, description="Sessions that each process keeps in memory (engine redis); 0: none."
    )

    @property
    def longest_timeout(self) -> int:
        """Seconds after signing in when every session is over."""
        return max(self.absolute_timeout, self.remember.absolute_timeout if self.remember.enabled else 0)
