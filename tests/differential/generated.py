"""Hypothesis strategies: valid requests and answers as bytes on the wire, odd in every way that HTTP/1.1 allows."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from gateway.core.paths import parse_target
from gateway.errors import RequestError
from tests.differential.lab import Outgoing
from tests.differential.wire import Field

SESSION = b"{session}"  # stands for the cookie of who is signed in

# RFC 9110 §5.6.2 and §5.5: what a name and a value may hold
_TOKEN = bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)) + b"!#$%&'*+-.^_`|~"
_TEXT = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
_SEGMENT = b"abcXYZ019-._~!$&'()*+,:@="
_QUERY = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_METHODS = (
    b"GET GET GET HEAD HEAD POST POST PUT PATCH DELETE OPTIONS TRACE PROPFIND PROPPATCH REPORT SEARCH MKCOL COPY MOVE LOCK "
    b"UNLOCK PURGE LINK UNLINK ACL BIND REBIND UNBIND CHECKOUT MERGE MKACTIVITY NOTIFY SUBSCRIBE M-SEARCH MKCALENDAR"
).split()
_ORDINARY = (
    b"Accept Accept-Encoding Accept-Language Cache-Control Content-Encoding Content-Type DNT Forwarded-By If-Match If-None-Match "
    b"If-Modified-Since Link Origin Pragma Prefer Range Referer Remote User-Agent Via Warning X-Api-Key X-Requested-With X"
).split()
_RESERVED = (
    b"Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-User X-Forwarded-Groups "
    b"X-Forwarded-Prefix X-Forwarded-Ssl X-Real-IP X-Original-URL X-Rewrite-URL X-Request-Id X-Gateway-Assertion "
    b"X-Session-Data X-Session-Update Remote-User Remote-Groups X-Auth-Request-User X-Auth-Request-Email Proxy "
    b"X-Auth-Request-Access-Token X-Original-Method X-Session-Update-Failed Proxy-Authorization Proxy-Authenticate"
).split()
_HOP: list[Field] = [
    (b"Keep-Alive", b" timeout=5"), (b"Proxy-Connection", b" keep-alive"), (b"TE", b" trailers"), (b"Trailer", b" X-Late"),
    (b"Upgrade", b" h2c"), (b"Keep-Alive", b""),
]  # fmt: skip
_ANSWERED = (
    b"Age Allow Cache-Control Content-Disposition Content-Language Content-Location Content-Type Date ETag Expires Last-Modified "
    b"Link Location P3P Retry-After Server Vary Via WWW-Authenticate Proxy-Authenticate X-Frame-Options X-Request-Id X_Old X"
).split()
_LOOK_ALIKES = [b"content_length", b"content_type", b"content.length"]
_COOKIES = [
    b"a=1",
    b"theme=dark",
    b"empty=",
    b"GW_SESSION=kept",
    b"gw_form=x",
    b"__Host-gw_session=y",
    b"b=caf\xe9",
    b"no_value",
]
_SET = [
    b"a=1; Path=/",
    b"gw_session=stolen; Path=/",
    b"__Host-gw_session=stolen; Secure; Path=/",
    b"=gw_session=stolen",
    b"b=2",
]


def _from(alphabet: bytes, *, min_size: int = 0, max_size: int = 24) -> st.SearchStrategy[bytes]:
    table = bytes(alphabet[byte % len(alphabet)] for byte in range(256))
    return st.binary(min_size=min_size, max_size=max_size).map(lambda data: data.translate(table))


def _spelled(names: list[bytes]) -> st.SearchStrategy[bytes]:
    """In any case, and with what CGI reads as a dash."""
    spellings = [bytes, bytes.lower, bytes.upper, bytes.swapcase]
    return st.builds(lambda name, spell: spell(name), st.sampled_from(names), st.sampled_from(spellings))


_blanks = st.sampled_from([b" ", b" ", b"", b"\t", b" \t  "])
_tokens = _from(_TOKEN, min_size=1, max_size=12)
_words = st.lists(_from(_TEXT, min_size=1, max_size=12), max_size=3)
values = st.builds(lambda before, words, between, after: before + between.join(words) + after, _blanks, _words,
                   st.sampled_from([b" ", b"  ", b"\t", b", "]), _blanks)  # fmt: skip
_dashed = st.builds(
    lambda name, dash: name.replace(b"-", dash), _spelled(_RESERVED), st.sampled_from([b"-", b"-", b"_", b"."])
)
_ordinary = st.tuples(st.one_of(_spelled(_ORDINARY), _tokens), values)
_cookies = st.lists(st.sampled_from(_COOKIES), min_size=1, max_size=4).map(b"; ".join).map(lambda value: b" " + value)
_request_field = st.one_of(
    _ordinary,
    _ordinary,
    st.tuples(_dashed, values),
    st.sampled_from(_HOP),
    st.tuples(st.sampled_from([b"Cookie", b"cookie"]), _cookies),
    st.just((b"Authorization", b" Basic eDp5")),
    st.tuples(st.sampled_from(_LOOK_ALIKES), st.just(b" 7")),
)
_answer_field = st.one_of(
    st.tuples(st.one_of(_spelled(_ANSWERED), _tokens), values),
    st.tuples(st.one_of(_spelled(_ANSWERED), _tokens), values),
    st.sampled_from(_HOP),
    st.tuples(st.sampled_from([b"Set-Cookie", b"set-cookie"]), st.sampled_from(_SET).map(lambda value: b" " + value)),
)
hosts = st.one_of(
    st.sampled_from(
        [b"a", b"www.example.org", b"WWW.Example.ORG:8443", b"[::1]", b"[2001:db8::1]:81", b"192.0.2.1:80", b"a:"]
    ),
    _from(b"abcXYZ019-._~", min_size=1, max_size=12),
)


# -- targets
_escape = st.integers(0x20, 0xFF).map(lambda byte: b"%%%02x" % byte)
_segment = st.lists(st.one_of(_from(_SEGMENT, min_size=1, max_size=8), _escape), min_size=1, max_size=4).map(b"".join)
_query = st.one_of(st.just(b""), _from(_QUERY, max_size=24).map(lambda query: b"?" + query))


def _is_valid(target: bytes) -> bool:
    try:
        parse_target(target.decode("latin-1"))
    except RequestError:
        return False
    return True


def _targets(top: bytes) -> st.SearchStrategy[bytes]:
    """Of a path below ``top``; one in a few in absolute-form (RFC 9112 §3.2.2)."""
    paths = st.lists(_segment, max_size=3).map(lambda segments: b"/".join([top, *segments]))
    origin = st.builds(lambda path, slash, query: path + slash + query, paths, st.sampled_from([b"", b"/"]), _query)
    scheme = st.sampled_from([b"http://", b"HTTP://", b"https://"])
    absolute = st.builds(lambda scheme, host, rest: scheme + host + rest, scheme, hosts, origin)
    return st.one_of(origin, origin, origin, absolute).filter(_is_valid)


# -- bodies
@dataclass(frozen=True, slots=True)
class _Chunked:
    """A body in chunks, as bytes on the wire."""

    data: bytes


# about what the gateway holds at a time, and more
_sizes = st.one_of(st.integers(1, 30_000), st.sampled_from([65_535, 65_536, 65_537, 150_000]))
_large = _sizes.map(lambda size: (bytes(range(256)) * (size // 256 + 1))[:size])
_extensions = st.sampled_from([b"", b"", b"", b";a", b";name=value", b';q="a b"', b";a=1;b=2"])
_size = st.sampled_from([b"%x", b"%X", b"%04x"])
_chunk = st.builds(
    lambda data, size, extension: size % len(data) + extension + b"\r\n" + data + b"\r\n",
    st.one_of(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40), _large), _size, _extensions,
)  # fmt: skip
_trailers = st.lists(st.tuples(_tokens, values), max_size=2).map(lambda fields: b"".join(map(_line, fields)))
_chunked = st.builds(
    lambda chunks, extension, trailers: _Chunked(b"".join(chunks) + b"0" + extension + b"\r\n" + trailers + b"\r\n"),
    st.lists(_chunk, max_size=4), _extensions, _trailers,
)  # fmt: skip
_plain = st.one_of(st.binary(max_size=60), st.binary(max_size=60), _large)


def _line(pair: Field) -> bytes:
    return pair[0] + b":" + pair[1] + b"\r\n"


def _framed(body: bytes | _Chunked | None) -> tuple[list[Field], bytes]:
    if isinstance(body, _Chunked):
        return [(b"Transfer-Encoding", b" chunked")], body.data
    return ([(b"Content-Length", b" %d" % len(body))], body) if body is not None else ([], b"")


@st.composite
def _wire(draw: st.DrawFn, start: bytes, fields: list[Field], body: bytes) -> tuple[bytes, tuple[int, ...]]:
    """The fields in any order; and where to cut the whole into writes."""
    lines = map(_line, draw(st.permutations(fields)))
    data = start + b"\r\n" + b"".join(lines) + b"\r\n" + body
    return data, tuple(sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=2))))


@st.composite
def _connection(draw: st.DrawFn, fields: list[Field], options: list[bytes]) -> list[Field]:
    """Names some of the fields, too; never those that are for all recipients (RFC 9110 §7.6.1)."""
    names = [name.lower() for name, _ in fields if name.lower() not in (b"cookie", *_LOOK_ALIKES)]
    named = draw(st.lists(st.sampled_from([*options, *names]), max_size=3))
    return [(b"Connection", b" " + b", ".join(named))] if named else []


# -- whole messages
@st.composite
def _requests(draw: st.DrawFn) -> tuple[Outgoing, bool]:
    """A request, and whether it is for the part of the site behind the sign-in."""
    signed_in, version = draw(st.booleans()), draw(st.sampled_from([b"HTTP/1.1"] * 3 + [b"HTTP/1.0"]))
    method, target = draw(st.sampled_from(_METHODS)), draw(_targets(b"/in" if signed_in else b"/out"))
    bodies = [st.none(), st.none(), _plain, *([_chunked] if version == b"HTTP/1.1" else [])]
    framing, body = _framed(draw(st.one_of(bodies)) if method != b"TRACE" else None)
    fields = draw(st.lists(_request_field, max_size=7))
    fields += draw(_connection(fields, [b"close", b"Keep-Alive", b"x-nobody"]))
    fields += [(b"Max-Forwards", b" 10")] if draw(st.booleans()) else []
    fields += [(b"Cookie", b" theme=dark; " + SESSION)] if signed_in else []
    fields += (
        [(b"Expect", b" 100-continue")] if body and version == b"HTTP/1.1" and draw(st.integers(0, 4)) == 0 else []
    )
    if version == b"HTTP/1.1" or draw(st.booleans()):
        fields.append((draw(_spelled([b"Host"])), draw(_blanks) + draw(hosts) + draw(_blanks)))
    start = draw(st.sampled_from([b"", b"", b"\r\n"])) + b" ".join((method, target, version))
    data, cuts = draw(_wire(start, fields + framing, body))
    return Outgoing(data, cuts, method=method), signed_in


@st.composite
def _interim(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([100, 102, 103, 103, 150, 199]))
    fields = draw(st.lists(_answer_field, max_size=2))
    return b"HTTP/1.1 %d %b\r\n" % (status, draw(_phrases)) + b"".join(map(_line, fields)) + b"\r\n"


_phrases = st.one_of(st.sampled_from([b"OK", b"", b"Not Quite\tRight"]), _from(_TEXT + b" ", max_size=12))


@st.composite
def _answers(draw: st.DrawFn, method: bytes) -> Outgoing:
    """An answer to a request with this method: interim answers before it, a body in any framing."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 3 + [b"HTTP/1.0"]))
    any_status = st.integers(200, 599).filter(
        lambda status: status != 205
    )  # which has no body, but says so (RFC 9110 §15.3.6)
    status = draw(st.one_of(any_status, st.sampled_from([200, 200, 204, 206, 304])))
    before = b"".join(draw(st.lists(_interim(), max_size=2))) if version == b"HTTP/1.1" else b""
    bodies = [st.none(), _plain, _plain, *([_chunked, _chunked] if version == b"HTTP/1.1" else [])]
    whole = draw(st.one_of(bodies))
    framing, body = _framed(whole)
    bodiless = method == b"HEAD" or status in (204, 304)
    if bodiless:  # RFC 9112 §6.1: a coding may be named where no body is, but not with 204
        framing, body = ([] if status == 204 and isinstance(whole, _Chunked) else framing), b""
    elif not framing:
        body = draw(_plain)
    fields = draw(st.lists(_answer_field, max_size=6))
    fields += draw(_connection(fields, [b"close", b"keep-alive"]))
    start = before + version + b" %d " % status + draw(_phrases)
    closes = (
        not (framing or bodiless)
        or version == b"HTTP/1.0"
        or any(b"close" in value for name, value in fields if name == b"Connection")
    )
    data, cuts = draw(_wire(start, fields + framing, body))
    return Outgoing(data, cuts, closes, method)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Outgoing, bool, Outgoing]:
    """A request, whether it is for the part of the site behind the sign-in, and the answer to it."""
    request, signed_in = draw(_requests())
    return request, signed_in, draw(_answers(request.method))
