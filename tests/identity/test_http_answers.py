"""What an answer of a legacy application means: table by table, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.identity import Identity
from gateway.errors import SourceUnavailable
from gateway.identity.http_answers import Absent, Answer, Pointers, StillThere, Success, follow

# RFC 6901 §5, as far as it is about values
DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
    "01": "leading",
    "rows": [{"id": 9}],
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/01", "leading"),
        ("/rows/0/id", 9),
    ],
)
def test_a_pointer_leads_where_rfc_6901_says(pointer: str, value: Any) -> None:
    assert follow(pointer, DOCUMENT) == value


@pytest.mark.parametrize(
    "pointer", ["/foo/2", "/foo/00", "/foo/-1", "/foo/-", "/foo/x", "/foo/0/x", "/nothing", "/foo/٠"]
)
def test_a_pointer_that_leads_nowhere_leads_nowhere(pointer: str) -> None:
    with pytest.raises(Absent):
        follow(pointer, DOCUMENT)


def said(status: int, document: Any = None, **more: Any) -> Answer:
    return Answer(status, b"" if document is None else json.dumps(document).encode(), **more)


OK_AND_ZERO = Success(frozenset({200}), {"/ret": 0})


@pytest.mark.parametrize(
    ("success", "answer", "fits"),
    [
        (Success(frozenset({204})), said(204), True),
        (Success(frozenset({204})), said(200), False),
        (OK_AND_ZERO, said(200, {"ret": 0}), True),
        (OK_AND_ZERO, said(200, {"ret": 1}), False),
        (OK_AND_ZERO, said(200, {"ret": False}), False),  # equal in Python, not in JSON
        (OK_AND_ZERO, said(200, {"ret": "0"}), False),
        (OK_AND_ZERO, said(200, {"ret": None}), False),
        (OK_AND_ZERO, said(200, {}), False),
        (OK_AND_ZERO, said(200, []), False),
        (OK_AND_ZERO, said(401, {"ret": 0}), False),
        (Success(json={"/ret": 0}), said(200, {"ret": 0}), True),
        (Success(json={"/ret": 0}), said(400, {"ret": 0}), False),  # whoever says 4xx does not let anybody in
        (Success(json={"/ret": 0}), said(302, {"ret": 0}), False),
        (Success(json={"/ok": True, "/user/active": True}), said(200, {"ok": True, "user": {"active": True}}), True),
        (Success(json={"/ok": True, "/user/active": True}), said(200, {"ok": True, "user": {"active": False}}), False),
        (Success(json={"/error": None}), said(200, {"error": None}), True),
        (Success(json={"/error": None}), said(200, {}), False),
        (Success(json={"/ret": 0}), Answer(403, b"<h1>Forbidden"), False),  # a clear no needs no JSON
        (Success(redirect="/index.html"), said(302, location="/index.html"), True),
        (Success(redirect="/index.html"), said(303, location="http://app:8000/index.html"), True),
        (Success(redirect="/index.html"), said(302, location="/index.html?error=1"), False),
        (Success(redirect="/index.html"), said(302, location="/login?next=/index.html"), False),
        (Success(redirect="/index.html"), said(302), False),
        (Success(redirect="/index.html"), said(200, location="/index.html"), False),
        (Success(redirect="/index*"), said(302, location="/index.php?welcome=1"), True),
        (Success(redirect="/*/home"), said(302, location="/users/7/home"), True),
        (Success(redirect="/*/home"), said(302, location="/home"), False),
        (Success(redirect="/a.c"), said(302, location="/abc"), False),
        (Success(redirect="https://app/*"), said(302, location="https://app/x"), True),
        (Success(redirect="https://app/*"), said(302, location="/x"), False),
        (Success(redirect="/"), said(302, location="https://app"), True),
        (Success(cookie="SESSION"), said(200, cookies=frozenset({"SESSION"})), True),
        (Success(cookie="SESSION"), said(302, cookies=frozenset({"SESSION", "x"})), True),
        (Success(cookie="SESSION"), said(200, cookies=frozenset({"session"})), False),
        (Success(cookie="SESSION"), said(200), False),
        (Success(cookie="SESSION"), said(403, cookies=frozenset({"SESSION"})), False),
        (Success(redirect="/home", cookie="S"), said(302, location="/home"), False),
    ],
)
def test_success_is_what_fits_everything_that_was_asked_for(success: Success, answer: Answer, fits: bool) -> None:
    assert success.fits(answer) is fits


@pytest.mark.parametrize(
    "answer",
    [
        said(500, {"ret": 0}),
        said(502),
        said(503),
        said(504),
        said(429),
        said(408),
        Answer(200, b"<h1>Hello"),
        Answer(200),
        Answer(200, b'{"ret": 0'),
        Answer(200, b"\xff\xfe"),
        Answer(200, b"[" * 100_000),
        said(200, "fine"),
        said(200, 0),
    ],
)
def test_what_is_no_answer_is_never_taken_for_a_wrong_password(answer: Answer) -> None:
    with pytest.raises(SourceUnavailable):
        OK_AND_ZERO.fits(answer)


ASKED = StillThere(json={"/user/active": True}, gone=frozenset({404, 410}))


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        (said(200, {"user": {"active": True}}), True),
        (said(200, {"user": {"active": False}}), False),
        (said(404), False),
        (said(410), False),
    ],
)
def test_who_is_asked_about_is_there_or_gone(answer: Answer, fits: bool) -> None:
    assert ASKED.fits(answer) is fits


@pytest.mark.parametrize(
    "answer",
    [said(401), said(403), said(302), said(500), said(429), said(200, {"error": "database"}), Answer(200, b"oops")],
)
def test_what_does_not_say_that_he_is_gone_signs_nobody_out(answer: Answer) -> None:
    with pytest.raises(SourceUnavailable):
        ASKED.fits(answer)


ALL = Pointers("/user/id", "/user/login", "/user/name", "/user/mail", "/user/type", "/user/groups")
USER = {
    "id": 7,
    "login": "Alice",
    "name": "爱丽丝",
    "mail": "a@example.org",
    "type": "mgr",
    "groups": ["a", 5, None, {}],
}


def test_everything_can_be_found_in_the_answer() -> None:
    found = ALL.identity(said(200, {"user": USER}), "whatever", "app")
    assert found == Identity("7", "Alice", "爱丽丝", "a@example.org", "mgr", ("a", "5"), "app")


@pytest.mark.parametrize("typed", ["Alice", "alice", "ALICE", " Ａｌｉｃｅ "])
def test_without_pointers_the_typed_name_in_its_canonical_form_is_who_it_is(typed: str) -> None:
    assert Pointers(usertype="staff").identity(said(200), typed, "app") == Identity(
        "alice", "alice", usertype="staff", source="app"
    )


def test_a_name_in_the_answer_counts_as_it_is_and_is_asked_for_as_it_was_typed() -> None:
    """Where capitals count, somebody may have the account Admin, and must not be admin here."""
    named = Pointers(username="/u")
    echoed = [named.identity(said(200, {"u": name}), name, "app").id for name in ("Alice", "alice")]
    assert echoed == ["Alice", "alice"]
    assert named.as_asked(" Alice ") == "Alice"


def test_a_name_that_is_all_that_is_known_is_asked_for_in_canonical_form() -> None:
    assert Pointers().as_asked(" ＡDMIN ") == "admin"
    assert Pointers(usertype="/t").as_asked("Admin") == "admin"
    assert Pointers(id="/i").as_asked("Admin") == "Admin"


@pytest.mark.parametrize("wrong", [None, "", "  ", True, 1.5, [], {}, "a\nb", "a\0", "x" * 255, "..", "."])
@pytest.mark.parametrize("name", ["id", "login"])
def test_an_id_or_a_name_that_is_promised_and_not_usable_is_nonsense(name: str, wrong: Any) -> None:
    with pytest.raises(SourceUnavailable):
        ALL.identity(said(200, {"user": {**USER, name: wrong}}), "alice", "app")


@pytest.mark.parametrize("wrong", [None, True, {}, "a\r\nb", "x" * 255])
@pytest.mark.parametrize("name", ["name", "mail", "type", "groups"])
def test_what_else_is_missing_or_no_text_is_empty(name: str, wrong: Any) -> None:
    found = ALL.identity(said(200, {"user": {**USER, name: wrong}}), "alice", "app")
    value = {"name": found.name, "mail": found.email, "type": found.usertype, "groups": found.groups}[name]
    assert not value


def test_one_group_need_not_be_a_list() -> None:
    assert Pointers(groups="/g").identity(said(200, {"g": "staff"}), "alice", "app").groups == ("staff",)


def test_an_answer_about_somebody_else_is_nonsense() -> None:
    assert ALL.identity_of(said(200, {"user": USER}), "7", "app").username == "Alice"
    with pytest.raises(SourceUnavailable):
        ALL.identity_of(said(200, {"user": USER}), "8", "app")
