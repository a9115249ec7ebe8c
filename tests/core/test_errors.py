"""The registry of reasons: two languages with the same parts, codes for programs, statuses that HTTP knows."""

from __future__ import annotations

import re
from http import HTTPStatus
from string import Formatter

import pytest

from gateway import reasons
from gateway.errors import (
    REASONS,
    Busy,
    GatewayError,
    Problem,
    Reason,
    RequestError,
    SessionInterrupted,
    SettingsError,
    SourceUnavailable,
    StoreUnavailable,
    Throttled,
    UpstreamError,
)

every_reason = pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
ALL = reasons._ALL


def parts_of(words: str) -> set[str]:
    return {name for _, name, spec, conversion in Formatter().parse(words) if name is not None}


@every_reason
def test_a_reason_speaks_english_and_chinese_with_the_same_parts(reason: Reason) -> None:
    assert reason.en.strip()
    assert reason.zh.strip()
    assert reason.en.isascii()
    assert re.search("[\u4e00-\u9fff：]", reason.zh)
    assert parts_of(reason.en) == parts_of(reason.zh)


@every_reason
def test_the_words_are_those_of_the_language_with_the_parts_filled_in(reason: Reason) -> None:
    parts = {name: f"<{name} of {{it}} 100%>" for name in parts_of(reason.en)}
    english, chinese = reason.words("en", **parts), reason.words("zh", **parts)
    assert all(part in english and part in chinese for part in parts.values())
    assert english != chinese
    assert "{" not in re.sub("<[^>]*>", "", english + chinese)


@every_reason
def test_a_code_is_a_word_for_programs(reason: Reason) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", reason.code)


def test_codes_and_words_are_unique() -> None:
    for of in (lambda r: r.code, lambda r: r.en, lambda r: r.zh):
        assert len({of(reason) for reason in ALL}) == len(ALL)
    assert len(REASONS) == len(ALL)


@every_reason
def test_a_status_is_one_of_http_and_fits_its_kind(reason: Reason) -> None:
    if reason.code in ("bad_token", "insufficient_scope"):
        assert reason.status == {"bad_token": 401, "insufficient_scope": 403}[reason.code]  # RFC 6750 §3.1
    elif reason.sign_in_helps:
        assert reason.status == 302
    elif reason.code in ("client_gone", "drain_timeout"):
        assert reason.status == 499  # nginx's; in the log only
    else:
        assert HTTPStatus(reason.status) >= 400


STATUSES = {
    "no_session": 302,
    "unknown_session": 302,
    "expired_idle": 302,
    "expired_absolute": 302,
    "wrong_usertype": 302,
    "wrong_group": 302,
    "cross_site": 403,
    "throttled": 429,
    "session_interrupted": 400,
    "bad_request": 400,
    "ambiguous_path": 400,
    "no_route": 404,
    "method_not_allowed": 405,
    "slow_request": 408,
    "too_large": 413,
    "expectation_failed": 417,
    "bad_version": 505,
    "store_unavailable": 503,
    "upstream_unreachable": 502,
    "upstream_nonsense": 502,
    "upstream_timeout": 504,
    "bad_credentials": 401,
    "internal_error": 500,
}


@pytest.mark.parametrize(("code", "status"), STATUSES.items(), ids=STATUSES)
def test_the_statuses_of_the_contract_are_kept(code: str, status: int) -> None:
    assert REASONS[code].status == status


@pytest.mark.parametrize(("code", "words"), [("no_session", "未登录"), ("wrong_usertype", "用户非mgr类型")])
def test_the_words_that_the_contract_quotes_are_kept(code: str, words: str) -> None:
    assert REASONS[code].words("zh", wanted="mgr") == words


ERRORS = [
    (RequestError("bad_field", field="next", what="is missing"), "bad_field", {"field": "next", "what": "is missing"}),
    (StoreUnavailable("timed out"), "store_unavailable", {}),
    (SessionInterrupted(), "session_interrupted", {}),
    (Busy(), "busy", {}),
    (Throttled(30), "throttled", {}),
    (SourceUnavailable("refused"), "users_unavailable", {}),
    (UpstreamError("upstream_timeout"), "upstream_timeout", {}),
]


@pytest.mark.parametrize(("error", "code", "parts"), ERRORS, ids=[code for _, code, _ in ERRORS])
def test_an_error_carries_its_reason_and_all_that_its_words_need(
    error: GatewayError, code: str, parts: dict[str, str]
) -> None:
    assert error.reason is REASONS[code]
    assert error.parts == parts
    assert error.reason.words("en", **error.parts)


def test_the_cause_of_an_outage_and_the_wait_are_evidence_for_us_not_words_for_the_client() -> None:
    assert StoreUnavailable("10.0.0.7 timed out").cause == "10.0.0.7 timed out"
    assert "10.0.0.7" not in REASONS["store_unavailable"].words("en", **StoreUnavailable("10.0.0.7").parts)
    assert (Busy(7).retry_after, Throttled(30).retry_after) == (7, 30)
    assert Busy().retry_after >= 1


def test_an_unknown_code_is_an_error_at_once() -> None:
    with pytest.raises(KeyError):
        GatewayError("no_such_reason")


def test_a_problem_says_where_which_key_and_what_and_all_of_them_are_listed() -> None:
    problems = [Problem("gateway.yaml:3", "site.url", "must be http"), Problem("users.yaml", "", "cannot be read")]
    error = SettingsError(problems)
    assert str(error) == "gateway.yaml:3: site.url: must be http\nusers.yaml: cannot be read"
    assert error.problems == tuple(problems)
