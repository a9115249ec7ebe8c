"""The path policy: rules match the normalised path, the bytes forwarded are the ones received.

Where the two could lead to different places, the answer is 400 (founding decision 8): a backend that decodes once more or
once less than we do, or that resolves dots, slashes or parameters in another order, must never see a path that our rules
read as another one. Peers that normalised *and* forwarded the original were bypassed for it (hazards P1 to P20).

Refused: dot segments plain or encoded, ``//``, backslash, ``;`` (a path parameter: Tomcat drops it), encoded slash,
double encoding (what is an escape again once decoded), overlong UTF-8, encoded control characters, ``#``, and any byte
that a target may not hold. Case is kept. ``%23`` and ``%3f`` are ordinary characters of a name and pass, unless the part
before them falls under another rule (:meth:`gateway.core.routes.RouteTable.match`). ``%2F`` passes where a rule says so
and every reading of it falls under that rule (:meth:`gateway.core.routes.RouteTable.find`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from gateway.core.head import is_host
from gateway.errors import RequestError

_TARGET_CHARS = re.compile(r"[\x21-\x7e]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL_ESCAPE = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_SLASH = re.compile(r"%2[Ff]")
_SLASHES = re.compile(r"//+")
_AMBIGUOUS = (
    (re.compile(r"//"), "an empty segment (//)"),
    (re.compile(r"\\|%5[Cc]"), "a backslash"),
    (re.compile(r";|%3[Bb]"), "a path parameter (;)"),
    (_SLASH, "an encoded slash"),
    (_CONTROL_ESCAPE, "an encoded control character"),
    # UTF-8 in more bytes than it takes (RFC 3629 §10): old Tomcat and IIS read a slash, a backslash or a dot there
    (
        re.compile(r"%[Cc]0%[Aa][EeFf]|%[Cc]1%9[Cc]|%[Ee]0%80%[Aa][EeFf]|%[Ee]0%81%9[Cc]|%[Ff]0%80%8[01]"),
        "overlong UTF-8",
    ),
    (re.compile(r"(?:^|/)(?:\.|%2[Ee]){1,2}(?=/|$)"), "a dot segment"),
)
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~-]+)*)*/?")


@dataclass(frozen=True, slots=True)
class Target:
    """A request target, taken apart. ``path`` is for rules, ``forward`` (path and query as received) for the backend."""

    path: str
    forward: str
    host: str | None = None
    """The authority of an absolute-form target: it replaces the Host header (RFC 9112 §3.2.2)."""
    readings: tuple[str, ...] = ()
    """Of a path with encoded slashes: all that a backend may read; ``path`` is the first."""


def parse_target(target: str, *, encoded_slash: bool = False) -> Target:
    """Takes a request target apart (RFC 9112 §3.2: origin-form, absolute-form, asterisk-form).

    ``encoded_slash``: a path with ``%2F`` is not refused; what it may be read as are the target's ``readings``.

    :raises RequestError: 400 ``bad_request`` or ``ambiguous_path``.
    """
    if not _TARGET_CHARS.fullmatch(target):
        raise RequestError("bad_request", what="a character that no target may hold")
    if "#" in target:  # P2, P3: a fragment never travels; who reads it differently reads another path
        raise RequestError("bad_request", what="a fragment in the target")
    if target == "*":
        return Target("*", "*")
    host, forward = _split_absolute(target)
    raw_path = forward.partition("?")[0]
    if encoded_slash and _SLASH.search(raw_path):
        readings = _readings(raw_path)
        return Target(readings[0], forward, host, readings)
    return Target(normalise(raw_path), forward, host)


def _split_absolute(target: str) -> tuple[str | None, str]:
    if target.startswith("/"):
        return None, target
    scheme, colon, rest = target.partition("://")
    if not colon or scheme.lower() not in ("http", "https"):
        raise RequestError("bad_request", what="its target is no path")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, forward = rest[:end], rest[end:]
    if not is_host(authority):  # it replaces Host, so it is judged like Host (hazards A5, D8)
        raise RequestError("bad_request", what="its target has a wrong host")
    return authority, forward if forward.startswith("/") else "/" + forward


def _readings(raw_path: str) -> tuple[str, ...]:
    """``%2F`` as a slash; the same with several slashes in a row taken for one; as a character of a name."""
    in_a_name = normalise(_SLASH.sub("\x7f", raw_path))  # DEL is in no rule, and no target may hold it
    split = _SLASH.sub("/", raw_path)
    merged = normalise(_SLASHES.sub("/", split))
    return unquote(split, errors="surrogateescape"), merged, in_a_name


def normalise(raw_path: str) -> str:
    """Percent-decoded path for matching. Bytes that are not UTF-8 stay apart as surrogates.

    :raises RequestError: 400 ``ambiguous_path`` or ``bad_request`` (a broken percent-escape).
    """
    if _PLAIN.fullmatch(raw_path):
        return raw_path
    if _BAD_ESCAPE.search(raw_path):
        raise RequestError("bad_request", what="a broken percent-escape")
    for pattern, what in _AMBIGUOUS:
        if pattern.search(raw_path):
            raise RequestError("ambiguous_path", what=what)
    path = unquote(raw_path, errors="surrogateescape")
    if _ESCAPE.search(path):  # P11; looked for in what was decoded: %25%32%65 is %252e in other clothes
        raise RequestError("ambiguous_path", what="double encoding")
    return path
