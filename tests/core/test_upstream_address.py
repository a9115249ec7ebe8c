"""Where a backend listens: what may be written, what is meant by it, and what is refused with which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.values import check_upstream_url
from gateway.upstream.address import MAX_SOCKET_PATH, Address, is_name_or_address, parse_upstream_url
from tests.core.tables import table

LONGEST = "/" + "s" * (MAX_SOCKET_PATH - 1)

MEANT = {
    "http without a port": ("http://app", Address("http", "app", 80, "app")),
    "https without a port": ("https://app", Address("https", "app", 443, "app")),
    "a port": ("http://app:9000", Address("http", "app", 9000, "app:9000")),
    "the scheme's own port is not told": ("http://app:80", Address("http", "app", 80, "app")),
    "the other scheme's port is": ("https://app:80", Address("https", "app", 80, "app:80")),
    "a slash at the end": ("http://app:9000/", Address("http", "app", 9000, "app:9000")),
    "the highest port": ("http://app:65535", Address("http", "app", 65535, "app:65535")),
    "a port with zeros": ("http://app:0081", Address("http", "app", 81, "app:81")),
    "capitals": ("http://App.Example.ORG:81", Address("http", "app.example.org", 81, "app.example.org:81")),
    "an absolute name": ("https://app.example.org.", Address("https", "app.example.org.", 443, "app.example.org.")),
    "an underscore": ("http://my_app_1:81", Address("http", "my_app_1", 81, "my_app_1:81")),
    "a name in its xn-- form": ("http://xn--r8jz45g.jp", Address("http", "xn--r8jz45g.jp", 80, "xn--r8jz45g.jp")),
    "IPv4": ("http://192.0.2.7:81", Address("http", "192.0.2.7", 81, "192.0.2.7:81")),
    "IPv6": ("http://[::1]:8080", Address("http", "::1", 8080, "[::1]:8080")),
    "IPv6 without a port": ("https://[2001:DB8::1]", Address("https", "2001:db8::1", 443, "[2001:db8::1]")),
    "IPv4 in IPv6": ("http://[::ffff:192.0.2.7]", Address("http", "::ffff:192.0.2.7", 80, "[::ffff:192.0.2.7]")),
    "a socket": ("unix:/run/app.sock", Address("unix", "localhost", 0, "localhost", "/run/app.sock")),
    "a socket with three slashes": (
        "unix:///run/app.sock",
        Address("unix", "localhost", 0, "localhost", "/run/app.sock"),
    ),
    "a socket of another language": ("unix:/run/应用:1", Address("unix", "localhost", 0, "localhost", "/run/应用:1")),
    "the longest path": (f"unix:{LONGEST}", Address("unix", "localhost", 0, "localhost", LONGEST)),
}

FORMS = "must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH"
HOST = "the host is no host name or address (write international names in their xn-- form)"
PORT = "the port is not a number from 1 to 65535"
PATH = "must be without a path: requests keep their own"
QUERY = "must be without a query: requests keep their own"
USER = "must be without a user name: requests bring their own Authorization"
BRACKETS = "an IPv6 address must be in brackets, like http://[::1]:8080"
SOCKET = "must be unix:/PATH, the absolute path of a socket"
LONG = "the path of a socket must not be longer than 107 bytes"
CHARACTERS = "must not hold spaces or control characters"

REFUSED = {
    "nothing": ("", FORMS),
    "no scheme": ("127.0.0.1:9000", FORMS),
    "a path alone": ("/run/app.sock", FORMS),
    "half a scheme": ("http:app", FORMS),
    "no host": ("http://", FORMS),
    "no host but a slash": ("http:///", FORMS),
    "another scheme": ("ftp://app", FORMS),
    "a scheme in capitals": ("HTTP://app", FORMS),
    "a scheme of others for sockets": ("http+unix://%2Frun%2Fapp.sock", FORMS),
    "a path": ("http://app/x", PATH),
    "two slashes": ("http://app//", PATH),
    "a socket as a host, as in nginx": ("http://unix:/run/app.sock", PATH),
    "a query": ("http://app?x=1", PATH),
    "a fragment": ("http://app#x", PATH),
    "a backslash": ("http://app\\x", PATH),
    "a user": ("http://me@app", USER),
    "a user and a password": ("http://me:secret@app:9000", USER),
    "port 0": ("http://app:0", PORT),
    "a port too high": ("http://app:65536", PORT),
    "a port of a hundred digits": ("http://app:" + "9" * 100, PORT),
    "a negative port": ("http://app:-1", PORT),
    "a port with a sign": ("http://app:+80", PORT),
    "a port with an underscore": ("http://app:8_0", PORT),
    "a port in other digits": ("http://app:８０", PORT),
    "a word for a port": ("http://app:http", PORT),
    "a colon without a port": ("http://app:", PORT),
    "a port without a host": ("http://:80", HOST),
    "an empty label": ("http://a..b", HOST),
    "dots": ("http://..", HOST),
    "a dot": ("http://.", HOST),
    "a label too long": ("http://" + "a" * 64, HOST),
    "a name too long": ("http://" + "a." * 127 + "a", HOST),
    "an international name": ("http://例え.jp", HOST),
    "a letter that becomes ASCII in lower case": ("http://\u212a.test", HOST),
    "a character that no name has": ("http://a,b", HOST),
    "a percent sign": ("http://a%2eb", HOST),
    "IPv4 that is too high": ("http://256.0.0.1", HOST),
    "IPv4 in short": ("http://127.1", HOST),
    "IPv4 as one number": ("http://2130706433", HOST),
    "IPv4 as one number in hexadecimal": ("http://0x7f000001", HOST),
    "IPv4 with a leading zero": ("http://127.0.0.01", HOST),
    "a port for a host": ("http://8080", HOST),
    "IPv6 without brackets": ("http://::1", BRACKETS),
    "IPv6 without brackets, with a port": ("http://fe80::1:8080", BRACKETS),
    "IPv6 with one bracket": ("http://[::1", HOST),
    "IPv6 with a word behind it": ("http://[::1]x", HOST),
    "IPv6 with a zone": ("http://[fe80::1%25eth0]", HOST),
    "IPv6 with an unescaped zone": ("http://[fe80::1%eth0]", HOST),
    "IPv6 with port 0": ("http://[::1]:0", PORT),
    "empty brackets": ("http://[]", HOST),
    "a name in brackets": ("http://[app]:80", HOST),
    "IPv4 in brackets": ("http://[127.0.0.1]", HOST),
    "a socket without a path": ("unix:", SOCKET),
    "a socket at the root": ("unix:/", SOCKET),
    "a relative socket": ("unix:run/app.sock", SOCKET),
    "a relative socket with a dot": ("unix:./app.sock", SOCKET),
    "a relative socket with two slashes": ("unix://run/app.sock", SOCKET),
    "four slashes": ("unix:////run/app.sock", SOCKET),
    "a folder": ("unix:/run/", SOCKET),
    "a socket with a query": ("unix:/run/app.sock?x=1", QUERY),
    "a socket with a fragment": ("unix:/run/app.sock#x", QUERY),
    "a socket a byte too long": (f"unix:{LONGEST}s", LONG),
    "a socket too long in bytes only": ("unix:/" + "例" * 36, LONG),
    "a space in a host": ("http://a b", CHARACTERS),
    "a space at the end": ("http://app ", CHARACTERS),
    "a space in a socket": ("unix:/run/my app.sock", CHARACTERS),
    "a tab": ("http://a\tb", CHARACTERS),
    "a tab that urlsplit would drop": ("ht\ttp://app", CHARACTERS),
    "a line end": ("http://app\n", CHARACTERS),
    "NUL": ("unix:/run/app.sock\0", CHARACTERS),
    "DEL": ("http://app\x7f", CHARACTERS),
    "a space of another kind": ("http://app\u00a0", CHARACTERS),
    "a character that is not seen": ("unix:/run/\u200bapp", CHARACTERS),
    "half a character": ("unix:/run/\ud800", CHARACTERS),
}


@pytest.mark.parametrize(("url", "meant"), table(MEANT))
def test_an_address_is_read_as_it_is_meant(url: str, meant: Address) -> None:
    assert parse_upstream_url(url) == meant
    assert check_upstream_url(url) == url


@pytest.mark.parametrize(("url", "said"), table(REFUSED))
def test_what_is_no_address_is_refused_with_words_that_do_not_show_it(url: str, said: str) -> None:
    for read in (parse_upstream_url, check_upstream_url):
        with pytest.raises(ValueError) as caught:
            read(url)
        assert str(caught.value) == said


@pytest.mark.parametrize(("url", "_"), table(MEANT))
def test_an_address_is_written_as_it_can_be_read_again(url: str, _: Address) -> None:
    address = parse_upstream_url(url)
    assert parse_upstream_url(str(address)) == address


@given(st.text(max_size=40).map("http://{}".format) | st.text(max_size=120).map("unix:{}".format) | st.text())
def test_any_text_is_an_address_that_can_be_sent_or_a_value_error(url: str) -> None:
    try:
        address = parse_upstream_url(url)
    except ValueError:
        return
    assert is_name_or_address(address.host)
    assert address.authority.isascii()
    assert not set(address.authority) & set(" \t\r\n/?#@\\")
    assert parse_upstream_url(str(address)) == address


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://app.example.org.", "app.example.org"),
        ("https://app:8443", "app"),
        ("https://[::1]:8443", "::1"),
        ("https://192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_certificate_is_for_the_host_without_port_brackets_and_last_dot(url: str, name: str) -> None:
    assert parse_upstream_url(url).tls_name == name
