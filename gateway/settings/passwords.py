"""What a new password has to be; part of the list in ``model.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from gateway.core.passwords import MAX_LENGTH, MIN_LENGTH
from gateway.settings.values import Slice, Whole


class PasswordSettings(Slice):
    """New passwords (NIST SP 800-63B). Older ones stay good."""

    min_length: Whole = Field(
        MIN_LENGTH, ge=MIN_LENGTH, le=MAX_LENGTH, description=f"Characters of a new password; {MAX_LENGTH} at most."
    )
    common: Literal["refuse", "allow"] = Field(
        "refuse", description="refuse or allow: passwords that are tried first because many people have them."
    )
    common_file: Path | None = Field(None, description="File of more passwords that nobody may take, one in each line.")

    @field_validator("common_file")
    @classmethod
    def _check_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("common") == "allow":
            raise ValueError("needs common: refuse")
        return value
