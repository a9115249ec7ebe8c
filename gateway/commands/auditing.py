"""What commands write into the audit log: who gave which command, and whom it was about (docs/users.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Unpack

import click

from gateway.core.identity import Identity
from gateway.core.keys import parse_ring
from gateway.settings import Settings
from gateway.settings.load import ring_of
from gateway.telemetry.audit import AuditLog, Event, Fields, name_key, operator
from gateway.telemetry.audit_files import lines_to

VARIABLE = "GATEWAY__LOG__AUDIT"
_STANDARD_ERROR = 2
"""A command's standard output is its answer, which other programs read."""

_option = click.option(
    "--audit",
    metavar="FILE",
    envvar=VARIABLE,
    default="off",
    help=f"The audit log to write to, as in log.audit [{VARIABLE}, else off].",
)


def audit_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """For commands that read no configuration: where they write is an option, or the variable that the gateway reads, too."""
    return _option(command)


def record(place: Settings | str | None, event: Event, user: Identity | None = None, **fields: Unpack[Fields]) -> None:
    """Writes what the running command has done. ``place``: the configuration, or where to; None: as the variable says."""
    if isinstance(place, Settings):
        where, key = place.log.audit, name_key(parse_ring(ring_of(place)))
    else:
        where, key = place or os.environ.get(VARIABLE) or "off", b""
    given: Fields = {**fields, "by": operator(), "command": click.get_current_context().command_path}
    with AuditLog(lines_to(where, standard=_STANDARD_ERROR), key) as audit:
        audit.note(event, user, **given)
