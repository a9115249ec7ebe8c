"""What a new password has to be: long enough, and nothing that an attacker tries first (NIST SP 800-63B §3.1.1.2).

No rule asks for digits or capitals (the same paragraph): they make passwords that are hard to remember, not hard to
guess. Pure: the list of common passwords is handed in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.identity import Identity
from gateway.reasons import Language

MIN_LENGTH = 8
"""Characters of a new password, unless the operator asks for more; older ones may be shorter."""
MAX_LENGTH = 1024
"""Characters. Longer ones are refused before any hashing (OWASP: a bound against long-password DoS)."""
_NO_TEXT = ("Cc", "Cs")
_RULES = {
    "en": ("At least {} characters", "Not your name or e-mail address", "Not one that many people have"),
    "zh": ("至少 {} 个字符", "不能是您的姓名、用户名或邮箱", "不能是常见的密码"),
}


def folded(text: str) -> str:
    """The form in which passwords and names are compared: who writes a common one in capitals gains nothing."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """``common``: what nobody may take, :func:`folded`."""

    min_length: int = MIN_LENGTH
    common: frozenset[str] = field(default=frozenset(), repr=False)

    def what_is_wrong_with(self, password: str, names: Iterable[str] = ()) -> str | None:
        """Why nobody may take this as a new password, in words that follow "a password"; None: nothing.

        ``names``: what everybody knows of the user, see :func:`names_of`.
        """
        if not self.min_length <= len(password) <= MAX_LENGTH:
            return f"must have {self.min_length} to {MAX_LENGTH} characters"
        if any(unicodedata.category(char) in _NO_TEXT for char in password):
            return "must not hold control characters"
        same = folded(password)
        if same in {folded(name) for name in names}:
            return "must not be your own name or e-mail address"
        if same in self.common or (self.common and len(set(same)) == 1):
            return "is one of those that are tried first; please take another one"
        return None

    def rules(self, language: Language) -> tuple[str, ...]:
        """In words, for the page where one is chosen."""
        length, names, common = _RULES[language]
        return (length.format(self.min_length), names, *([common] if self.common else []))


def names_of(user: Identity) -> list[str]:
    """What a password must not be: his username, e-mail address (also what stands before its @), and name."""
    return [name for name in (user.username, user.email, user.email.partition("@")[0], user.name) if name]
