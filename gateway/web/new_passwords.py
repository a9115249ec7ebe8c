"""Fields of forms where somebody chooses a new password: read the same way on every page, and what is wrong in words."""

from __future__ import annotations

from typing import Any

from gateway.core.identity import Identity
from gateway.core.passwords import MAX_LENGTH, PasswordPolicy, names_of
from gateway.errors import Busy, GatewayError, Language, RequestError
from gateway.pages import MESSAGES
from gateway.pages.words import with_wait
from gateway.web.bodies import text_field


def read_new_password(fields: dict[str, Any], policy: PasswordPolicy, user: Identity) -> str:
    """``new_password``, and when it was sent ``again``, which has to be the same.

    :raises RequestError: 400 ``bad_field`` naming the field.
    """
    new, again = (text_field(fields, name, MAX_LENGTH) for name in ("new_password", "again"))
    wrong = policy.what_is_wrong_with(new, names_of(user)) if new else "is missing"
    if wrong is not None:
        raise RequestError("bad_field", field="new_password", what=wrong)
    if "again" in fields and again != new:
        raise RequestError("bad_field", field="again", what="is not the same as the first one")
    return new


def told(error: GatewayError, language: Language) -> dict[str, str]:
    """``error`` and ``wrong`` of the views with password fields: the sentence for a person, and the field it is about."""
    parts, field = dict(error.parts), error.parts.get("field", "")
    if field in MESSAGES[language]:
        parts["field"] = MESSAGES[language][field]
    words = error.reason.words(language, **parts)
    return {
        "error": with_wait(words, error.retry_after, language) if isinstance(error, Busy) else words,
        "wrong": field,
    }
