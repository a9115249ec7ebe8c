"""What the gateway makes of a message on its way, written down a second time: the right-hand side of the tables of rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tests.differential.rules import Change, Facts
from tests.differential.wire import Field, Message


def spelling(name: bytes) -> bytes:
    """What CGI makes of a name, but with dashes (RFC 3875 §4.1.18): everything that is no letter or digit is one."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


def only(message: Message, stays: Callable[[bytes, bytes], bool]) -> Message:
    """Without some of the fields, in the interim answers, too."""
    kept = tuple(pair for pair in message.fields if stays(*pair))
    return replace(message, fields=kept, interim=tuple(only(one, stays) for one in message.interim))


def without(*names: bytes) -> Change:
    """Without the fields of these names, in any spelling."""
    return lambda message, _: only(message, lambda name, _: spelling(name) not in names)


def without_beginning(start: bytes) -> Change:
    """The same, by how names begin."""
    return lambda message, _: only(message, lambda name, _: not spelling(name).startswith(start))


def without_named(message: Message, facts: Facts) -> Message:
    """Each message names its own."""
    named = {token.strip().lower() for value in message.values(b"connection") for token in value.split(b",")}
    kept = tuple(pair for pair in message.fields if pair[0].lower() not in named)
    return replace(message, fields=kept, interim=tuple(without_named(one, facts) for one in message.interim))


def without_look_alikes(message: Message, _: Facts) -> Message:
    real = (b"content-length", b"content-type")
    return only(message, lambda name, _: spelling(name) not in real or name.lower() in real)


def with_fields(message: Message, fields: tuple[Field, ...]) -> Message:
    return replace(message, fields=message.fields + fields)


def with_trimmed_values(message: Message, facts: Facts) -> Message:
    fields = tuple((name, value.strip(b" \t")) for name, value in message.fields)
    return replace(message, fields=fields, interim=tuple(with_trimmed_values(one, facts) for one in message.interim))


OURS = {
    prefix + name for prefix in (b"", b"__Host-", b"__Secure-") for name in (b"gw_session", b"gw_form", b"gw_device")
}


# -- rules for requests that take more than a line
def origin_form(message: Message, _: Facts) -> Message:
    method, target, version = message.start
    scheme, _slashes, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https"):
        return message
    host = re.split(rb"[/?]", rest)[0]
    path = rest[len(host) :]
    fields = tuple((name, b" " + host if name.lower() == b"host" else value) for name, value in message.fields)
    start = (method, path if path.startswith(b"/") else b"/" + path, version)
    return replace(message, start=start, fields=fields)


def asked_host(facts: Facts) -> bytes:
    absolute = re.match(rb"(?i)https?://([^/?]*)", facts.request.start[1])
    return absolute[1] if absolute else b"".join(facts.request.values(b"host"))


def with_host(message: Message, facts: Facts) -> Message:
    if message.values(b"host"):
        return message
    return replace(message, fields=((b"Host", b" " + (asked_host(facts) or facts.backend)), *message.fields))


def without_our_cookies(message: Message, _: Facts) -> Message:
    def left(name: bytes, value: bytes) -> bytes:
        pairs = value.split(b";")
        kept = [pair for pair in pairs if pair.partition(b"=")[0].strip() not in OURS]
        return value if name.lower() != b"cookie" or kept == pairs else b" " + b";".join(kept).strip()

    fields = tuple((name, left(name, value)) for name, value in message.fields)
    return replace(
        message, fields=tuple((name, value) for name, value in fields if name.lower() != b"cookie" or value != b" ")
    )


def one_hop_fewer(message: Message, _: Facts) -> Message:
    """0 is not passed on at all."""

    def counted(name: bytes, value: bytes) -> bytes:
        return b" %d" % (int(value) - 1) if name.lower() == b"max-forwards" else value

    if message.start[0] not in (b"OPTIONS", b"TRACE"):
        return message
    return replace(message, fields=tuple((name, counted(name, value)) for name, value in message.fields))


def with_origin(message: Message, facts: Facts) -> Message:
    host = asked_host(facts)
    port = host.rpartition(b"]")[2].partition(b":")[2]
    told = [(b"For", b"127.0.0.1"), (b"Proto", b"http"), (b"Host", host), (b"Port", port or b"80")]
    return with_fields(message, tuple((b"X-Forwarded-" + name, b" " + value) for name, value in told))


def with_id(message: Message, _: Facts) -> Message:
    return with_fields(message, ((b"X-Request-Id", b" an id"),))


def any_id(message: Message) -> Message:
    """Its value is the one thing that is new each time."""

    def known(name: bytes, value: bytes) -> bytes:
        return b" an id" if name == b"X-Request-Id" and re.fullmatch(rb" [0-9A-Z]{26}", value) else value

    return replace(message, fields=tuple((name, known(name, value)) for name, value in message.fields))


# -- rules for answers that take more than a line
def any_date(message: Message) -> Message:
    """So is the value of a date that was added."""
    form = rb" [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    fields = [(name, b" a date" if re.fullmatch(form, value) else value) for name, value in message.fields]
    return replace(message, fields=tuple(fields))


def with_date(message: Message, _: Facts) -> Message:
    return message if message.values(b"date") else with_fields(message, ((b"Date", b" a date"),))


def without_stolen_cookies(message: Message, _: Facts) -> Message:
    def stays(name: bytes, value: bytes) -> bool:
        return name.lower() != b"set-cookie" or value.lstrip(b" \t=").partition(b"=")[0].strip() not in OURS

    return only(message, stays)


def without_length(message: Message, _: Facts) -> Message:
    is_empty = message.start[1] == b"204"
    kept = tuple(pair for pair in message.fields if not is_empty or pair[0].lower() != b"content-length")
    return replace(message, fields=kept)


def client_stays(message: Message, facts: Facts) -> Message:
    options = b",".join(facts.request.values(b"connection")).lower().replace(b" ", b"").split(b",")
    ends = facts.is_old or b"close" in options or bool(facts.request.values(b"upgrade"))
    return replace(message, stays=not ends)
